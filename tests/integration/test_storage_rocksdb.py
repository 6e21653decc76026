"""Storage in RocksDB: the promises of every storage, and what a killed process leaves behind."""

import json
import shutil
import sys
import threading
import time
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, gatherResults
from twisted.internet.interfaces import IReactorFromThreads

from kvsd.ports import DiskFull, Storage
from kvsd.storage.rocks_storage import RocksStorage
from kvsd.storage.tables import RocksTables, batch_of, create_database
from tests import storage_contract
from tests.rocks_case import THIS_BOOT, RocksStorageCase
from tests.storage_contract import put, remove
from tests.storage_process import WritingProcess, row


class SyncedContract(storage_contract.StorageContract):
    """Storage in RocksDB keeps the promises of every storage."""

    fsync = True

    def make_storage(self) -> Storage:
        self.directory = self.mktemp()
        return self.open_again(self)

    def open_again(self, storage: object) -> Storage:
        return RocksStorage(self.directory, IReactorFromThreads(reactor), boot_id=THIS_BOOT, fsync=self.fsync)


class UnsyncedContract(SyncedContract):
    """Without syncing, too, as long as the machine runs."""

    fsync = False


class RocksStorageTests(RocksStorageCase):
    """What is particular to storage in RocksDB."""

    def setUp(self) -> None:
        super().setUp()
        self.observed: list[tuple[float, int]] = []

    def observe(self, seconds: float, changes: int) -> None:
        """Note what is told after each write."""
        self.observed.append((seconds, changes))

    async def test_it_says_that_it_is_durable(self) -> None:
        """Storage in RocksDB claims to outlive the process."""
        self.assertTrue(RocksStorage.durable)

    async def test_commits_end_on_the_reactor_thread(self) -> None:
        """Whoever waits for a commit goes on in the thread of the reactor."""
        threads: list[threading.Thread] = []
        commit = self.open().commit([put(b"a", b"1")])
        await commit.addCallback(lambda _: threads.append(threading.current_thread()))
        self.assertEqual(threads, [threading.current_thread()])

    def test_others_run_while_it_syncs(self) -> None:
        """Another thread, which is never given a turn but goes on where it can, does so in the midst of a commit."""
        self.addCleanup(sys.setswitchinterval, sys.getswitchinterval())
        sys.setswitchinterval(1000.0)
        path, at = Path(self.mktemp()), ""
        path.mkdir()
        create_database(path / "db", "identity")
        tables = RocksTables(path / "db", "identity", last_change=0, sync=True, cache_bytes=1 << 20)
        self.addCleanup(tables.close)
        batches = [batch_of([put(b"%d" % number, b"1")]) for number in range(1000)]

        def write_all() -> None:
            nonlocal at
            while batches and at != "seen":
                at = "writing"
                tables.write(batches.pop())
                at = "seen" if at == "seen" else "written"

        writer = threading.Thread(target=write_all)
        writer.start()
        while writer.is_alive() and at != "seen":
            at = "seen" if at == "writing" else at
            time.sleep(0)
        writer.join()
        self.assertEqual("seen", at)

    async def test_writes_are_told_of(self) -> None:
        """Each write tells of its changes and of the time it took; a commit of nothing is no write."""
        storage = self.open()
        commits = [[put(b"a", b"1"), remove(b"x")], [], [put(b"b", b"2")]]
        await gatherResults([storage.commit(changes) for changes in commits])
        await storage.close()
        self.assertEqual([changes for _, changes in self.observed], [2, 1])
        self.assertTrue(all(0 < seconds < 60 for seconds, _ in self.observed))

    async def test_what_is_overwritten_is_not_written(self) -> None:
        """Of many changes of one key in a batch only the last is a change of the database."""
        storage = self.open()
        await storage.close()
        before = self.last_change()
        storage = self.open()
        await storage.commit([put(b"a", b"%d" % number) for number in range(1000)] + [remove(b"b"), put(b"b", b"x")])
        await storage.close()
        self.assertEqual(self.last_change() - before, 2)

    def last_change(self) -> int:
        """The number of the last change, as the directory's marker has it."""
        marker = json.loads((self.directory / "KVSD").read_text())
        return int(marker["last_change"])

    async def test_a_cancelled_commit_takes_effect(self) -> None:
        """Whoever stops waiting for a commit does not undo it, nor disturb the others."""
        storage = self.open()
        commit = storage.commit([put(b"a", b"1")])
        commit.cancel()
        with self.assertRaises(CancelledError):
            await commit
        await storage.commit([put(b"b", b"2")])
        self.assertEqual(list(storage.load("rows")), [(b"a", b"1"), (b"b", b"2")])

    async def test_space_is_kept_in_reserve(self) -> None:
        """With less space than the reserve, what adds is refused and leaves nothing; what removes goes through."""
        storage = self.open()
        await storage.commit([put(b"a", b"1"), put(b"b", b"2")])
        await storage.close()
        storage = self.open(reserve_bytes=1 << 60)
        self.assertFalse(storage.has_room())
        commits = [[put(b"c", b"3")], [remove(b"a")], [remove(b"b"), put(b"d", b"4")], []]
        results = [storage.commit(changes) for changes in commits]
        for refused in (results[0], results[2]):
            with self.assertRaises(DiskFull):
                await refused
        await gatherResults([results[1], results[3]])
        self.assertEqual(list(storage.load("rows")), [(b"b", b"2")])

    async def test_a_closed_storage_can_be_removed(self) -> None:
        """Once closed, a storage holds nothing open: the directory can be removed and made anew."""
        storage = self.open()
        await storage.commit([put(b"a", b"1")])
        await storage.close()
        self.assertEqual(self.files_open(), [])
        shutil.rmtree(self.directory)
        self.assertEqual(list(self.open().load("rows")), [])

    def files_open(self) -> list[Path]:
        """Those files of the storage that this process has open."""
        links = [link.readlink() for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
        return [file for file in links if file.is_relative_to(self.directory)]

    async def test_two_processes_cannot_share_a_directory(self) -> None:
        """While one process uses a directory, another is refused; once the first was killed, it may have it."""
        process = WritingProcess(self.directory)
        process.wait_for(1)
        self.assertIn("is in use by another process", await self.refusal())
        process.kill()
        self.assertGreater(len(list(self.open().load("rows"))), 0)

    async def test_two_storages_of_one_process_cannot_share_a_directory(self) -> None:
        """The same holds within a process."""
        self.open()
        self.assertIn("is in use by another process", await self.refusal())

    async def test_a_killed_process_loses_nothing_it_acknowledged(self) -> None:
        """Killed by SIGKILL in the midst of writing, again and again, a process leaves all that it said was written."""
        acknowledged: set[int] = set()
        for round_number in range(3):
            directory = self.directory / str(round_number % 2)
            process = WritingProcess(directory, fsync=round_number < 2)
            process.wait_for(200)
            acknowledged = process.kill()
            self.assertGreaterEqual(len(acknowledged), 200)
            storage = self.open(directory=directory)
            found = dict(storage.load("rows"))
            self.assertLessEqual(dict(map(row, acknowledged)).items(), found.items())
            self.assertEqual(found, dict(row(int(key)) for key in found))
            await storage.commit([remove(key) for key in found])
            await storage.close()

    async def test_a_restart_of_the_machine_after_no_fsync(self) -> None:
        """Killed without fsync, data is refused if the machine restarted since; used again before, it is whole."""
        process = WritingProcess(self.directory, fsync=False)
        process.wait_for(50)
        acknowledged = process.kill()
        self.assertIn(
            "used with --no-fsync and the machine has restarted since", await self.refusal("boot-of-another-day")
        )
        await self.open().close()
        found = dict(self.open(boot_id="boot-of-another-day").load("rows"))
        self.assertLessEqual(dict(map(row, acknowledged)).items(), found.items())

    async def test_closing_in_order_makes_no_fsync_safe(self) -> None:
        """Data written without fsync and closed in order is accepted after a restart of the machine."""
        storage = self.open(fsync=False)
        await storage.commit([put(b"a", b"1")])
        self.assertIn(THIS_BOOT, (self.directory / "KVSD").read_text())
        await storage.close()
        self.assertEqual(list(self.open(boot_id="boot-of-another-day").load("rows")), [(b"a", b"1")])
