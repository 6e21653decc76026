"""Storage in memory."""

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from kvsd.ports import Storage
from kvsd.storage.memory_storage import MemoryStorage
from tests import storage_contract
from tests.storage_contract import put


class MemoryStorageContract(storage_contract.StorageContract):
    """Storage in memory keeps the promises of every storage."""

    def make_storage(self) -> Storage:
        return MemoryStorage()

    def open_again(self, storage: Storage) -> Storage:
        assert isinstance(storage, MemoryStorage)
        return MemoryStorage(storage.tables)


class MemoryStorageTests(SynchronousTestCase):
    """What is particular to storage in memory."""

    def test_it_says_that_it_forgets(self) -> None:
        """Storage in memory does not claim to outlive the process."""
        self.assertFalse(MemoryStorage.durable)

    def test_a_commit_ends_at_once(self) -> None:
        """By default a commit is done when the call returns."""
        storage = MemoryStorage()
        self.successResultOf(storage.commit([put(b"a", b"1")]))
        self.successResultOf(storage.close())

    def test_a_commit_waits_for_its_turn(self) -> None:
        """With a schedule of one's own, a commit is neither seen nor done until the schedule runs it."""
        turns: list[Callable[[], None]] = []
        storage = MemoryStorage(soon=turns.append)
        commit = storage.commit([put(b"a", b"1")])
        closed = storage.close()
        self.assertNoResult(commit)
        self.assertEqual(list(storage.load("rows")), [])
        turns.pop(0)()
        self.successResultOf(commit)
        self.assertEqual(list(storage.load("rows")), [(b"a", b"1")])
        self.assertNoResult(closed)
        turns.pop(0)()
        self.successResultOf(closed)

    def test_a_crash_loses_what_was_under_way(self) -> None:
        """A storage begun from the tables of another never sees what that one still had under way."""
        turns: list[Callable[[], None]] = []
        before = MemoryStorage(soon=turns.append)
        commit = before.commit([put(b"a", b"1")])
        after = MemoryStorage(before.tables)
        turns.pop()()
        self.successResultOf(commit)
        self.assertEqual(list(after.load("rows")), [])
