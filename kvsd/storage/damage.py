"""
The mark on a data directory whose data was found not to be as it was written.

A damaged block may be read seldom: without a mark the node would start, serve, and end at whoever reads that block, again
and again.  The mark is a file ``DAMAGED`` beside the database, one line of JSON that says what was found and when.
"""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Final

import msgspec

from kvsd.ports import StorageDamaged

FILE: Final = "DAMAGED"
ADVICE: Final = (
    "restore it, or move it away and start with an empty one, as a new node that copies its data from the others"
)


class Damage(msgspec.Struct, frozen=True):
    """Damage that was found: the sentence that says so, and the time (UTC, ISO 8601)."""

    what: str
    when: str


class DamageMark:
    """The mark of one data directory; ``wall`` reads the clock on the wall, in seconds since 1970."""

    def __init__(self, directory: Path, wall: Callable[[], float] = time.time) -> None:
        self._directory = directory
        self._wall = wall
        self._marking = Lock()
        """Held while the mark is written: what the reactor reads and what is verified may be found at one time."""

    def refuse(self) -> None:
        """Raise StorageDamaged if the directory is marked."""
        file = self._directory / FILE
        if not file.exists():
            return
        try:
            damage = msgspec.json.decode(file.read_bytes(), type=Damage)
            found = f"was found damaged at {damage.when} ({damage.what})"
        except (OSError, UnicodeDecodeError, msgspec.DecodeError):
            found = f"is marked as damaged by a file {FILE}"
        raise StorageDamaged(f"{self._directory}: {found}: {ADVICE}")

    def note(self, error: StorageDamaged) -> StorageDamaged:
        """Mark the directory, so that the mark outlives a crash, and return the error that tells the operator."""
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._wall()))
        # Where the disk takes no file any more, the damage is found again by whoever reads it next.
        with self._marking, suppress(OSError):
            _write_durably(self._directory, msgspec.json.encode(Damage(str(error), when)) + b"\n")
        return StorageDamaged(f"{error}; {self._directory} is marked as damaged and not used again: {ADVICE}")


def advised(error: StorageDamaged) -> StorageDamaged:
    """Return the error of a start that meets damage, as each start would: with what to do, and no mark."""
    return StorageDamaged(f"{error}; as for the data directory: {ADVICE}")


def _write_durably(directory: Path, content: bytes) -> None:
    descriptor = os.open(directory / FILE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
