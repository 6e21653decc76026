"""Simulated disks: they keep what was synced, and fail in the ways in which disks do."""

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.trial.unittest import SynchronousTestCase

from kvsd.entries import Entry
from kvsd.ports import DiskFull, Storage, StorageError
from kvsd.simulate.clock import Actor, Clock
from kvsd.simulate.disk import SYNC_FAILED, Disk, Health, SimulatedStorage
from tests import storage_contract
from tests.storage_contract import put, remove

TURN_SECONDS = 0.02


class SimulatedStorageContract(storage_contract.StorageContract):
    """A simulated disk keeps the promises of every storage; simulated time passes while the reactor runs."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.disk = Disk(self.clock, "seed")
        passing = LoopingCall(lambda: self.clock.run(self.clock.seconds() + TURN_SECONDS))
        passing.start(0)
        self.addCleanup(passing.stop)
        super().setUp()

    def make_storage(self) -> Storage:
        return SimulatedStorage(self.disk, Actor())

    def open_again(self, storage: Storage) -> Storage:
        return SimulatedStorage(self.disk, Actor())


class DiskTests(SynchronousTestCase):
    """A disk, and a process that has it open."""

    def setUp(self) -> None:
        self.build("seed")

    def build(self, seed: str) -> None:
        """Make a disk from a seed."""
        self.clock = Clock()
        self.disk = Disk(self.clock, seed)
        self.actor = Actor()
        self.storage = SimulatedStorage(self.disk, self.actor)

    def commit(self, *changes: Entry) -> Deferred[None]:
        """Commit changes and don't wait."""
        return self.storage.commit(changes)

    def kept(self, *changes: Entry) -> None:
        """Commit changes and wait."""
        commit = self.commit(*changes)
        self.later(1)
        self.successResultOf(commit)

    def later(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.run(self.clock.seconds() + seconds)

    def rows(self) -> list[tuple[bytes, bytes]]:
        """What a new process finds."""
        return list(SimulatedStorage(self.disk, Actor()).load("rows"))


class SyncTests(DiskTests):
    """A commit is there once it was synced."""

    def test_a_commit_takes_time(self) -> None:
        """Until the sync is done, nothing is on the medium and nobody is told."""
        commit = self.commit(put(b"a", b"1"))
        self.assertNoResult(commit)
        self.assertEqual([], self.rows())
        self.later(0.01)
        self.successResultOf(commit)
        self.assertEqual([(b"a", b"1")], self.rows())

    def test_slow_disk(self) -> None:
        """A slow disk takes longer for each commit, one after another."""
        self.disk.health.sync, self.disk.health.jitter = 1.0, 0.0
        first, second = self.commit(put(b"a", b"1")), self.commit(put(b"b", b"2"))
        self.later(0.9)
        self.assertNoResult(first)
        self.later(0.2)
        self.successResultOf(first)
        self.assertNoResult(second)
        self.later(1.0)
        self.successResultOf(second)

    def test_the_gone_are_not_told(self) -> None:
        """A process that has ended hears nothing of a commit that was synced after that."""
        commit = self.commit(put(b"a", b"1"))
        self.actor.gone = True
        self.later(1)
        self.assertNoResult(commit)
        self.assertEqual([(b"a", b"1")], self.rows())

    def test_closed_with_a_commit_under_way(self) -> None:
        """Whoever closes the storage waits for the commits before that."""
        commit, closed = self.commit(put(b"a", b"1")), self.storage.close()
        self.assertNoResult(closed)
        self.later(1)
        self.successResultOf(commit)
        self.successResultOf(closed)


class CrashTests(DiskTests):
    """The process is killed with commits under way."""

    def crashed(self, seed: str, full: bool = False) -> tuple[int, list[bytes]]:
        """Crash with five commits under way, two entries each: how many were lost, and the keys that are left."""
        self.build(seed)
        self.kept(put(b"0", b"synced"))
        for number in b"12345":
            self.commit(put(b"%c" % number, b"x"), put(b"%c'" % number, b"x"), put(b"0", b"%c" % number))
        self.disk.health.full = full
        self.actor.gone = True
        lost = self.disk.crash()
        self.later(1)
        return lost, [key for key, _ in self.rows()]

    def test_unsynced_commits(self) -> None:
        """A crash leaves the first few commits, each of them whole, and never one without those before it."""
        found = set()
        for number in range(200):
            lost, keys = self.crashed(f"seed {number}")
            left = 5 - lost
            whole = [key for n in b"12345"[:left] for key in (b"%c" % n, b"%c'" % n)]
            self.assertEqual([b"0", *whole], keys)
            self.assertEqual((b"0", b"12345"[left - 1 : left] or b"synced"), self.rows()[0])
            found.add(left)
        self.assertTrue({0, 1, 2, 3} <= found)

    def test_nothing_reaches_a_full_disk(self) -> None:
        """Where there was no room, a crash leaves nothing of what was under way."""
        results = {self.crashed(f"seed {number}", full=True)[0] for number in range(50)}
        self.assertEqual({5}, results)

    def test_what_was_synced_stays(self) -> None:
        """A crash takes nothing away that was synced."""
        self.kept(put(b"a", b"1"), put(b"b", b"2"))
        self.kept(remove(b"b"))
        self.assertEqual(0, self.disk.crash())
        self.assertEqual([(b"a", b"1")], self.rows())

    def test_the_next_process(self) -> None:
        """A process that starts after a crash works with the disk, and what was lost never turns up again."""
        for number in range(20):
            self.build(f"seed {number}")
            commit = self.commit(put(b"a", b"old"))
            self.actor.gone = True
            left = [] if self.disk.crash() else [(b"a", b"old")]
            self.storage = SimulatedStorage(self.disk, Actor())
            self.kept(put(b"b", b"new"))
            self.later(5)
            self.assertEqual([*left, (b"b", b"new")], self.rows())
            self.assertNoResult(commit)


class MisfortuneTests(DiskTests):
    """Disks that are full, fail, hang or lie."""

    def test_full_disk(self) -> None:
        """A full disk refuses a commit and keeps nothing of it; once there is room, all is well."""
        self.disk.health.full = True
        self.assertFalse(self.storage.has_room())
        commit = self.commit(put(b"a", b"1"))
        self.later(1)
        self.failureResultOf(commit, DiskFull)
        self.assertEqual([], self.rows())
        self.disk.health.full = False
        self.assertTrue(self.storage.has_room())
        self.kept(put(b"a", b"2"))
        self.assertEqual([(b"a", b"2")], self.rows())

    def test_full_disk_can_be_closed(self) -> None:
        """Closing takes no room."""
        self.disk.health.full = True
        closed = self.storage.close()
        self.later(1)
        self.successResultOf(closed)

    def test_failed_sync(self) -> None:
        """After a sync that failed, the changes are there whole or not at all, and nobody knows."""
        found = set()
        for number in range(50):
            self.build(f"seed {number}")
            self.disk.health.failing = True
            commit = self.commit(put(b"a", b"1"), put(b"b", b"1"))
            self.later(1)
            self.assertIn(SYNC_FAILED, str(self.failureResultOf(commit, StorageError).value))
            found.add(len(self.rows()))
        self.assertEqual({0, 2}, found)

    def test_one_sync_fails(self) -> None:
        """After one sync has failed, the disk works again for the next process."""
        self.disk.health.failing = True
        self.failed(self.commit(put(b"a", b"1")))
        self.assertEqual(Health(), self.disk.health)
        self.kept(put(b"a", b"2"))

    def failed(self, commit: Deferred[None]) -> None:
        """A commit fails."""
        self.later(1)
        self.failureResultOf(commit, StorageError)

    def test_stuck_disk(self) -> None:
        """A disk that hangs neither keeps nor tells anything; what it was given is synced when it goes on, in order."""
        before = self.commit(put(b"a", b"1"))
        self.disk.health.stuck = True
        meanwhile = self.commit(put(b"a", b"2"))
        self.later(60)
        self.assertNoResult(before)
        self.assertNoResult(meanwhile)
        self.assertEqual([], self.rows())
        self.disk.mend()
        self.later(1)
        self.successResultOf(before)
        self.successResultOf(meanwhile)
        self.assertEqual([(b"a", b"2")], self.rows())

    def test_flipped_bit(self) -> None:
        """A bit that flips when the disk is read is noticed and never served; the next time all is well."""
        self.kept(put(b"a", b"value"), put(b"b", b""))
        for _ in range(20):
            self.disk.health.flipped = True
            self.assertRaises(StorageError, self.rows)
            self.assertEqual([(b"a", b"value"), (b"b", b"")], self.rows())

    def test_flipped_bit_of_an_empty_table(self) -> None:
        """Where nothing is read nothing can flip, but it will with the next that is."""
        self.disk.health.flipped = True
        self.assertEqual([], self.rows())
        self.kept(put(b"a", b"1"))
        self.assertRaises(StorageError, self.rows)

    def test_damage_on_the_medium(self) -> None:
        """A value that changed on the medium is noticed as often as it is read."""
        self.kept(put(b"a", b"1"))
        value, checksum = self.disk.tables["rows"][b"a"]
        self.disk.tables["rows"][b"a"] = (value + b"!", checksum)
        self.assertRaises(StorageError, self.rows)
        self.assertRaises(StorageError, self.rows)

    def test_copy_and_put_back(self) -> None:
        """A copy of the data stays as it was, and can be put back."""
        self.kept(put(b"a", b"1"))
        old = self.disk.copy()
        self.kept(put(b"a", b"2"), put(b"b", b"2"))
        new, self.disk.tables = self.disk.copy(), old
        self.assertEqual([(b"a", b"1")], self.rows())
        self.kept(put(b"c", b"3"))
        self.disk.tables = new
        self.assertEqual([(b"a", b"2"), (b"b", b"2")], self.rows())

    def test_mended(self) -> None:
        """A disk that was mended is as good as new."""
        health = self.disk.health
        health.sync, health.stuck, health.full, health.failing, health.flipped = 9.0, True, True, True, True
        self.disk.mend()
        self.assertEqual(Health(), self.disk.health)
        self.kept(put(b"a", b"1"))
