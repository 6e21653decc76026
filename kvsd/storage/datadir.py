"""
The directory a node keeps its data in: whose it is, whether it is whole, and who uses it now.

A data directory holds::

    LOCK   locked (flock) by the one process that uses the directory
    KVSD   the marker: one line of JSON, replaced as a whole and synced
    db/    the database

The marker outlives everything else that may get lost, so an empty or foreign directory is told from one whose
database has gone.  It is written twice while a directory is created, before the database (``complete`` is false)
and after it.  A creation that was interrupted has acknowledged nothing and is begun again.

``last_change`` is the number of a change that is known to be in the database: one that ends before it has lost
data.  It is brought up to date when the database is opened and closed, and now and then in between.

``unsynced_boot`` names the boot of the machine during which the database was used without syncing.  What such a
process wrote survives its end, but not the machine's; the mark goes once all of it is on disk.
"""

import errno
import fcntl
import os
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
from msgspec.structs import replace

from kvsd.ports import StorageBusy, StorageError

FORMAT = 2
"""Raised whenever the tables change such that older data would be misread; see docs/protocol.md."""
BOOT_ID_FILE = "/proc/sys/kernel/random/boot_id"
PASSING = {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.EINTR, errno.EAGAIN}
"""Of what is no fault of the directory, and may be over at the next start."""
_NOT_DATA = {"LOCK", "KVSD", "KVSD.new", "lost+found"}


class _Format(msgspec.Struct):
    format: int


class Marker(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the file KVSD says; identity is the name of this very directory, 32 hex digits."""

    format: int
    identity: str
    complete: bool
    last_change: int = 0
    unsynced_boot: str | None = None


def read_boot_id(path: str = BOOT_ID_FILE) -> str:
    """The name of the running boot of this machine; empty where the system has none."""
    try:
        return Path(path).read_text("ascii").strip()
    except OSError:
        return ""


class DataDirectory:
    """
    A data directory, locked for this process until it is released.

    Creates the directory where there is none, and closes one of this user's to all others.  boot_id is what :func:`read_boot_id` says.  Raises StorageError
    where the directory can't be made or written, is in use, is not one of ours or is of a later format, and where
    the machine has restarted since it was used without syncing.
    """

    def __init__(self, path: Path, boot_id: str) -> None:
        self._path = path
        self._boot_id = boot_id
        self.database = path / "db"
        with _explained(f"{path}: the data directory can't be created or read"):
            _make_directory(path)
            _refuse_strangers(path)
        self._lock = _lock(path)
        try:
            _close_to_others(path)
            self._marker = _read_marker(path)
            self._refuse_lost_writes()
        except StorageError:
            self.release()
            raise

    def prepare(self, create: Callable[[Path, str], None]) -> str:
        """
        See that there is a database, and return the identity it must carry.

        Calls create with the path of the database and its identity if there never was one.  Raises StorageError
        if there was one that has gone since: it is never replaced by an empty one.
        """
        if self._marker is None or not self._marker.complete:
            self._create(create)
        for pattern in ("CURRENT", "MANIFEST-*", "*.log"):
            # RocksDB itself would take a lost *.log for a database without recent writes.
            if not any(self.database.glob(pattern)):
                raise StorageError(f"{self.database / pattern} is missing though there was a database: data was lost")
        return self._known().identity

    @property
    def last_change(self) -> int:
        """The number of a change that the database must reach."""
        return self._known().last_change

    def mark(self, last_change: int, *, synced: bool) -> None:
        """
        Note the number of the last change in the database, and whether it and all writes from now on are synced.

        Raises StorageError, and then the old mark or the new one is there.
        """
        marker = replace(self._known(), last_change=last_change, unsynced_boot=None if synced else self._boot_id)
        if marker != self._marker:
            self._record(marker)

    def release(self) -> None:
        """Let other processes use the directory.  Calling it again does nothing."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _create(self, create: Callable[[Path, str], None]) -> None:
        identity = uuid.uuid4().hex
        self._record(Marker(FORMAT, identity, complete=False))
        with _explained(f"{self.database}: what an interrupted creation left can't be removed"):
            if self.database.exists():
                shutil.rmtree(self.database)
        create(self.database, identity)
        self._record(Marker(FORMAT, identity, complete=True))

    def _known(self) -> Marker:
        assert self._marker is not None, "the directory was not prepared"
        return self._marker

    def _refuse_lost_writes(self) -> None:
        mark = None if self._marker is None else self._marker.unsynced_boot
        if mark is not None and (mark != self._boot_id or not mark):
            raise StorageError(
                f"{self._path}: was last used with --no-fsync and the machine has restarted since: writes may be"
                " missing; start with an empty data directory instead, as a new node"
            )

    def _record(self, marker: Marker) -> None:
        """Replace the marker so that after a crash there is the old one or the new one."""
        temporary = self._path / "KVSD.new"
        with _explained(f"{self._path / 'KVSD'}: can't be written"):
            with temporary.open("wb") as file:
                file.write(msgspec.json.encode(marker) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._path / "KVSD")
            _sync_directory(self._path)
        self._marker = marker


@contextmanager
def _explained(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        kind = StorageBusy if error.errno in PASSING else StorageError
        raise kind(f"{what}: {error.strerror} ({error.filename})") from error


def _make_directory(path: Path) -> None:
    """Create path and what is missing above it, so that all of it outlives a crash.  Readable by its owner only."""
    if not path.is_dir():
        if path.parent != path:
            _make_directory(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)
        _sync_directory(path.parent)


def _close_to_others(path: Path) -> None:
    """
    Take from all others what they may do with the directory, and what is in it with that.

    Of another user's, such as the root of a volume that was mounted for this one's group, only that user may.
    """
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        with suppress(PermissionError):
            path.chmod(mode & ~(stat.S_IRWXG | stat.S_IRWXO))


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refuse_strangers(path: Path) -> None:
    names = {entry.name for entry in path.iterdir()}
    strangers = sorted(names - _NOT_DATA)
    if strangers and "KVSD" not in names:
        raise StorageError(
            f"{path}: holds {strangers[0]!r} but no file KVSD, so it is no data directory of kvsd, or not a whole one"
        )


def _lock(path: Path) -> int:
    with _explained(f"{path}: the data directory can't be written"):
        descriptor = os.open(path / "LOCK", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            raise StorageBusy(f"{path}: is in use by another process") from error
        raise StorageError(f"{path}: no lock: {error.strerror}") from error
    return descriptor


def _read_marker(path: Path) -> Marker | None:
    file = path / "KVSD"
    if not file.exists():
        return None
    with _explained(f"{file}: can't be read"):
        content = file.read_bytes()
    try:
        known = msgspec.json.decode(content, type=_Format).format
        if known < FORMAT:
            raise StorageError(
                f"{file}: the data is of format {known}, of an earlier kvsd, and this one reads format {FORMAT} only:"
                " start with an empty data directory, as a new node, and let the other nodes fill it"
            )
        if known != FORMAT:
            raise StorageError(f"{file}: the data is of format {known}, and this kvsd knows {FORMAT} only")
        return msgspec.json.decode(content, type=Marker)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StorageError(f"{file}: is corrupt, so nothing is known about the data beside it") from error
