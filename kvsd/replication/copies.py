"""
Copies that others are taking of the rows here, page by page, while writes go on.

A copy goes through the rows in the order of slots and keys, as they are at that moment.  What changes meanwhile, be it
before or behind the place where the copy is, comes again at the end, so that with the last page the copy amounts to all
that is here then.  Changed keys are remembered only while a copy is under way.
"""

from collections.abc import Iterator
from typing import NamedTuple

from kvsd.replication.placement import Tenure
from kvsd.replication.record import RowKey


class Place(NamedTuple):
    """Where a copy goes on: behind a row; or with what changed since, where all rows were looked at."""

    since: int
    row: tuple[Tenure, int, str] | None
    """The tenure, slot and key of the last row that was looked at."""


_BEGINNING = (-1, 0, "")


class Copies:
    """
    The places where copies go on, each under a number that is given out once, and the keys that changed meanwhile.

    Who does not go on for ``max_ticks`` has to begin anew, as all have once more than ``max_changed`` keys changed.
    """

    def __init__(self, max_changed: int, max_ticks: int) -> None:
        self._max_changed = max_changed
        self._max_ticks = max_ticks
        self._places: dict[tuple[int, int], tuple[Place, int]] = {}
        self._number = 0
        self._ticks = 0
        self._changes = 0
        self._changed: dict[RowKey, int] = {}
        """By key the number of its last change, in their order."""

    def __len__(self) -> int:
        """How many changed keys are remembered."""
        return len(self._changed)

    def place(self, copy: int, number: int) -> Place | None:
        """Where a copy goes on by a number (0: it begins); None where that is not known, or not any more."""
        if number == 0:
            return Place(self._changes, _BEGINNING)
        known = self._places.pop((copy, number), None)
        return known[0] if known else None

    def set_aside(self, copy: int, place: Place) -> int:
        """Remember where a copy goes on; returns the number for that."""
        self._number += 1
        self._places[copy, self._number] = place, self._ticks
        return self._number

    def note(self, key: RowKey) -> None:
        """A key has another row."""
        if not self._places:
            return
        self._changes += 1
        self._changed.pop(key, None)
        self._changed[key] = self._changes
        if len(self._changed) > self._max_changed:
            self._places.clear()
            self._changed.clear()

    def changed(self, since: int) -> Iterator[tuple[int, RowKey]]:
        """The keys that changed since, in the order of their last changes, with the numbers of those."""
        return ((number, key) for key, number in self._changed.items() if number > since)

    def tick(self) -> None:
        """Time has passed."""
        self._ticks += 1
        for name in [name for name, (_, since) in self._places.items() if self._ticks - since > self._max_ticks]:
            del self._places[name]
        if not self._places:
            self._changed.clear()
