"""
How a replica reads its rows: those that are not durable yet, those that were used lately, and all others on disk.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping

from kvsd.replication.causality import Writer
from kvsd.replication.placement import Tenure, TenureSlot, slot_of
from kvsd.replication.record import Row, RowKey
from kvsd.replication.shelf import Shelf

SCAN_ROWS = 256
"""How many rows are read from the disk at once."""
ENTRY_BYTES = 700
"""About what a row that is kept in memory takes there, on top of its key and its value."""

InSlots = Mapping[TenureSlot, Mapping[str, Row | None]]
"""Rows by slot and key; None where one was dropped."""


class Reading:
    """
    The rows of a replica as they were applied; ``role`` is its name on the shelf.

    What is set is *fresh*, and covers what is on the shelf, until the replica is told that it is durable.  Of all others
    those are kept in memory that were used last, up to about so many bytes.
    """

    def __init__(self, role: Writer, shelf: Shelf, cache_bytes: int) -> None:
        self._role = role
        self._shelf = shelf
        self._max_bytes = cache_bytes
        self._fresh: dict[RowKey, tuple[int, Row | None]] = {}
        """The fresh rows (None: dropped) and their positions, in the order of these."""
        self._rows: OrderedDict[RowKey, Row | None] = OrderedDict()
        """The durable rows in memory (None: there is none), least recently used first."""
        self.bytes = 0
        """About what these take."""

    def __len__(self) -> int:
        """How many durable rows are in memory, with the keys that are known to have none."""
        return len(self._rows)

    def get(self, tenure: Tenure, key: str) -> Row | None:
        """The row of a key, None if there is none."""
        name = (tenure, key)
        if fresh := self._fresh.get(name):
            return fresh[1]
        try:
            row = self._rows[name]
        except KeyError:
            row = self._shelf.get(self._role, tenure, key)
            self._keep(name, row)
        else:
            self._rows.move_to_end(name)
        return row

    def set(self, key: RowKey, row: Row | None, position: int) -> None:
        """From now on this is the row of a key (None: dropped), kept with the write of a position."""
        self._fresh.pop(key, None)
        self._fresh[key] = position, row

    def synced(self, position: int) -> None:
        """Everything up to a position is on disk."""
        durable = []
        for key, (at, row) in self._fresh.items():
            if at > position:
                break
            durable.append((key, row))
        for key, row in durable:
            del self._fresh[key]
            self._keep(key, row)

    def position_of(self, key: RowKey) -> int:
        """The position after which a key's row is durable (0: it is)."""
        fresh = self._fresh.get(key)
        return fresh[0] if fresh else 0

    def fresh(self) -> InSlots:
        """The fresh rows."""
        found: dict[TenureSlot, dict[str, Row | None]] = {}
        for (tenure, key), (_, row) in self._fresh.items():
            found.setdefault((tenure, slot_of(key)), {})[key] = row
        return found

    def in_slot(self, slot: TenureSlot, after: str | None, fresh: InSlots) -> Iterator[Row]:
        """The rows of a slot behind a key (None: all), in the order of keys; ``fresh`` are all that are."""
        while True:
            durable = self._shelf.scan(self._role, *slot, after, SCAN_ROWS)
            end = durable[-1].record.key if len(durable) == SCAN_ROWS else None
            found: dict[str, Row | None] = {row.record.key: row for row in durable}
            found |= {
                key: row
                for key, row in fresh.get(slot, {}).items()
                if (after is None or key > after) and (end is None or key <= end)
            }
            yield from (row for key in sorted(found) if (row := found[key]))
            if end is None:
                return
            after = end

    def _keep(self, key: RowKey, row: Row | None) -> None:
        """Keep a durable row in memory, and let go of those that were not used for longest where that is too much."""
        rows = self._rows
        if key in rows:
            self.bytes += _value_bytes(row) - _value_bytes(rows[key])
            rows.move_to_end(key)
        else:
            self.bytes += ENTRY_BYTES + len(key[1]) + _value_bytes(row)
        rows[key] = row
        while self.bytes > self._max_bytes:
            (_, oldest), old = rows.popitem(last=False)
            self.bytes -= ENTRY_BYTES + len(oldest) + _value_bytes(old)


def _value_bytes(row: Row | None) -> int:
    return len(row.record.value or b"") if row else 0
