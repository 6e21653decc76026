"""
The table of rows: under which key a row stands, and how it is read.

Keys sort by replica, tenure, slot and key, so what a reshard moves, or what nobody needs any more, lies together.
"""

from collections.abc import Callable, Sequence
from struct import Struct

import msgspec

from kvsd.replication.causality import Writer
from kvsd.replication.placement import Tenure, slot_of
from kvsd.replication.record import Row
from kvsd.replication.shelf import Shelf

Get = Callable[[bytes], bytes | None]
Scan = Callable[[bytes, bytes, int], Sequence[tuple[bytes, bytes]]]

_pack_slot = Struct(">IH").pack
_decode = msgspec.msgpack.Decoder(Row).decode


class UnreadableRow(Exception):
    """A row was read that no kvsd wrote like that; the text says how."""


def slot_key(role: Writer, tenure: Tenure, slot: int) -> bytes:
    """What the keys of all rows of a slot begin with."""
    return role + _pack_slot(tenure, slot)


def row_key(role: Writer, tenure: Tenure, key: str) -> bytes:
    """The key under which a row stands."""
    return slot_key(role, tenure, slot_of(key)) + key.encode()


class RowTable(Shelf):
    """
    Reads a table of rows.

    ``get`` gives the value under a key (None: there is none), ``scan`` the first entries from a key to another one
    (without that), so many at the most; what they raise is raised here.
    """

    def __init__(self, get: Get, scan: Scan) -> None:
        self._get = get
        self._scan = scan

    def get(self, role: Writer, tenure: Tenure, key: str) -> Row | None:
        """The row of a key.  Raises UnreadableRow where it is none."""
        value = self._get(row_key(role, tenure, key))
        return None if value is None else _read(value)

    def scan(self, role: Writer, tenure: Tenure, slot: int, after: str | None, at_most: int) -> list[Row]:
        """The first rows of a slot behind a key.  Raises UnreadableRow where there is anything else."""
        begin, end = slot_key(role, tenure, slot), slot_key(role, tenure, slot + 1)
        start = begin if after is None else begin + after.encode() + b"\0"
        return [_read(value) for _, value in self._scan(start, end, at_most)]


def _read(value: bytes) -> Row:
    try:
        return _decode(value)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise UnreadableRow(f"a row can't be read: {error}") from None
