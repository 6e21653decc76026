"""
Storage on disk: commits in a thread of its own, one synced write for all that wait.

A commit is queued on the reactor thread.  The writer thread takes all that are waiting, writes them as one batch
and hands their outcomes back to the reactor; whatever was committed in the meantime forms the next batch.  So a
slow sync makes larger batches, not a longer queue of syncs, and the reactor never waits for a disk.

Three things can go wrong with a commit.  There is too little space: it is refused before the database is touched,
which keeps a reserve for what the database writes by itself.  The disk was full all the same: the database tells
whether anything was kept.  Or the write failed in another way: nothing is certain any more, and every later commit
fails as well, for a sync that failed once must not seem to work the second time.
"""

import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from time import monotonic

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorFromThreads

from kvsd.ports import Change, DiskFull, Storage, StorageError, Table
from kvsd.storage.datadir import DataDirectory
from kvsd.storage.tables import RocksTables, create_database

RESERVE_BYTES = 64 << 20
CACHE_BYTES = 32 << 20
GROUP_BYTES = 4 << 20
MARK_BYTES = 16 << 20
_OVERHEAD_BYTES = 32


def unobserved(seconds: float, changes: int) -> None:
    """Take no notice of a write."""


@dataclass(frozen=True, slots=True)
class _Commit:
    changes: tuple[Change, ...]
    done: Deferred[None]
    growth_bytes: int
    """About what the commit takes on disk; zero if all it does is remove."""


class RocksStorage(Storage):
    """
    Tables in a data directory, created if there is none; open it after the process has gone to the background.

    boot_id names the machine's boot (:func:`kvsd.storage.datadir.read_boot_id`).  Without fsync a commit is done once the
    operating system has it: it outlives the process, but not the machine.  Commits that add anything are refused
    with DiskFull while fewer than reserve_bytes would stay free; 0 switches this off.  Blocks that were read are kept in
    memory, up to cache_bytes of them.  observe is called on the reactor thread after each successful write with the seconds it took and the number of changes in it.

    Raises StorageError, with a sentence for the operator, if the directory can't be used.
    """

    durable = True

    def __init__(
        self,
        directory: str | Path,
        reactor: IReactorFromThreads,
        *,
        boot_id: str,
        fsync: bool = True,
        reserve_bytes: int = RESERVE_BYTES,
        cache_bytes: int = CACHE_BYTES,
        observe: Callable[[float, int], None] = unobserved,
    ) -> None:
        self._directory = DataDirectory(Path(directory), boot_id)
        try:
            self._tables = _open(self._directory, synced=fsync, cache_bytes=cache_bytes)
        except StorageError:
            self._directory.release()
            raise
        self._path = Path(directory)
        self._reactor = reactor
        self._synced = fsync
        self._reserve_bytes = reserve_bytes
        self._observe = observe
        self._queue: SimpleQueue[_Commit | None] = SimpleQueue()
        self._broken: str | None = None
        self._unmarked_bytes = 0
        self._closing: list[Deferred[None]] | None = None
        # A daemon thread: a process that ends without closing the storage must not hang at its end.
        self._thread = Thread(target=self._serve, name="kvsd-storage", daemon=True)
        self._thread.start()

    def load(self, table: Table) -> Iterable[tuple[bytes, bytes]]:
        """All entries of a table, in the order of their keys; read while iterated over, so before any commit."""
        return self._tables.entries(table)

    def get(self, table: Table, key: bytes) -> bytes | None:
        """The value under a key, read on the calling thread."""
        return self._tables.get(table, key)

    def scan(self, table: Table, start: bytes, end: bytes, at_most: int) -> list[tuple[bytes, bytes]]:
        """The first entries from start to end, read on the calling thread."""
        return self._tables.scan(table, start, end, at_most)

    def commit(self, changes: Sequence[Change]) -> Deferred[None]:
        """Write all changes, or none of them, after those of earlier calls.  Fails as :class:`Storage` says."""
        if self._closing is not None:
            return fail(StorageError(f"{self._path}: a commit came after the storage was closed"))
        done: Deferred[None] = Deferred()
        self._queue.put(_Commit(tuple(changes), done, _growth_bytes(changes)))
        return done

    def has_room(self) -> bool:
        """Whether twice the reserve is free: writes are refused in good time before commits are."""
        return not self._reserve_bytes or shutil.disk_usage(self._path).free >= 2 * self._reserve_bytes

    def close(self) -> Deferred[None]:
        """Finish the commits under way, sync, and release the directory.  Fails with StorageError, released."""
        if self._closing is None:
            self._closing = []
            self._queue.put(None)
        elif not self._thread.is_alive():
            return succeed(None)
        done: Deferred[None] = Deferred()
        self._closing.append(done)
        return done

    def _settle(self, group: list[_Commit], errors: list[Exception | None], seconds: float) -> None:
        """On the reactor thread: tell each commit of a group what became of it."""
        changes = 0
        for commit, error in zip(group, errors, strict=True):
            if error is None:
                changes += len(commit.changes)
                commit.done.callback(None)
            else:
                commit.done.errback(error)
        if changes:
            self._observe(seconds, changes)

    def _ended(self, error: Exception | None) -> None:
        """On the reactor thread: everything is closed."""
        self._thread.join()
        waiting, self._closing = self._closing or [], []
        for done in waiting:
            if error is None:
                done.callback(None)
            else:
                done.errback(error)

    # What follows runs in the writer thread.

    def _serve(self) -> None:
        while group := self._take():
            started = monotonic()
            errors = self._perform(group)
            self._reactor.callFromThread(self._settle, group, errors, monotonic() - started)
        self._reactor.callFromThread(self._ended, self._release())

    def _take(self) -> list[_Commit]:
        """All commits that wait, up to a bound; waits for the first one.  None are left once the storage closes."""
        group: list[_Commit] = []
        room_bytes = GROUP_BYTES
        try:
            while room_bytes > 0:
                commit = self._queue.get(block=not group)
                if commit is None:
                    # Met again when the group before it is done: nothing comes after it.
                    self._queue.put(None)
                    break
                group.append(commit)
                room_bytes -= commit.growth_bytes + _OVERHEAD_BYTES
        except Empty:
            pass
        return group

    def _perform(self, group: list[_Commit]) -> list[Exception | None]:
        """Write a group; for each commit the error it failed with."""
        if self._broken is not None:
            return [StorageError(self._broken)] * len(group)
        try:
            refusals = _refusals(group, self._path, self._reserve_bytes, is_open=self._tables.is_open)
            admitted = [commit for commit, refusal in zip(group, refusals, strict=True) if refusal is None]
            full = _write(self._tables, [change for commit in admitted for change in commit.changes])
            self._mark_progress(sum(commit.growth_bytes for commit in admitted))
        except BaseException as error:  # a panic inside the database is no Exception
            # Only our own errors are known to hold no keys and values.
            text = str(error) if isinstance(error, StorageError) else f"{self._path}: {type(error).__name__}"
            self._broken = f"{text}; nothing more will be written"
            return [StorageError(self._broken)] * len(group)
        return [refusal or full for refusal in refusals]

    def _mark_progress(self, growth_bytes: int) -> None:
        """Have the marker follow what was written, seldom enough to cost nothing."""
        self._unmarked_bytes += growth_bytes
        if self._unmarked_bytes >= MARK_BYTES:
            self._unmarked_bytes = 0
            self._mark(synced=self._synced)

    def _mark(self, *, synced: bool) -> None:
        try:
            self._directory.mark(self._tables.last_change, synced=synced)
        except StorageError:
            # A marker that lags behind is as true as before.  One that still says "unsynced" will refuse a start.
            if synced != self._synced:
                raise

    def _release(self) -> Exception | None:
        """Close everything; what went wrong with that."""
        try:
            if self._tables.close() and self._broken is None:
                self._mark(synced=True)
        except BaseException as error:
            if self._broken is None:
                return (
                    error if isinstance(error, StorageError) else StorageError(f"{self._path}: {type(error).__name__}")
                )
        finally:
            self._directory.release()
        return None


def _open(directory: DataDirectory, *, synced: bool, cache_bytes: int) -> RocksTables:
    identity = directory.prepare(create_database)
    tables = RocksTables(
        directory.database, identity, last_change=directory.last_change, sync=synced, cache_bytes=cache_bytes
    )
    try:
        # Opening has moved what an earlier process left in the log into synced files.
        directory.mark(tables.last_change, synced=synced)
    except StorageError:
        tables.close()
        raise
    return tables


def _refusals(group: Sequence[_Commit], path: Path, reserve_bytes: int, *, is_open: bool) -> Sequence[DiskFull | None]:
    """For each commit of a group, why it must not be tried; commits that only remove things are let through."""
    if not reserve_bytes:
        return [None] * len(group)
    free_bytes = shutil.disk_usage(path).free
    refusals: list[DiskFull | None] = []
    for commit in group:
        # A database that has to be opened again needs space for that, whatever the commit itself takes.
        needs_space = commit.growth_bytes > 0 or not is_open
        if needs_space and free_bytes < reserve_bytes + commit.growth_bytes:
            refusals.append(DiskFull(f"{path}: {free_bytes} bytes free, {reserve_bytes} in reserve"))
        else:
            free_bytes -= commit.growth_bytes
            refusals.append(None)
    return refusals


def _write(tables: RocksTables, changes: list[Change]) -> DiskFull | None:
    try:
        if changes:
            tables.write(changes)
    except DiskFull as error:
        return error
    return None


def _growth_bytes(changes: Sequence[Change]) -> int:
    return sum(len(key) + len(value) + _OVERHEAD_BYTES for _, key, value in changes if value is not None)
