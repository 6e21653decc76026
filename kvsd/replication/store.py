"""
The rows of one replica: for each tenure and key the version that won.

Rows are also listed in the order of their *arrival* (a number that only grows), so that a peer that lacks much can be
sent everything page by page while writes go on: whatever changes behind the page's end arrives again after it.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping

from kvsd.replication.record import Row

RowKey = tuple[int, str]


class Store:
    """Rows by tenure and key, with the tombstones among them and the count of live keys at hand."""

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self._rows: dict[RowKey, tuple[int, Row]] = {}
        self._arrivals: list[tuple[int, RowKey]] = []
        self._arrival = 0
        self.tombstones: dict[RowKey, Row] = {}
        self.conflicts = 0
        """How often a version met another whose author did not know of it."""
        for row in rows:
            self.put(row)

    @property
    def live_keys(self) -> int:
        """How many keys have a value."""
        return len(self._rows) - len(self.tombstones)

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
        self._arrival += 1
        self._rows[key] = (self._arrival, row)
        self._arrivals.append((self._arrival, key))
        if record.is_tombstone:
            self.tombstones[key] = row
        else:
            self.tombstones.pop(key, None)
        self._compact()
        return True

    def drop(self, key: RowKey) -> None:
        """Forget a row for good."""
        del self._rows[key]
        self.tombstones.pop(key, None)

    def page(self, after: int, vector: Mapping[bytes, int], max_bytes: int, max_rows: int) -> tuple[list[Row], int]:
        """
        The next rows that vector lacks, in the order of arrival, and where to go on (0: that was all of them).

        Looks at max_rows rows at the most, and stops once their values reach max_bytes.
        """
        rows: list[Row] = []
        size = 0
        start = bisect_right(self._arrivals, after, key=lambda entry: entry[0])
        for index in range(start, len(self._arrivals)):
            arrival, key = self._arrivals[index]
            entry = self._rows.get(key)
            if entry and entry[0] == arrival and vector.get(entry[1].writer, 0) < entry[1].counter:
                rows.append(entry[1])
                size += row_bytes(entry[1])
            if size >= max_bytes or index - start >= max_rows - 1:
                return rows, arrival if arrival < self._arrival else 0
        return rows, 0

    def _compact(self) -> None:
        """Leave out arrivals that were superseded, once they are the greater part (amortised: O(1) a row)."""
        if len(self._arrivals) > 2 * len(self._rows) + 64:
            self._arrivals = sorted((arrival, key) for key, (arrival, _) in self._rows.items())


def row_bytes(row: Row) -> int:
    """About how many bytes a row takes on the wire."""
    return 100 + len(row.record.key) + len(row.record.value or b"")
