"""
How much there is in each slot, kept with the rows themselves, so that nobody has to look at them all to know it.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from kvsd.replication.placement import TenureSlot


class Count(NamedTuple):
    """Of one slot: how many rows, how many of them have a value, and about how many bytes these take on the wire."""

    rows: int
    live: int
    live_bytes: int


NONE = Count(0, 0, 0)


class Counts:
    """Counts by slot, of those that have rows, and which of them have changed since they were last kept."""

    def __init__(self) -> None:
        self._counts: dict[TenureSlot, Count] = {}
        self._changed: dict[TenureSlot, None] = {}
        self.rows = 0
        """How many rows there are in all slots."""
        self.live = 0
        """How many keys have a value, in all slots."""

    def restore(self, counts: Mapping[TenureSlot, Count]) -> None:
        """Take up what was kept."""
        self._counts = dict(counts)
        self.rows = sum(count.rows for count in counts.values())
        self.live = sum(count.live for count in counts.values())

    def change(self, slot: TenureSlot, rows: int, live: int, live_bytes: int) -> None:
        """So much came to a slot, or went."""
        if not (rows or live or live_bytes):
            return
        before = self._counts.get(slot, NONE)
        count = Count(before.rows + rows, before.live + live, before.live_bytes + live_bytes)
        if count.rows:
            self._counts[slot] = count
        else:
            del self._counts[slot]
        self.rows += rows
        self.live += live
        self._changed[slot] = None

    def __getitem__(self, slot: TenureSlot) -> Count:
        """What there is in a slot."""
        return self._counts.get(slot, NONE)

    def slots(self) -> list[TenureSlot]:
        """The slots that have rows, in their order."""
        return sorted(self._counts)

    def of(self, slots: Iterable[TenureSlot]) -> Iterator[Count]:
        """What there is in each of these slots."""
        return (self._counts.get(slot, NONE) for slot in slots)

    def take_changed(self) -> Iterator[tuple[TenureSlot, Count]]:
        """What has changed since this was asked last."""
        changed, self._changed = self._changed, {}
        return ((slot, self[slot]) for slot in changed)
