"""
Storage on disk: commits in a thread of its own, each one synced write.

A commit is queued on the reactor thread.  The writer thread takes one after another, writes it as one batch and hands
its outcome back to the reactor, which so never waits for a disk.  That what comes meanwhile shares the next sync is
for the caller to see to (:mod:`kvsd.journal`).

Three things can go wrong with a commit.  There is too little space: it is refused before the database is touched,
which keeps a reserve for what the database writes by itself.  The disk was full all the same: the database tells
whether anything was kept.  Or the write failed in another way: nothing is certain any more, and every later commit
fails as well, for a sync that failed once must not seem to work the second time.

Where something that was read is not as it was written, the directory is marked (:mod:`kvsd.storage.damage`) before
StorageDamaged is raised.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from time import monotonic
from typing import Final, NamedTuple

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger

from kvsd.entries import Entry, Table
from kvsd.ports import DiskFull, Storage, StorageDamaged, StorageError
from kvsd.storage.damage import DamageMark, advised
from kvsd.storage.datadir import DataDirectory
from kvsd.storage.tables import RocksTables, batch_of, create_database
from kvsd.storage.verification import Verification

RESERVE_BYTES = 64 << 20
CACHE_BYTES = 32 << 20
MARK_BYTES = 16 << 20

_log = Logger()


def unobserved(seconds: float, changes: int) -> None:
    """Take no notice of a write."""


def undamaged(text: str) -> None:
    """Take no notice of damage: whoever reads it comes upon it."""


def uncounted(count: int) -> None:
    """Take no notice of bytes that were verified."""


class Verifying(NamedTuple):
    """
    How the data is verified: at so many bytes a second, 0 for not at all.

    ``observe`` is called with the bytes of each page, in a thread of the storage's own; ``damaged`` on the reactor thread,
    once, with a sentence for the operator.
    """

    rate: int = 0
    observe: Callable[[int], None] = uncounted
    damaged: Callable[[str], None] = undamaged


NOT_AT_ALL: Final = Verifying()


class _Commit(NamedTuple):
    changes: Sequence[Entry]
    done: Deferred[None]


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
        verifying: Verifying = NOT_AT_ALL,
    ) -> None:
        self._directory = DataDirectory(Path(directory), boot_id)
        self._damage = DamageMark(Path(directory))
        try:
            self._damage.refuse()
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
        self._verification = _verification(self._tables, self._damage, reactor, verifying)

    def load(self, table: Table) -> Iterator[tuple[bytes, bytes]]:
        """
        All entries of a table, in the order of their keys; read while iterated over, so before any commit.

        Damage is not marked here: each start reads the same.
        """
        try:
            yield from self._tables.entries(table)
        except StorageDamaged as error:
            raise advised(error) from error

    def get(self, table: Table, key: bytes) -> bytes | None:
        """The value under a key, read on the calling thread."""
        try:
            return self._tables.get(table, key)
        except StorageDamaged as error:
            raise self._damage.note(error) from error

    def scan(self, table: Table, start: bytes, end: bytes, at_most: int) -> list[tuple[bytes, bytes]]:
        """The first entries from start to end, read on the calling thread."""
        try:
            return self._tables.scan(table, start, end, at_most)
        except StorageDamaged as error:
            raise self._damage.note(error) from error

    def commit(self, changes: Sequence[Entry]) -> Deferred[None]:
        """Write all changes, or none of them, after those of earlier calls.  Fails as :class:`Storage` says."""
        if self._closing is not None:
            return fail(StorageError(f"{self._path}: a commit came after the storage was closed"))
        done: Deferred[None] = Deferred()
        self._queue.put(_Commit(tuple(changes), done))
        return done

    def has_room(self) -> bool:
        """Whether twice the reserve is free: writes are refused in good time before commits are."""
        return not self._reserve_bytes or _free_bytes(self._path) >= 2 * self._reserve_bytes

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

    def _settle(self, commit: _Commit, error: Exception | None, seconds: float) -> None:
        """On the reactor thread: tell what became of a commit."""
        if error is not None:
            commit.done.errback(error)
            return
        commit.done.callback(None)
        if commit.changes:
            self._observe(seconds, len(commit.changes))

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
        while commit := self._queue.get():
            started = monotonic()
            error = self._perform(commit.changes)
            self._reactor.callFromThread(self._settle, commit, error, monotonic() - started)
        self._reactor.callFromThread(self._ended, self._release())

    def _perform(self, changes: Sequence[Entry]) -> Exception | None:
        """Write changes; the error that this failed with."""
        if self._broken is not None:
            return StorageError(self._broken)
        try:
            batch = batch_of(changes)
            self._refuse_without_room(batch.growth_bytes)
            if changes:
                self._tables.write(batch)
            self._mark_progress(batch.growth_bytes)
        except DiskFull as error:
            return error
        except BaseException as error:  # a panic inside the database is no Exception
            # Only our own errors are known to hold no keys and values.
            text = str(error) if isinstance(error, StorageError) else f"{self._path}: {type(error).__name__}"
            self._broken = f"{text}; nothing more will be written"
            if isinstance(error, StorageDamaged):
                return self._damage.note(StorageDamaged(self._broken))
            return StorageError(self._broken)
        return None

    def _refuse_without_room(self, growth_bytes: int) -> None:
        """Raise DiskFull where a commit must not be tried; what only removes things is let through."""
        # A database that has to be opened again needs space for that, whatever the commit itself takes.
        if self._reserve_bytes and (growth_bytes or not self._tables.is_open):
            free_bytes = _free_bytes(self._path)
            if free_bytes < self._reserve_bytes + growth_bytes:
                raise DiskFull(f"{self._path}: {free_bytes} bytes free, {self._reserve_bytes} in reserve")

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
        if self._verification:
            self._verification.stop()
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


def _verification(
    tables: RocksTables, damage: DamageMark, reactor: IReactorFromThreads, verifying: Verifying
) -> Verification | None:
    """Begin to verify, if that is wanted."""
    if not verifying.rate:
        return None

    def damaged(error: StorageDamaged) -> None:
        reactor.callFromThread(verifying.damaged, str(damage.note(error)))

    def failed(error: StorageError) -> None:
        reactor.callFromThread(_log.warn, "the data can't be verified at this moment: {why}", why=str(error))

    verification = Verification(tables.verify, verifying.rate, verifying.observe, failed, damaged)
    verification.start()
    return verification


def _free_bytes(path: Path) -> int:
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize
