"""
The tables of a node in one RocksDB database, written from one thread and read from another.

All tables share one key space (:mod:`kvsd.storage.sealing`).  One key space means one write-ahead log and one atomic
batch, and what was recovered after a crash is always a prefix of what was written.

What RocksDB does on its own would be wrong here in three places, which tests pin.  An iterator that meets a corrupt
block ends as if there were no more entries, unless asked.  Once a write failed for want of space, all later ones
fail until the database is opened again, and opening needs space.  And where a log is missing, or the list of its
files is damaged at the end, it opens with an older state: so every change has a number, and the caller keeps, apart
from the database, one that it must reach.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import NamedTuple, NoReturn

from rocksdict import AccessType, Rdict, ReadOptions, WriteBatch

from kvsd.entries import Entry, Table
from kvsd.ports import DiskFull, StorageError
from kvsd.storage.sealing import LETTERS, checksum, explained, reason, unsealed
from kvsd.storage.tuning import database_options, thorough_read_options, write_options
from kvsd.storage.verification import Verified

_PAGE_ENTRIES = 1024
_ANY_BYTES = 1 << 62
_LOOK_BYTES = 1 << 20
"""For blocks, where a database is only looked at or created."""
_FIRST, _BEHIND = min(LETTERS.values()), bytes([max(LETTERS.values())[0] + 1])
"""Where the entries of all tables begin, and what comes behind them."""
_VERIFY_ENTRIES, _VERIFY_BYTES = 128, 64 << 10
"""Of a page that is verified, about 0.2 ms of reading."""
_READ_ONLY = AccessType.read_only(False)
_READ_WRITE = AccessType.read_write()
_IDENTITY = b"\x00identity"


def create_database(path: Path, identity: str) -> None:
    """Create the database at path, synced, with its identity inside.  Raises StorageError."""
    try:
        database = _open(path, create=True)
        database.put(_IDENTITY, _stored_identity(identity), write_options(sync=True))
        database.flush()
        database.close()
    except Exception as error:
        raise StorageError(f"{path}: the database can't be created: {reason(error)}") from error


class Batch(NamedTuple):
    """Changes as they will be written, once; ``growth_bytes`` is about what that takes, zero if all it does is remove."""

    operations: WriteBatch
    growth_bytes: int


def batch_of(changes: Iterable[Entry]) -> Batch:
    """A batch of changes; of several of one key, the last."""
    operations = WriteBatch(raw_mode=True)
    grows = False
    # What is overwritten in the same batch (a key that many write) need not be written at all.
    last = {LETTERS[table] + key: value for table, key, value in changes}
    for stored_key in sorted(last):  # each finds its place faster beside the one before it
        value = last[stored_key]
        if value is None:
            operations.delete(stored_key)
        else:
            operations.put(stored_key, value + checksum(stored_key, value))
            grows = True
    return Batch(operations, operations.size_in_bytes() if grows else 0)


class RocksTables:
    """
    An open database at path; with sync, a write returns once it is on disk.  Blocks that were read are kept in memory,
    up to cache_bytes of them.

    Raises StorageError where it is missing, corrupt, in use, does not carry identity or ends before the change
    number last_change; the data on disk is not touched then.
    """

    def __init__(self, path: Path, identity: str, *, last_change: int, sync: bool, cache_bytes: int) -> None:
        self._path = path
        self._sync = sync
        self._write_options = write_options(sync=False)
        try:
            # Opening for writing removes files that a damaged list of files no longer names: first look, then touch.
            stored, self.last_change = _look(path)
            if stored != _stored_identity(identity):
                raise StorageError(f"{path}: is not the database that was created here, or its beginning is lost")
            if self.last_change < last_change:
                raise StorageError(
                    f"{path}: ends at change {self.last_change} of {last_change} at least: data was lost"
                )
            self._database: Rdict | None = _open(path, cache_bytes=cache_bytes)
        except StorageError:
            raise
        except Exception as error:
            raise explained(f"{path}: the database can't be opened", error) from error
        self._cache_bytes = cache_bytes
        self._reader: Rdict | None = self._database
        """What is read from: the database, or what can be read of it while it can't be written; None once closed."""
        self._swapping = Lock()
        """Held while something is read, and while the reader is taken away or another one takes its place."""

    @property
    def is_open(self) -> bool:
        """Whether writes go right through; false after a full disk, until a write finds the space to open again."""
        return self._database is not None

    def entries(self, table: Table) -> Iterator[tuple[bytes, bytes]]:
        """
        All entries of a table, in the order of their keys.

        Reads in pages, since an iterator that someone keeps would keep the database from closing.  Raises
        StorageError at the first entry that can't be read or does not match its checksum.
        """
        letter = LETTERS[table]
        start = letter
        while page := self._page(start, bytes([letter[0] + 1]), _PAGE_ENTRIES):
            for key, stored in page:
                yield key[1:], unsealed(self._path, key, stored)
            start = page[-1][0] + b"\x00"

    def get(self, table: Table, key: bytes) -> bytes | None:
        """The value under a key, None if there is none.  Raises StorageError."""
        stored_key = LETTERS[table] + key
        with self._swapping:
            reader = self._readable()
            try:
                stored = reader.get(stored_key)
            except Exception as error:
                raise explained(f"{self._path}: the database can't be read", error) from error
        return None if stored is None else unsealed(self._path, stored_key, stored)

    def scan(self, table: Table, start: bytes, end: bytes, at_most: int) -> list[tuple[bytes, bytes]]:
        """The first entries of a table from start to end (without that).  Raises StorageError."""
        letter = LETTERS[table]
        page = self._page(letter + start, letter + end, at_most)
        return [(key[1:], unsealed(self._path, key, stored)) for key, stored in page]

    def verify(self, start: bytes) -> Verified:
        """Read some entries of all tables from a stored key on, past the cache of blocks.  Raises StorageError."""
        page = self._page(max(start, _FIRST), _BEHIND, _VERIFY_ENTRIES, _VERIFY_BYTES, thorough_read_options())
        for key, stored in page:
            unsealed(self._path, key, stored)
        return Verified(page[-1][0] + b"\x00" if page else None, sum(len(key) + len(stored) for key, stored in page))

    def write(self, batch: Batch) -> None:
        """
        Keep all of a batch or none of it.

        Raises DiskFull if there was no space and it is certain that nothing was kept; a later write may succeed.
        Raises StorageError in any other case, and then nothing is known.
        """
        database = self._database = self._database or self._reopened()
        try:
            database.write(batch.operations, self._write_options)
            if self._sync:
                # In two steps, as the binding keeps all other threads from running while it writes, and not while it syncs.
                database.flush_wal(True)
        except Exception as error:
            self._after_failure(error)
        self.last_change = database.latest_sequence_number()

    def close(self) -> bool:
        """
        Sync and release the database; says whether everything that was ever written is known to be on disk.

        Raises StorageError if that fails; the database is released even so.  That the disk is full is no failure:
        what the log holds need not move to other files.
        """
        synced = self._sync
        try:
            if self._database is not None:
                self._database.flush_wal(True)
                synced = True
                with self._swapping:
                    self._database.close()
        except Exception as error:
            if not _is_lack_of_space(error):
                raise StorageError(f"{self._path}: the database can't be closed in order: {reason(error)}") from error
        finally:
            with self._swapping:
                self._discard()
        return synced

    def _readable(self) -> Rdict:
        if self._reader is None:
            raise StorageError(f"{self._path}: the database is closed")
        return self._reader

    def _page(
        self,
        start: bytes,
        end: bytes,
        at_most: int,
        at_most_bytes: int = _ANY_BYTES,
        options: ReadOptions | None = None,
    ) -> list[tuple[bytes, bytes]]:
        page: list[tuple[bytes, bytes]] = []
        size = 0
        with self._swapping:
            cursor = self._readable().iter(options)
            try:
                cursor.seek(start)
                while len(page) < at_most and size < at_most_bytes and cursor.valid() and (key := cursor.key()) < end:
                    page.append((key, value := cursor.value()))
                    size += len(value)
                    cursor.next()
                cursor.status()
            except Exception as error:
                raise explained(f"{self._path}: the database can't be read", error) from error
            finally:
                # The error holds on to this frame, and a cursor in it would keep the database open.
                del cursor
        return page

    def _after_failure(self, error: Exception) -> NoReturn:
        """Say what a failed write means."""
        if not _is_lack_of_space(error):
            raise explained(f"{self._path}: a write failed", error) from error
        with self._swapping:
            self._discard()
            found = self._only_read()
        if found != self.last_change:
            raise StorageError(f"{self._path}: a write met a full disk and may have been kept") from error
        raise DiskFull(f"{self._path}: {reason(error)}") from error

    def _reopened(self) -> Rdict:
        """The database, to be written again; until it is, it can be read."""
        with self._swapping:
            self._discard()
            try:
                self._reader = _open(self._path, cache_bytes=self._cache_bytes)
            except Exception as error:
                if _is_lack_of_space(error):
                    self._only_read()
                    raise DiskFull(f"{self._path}: {reason(error)}") from error
                raise StorageError(f"{self._path}: the database can't be opened again: {reason(error)}") from error
            return self._reader

    def _only_read(self) -> int:
        """Read from now on what is on disk; returns the number of the last change there.  Needs no space."""
        try:
            self._reader = _open(self._path, access=_READ_ONLY, cache_bytes=self._cache_bytes)
            return int(self._reader.latest_sequence_number())
        except Exception as error:
            raise StorageError(f"{self._path}: unreadable after a full disk: {reason(error)}") from error

    def _discard(self) -> None:
        """Release a database that already failed, or is closed: a complaint about closing it says nothing new."""
        reader, self._database, self._reader = self._reader, None, None
        if reader is not None:
            with suppress(Exception):
                reader.close()


def _open(
    path: Path, *, create: bool = False, access: AccessType = _READ_WRITE, cache_bytes: int = _LOOK_BYTES
) -> Rdict:
    options = database_options(create=create, cache_bytes=cache_bytes)
    # Without being told of its only column family, the binding reads that one's options from a file beside the data:
    # ours would not count, and if that file is damaged, the process dies of it.
    return Rdict(str(path), options, column_families={"default": options}, access_type=access)


def _look(path: Path) -> tuple[bytes | None, int]:
    """
    The stored identity of a database and the number of the last change that opening it would find.

    Changes nothing and needs no space.  Raises what RocksDB raises.
    """
    database = _open(path, access=_READ_ONLY)
    try:
        return database.get(_IDENTITY), database.latest_sequence_number()
    finally:
        database.close()


def _stored_identity(identity: str) -> bytes:
    value = identity.encode("ascii")
    return value + checksum(_IDENTITY, value)


def _is_lack_of_space(error: Exception) -> bool:
    # RocksDB's error classes don't reach Python: the text of the system's error is all there is.
    return any(text in str(error) for text in ("No space left on device", "Disk quota exceeded"))
