"""Which operation wrote which version of a key, and which version a read shows."""

from bisect import bisect_right
from collections import defaultdict
from itertools import accumulate
from operator import attrgetter, or_

from kvsd.simulate.checkers.bits import Bits, members
from kvsd.simulate.history import History, Number, Operation


class Versions:
    """
    The versions of all keys, each named by the number of its write.

    ``writes``, ``puts`` and ``deletions`` are sets by key.  ``shown`` has for each operation the version that it shows:
    a write shows its own, a read the one of its value; None stands for a read of an absent key (which deletion it saw,
    if any, can't be told from it alone), of a value that nobody wrote, and of one that several operations wrote: tries of
    a client each of which may have been carried out.  What such a read saw is not known, and nothing follows from it.
    """

    def __init__(self, history: History) -> None:
        self.puts: defaultdict[str, Bits] = defaultdict(int)
        self.deletions: defaultdict[str, Bits] = defaultdict(int)
        self.writes: defaultdict[str, Bits] = defaultdict(int)
        self._writers: dict[tuple[str, str], list[Number]] = defaultdict(list)
        for write in history:
            if write.kind == "write":
                self._add(write)
        self.shown = [self._shown(operation) for operation in history]
        self._asked = {
            key: _in_order([history[number] for number in members(deletions)])
            for key, deletions in self.deletions.items()
        }

    def _add(self, write: Operation) -> None:
        self.writes[write.key] |= 1 << write.number
        if write.value is None:
            self.deletions[write.key] |= 1 << write.number
        else:
            self.puts[write.key] |= 1 << write.number
            self._writers[write.key, write.value].append(write.number)

    def _shown(self, operation: Operation) -> Number | None:
        return operation.number if operation.kind == "write" else self.writer(operation.key, operation.value)

    def writer(self, key: str, value: str | None) -> Number | None:
        """The put of a value; None for no value, and where nobody wrote it or several did."""
        writers = [] if value is None else self._writers.get((key, value), [])
        return writers[0] if len(writers) == 1 else None

    def somebody_wrote(self, key: str, value: str) -> bool:
        """Whether a value was written at all."""
        return (key, value) in self._writers

    def deletions_asked(self, key: str, until: float | None) -> Bits:
        """The deletions of a key that were asked by a time in simulated seconds; all of them, if it is None."""
        if until is None or key not in self._asked:
            return self.deletions[key]
        times, sets = self._asked[key]
        return sets[bisect_right(times, until)]


def _in_order(deletions: list[Operation]) -> tuple[list[float], list[Bits]]:
    """When each deletion was asked, in order; and the sets of the first 0, 1, 2… of them."""
    deletions = sorted(deletions, key=attrgetter("asked"))
    return [d.asked for d in deletions], list(accumulate((1 << d.number for d in deletions), or_, initial=0))
