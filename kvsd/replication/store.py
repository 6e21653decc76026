"""
The rows of one replica: for each tenure and key the version that won.

Rows are also listed in the order of their *arrival* (a number that only grows), so that a peer that lacks much can be
sent everything page by page while writes go on: whatever changes behind the page's end arrives again after it.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from kvsd.replication.placement import slot_of
from kvsd.replication.record import Record, Row

RowKey = tuple[int, str]


class Store:
    """Rows by tenure and key, with the tombstones among them; the live keys of each tenure and slot are counted."""

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self._rows: dict[RowKey, tuple[int, Row]] = {}
        self._arrivals: list[tuple[int, RowKey]] = []
        self._arrival = 0
        self.tombstones: dict[RowKey, Row] = {}
        self._live: Counter[tuple[int, int]] = Counter()
        """How many live keys there are in each tenure and slot."""
        self._live_bytes: Counter[tuple[int, int]] = Counter()
        self.conflicts = 0
        """How often a version met another whose author did not know of it."""
        for row in rows:
            self.put(row)

    @property
    def live_keys(self) -> int:
        """How many keys have a value."""
        return len(self._rows) - len(self.tombstones)

    def live_keys_in(self, slots: Iterable[tuple[int, int]]) -> int:
        """How many keys have a value, in these slots (each with its tenure)."""
        return sum(self._live[slot] for slot in slots)

    def live_bytes_in(self, slots: Iterable[tuple[int, int]]) -> int:
        """About how many bytes the rows of these slots (each with its tenure) take on the wire."""
        return sum(self._live_bytes[slot] for slot in slots)

    def __len__(self) -> int:
        """How many rows there are, tombstones among them."""
        return len(self._rows)

    def __iter__(self) -> Iterator[Row]:
        """All rows, in no particular order."""
        return (row for _, row in self._rows.values())

    def get(self, tenure: int, key: str) -> Row | None:
        """The row of a key, a tombstone too."""
        entry = self._rows.get((tenure, key))
        return entry[1] if entry else None

    def put(self, row: Row) -> bool:
        """Keep the row if it beats what is there; says whether it did."""
        record = row.record
        key = (record.tenure, record.key)
        entry = self._rows.get(key)
        if entry:
            current = entry[1].record
            won = record.stamp > current.stamp
            winner, loser = (record, current) if won else (current, record)
            self.conflicts += winner.over < loser.hlc
            if not won:
                return False
        self._count(entry[1] if entry else None, row)
        self._arrival += 1
        self._rows[key] = (self._arrival, row)
        self._arrivals.append((self._arrival, key))
        if record.is_tombstone:
            self.tombstones[key] = row
        else:
            self.tombstones.pop(key, None)
        self._compact()
        return True

    def _count(self, before: Row | None, after: Row | None) -> None:
        """Keep count of live keys as one row takes the place of another."""
        slot: tuple[int, int] | None = None
        for row, sign in ((before, -1), (after, 1)):
            if row and not row.record.is_tombstone:
                slot = slot or (row.record.tenure, slot_of(row.record.key))
                self._live[slot] += sign
                self._live_bytes[slot] += sign * record_bytes(row.record)

    def drop(self, key: RowKey) -> None:
        """Forget a row for good."""
        _, row = self._rows.pop(key)
        self._count(row, None)
        self.tombstones.pop(key, None)

    def keys(self) -> Sequence[RowKey]:
        """The tenures and keys of all rows."""
        return list(self._rows)

    def page(
        self,
        after: int,
        vector: Mapping[bytes, int],
        max_bytes: int,
        max_rows: int,
        wanted: Callable[[Record], bool] | None = None,
    ) -> tuple[list[Row], int]:
        """
        The next wanted rows that vector lacks, in the order of arrival, and where to go on (0: that was all of them).

        Looks at max_rows rows at the most, and stops once their values reach max_bytes.
        """
        rows: list[Row] = []
        size = 0
        start = bisect_right(self._arrivals, after, key=lambda entry: entry[0])
        for index in range(start, len(self._arrivals)):
            arrival, key = self._arrivals[index]
            entry = self._rows.get(key)
            row = entry[1] if entry and entry[0] == arrival else None
            if row and vector.get(row.writer, 0) < row.counter and (wanted is None or wanted(row.record)):
                rows.append(row)
                size += record_bytes(row.record)
            if size >= max_bytes or index - start >= max_rows - 1:
                return rows, arrival if arrival < self._arrival else 0
        return rows, 0

    def _compact(self) -> None:
        """Leave out arrivals that were superseded, once they are the greater part (amortised: O(1) a row)."""
        if len(self._arrivals) > 2 * len(self._rows) + 64:
            nothing = (0, None)
            self._arrivals = [entry for entry in self._arrivals if self._rows.get(entry[1], nothing)[0] == entry[0]]


def record_bytes(record: Record) -> int:
    """About how many bytes a record takes on the wire."""
    return 100 + len(record.key) + len(record.value or b"")
