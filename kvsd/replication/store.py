"""
The rows of one replica: for each tenure and key the version that won.

Rows are on disk.  In memory are those that are not durable yet, those that were used lately, all tombstones, and how
much there is in each slot; so a read sees what was applied, whether it is durable or not, and a count reads nothing.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice

from kvsd.replication.causality import Writer
from kvsd.replication.copies import Copies, Place
from kvsd.replication.counts import Count, Counts
from kvsd.replication.key_changes import KeyChanges
from kvsd.replication.limits import Limits
from kvsd.replication.placement import TenureSlot, slot_of
from kvsd.replication.reading import Reading
from kvsd.replication.record import Record, Row, RowKey, beats
from kvsd.replication.shelf import Shelf


class Store:
    """
    Rows by tenure and key, with the tombstones among them; ``role`` is the replica's name on the shelf.

    Whatever changes is given the position of the write that keeps it, and counts as fresh until that is durable; its key
    is noted in ``changes``.
    """

    def __init__(self, role: Writer, shelf: Shelf, limits: Limits, changes: KeyChanges) -> None:
        self.reading = Reading(role, shelf, limits.cache_bytes)
        self.get = self.reading.get
        """Finds the row of a key in a tenure, a tombstone too; None if there is none."""
        self.changes = changes
        self.copies = Copies(limits.copy_changes, limits.copy_ticks)
        self.counts = Counts()
        self.tombstones: dict[RowKey, Row] = {}
        self.conflicts = 0
        """How often a version met another whose author did not know of it."""

    def restore(self, counts: Mapping[TenureSlot, Count], tombstones: Iterable[Row]) -> None:
        """Take up what was kept beside the rows."""
        self.counts.restore(counts)
        self.tombstones = {(row.record.tenure, row.record.key): row for row in tombstones}

    @property
    def live_keys(self) -> int:
        """How many keys have a value."""
        return self.counts.live

    def live_keys_in(self, slots: Iterable[TenureSlot]) -> int:
        """How many keys have a value, in these slots."""
        return sum(count.live for count in self.counts.of(slots))

    def live_bytes_in(self, slots: Iterable[TenureSlot]) -> int:
        """About how many bytes the rows of these slots take on the wire."""
        return sum(count.live_bytes for count in self.counts.of(slots))

    def __len__(self) -> int:
        """How many rows there are, tombstones among them."""
        return self.counts.rows

    def __iter__(self) -> Iterator[Row]:
        """All rows, in the order of slots and keys."""
        fresh = self.reading.fresh()
        return (row for slot in self.counts.slots() for row in self.reading.in_slot(slot, None, fresh))

    # One row

    def put(self, row: Row, position: int) -> bool:
        """Keep the row if it beats what is there; says whether it did."""
        record = row.record
        key = (record.tenure, record.key)
        before = self.get(*key)
        if before:
            current = before.record
            won = beats(record, current)
            winner, loser = (record, current) if won else (current, record)
            self.conflicts += winner.over < loser.hlc
            if not won:
                return False
        self._set(key, before, row, position)
        if record.is_tombstone:
            self.tombstones[key] = row
        else:
            self.tombstones.pop(key, None)
        self.copies.note(key)
        return True

    def drop(self, row: Row, position: int) -> None:
        """Forget a row for good."""
        key = (row.record.tenure, row.record.key)
        self._set(key, row, None, position)
        self.tombstones.pop(key, None)

    def _set(self, key: RowKey, before: Row | None, after: Row | None, position: int) -> None:
        """One row takes the place of another."""
        self.reading.set(key, after, position)
        self.changes.note(key[1])
        if before is None or after is None or _value_bytes(before) != _value_bytes(after):
            was, now = _live_bytes(before), _live_bytes(after)
            rows, live = (after is not None) - (before is not None), bool(now) - bool(was)
            self.counts.change((key[0], slot_of(key[1])), rows, live, now - was)

    # Many rows

    def first_in(self, slot: TenureSlot, at_most: int) -> list[Row]:
        """Some rows of a slot."""
        return list(islice(self.reading.in_slot(slot, None, self.reading.fresh()), at_most))

    def page(
        self,
        copy: int,
        start: int,
        vector: Mapping[bytes, int],
        max_bytes: int,
        max_rows: int,
        wanted: Callable[[Record], bool] | None = None,
        slots: Sequence[TenureSlot] | None = None,
    ) -> tuple[list[Row], int] | None:
        """
        The next wanted rows that vector lacks, and the number to go on with (0: that was all of them).

        ``copy`` names the copy, ``start`` is 0 or the number that came with the page before; None where that is not
        known any more.  Only rows of the given slots (in their order) are looked at, max_rows at the most, and none
        once the values reach max_bytes.
        """
        place = self.copies.place(copy, start)
        if place is None:
            return None
        rows: list[Row] = []
        size = 0
        ahead = self._ahead(place, self.counts.slots() if slots is None else slots)
        for looked, (here, row) in enumerate(ahead, 1):
            if row and vector.get(row.writer, 0) < row.counter and (wanted is None or wanted(row.record)):
                rows.append(row)
                size += record_bytes(row.record)
            if size >= max_bytes or looked >= max_rows:
                return rows, self.copies.set_aside(copy, here) if next(ahead, None) else 0
        return rows, 0

    def _ahead(self, place: Place, slots: Iterable[TenureSlot]) -> Iterator[tuple[Place, Row | None]]:
        """What a copy still has to look at, with the places behind that: rows, and then those that changed since."""
        fresh = self.reading.fresh()
        if place.row is not None:
            tenure, number, key = place.row
            for slot in slots:
                if slot >= (tenure, number) and self.counts[slot].rows:
                    after = key if slot == (tenure, number) else None
                    for row in self.reading.in_slot(slot, after, fresh):
                        yield Place(place.since, (*slot, row.record.key)), row
        for change, name in self.copies.changed(place.since):
            yield Place(change, None), self.get(*name)


def record_bytes(record: Record) -> int:
    """About how many bytes a record takes on the wire."""
    return 100 + len(record.key) + len(record.value or b"")


def _value_bytes(row: Row) -> int:
    """How long a row's value is; -1 where it has none."""
    value = row.record.value
    return -1 if value is None else len(value)


def _live_bytes(row: Row | None) -> int:
    """What a row adds to the bytes of its slot: 0 where it has no value, and only there."""
    return 0 if row is None or row.record.value is None else record_bytes(row.record)
