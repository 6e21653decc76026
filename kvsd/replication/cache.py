"""
Rows that were read or written lately, so that keys in use are not read from the disk each time.
"""

from collections import OrderedDict
from collections.abc import Container

from kvsd.replication.record import Row, RowKey

ENTRY_BYTES = 700
"""About what an entry takes in memory, on top of its key and its value."""


class Cache:
    """
    Rows by tenure and key, up to about so many bytes; who was not used for longest goes first.

    What is ``pinned`` stays, however much that is, and what was used after it.
    """

    def __init__(self, max_bytes: int, pinned: Container[RowKey] = ()) -> None:
        self._max_bytes = max_bytes
        self._pinned = pinned
        self._rows: OrderedDict[RowKey, Row | None] = OrderedDict()
        self.bytes = 0
        """About what all of it takes."""

    def __len__(self) -> int:
        """How many keys it knows of, those without a row among them."""
        return len(self._rows)

    def get(self, key: RowKey) -> Row | None:
        """The row of a key, None if it is known that there is none.  Raises KeyError where nothing is known."""
        row = self._rows[key]
        self._rows.move_to_end(key)
        return row

    def put(self, key: RowKey, row: Row | None) -> None:
        """From now on this is the row of a key."""
        rows = self._rows
        if key in rows:
            self.bytes += _value_bytes(row) - _value_bytes(rows[key])
            rows.move_to_end(key)
        else:
            self.bytes += ENTRY_BYTES + len(key[1]) + _value_bytes(row)
        rows[key] = row
        if self.bytes > self._max_bytes:
            self.trim()

    def trim(self) -> None:
        """Let go of what is too much."""
        rows = self._rows
        while self.bytes > self._max_bytes and (key := next(iter(rows))) not in self._pinned:
            self.bytes -= ENTRY_BYTES + len(key[1]) + _value_bytes(rows.pop(key))


def _value_bytes(row: Row | None) -> int:
    return len(row.record.value or b"") if row else 0
