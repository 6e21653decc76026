"""
The recent ops of one replica, kept until every replica of the shard has them or the log grows too large.

Of each writer the log holds a run of counters without gaps; who lacks ops from before a run needs a copy of rows
instead (:meth:`kvsd.replication.store.Store.page`).
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from heapq import merge
from itertools import islice
from operator import attrgetter

from msgspec import Struct

from kvsd.replication.invariant import InvariantBroken
from kvsd.replication.record import Op


class Entry(Struct, frozen=True, gc=False):
    """An op with its place in the order of arrival and its size in bytes."""

    arrival: int
    size: int
    op: Op


class OpLog:
    """Ops in the order in which they were applied here."""

    def __init__(self, entries: Iterable[tuple[int, Op]] = ()) -> None:
        self._runs: dict[bytes, deque[Entry]] = {}
        self._order: deque[Entry] = deque()
        self.arrival = 0
        self.size = 0
        for arrival, op in entries:
            self._keep(arrival, op)

    def __len__(self) -> int:
        """How many ops the log holds."""
        return len(self._order)

    def __iter__(self) -> Iterator[Op]:
        """The ops, oldest first."""
        return (entry.op for entry in self._order)

    def append(self, op: Op) -> int:
        """Add the op that follows its writer's last one; returns its number in the order of arrival."""
        self._keep(self.arrival + 1, op)
        return self.arrival

    def _keep(self, arrival: int, op: Op) -> None:
        run = self._runs.get(op.writer)
        if run is None:
            run = self._runs[op.writer] = deque()
        if run and run[-1].op.counter + 1 != op.counter:
            raise InvariantBroken("a writer's ops are logged in order")
        size = op_bytes(op)
        entry = Entry(arrival, size, op)
        run.append(entry)
        self._order.append(entry)
        self.arrival = arrival
        self.size += size

    def reaches_back_to(self, vector: Mapping[bytes, int], seen: Mapping[bytes, int]) -> bool:
        """Whether the log holds all ops between vector and seen, the vector of this replica."""
        return all(
            vector.get(writer, 0) >= counter or self._first(writer, counter) <= vector.get(writer, 0) + 1
            for writer, counter in seen.items()
        )

    def _first(self, writer: bytes, counter: int) -> int:
        run = self._runs.get(writer)
        return run[0].op.counter if run else counter + 1

    def since(self, vector: Mapping[bytes, int], max_bytes: int) -> tuple[list[Op], bool]:
        """The oldest ops that vector lacks, in the order of arrival, up to about max_bytes; and whether there are more."""
        ops: list[Op] = []
        room = max_bytes
        tails = [self._tail(run, vector.get(writer, 0)) for writer, run in self._runs.items()]
        for entry in merge(*tails, key=attrgetter("arrival")):
            if room <= 0:
                return ops, True
            room -= entry.size
            ops.append(entry.op)
        return ops, False

    @staticmethod
    def _tail(run: "deque[Entry]", counter: int) -> Iterator[Entry]:
        skip = max(0, counter + 1 - run[0].op.counter) if run else 0
        return islice(run, skip, None)

    def truncate(self, stable: Mapping[bytes, int], max_bytes: int, at_most: int) -> list[int]:
        """Drop the oldest ops that are stable or don't fit into max_bytes; returns their numbers of arrival."""
        dropped: list[int] = []
        while self._order and len(dropped) < at_most:
            entry = self._order[0]
            if entry.op.counter > stable.get(entry.op.writer, 0) and self.size <= max_bytes:
                break
            self._forget(entry)
            dropped.append(entry.arrival)
        return dropped

    def _forget(self, entry: Entry) -> None:
        self._order.popleft()
        self.size -= entry.size
        run = self._runs[entry.op.writer]
        run.popleft()
        if not run:
            del self._runs[entry.op.writer]

    def drop(self, at_most: int) -> list[int]:
        """Drop some of the oldest ops, whoever may need them; returns their numbers of arrival."""
        dropped: list[int] = []
        while self._order and len(dropped) < at_most:
            dropped.append(self._order[0].arrival)
            self._forget(self._order[0])
        return dropped

    def clear(self) -> list[int]:
        """Drop everything, when the rows have jumped ahead of the log; returns the numbers of arrival."""
        dropped = [entry.arrival for entry in self._order]
        self._runs.clear()
        self._order.clear()
        self.size = 0
        return dropped


def op_bytes(op: Op) -> int:
    """About how many bytes an op takes on the wire."""
    size = 20 + 16 * len(op.dependencies) + 100 * len(op.requests)
    for record in op.records:
        size += 100 + len(record.key) + len(record.value or b"")
    return size
