"""
A role: one replica of one shard on this node, under one member's name.

Its vector, rows and log change together and only by :meth:`Role.apply` (one op, in causal order) and
:meth:`Role.absorb` (a whole copy at once), so that what it holds is a causal cut at any moment.
"""

from collections import deque
from collections.abc import Iterable, Iterator

from kvsd.replication.carried_out import Requests
from kvsd.replication.causality import VersionVector, Writer, dominates, join
from kvsd.replication.collected import Collected
from kvsd.replication.effects import DropOps, DropRow, Keep, LogOp, SetRow, SetVector
from kvsd.replication.hlc import HybridClock
from kvsd.replication.holdback import HoldBack
from kvsd.replication.limits import Limits
from kvsd.replication.oplog import OpLog
from kvsd.replication.record import CarriedOut, Op, Row
from kvsd.replication.saved import SavedRole
from kvsd.replication.store import RowKey, Store
from kvsd.replication.wanted import Wanted


class Role:
    """The state of one replica; ``writer`` is the name under which it writes and is kept on disk."""

    def __init__(self, shard: str, writer: Writer, clock: HybridClock, limits: Limits) -> None:
        self.shard = shard
        self.writer = writer
        self.vector: VersionVector = {}
        self.durable: VersionVector = {}
        """The part of the vector that is on disk."""
        self.collected = Collected(limits.collected)
        self.store = Store()
        self.log = OpLog()
        self.holdback = HoldBack(limits.holdback_ops, limits.holdback_bytes)
        self._clock = clock
        self.requests = Requests(writer, limits.requests)
        self._unsynced: dict[RowKey, int] = {}
        self._vectors: deque[tuple[int, VersionVector]] = deque()
        self.reported = Wanted()
        """Writes that peers report and this replica lacks."""
        self.asked = Wanted()
        """Writes that clients depend on and this replica lacks."""

    def restore(self, saved: SavedRole) -> None:
        """Take up what was kept."""
        self.collected.restore(saved.collected)
        self.vector, self.durable = dict(saved.vector), dict(saved.vector)
        self.store = Store(saved.rows)
        self.log = OpLog(saved.ops)
        self.requests.restore(saved.requests)

    # Changing

    def apply(self, op: Op, position: int) -> Iterator[Keep]:
        """Apply the op that is due next; yields what is to be kept, in the write of the given position."""
        assert op.counter == self.vector.get(op.writer, 0) + 1, "a writer's ops are applied in order"
        assert dominates(self.vector, op.dependencies), "an op is applied after its causes"
        self.vector[op.writer] = op.counter
        self._clock.witness(op.record.hlc)
        yield LogOp(self.writer, self.log.append(op), op)
        yield from self._put(Row(op.writer, op.counter, op.record), position)
        yield from self.requests.remember(op.record)

    def absorb(
        self, rows: Iterable[Row], requests: Iterable[CarriedOut], vector: VersionVector, position: int
    ) -> Iterator[Keep]:
        """Take over a copy: rows that amount, with what is here, to everything in vector, and the requests behind them."""
        for row in rows:
            if row.counter <= self.vector.get(row.writer, 0):
                continue  # it came by broadcast meanwhile, and may even have been deleted and collected since
            self._clock.witness(row.record.hlc)
            yield from self._put(row, position)
        for request in requests:
            yield from self.requests.learn(request)
        yield DropOps(self.writer, self.log.clear())
        join(self.vector, vector)
        self.holdback.forget(self.vector)

    def _put(self, row: Row, position: int) -> Iterator[Keep]:
        if self.store.put(row):
            key = (row.record.tenure, row.record.key)
            self._unsynced.pop(key, None)
            self._unsynced[key] = position
            yield SetRow(self.writer, row)

    def collect(self, tombstone: Row) -> Keep:
        """Drop a tombstone that nobody can need any more."""
        record = tombstone.record
        self.collected.note((record.tenure, record.key), record.hlc)
        self.store.drop((record.tenure, record.key))
        return DropRow(self.writer, record.tenure, record.key)

    # Durability

    def vector_change(self, position: int) -> Keep:
        """What is to be kept of the vector, in the write of the given position."""
        vector = dict(self.vector)
        self._vectors.append((position, vector))
        return SetVector(self.writer, self.shard, vector, self._clock.latest, self.collected.latest)

    def synced(self, position: int) -> None:
        """Everything up to the position is on disk."""
        while self._vectors and self._vectors[0][0] <= position:
            self.durable = self._vectors.popleft()[1]
        while self._unsynced and self._unsynced[key := next(iter(self._unsynced))] <= position:
            del self._unsynced[key]

    def position_of(self, key: RowKey) -> int:
        """The position after which a key's row is durable (0: it is)."""
        return self._unsynced.get(key, 0)
