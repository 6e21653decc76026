"""
The hold-back queue: ops that came before their causes.

It is bounded by count and bytes.  What does not fit is left out, newest first: nothing is lost by that, for
anti-entropy fetches it again.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from kvsd.replication.causality import dominates
from kvsd.replication.oplog import op_bytes
from kvsd.replication.record import Op


class Held(NamedTuple):
    """An op that waits, and since when (monotonic seconds)."""

    op: Op
    since: float


class HoldBack:
    """Ops by writer and counter, handed out once they are due."""

    def __init__(self, max_ops: int, max_bytes: int) -> None:
        self._max_ops = max_ops
        self._max_bytes = max_bytes
        self._held: dict[bytes, dict[int, Held]] = {}
        self.count = 0
        self.bytes = 0

    def add(self, op: Op, now: float) -> bool:
        """
        Keep an op until it is due; says whether there was room (or it was there already).

        A full queue gives up newer ops of the same writer for an older one, which is due sooner.
        """
        queue = self._held.get(op.writer, {})
        if op.counter in queue:
            return True
        if not self._fits(op) and not self._gives_way(queue, op):
            return False
        self._held.setdefault(op.writer, {})[op.counter] = Held(op, now)
        self.count += 1
        self.bytes += op_bytes(op)
        return True

    def _gives_way(self, queue: dict[int, Held], op: Op) -> bool:
        """Drop ops of its queue that are newer, the newest first, until there is room; says whether there is."""
        for counter in sorted((counter for counter in queue if counter > op.counter), reverse=True):
            self._remove(op.writer, counter)
            if self._fits(op):
                return True
        return False

    def _fits(self, op: Op) -> bool:
        """Whether there is room; an empty queue takes an op of any size."""
        return not self.count or (self.count < self._max_ops and self.bytes + op_bytes(op) <= self._max_bytes)

    def due(self, vector: Mapping[bytes, int], epoch: int) -> Iterator[Op]:
        """
        Take out, one after another, ops whose causes are in vector, which the caller raises by each op it is given.

        Ops of a later configuration than epoch stay.
        """
        progress = True
        while progress:
            progress = False
            for writer in sorted(self._held):
                while op := self._next(writer, vector, epoch):
                    progress = True
                    yield op

    def _next(self, writer: bytes, vector: Mapping[bytes, int], epoch: int) -> Op | None:
        queue = self._held.get(writer)
        if not queue:
            return None
        seen = vector.get(writer, 0)
        held = queue.get(seen + 1)
        if held is None or held.op.epoch > epoch or not dominates(vector, held.op.dependencies):
            return None
        self._remove(writer, seen + 1)
        return held.op

    def leave_out(self, op: Op) -> None:
        """Drop an op that came again, and was applied without being taken out of here."""
        if op.counter in self._held.get(op.writer, ()):
            self._remove(op.writer, op.counter)

    def forget(self, vector: Mapping[bytes, int]) -> None:
        """Drop what vector has seen, after it was raised by other means than due."""
        if not self.count:
            return
        for writer in sorted(self._held):
            queue = self._held[writer]
            for counter in [counter for counter in queue if counter <= vector.get(writer, 0)]:
                self._remove(writer, counter)

    def _remove(self, writer: bytes, counter: int) -> None:
        queue = self._held[writer]
        held = queue.pop(counter)
        self.count -= 1
        self.bytes -= op_bytes(held.op)
        if not queue:
            del self._held[writer]

    def oldest(self) -> float | None:
        """Since when (monotonic seconds) the oldest op has been waiting; None if none is."""
        firsts = (next(iter(queue.values())) for queue in self._held.values())  # a queue keeps the order of coming
        return min((held.since for held in firsts), default=None)

    def ops(self) -> list[Op]:
        """All ops that wait."""
        return [held.op for queue in self._held.values() for held in queue.values()]
