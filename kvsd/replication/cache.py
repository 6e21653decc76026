"""
Rows that were read or written lately, so that keys in use are not read from the disk each time.
"""

from collections import OrderedDict

from kvsd.replication.record import Row, RowKey

ENTRY_BYTES = 700
"""About what an entry takes in memory, on top of its key and its value."""


class Cache:
    """Rows by tenure and key, up to about so many bytes; who was not used for longest goes first."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
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
        if key in self._rows:
            self.bytes -= _bytes(key, self._rows.pop(key))
        self._rows[key] = row
        self.bytes += _bytes(key, row)
        while self.bytes > self._max_bytes:
            self.bytes -= _bytes(*self._rows.popitem(last=False))


def _bytes(key: RowKey, row: Row | None) -> int:
    value = row.record.value if row else None
    return ENTRY_BYTES + len(key[1]) + len(value or b"")
