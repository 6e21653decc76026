"""
A role: one replica of one shard on this node, under one member's name.

Its vector, rows and log change together and only by :meth:`Role.apply` (one op, in causal order) and
:meth:`Role.absorb` (a whole copy at once), so that what it holds is a causal cut at any moment.

A large copy would take long at once.  Who learns a shard takes it in page by page, into a role of no shard under a name
of its own, which nobody sees; once it is whole, the two exchange their rows (:meth:`Role.exchange`).  Where the rows of
a role are kept on disk, its *place*, is therefore not always under its own name.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator

from kvsd.replication.carried_out import Requests
from kvsd.replication.causality import VersionVector, Writer, dominates, join, missing
from kvsd.replication.collected import Collected
from kvsd.replication.effects import (
    DropOps,
    DropRequest,
    DropRole,
    DropRow,
    Keep,
    LogOp,
    SetCount,
    SetMarks,
    SetRow,
    SetVector,
)
from kvsd.replication.hlc import HybridClock
from kvsd.replication.holdback import HoldBack
from kvsd.replication.invariant import InvariantBroken
from kvsd.replication.issuers import Issuers
from kvsd.replication.key_changes import KeyChanges
from kvsd.replication.limits import Limits
from kvsd.replication.marks import NO_MARKS, Marks
from kvsd.replication.messages import PullRows
from kvsd.replication.oplog import OpLog
from kvsd.replication.placement import Tenure, TenureSlot, slot_of
from kvsd.replication.record import Op, Row
from kvsd.replication.saved import SavedRole
from kvsd.replication.shelf import EMPTY_SHELF, Shelf
from kvsd.replication.store import Store
from kvsd.replication.wanted import Wanted


class Role:
    """
    The state of one replica; ``writer`` is the name under which it writes and is kept on disk.

    Its rows are kept under the name ``place``, which is its own unless it is given; ``shelf`` has those that are durable;
    in ``key_changes`` is noted which of them change.
    """

    def __init__(
        self,
        shard: str,
        writer: Writer,
        clock: HybridClock,
        limits: Limits,
        place: Writer = b"",
        shelf: Shelf = EMPTY_SHELF,
        key_changes: KeyChanges | None = None,
    ) -> None:
        self.shard, self.writer = shard, writer
        self.place = place or writer
        self.vector: VersionVector = {}
        self.durable: VersionVector = {}
        """The part of the vector that is on disk."""
        self.marks = self.durable_marks = NO_MARKS
        """All marks, and those that are on disk."""
        self.whole = True
        """Whether it has all that a member had when it began to learn; always, unless it is a learner."""
        self.target: VersionVector | None = None
        """What a learner has to have for that."""
        self.copy: Role | None = None
        """The copy that is on its way here; until it is whole, ops wait."""
        self.keeps: Callable[[Tenure, int], bool] = _always
        """Whether the records of a slot can still be needed, in the configuration that is in force."""
        self._sweep: list[TenureSlot] = []
        """The slots whose rows are not needed any more."""
        self.collected = Collected(limits.collected)
        self.store = Store(self.place, shelf, limits, key_changes or KeyChanges())
        self.log, self.issuers = OpLog(), Issuers()
        self.holdback = HoldBack(limits.holdback_ops, limits.holdback_bytes)
        self._clock = clock
        self.requests = Requests(writer, limits.requests, limits.request_bytes)
        self._vectors: deque[tuple[int, VersionVector, Marks]] = deque()
        self._marked = NO_MARKS
        """The marks as they were kept last."""
        self.reported = Wanted()
        """Writes that peers report and this replica lacks."""
        self.asked = Wanted()
        """Writes that clients depend on and this replica lacks."""

    def restore(self, saved: SavedRole) -> None:
        """Take up what was kept."""
        self.collected.restore(saved.collected)
        self.vector, self.durable = dict(saved.vector), dict(saved.vector)
        ops, own = (op for _, op in saved.ops), self.vector.get(self.writer, 0)
        self.issuers.restore(self.writer, own, saved.issuer, ops)
        self.store.restore(saved.counts, saved.tombstones)
        self.log = OpLog(saved.ops)
        self.requests.restore(saved.requests)
        self.marks = self.durable_marks = self._marked = saved.marks

    # Changing

    def apply(self, op: Op, position: int) -> list[Keep]:
        """Apply the op that is due next; returns what is to be kept, in the write of the given position."""
        if op.counter != self.vector.get(op.writer, 0) + 1:
            raise InvariantBroken("a writer's ops are applied in order")
        if not dominates(self.vector, op.dependencies):
            raise InvariantBroken("an op is applied after its causes")
        self.vector[op.writer] = op.counter
        if op.boot:
            self.issuers.note(op)
        kept: list[Keep] = [LogOp(self.writer, self.log.append(op), op)]
        for record in op.records:
            self._clock.witness(record.hlc)
            if row := self._put(Row(op.writer, op.counter, record), position):
                kept.append(row)
            if record.request:
                kept += self.requests.remember(record)
        for request in op.requests:
            kept += self.requests.learn(request)
        if op.marks != NO_MARKS:
            self.marks = self.marks.merged(op.marks)
            self.collected.raise_to(op.marks.forgotten)
        return kept

    def take_in(self, rows: Iterable[Row], position: int) -> Iterator[Keep]:
        """Put rows of a copy in their places; only all of them are a causal cut."""
        for row in rows:
            if row.counter <= self.vector.get(row.writer, 0):
                continue  # it came by broadcast meanwhile, and may even have been deleted and collected since
            self._clock.witness(row.record.hlc)
            if kept := self._put(row, position):
                yield kept

    def exchange(self, copy: "Role", position: int) -> Iterator[Keep]:
        """Have the rows of a copy that is whole, and give it those that were here; :meth:`absorb` is to follow."""
        self.place, copy.place = copy.place, self.place
        self.store, copy.store = copy.store, self.store
        self.store.changes.note_all()
        self.sweep_anew(self.keeps)
        yield from copy.changes(position)

    def absorb(self, rows: Iterable[Row], message: PullRows, position: int) -> Iterator[Keep]:
        """Take over a copy: rows that amount, with what is here, to all in its vector, and what else came with it."""
        yield from self.take_in(rows, position)
        for request in message.requests:
            yield from self.requests.learn(request)
        yield DropOps(self.writer, self.log.clear())
        self.issuers.forget(missing(self.vector, message.vector))
        join(self.vector, message.vector)
        self.marks = self.marks.merged(message.marks)
        self.collected.raise_to(message.marks.forgotten)
        self.holdback.forget(self.vector)

    def _put(self, row: Row, position: int) -> Keep | None:
        """Put a row in its place, if it can be needed and beats what is there; returns what is to be kept then."""
        record = row.record
        tenure, key = record.tenure, record.key
        if not self.keeps(tenure, slot_of(key)):
            return None
        revives = (tenure, key) in self.store.tombstones and not record.is_tombstone
        return SetRow(self.place, row, revives) if self.store.put(row, position) else None

    def collect(self, tombstone: Row, position: int) -> Keep:
        """Drop a tombstone that nobody can need any more."""
        record = tombstone.record
        self.collected.note((record.tenure, record.key), record.hlc)
        return self._drop(tombstone, position)

    # Letting go

    def sweep_anew(self, keeps: Callable[[Tenure, int], bool]) -> None:
        """From now on keep the records of other slots, and drop what there is of all others, little by little."""
        self.keeps = keeps
        self._sweep = [slot for slot in self.store.counts.slots() if not keeps(*slot)]

    def sweep(self, at_most: int, position: int) -> Iterator[Keep]:
        """Drop some of the rows that can't be needed any more, in the write of the given position."""
        while at_most and self._sweep:
            rows = self.store.first_in(self._sweep[-1], at_most)
            yield from [self._drop(row, position) for row in rows]
            at_most -= len(rows)
            if at_most:
                self._sweep.pop()
        yield from self.counts()

    def _drop(self, row: Row, position: int) -> Keep:
        self.store.drop(row, position)
        return DropRow(self.place, row.record.tenure, row.record.key, row.record.is_tombstone)

    def counts(self) -> Iterator[Keep]:
        """What is to be kept of the slots whose counts have changed."""
        for slot, count in self.store.counts.take_changed():
            yield SetCount(self.place, *slot, *count)

    def dissolve(self, at_most: int, position: int) -> Iterator[Keep]:
        """Drop some of all that there is; the last of it is the role itself."""
        if self.keeps is not _never:
            self.sweep_anew(_never)
        yield DropOps(self.writer, self.log.drop(at_most))
        yield from (DropRequest(self.writer, number) for number in self.requests.drop(at_most))
        yield from self.sweep(at_most, position)
        if not (len(self.log) or len(self.requests) or len(self.store)):
            yield DropRole(self.writer)

    # Durability

    def changes(self, position: int) -> Iterator[Keep]:
        """What is to be kept of the vector and the marks, in the write of the given position."""
        vector = dict(self.vector)
        self._vectors.append((position, vector, self.marks))
        place = b"" if self.place == self.writer else self.place
        issuer = self.issuers.boot_of(self.writer)
        yield SetVector(self.writer, self.shard, vector, self._clock.latest, self.collected.latest, place, issuer)
        yield from self.counts()
        if self.marks is not self._marked:
            self._marked = self.marks
            yield SetMarks(self.writer, self.marks)

    def synced(self, position: int) -> None:
        """Everything up to the position is on disk."""
        while self._vectors and self._vectors[0][0] <= position:
            _, self.durable, self.durable_marks = self._vectors.popleft()
        self.store.reading.synced(position)
        if self.copy:
            self.copy.synced(position)


def _always(*_: int) -> bool:
    return True


def _never(*_: int) -> bool:
    return False
