"""
How an entry is stored, so that whatever reads it can tell whether it is as it was written.

A stored key is a letter for the table followed by the entry's key.  Behind each value stand four bytes, the CRC-32 of its
stored key and itself; RocksDB's own checksums end at its files, these reach from the memory that wrote to the memory that
reads.
"""

from pathlib import Path
from typing import Final
from zlib import crc32

from kvsd.entries import Table
from kvsd.ports import StorageDamaged, StorageError

CHECKSUM_BYTES: Final = 4
LETTERS: Final[dict[Table, bytes]] = {"meta": b"m", "rows": b"r", "ops": b"o"}
_TABLES = {letter: table for table, letter in LETTERS.items()}


def checksum(stored_key: bytes, value: bytes) -> bytes:
    """What stands behind a value where it is stored."""
    return crc32(value, crc32(stored_key)).to_bytes(CHECKSUM_BYTES, "big")


def unsealed(path: Path, stored_key: bytes, stored: bytes) -> bytes:
    """Return the value in a stored one of the database at path.  Raises StorageDamaged where it is not as it was written."""
    value = stored[:-CHECKSUM_BYTES]
    if stored[-CHECKSUM_BYTES:] != checksum(stored_key, value):
        raise StorageDamaged(
            f"{path}: an entry of table {_TABLES[stored_key[:1]]} does not match its checksum"
            f" (its key begins with {stored_key[1:9].hex() or 'nothing'})"
        )
    return value


def explained(what: str, error: Exception) -> StorageError:
    """Return the error that says what failed with an error of RocksDB; StorageDamaged where that speaks of corruption."""
    # RocksDB's error classes don't reach Python: their text is all there is.
    kind = StorageDamaged if "Corruption" in str(error) else StorageError
    return kind(f"{what}: {reason(error)}")


def reason(error: Exception) -> str:
    """Return what RocksDB says, in one bounded line; it names files and numbers, never keys or values."""
    return " ".join(str(error).split())[:300]
