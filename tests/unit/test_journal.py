"""Group commit: nothing leaves before the write that it depends on is durable."""

from collections.abc import Sequence

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from kvsd.entries import Entry
from kvsd.journal import MAX_COMMIT_BYTES, RETRY_SECONDS, Journal
from kvsd.ports import DiskFull, StorageError
from kvsd.replication.effects import DropRole, Keep, Reply, Send
from kvsd.replication.messages import Bind
from kvsd.replication.requests import StorageFull
from kvsd.storage.memory_storage import MemoryStorage


def change(name: bytes) -> Entry:
    """A change of one key."""
    return "rows", name, b"value"


def changes_of(kept: Sequence[Keep]) -> list[Entry]:
    """One change for each, of the key that it names; there is none for an empty key."""
    if any(isinstance(drop, DropRole) and not drop.role for drop in kept):
        raise ZeroDivisionError
    return [change(drop.role) for drop in kept if isinstance(drop, DropRole)]


def reply(position: int, ticket: int = 1) -> Reply:
    """An answer that depends on a position."""
    return Reply(position, ticket, StorageFull())


class HeldStorage(MemoryStorage):
    """Commits end when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.commits: list[tuple[list[bytes], Deferred[None]]] = []

    def commit(self, changes: Sequence[Entry]) -> Deferred[None]:
        """Leave a commit open."""
        self.commits.append(([key for _, key, _ in changes], Deferred()))
        return self.commits[-1][1]


class JournalTests(SynchronousTestCase):
    """A journal whose disk is in the test's hands; ``events`` has all that happened, in order."""

    def setUp(self) -> None:
        """Make a journal."""
        self.clock, self.storage = Clock(), HeldStorage()
        self.events: list[object] = []
        self.journal = Journal(
            self.storage,
            changes_of,
            self.clock,
            lambda position: self.events.append(("synced", position)),
            self.events.append,
            lambda: self.events.append("full"),
            self.crashed,
        )

    def crashed(self, failure: Failure) -> None:
        """Note that the node can't go on."""
        self.events.append(failure.type)

    def write(self, position: int, *names: bytes) -> None:
        """Write changes and have an answer wait for them."""
        self.journal.write(position, [DropRole(name) for name in names])
        self.journal.after(position, reply(position))

    def commits(self) -> list[list[bytes]]:
        """The keys of each commit."""
        return [keys for keys, _ in self.storage.commits]

    def end(self, index: int, error: Exception | None = None) -> None:
        """End a commit."""
        done = self.storage.commits[index][1]
        if error:
            done.errback(error)
        else:
            done.callback(None)

    def test_what_can_not_be_encoded(self) -> None:
        """Where the changes of a commit can't be made, the node can't go on, and no later commit passes for both."""
        self.journal.write(1, [DropRole(b"")])
        self.journal.after(1, reply(1))
        self.journal.flush()
        self.write(2, b"b")
        self.journal.flush()
        self.assertEqual(([ZeroDivisionError], []), (self.events, self.commits()))

    def test_one_commit_for_a_turn(self) -> None:
        """All writes of a turn are one commit; a flush without writes is none."""
        self.journal.flush()
        self.write(1, b"a", b"b")
        self.write(2, b"c")
        self.assertEqual([], self.commits())
        self.journal.flush()
        self.assertEqual([[b"a", b"b", b"c"]], self.commits())

    def test_large_bodies_are_committed_in_parts(self) -> None:
        """However many large bodies come while the disk is slow, a commit has only so many bytes of them, in their order."""
        self.write(1, b"a")
        self.journal.flush()
        for position in range(2, 8):
            self.journal.weigh(MAX_COMMIT_BYTES // 2)
            self.write(position, b"%d" % position)
        self.write(8, b"b")
        for commit in range(4):
            self.end(commit)
        self.assertEqual([[b"a"], [b"2", b"3"], [b"4", b"5"], [b"6", b"7"], [b"b"]], self.commits())
        self.assertEqual(("synced", 7), self.events[-3])
        idle = self.journal.idle()
        self.assertNoResult(idle)
        self.end(4)
        self.successResultOf(idle)
        self.assertEqual(
            [reply(position) for position in range(1, 9)], [e for e in self.events if isinstance(e, Reply)]
        )

    def test_one_commit_at_a_time(self) -> None:
        """What is written during a commit is the next one, in one piece."""
        self.write(1, b"a")
        self.journal.flush()
        for position, name in ((2, b"b"), (3, b"c")):
            self.write(position, name)
            self.journal.flush()
        self.assertEqual([[b"a"]], self.commits())
        self.end(0)
        self.assertEqual([[b"a"], [b"b", b"c"]], self.commits())

    def test_effects_leave_in_order_and_never_early(self) -> None:
        """Effects leave once their write is durable, after the replica knows of that, and in the order of the writes."""
        self.write(1, b"a")
        self.journal.flush()
        self.write(2, b"b")
        self.journal.after(1, reply(1, ticket=5))
        self.journal.after(3, reply(3))
        self.journal.write(3, [DropRole(b"c")])
        self.assertEqual([], self.events)
        self.end(0)
        self.assertEqual([("synced", 1), reply(1), reply(1, ticket=5)], self.events)
        self.end(1)
        self.assertEqual([("synced", 3), reply(2), reply(3)], self.events[3:])

    def test_what_depends_on_nothing_new_leaves_at_once(self) -> None:
        """An effect whose write is durable does not wait for the commit under way."""
        send = Send(0, "a:1", Bind())
        self.journal.after(0, send)
        self.write(1, b"a")
        self.journal.flush()
        self.end(0)
        self.write(2, b"b")
        self.journal.flush()
        self.journal.after(1, reply(1, ticket=9))
        self.assertEqual([send, ("synced", 1), reply(1), reply(1, ticket=9)], self.events)

    def test_full_disk(self) -> None:
        """A commit that found no room is tried again, the same and before all others; nothing leaves meanwhile."""
        self.write(1, b"a")
        self.journal.flush()
        self.write(2, b"b")
        self.end(0, DiskFull("no room"))
        self.assertEqual((["full"], True), (self.events, self.journal.refused))
        self.journal.flush()
        self.clock.advance(RETRY_SECONDS * 0.9)
        self.assertEqual([[b"a"]], self.commits())
        self.clock.advance(RETRY_SECONDS * 0.2)
        self.end(1, DiskFull("no room"))
        self.clock.advance(RETRY_SECONDS)
        self.assertEqual(([[b"a"]] * 3, ["full", "full"]), (self.commits(), self.events))
        self.end(2)
        self.assertEqual(["full", "full", ("synced", 1), reply(1)], self.events)
        self.assertEqual(([b"b"], False), (self.commits()[3], self.journal.refused))

    def test_any_other_failure_is_final(self) -> None:
        """After any other error nothing may be assumed about the disk: the node stops, and nothing leaves."""
        for error in (StorageError("corrupt"), OSError("bad disk")):
            self.setUp()
            self.write(1, b"a")
            self.journal.flush()
            self.end(0, error)
            self.clock.advance(60)
            self.journal.flush()
            self.assertEqual(([type(error)], 1), (self.events, len(self.commits())))

    def test_idle(self) -> None:
        """The journal is idle once nothing is written, waiting or under way."""
        self.successResultOf(self.journal.idle())
        self.write(1, b"a")
        idle = self.journal.idle()
        self.journal.flush()
        self.write(2, b"b")
        self.end(0)
        self.assertNoResult(idle)
        self.end(1)
        self.successResultOf(idle)
