"""Tables in dictionaries: a disk for replicas without a node, to be read as any other."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping

from kvsd.entries import entries
from kvsd.replication.effects import DropRow, Keep, SetRow
from kvsd.replication.key_changes import KeyChanges
from kvsd.replication.limits import Limits
from kvsd.replication.placement import TenureSlot
from kvsd.replication.reading import ENTRY_BYTES
from kvsd.replication.record import Row
from kvsd.replication.store import Store
from kvsd.rows import RowTable

ROLE = b"writer"


def row_table(table: Callable[[], Mapping[bytes, bytes]]) -> RowTable:
    """Reads the rows of the table that there is at the moment."""
    return RowTable(lambda key: table().get(key), lambda start, end, at_most: scanned(table(), start, end, at_most))


def scanned(table: Mapping[bytes, bytes], start: bytes, end: bytes, at_most: int) -> list[tuple[bytes, bytes]]:
    """The first entries of a table from a key to another one."""
    return sorted((key, value) for key, value in table.items() if start <= key < end)[:at_most]


def pages_of(
    store: Store,
    vector: Mapping[bytes, int],
    page_rows: int,
    page_bytes: int = 10**6,
    meanwhile: Callable[[], None] = lambda: None,
) -> Iterator[list[Row]]:
    """The pages of a copy for who has a vector; ``meanwhile`` is called before each but the first."""
    cursor = 0
    while True:
        page = store.page(1, cursor, vector, page_bytes, page_rows)
        assert page is not None, "nobody else copies, and no time passes"
        rows, cursor = page
        yield rows
        if not cursor:
            return
        meanwhile()


class LaggingStore(Store):
    """A store with its disk, which is so many writes behind; it caches few rows, so most are read from there."""

    def __init__(self, rows: Iterable[Row] = (), lag: int = 2) -> None:
        self.table: dict[bytes, bytes] = {}
        self._lag = lag
        self._position = 0
        self._unsynced: deque[tuple[int, Keep]] = deque()
        self.slots_read: set[TenureSlot] = set()
        """The slots of which anything was listed."""
        super().__init__(ROLE, RowTable(self._value, self._scan), Limits(cache_bytes=2 * ENTRY_BYTES), KeyChanges())
        for row in rows:
            self.put(row)

    def _value(self, key: bytes) -> bytes | None:
        return self.table.get(key)

    def _scan(self, start: bytes, end: bytes, at_most: int) -> list[tuple[bytes, bytes]]:
        slot = start[len(ROLE) :]
        self.slots_read.add((int.from_bytes(slot[:4], "big"), int.from_bytes(slot[4:6], "big")))
        return scanned(self.table, start, end, at_most)

    def put(self, row: Row, position: int = 0) -> bool:
        """Keep a row, by the store's own positions."""
        won = super().put(row, position or self._position + 1)
        if won:
            self._write(SetRow(ROLE, row))
        return won

    def drop(self, row: Row, position: int = 0) -> None:
        """Forget a row, by the store's own positions."""
        super().drop(row, position or self._position + 1)
        self._write(DropRow(ROLE, row.record.tenure, row.record.key))

    def _write(self, change: Keep) -> None:
        self._position += 1
        self._unsynced.append((self._position, change))
        self.sync(self._lag)

    def sync(self, lag: int = 0) -> None:
        """Have the disk catch up, but for so many writes."""
        while len(self._unsynced) > lag:
            position, change = self._unsynced.popleft()
            for table, key, value in entries([change]):
                if table == "rows" and value is None:
                    self.table.pop(key, None)
                elif table == "rows" and value is not None:
                    self.table[key] = value
            self.reading.synced(position)

    def reopened(self) -> "LaggingStore":
        """The store of a process that was started later, when all was on the disk."""
        self.sync()
        store = LaggingStore(lag=self._lag)
        store.table = dict(self.table)
        store.restore({slot: self.counts[slot] for slot in self.counts.slots()}, self.tombstones.values())
        return store
