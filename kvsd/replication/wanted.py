"""Writes that are known to exist and missing here, and since when."""

from collections.abc import Mapping

from kvsd.replication.causality import Counter, Writer


class Wanted:
    """For each writer the furthest counter that is known to exist, and since when it was missing."""

    def __init__(self) -> None:
        self._wanted: dict[Writer, tuple[Counter, float]] = {}

    def note(self, vector: Mapping[bytes, int], writer: Writer, counter: Counter, now: float) -> float:
        """Note that vector lacks a write; returns since when (monotonic seconds) it has lacked something of the writer."""
        known, since = self._wanted.get(writer, (0, now))
        if known <= vector.get(writer, 0):
            since = now
        self._wanted[writer] = (max(known, counter), since)
        return since

    def oldest(self, vector: Mapping[bytes, int]) -> float | None:
        """Since when (monotonic seconds) the longest missing write has been missing; None if nothing is."""
        for writer in [writer for writer, (counter, _) in self._wanted.items() if vector.get(writer, 0) >= counter]:
            del self._wanted[writer]
        return min((since for _, since in self._wanted.values()), default=None)
