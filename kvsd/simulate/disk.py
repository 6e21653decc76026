"""
Disks: what was synced outlives the process, what was not may be there or not.

A disk keeps every entry with a checksum, as the real storage does, so that a bit that flips when it is read is
noticed and never served.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple
from zlib import crc32

from twisted.internet.defer import Deferred, fail, succeed

from kvsd.entries import TABLES, Entry, Table
from kvsd.ports import DiskFull, Storage, StorageError
from kvsd.simulate.clock import Actor, Clock

Tables = dict[Table, dict[bytes, tuple[bytes, int]]]
"""Values and their checksums, by table and key."""

BACKUP_COMMITS = 20
SYNC_FAILED = "the disk failed to sync"
FULL = "no space left on the disk"
DAMAGED = "the data was damaged"


@dataclass
class Health:
    """How a disk is doing: the seconds that a sync takes, and what is wrong with it."""

    sync: float = 0.0005
    jitter: float = 0.002
    stuck: bool = False
    """Syncs don't end."""
    full: bool = False
    failing: bool = False
    """The next sync fails."""
    flipped: bool = False
    """Some bit of what is read next is wrong."""


class _Commit(NamedTuple):
    """Changes on their way to the medium."""

    changes: Sequence[Entry]
    done: Deferred[None]
    actor: Actor


class Disk:
    """A medium that outlives the processes that use it; one at a time does."""

    def __init__(self, clock: Clock, seed: str) -> None:
        self.health = Health()
        self.tables: Tables = {table: {} for table in TABLES}
        self.backup: Tables | None = None
        """A copy of what was on the medium some time ago."""
        self._kept = 0
        self._clock = clock
        self._chance = Random(seed)
        self._commits: deque[_Commit] = deque()
        self._syncing = False

    # Use

    def commit(self, commit: _Commit) -> None:
        """Sync changes after those before them."""
        self._commits.append(commit)
        self.go_on()

    def mend(self) -> None:
        """Everything works again."""
        self.health = Health()
        self.go_on()

    def go_on(self) -> None:
        """Sync what is to be synced, unless the disk is at it or stuck."""
        if self._commits and not self._syncing and not self.health.stuck:
            self._syncing = True
            self._clock.after(self.health.sync + self.health.jitter * self._chance.random(), self._synced)

    def _synced(self) -> None:
        """The oldest commit has come to its end, unless it was lost in a crash or the disk hangs since."""
        self._syncing = False
        if not self._commits or self.health.stuck:
            return
        commit = self._commits.popleft()
        if self.health.failing:
            self.health.failing = False
            if self._chance.random() < 0.5:  # what a failed sync left on the medium, nobody knows
                self._keep(commit.changes)
            self._clock.after(0.0, lambda: commit.done.errback(StorageError(SYNC_FAILED)), commit.actor)
        elif self.health.full and commit.changes:
            self._clock.after(0.0, lambda: commit.done.errback(DiskFull(FULL)), commit.actor)
        else:
            self._keep(commit.changes)
            self._clock.after(0.0, lambda: commit.done.callback(None), commit.actor)
        self.go_on()

    def _keep(self, changes: Iterable[Entry]) -> None:
        self._kept += 1
        if self._kept % BACKUP_COMMITS == 0:
            self.backup = self.copy()
        for table, key, value in changes:
            if value is None:
                self.tables[table].pop(key, None)
            else:
                self.tables[table][key] = (value, crc32(value))

    # Misfortune

    def crash(self) -> int:
        """
        The process is gone: of its unsynced commits the first few may have reached the medium whole.

        The one after them is torn, and all the rest is lost with it.  Returns how many were lost.
        """
        while self._commits and not self.health.full and self._chance.random() < 0.3:
            self._keep(self._commits.popleft().changes)
        lost = len(self._commits)
        self._commits.clear()
        return lost

    def wipe(self) -> None:
        """All that was on the medium is gone."""
        self.tables = {table: {} for table in TABLES}
        self.backup = None

    def copy(self) -> Tables:
        """What is on the medium now."""
        return {table: dict(entries) for table, entries in self.tables.items()}

    def read(self, table: Table) -> list[tuple[bytes, bytes]]:
        """The entries of a table in the order of their keys.  Raises StorageError where a checksum is wrong."""
        return self._checked(table, sorted(self.tables[table].items()))

    def get(self, table: Table, key: bytes) -> bytes | None:
        """The value under a key.  Raises StorageError where its checksum is wrong."""
        entry = self.tables[table].get(key)
        return self._checked(table, [(key, entry)])[0][1] if entry else None

    def scan(self, table: Table, start: bytes, end: bytes, at_most: int) -> list[tuple[bytes, bytes]]:
        """The first entries from a key to another one.  Raises StorageError where a checksum is wrong."""
        keys = sorted(key for key in self.tables[table] if start <= key < end)[:at_most]
        return self._checked(table, [(key, self.tables[table][key]) for key in keys])

    def _checked(self, table: Table, entries: list[tuple[bytes, tuple[bytes, int]]]) -> list[tuple[bytes, bytes]]:
        """Entries as they are read: once a bit has flipped, it is in one of the next."""
        if self.health.flipped and entries:
            self.health.flipped = False
            place = self._chance.randrange(len(entries))
            key, (value, checksum) = entries[place]
            entries[place] = key, (_flipped(value, self._chance), checksum)
        for key, (value, checksum) in entries:
            if crc32(value) != checksum:
                raise StorageError(f"the checksum of {table} entry {key.hex()} is wrong: {DAMAGED}")
        return [(key, value) for key, (value, _) in entries]


def _flipped(value: bytes, chance: Random) -> bytes:
    if not value:
        return b"\0"
    place = chance.randrange(len(value))
    return value[:place] + bytes([value[place] ^ 1 << chance.randrange(8)]) + value[place + 1 :]


class SimulatedStorage(Storage):
    """A disk as one process has it open."""

    durable = True

    def __init__(self, disk: Disk, actor: Actor) -> None:
        self._disk = disk
        self._actor = actor
        self._closed: Deferred[None] | None = None

    def load(self, table: Table) -> list[tuple[bytes, bytes]]:
        """The entries of a table in the order of their keys.  Raises StorageError where one is damaged."""
        return self._disk.read(table)

    def get(self, table: Table, key: bytes) -> bytes | None:
        """The value under a key.  Raises StorageError where it is damaged, or where the storage is closed."""
        self._check_open()
        return self._disk.get(table, key)

    def scan(self, table: Table, start: bytes, end: bytes, at_most: int) -> list[tuple[bytes, bytes]]:
        """The first entries from a key to another one; raises as get does."""
        self._check_open()
        return self._disk.scan(table, start, end, at_most)

    def _check_open(self) -> None:
        if self._closed:
            raise StorageError("something was read after the storage was closed")

    def commit(self, changes: Sequence[Entry]) -> Deferred[None]:
        """Sync changes.  Fails with DiskFull, or with StorageError where the sync failed or the storage is closed."""
        if self._closed:
            return fail(StorageError("a commit came after the storage was closed"))
        done: Deferred[None] = Deferred()
        self._disk.commit(_Commit(tuple(changes), done, self._actor))
        return done

    def has_room(self) -> bool:
        """Whether there is room for more."""
        return not self._disk.health.full

    def close(self) -> Deferred[None]:
        """Sync everything and refuse further commits."""
        if self._closed is None:
            self._closed = self.commit(())
        return succeed(None) if self._closed.called else self._closed
