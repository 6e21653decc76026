"""
The tables of a node in one RocksDB database, used from one thread at a time.

All tables share one key space: an entry's key is a letter for its table followed by its own key.  One key space
means one write-ahead log and one atomic batch, and what was recovered after a crash is always a prefix of what
was written.  Behind each value stand four bytes, the CRC-32 of its key and itself; RocksDB's own checksums end at
its files, these reach from the memory that wrote to the memory that reads.

What RocksDB does on its own would be wrong here in three places, which tests pin.  An iterator that meets a corrupt
block ends as if there were no more entries, unless asked.  Once a write failed for want of space, all later ones
fail until the database is opened again, and opening needs space.  And where a log is missing, or the list of its
files is damaged at the end, it opens with an older state: so every change has a number, and the caller keeps, apart
from the database, one that it must reach.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NoReturn
from zlib import crc32

from rocksdict import (
    AccessType,
    BlockBasedOptions,
    Cache,
    DBRecoveryMode,
    Options,
    Rdict,
    WriteBatch,
    WriteOptions,
)

from kvsd.ports import Change, DiskFull, StorageError, Table

_MEBIBYTE = 1 << 20
_PAGE_ENTRIES = 1024
_CHECKSUM_BYTES = 4
_LETTERS = {Table.META: b"m", Table.ROWS: b"r", Table.OPS: b"o"}
_READ_ONLY = AccessType.read_only(False)
_READ_WRITE = AccessType.read_write()
_IDENTITY = b"\x00identity"


def create_database(path: Path, identity: str) -> None:
    """Create the database at path, synced, with its identity inside.  Raises StorageError."""
    try:
        database = _open(path, create=True)
        database.put(_IDENTITY, _sealed(_IDENTITY, identity.encode("ascii")), _write_options(sync=True))
        database.flush()
        database.close()
    except Exception as error:
        raise StorageError(f"{path}: the database can't be created: {_reason(error)}") from error


class RocksTables:
    """
    An open database at path; with sync, a write returns once it is on disk.

    Raises StorageError where it is missing, corrupt, in use, does not carry identity or ends before the change
    number last_change; the data on disk is not touched then.
    """

    def __init__(self, path: Path, identity: str, *, last_change: int, sync: bool) -> None:
        self._path = path
        self._sync = sync
        self._write_options = _write_options(sync=sync)
        try:
            # Opening for writing removes files that a damaged list of files no longer names: first look, then touch.
            stored, self.last_change = _look(path)
            if stored != _sealed(_IDENTITY, identity.encode("ascii")):
                raise StorageError(f"{path}: is not the database that was created here, or its beginning is lost")
            if self.last_change < last_change:
                raise StorageError(
                    f"{path}: ends at change {self.last_change} of {last_change} at least: data was lost"
                )
            self._database: Rdict | None = _open(path)
        except StorageError:
            raise
        except Exception as error:
            raise StorageError(f"{path}: the database can't be opened: {_reason(error)}") from error

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
        letter = _LETTERS[table]
        start = letter
        while page := self._page(letter, start):
            for key, stored in page:
                value = stored[:-_CHECKSUM_BYTES]
                if stored != _sealed(key, value):
                    raise StorageError(
                        f"{self._path}: an entry of table {table.value} does not match its checksum"
                        f" (its key begins with {key[1:9].hex() or 'nothing'})"
                    )
                yield key[1:], value
            start = page[-1][0] + b"\x00"

    def write(self, changes: Iterable[Change]) -> None:
        """
        Keep all changes or none; of several changes of one key, the last.

        Raises DiskFull if there was no space and it is certain that nothing was kept; a later write may succeed.
        Raises StorageError in any other case, and then nothing is known.
        """
        database = self._database = self._database or self._reopened()
        # What is overwritten in the same batch (a replica's vector, by every op) need not be written at all.
        last = {_LETTERS[table] + key: value for table, key, value in changes}
        batch = WriteBatch(raw_mode=True)
        for stored_key, value in last.items():
            if value is None:
                batch.delete(stored_key)
            else:
                batch.put(stored_key, _sealed(stored_key, value))
        try:
            database.write(batch, self._write_options)
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
                self._database.close()
        except Exception as error:
            if not _is_lack_of_space(error):
                raise StorageError(f"{self._path}: the database can't be closed in order: {_reason(error)}") from error
        finally:
            self._discard()
        return synced

    def _page(self, letter: bytes, start: bytes) -> list[tuple[bytes, bytes]]:
        if self._database is None:
            raise StorageError(f"{self._path}: the database is closed")
        page: list[tuple[bytes, bytes]] = []
        cursor = self._database.iter()
        try:
            cursor.seek(start)
            while len(page) < _PAGE_ENTRIES and cursor.valid() and (key := cursor.key()).startswith(letter):
                page.append((key, cursor.value()))
                cursor.next()
            cursor.status()
        except Exception as error:
            raise StorageError(f"{self._path}: the database can't be read: {_reason(error)}") from error
        finally:
            # The error holds on to this frame, and a cursor in it would keep the database open.
            del cursor
        return page

    def _after_failure(self, error: Exception) -> NoReturn:
        """Say what a failed write means."""
        if not _is_lack_of_space(error):
            raise StorageError(f"{self._path}: a write failed: {_reason(error)}") from error
        self._discard()
        try:
            _, found = _look(self._path)
        except Exception as unreadable:
            raise StorageError(f"{self._path}: unreadable after a full disk: {_reason(unreadable)}") from unreadable
        if found != self.last_change:
            raise StorageError(f"{self._path}: a write met a full disk and may have been kept") from error
        raise DiskFull(f"{self._path}: {_reason(error)}") from error

    def _reopened(self) -> Rdict:
        try:
            return _open(self._path)
        except Exception as error:
            if _is_lack_of_space(error):
                raise DiskFull(f"{self._path}: {_reason(error)}") from error
            raise StorageError(f"{self._path}: the database can't be opened again: {_reason(error)}") from error

    def _discard(self) -> None:
        """Release a database that already failed, or is closed: a complaint about closing it says nothing new."""
        database, self._database = self._database, None
        if database is not None:
            with suppress(Exception):
                database.close()


def _open(path: Path, *, create: bool = False, access: AccessType = _READ_WRITE) -> Rdict:
    options = _options(create=create)
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


def _sealed(stored_key: bytes, value: bytes) -> bytes:
    """A value as it is stored: with its checksum behind it."""
    return value + crc32(value, crc32(stored_key)).to_bytes(_CHECKSUM_BYTES, "big")


def _reason(error: Exception) -> str:
    """What RocksDB says, in one bounded line; it names files and numbers, never keys or values."""
    return " ".join(str(error).split())[:300]


def _is_lack_of_space(error: Exception) -> bool:
    # RocksDB's error classes don't reach Python: the text of the system's error is all there is.
    return any(text in str(error) for text in ("No space left on device", "Disk quota exceeded"))


def _write_options(*, sync: bool) -> WriteOptions:
    options = WriteOptions()
    options.sync = sync
    return options


def _options(*, create: bool) -> Options:
    """Settings for a small node: some 50 MiB of memory at most, two threads in the background."""
    options = Options(raw_mode=True)
    options.create_if_missing(create)
    options.set_error_if_exists(create)
    # A record cut off at the end of a log was never acknowledged; anything else that is wrong refuses the start.
    options.set_wal_recovery_mode(DBRecoveryMode.tolerate_corrupted_tail_records())
    options.set_write_buffer_size(16 * _MEBIBYTE)
    options.set_max_write_buffer_number(2)
    options.set_max_total_wal_size(64 * _MEBIBYTE)
    blocks = BlockBasedOptions()
    blocks.set_block_cache(Cache(8 * _MEBIBYTE))
    blocks.set_cache_index_and_filter_blocks(True)
    options.set_block_based_table_factory(blocks)
    options.set_max_background_jobs(2)
    options.set_max_open_files(256)
    # Written back little by little: a megabyte at a time delays the sync of a commit less than a whole file.
    options.set_bytes_per_sync(_MEBIBYTE)
    options.set_max_manifest_file_size(16 * _MEBIBYTE)
    options.set_max_log_file_size(_MEBIBYTE)
    options.set_keep_log_file_num(2)
    options.set_stats_dump_period_sec(0)
    options.set_stats_persist_period_sec(0)
    return options
