"""
Causal histories, drawn by hypothesis: what several writers wrote, and what each write knew of.

A history keeps, beside each op, the set of all ops in its past, worked out from how it was drawn and not from its
vectors, so that it can be told whether an order of delivery is causal without the code that is to be tested.
"""

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from hypothesis import strategies as st

from kvsd.replication.causality import Dot, VersionVector, meet
from kvsd.replication.limits import Limits
from kvsd.replication.record import Op, Record
from tests.members import SHARD, WRITERS, Member

Dots = frozenset[tuple[bytes, int]]

AUTHORS = WRITERS[:3]
"""The members that write in a history; the last member only takes in what they wrote."""
KEYS = "abc"


class History(NamedTuple):
    """Ops in the order in which they were written, and the past of each."""

    ops: tuple[Op, ...]
    pasts: dict[tuple[bytes, int], Dots]

    def closed(self, arrived: Iterable[Op]) -> Dots:
        """Those of the ops whose whole past is among them: what a replica can have delivered of them."""
        here = {dot(op) for op in arrived}
        return frozenset(name for name in here if self.pasts[name] <= here)

    def is_causal(self, order: Sequence[Op]) -> bool:
        """Whether each op comes once, and after its past."""
        before: set[tuple[bytes, int]] = set()
        for op in order:
            if dot(op) in before or not self.pasts[dot(op)] <= before:
                return False
            before.add(dot(op))
        return True


def dot(op: Op) -> tuple[bytes, int]:
    """The writer and counter of an op."""
    return op.writer, op.counter


def reach(ops: Iterable[Op | tuple[bytes, int]]) -> VersionVector:
    """The vector that reaches up to these ops or dots."""
    vector: VersionVector = {}
    for op in ops:
        writer, counter = dot(op) if isinstance(op, Op) else op
        vector[writer] = max(counter, vector.get(writer, 0))
    return vector


class Step(NamedTuple):
    """How an op is made: which of the ops before it its author had seen, and what it says."""

    author: int
    causes: int
    """A bit for each of the latest ops before it."""
    sparse: bool
    """Whether it names only those, and not all of its past."""
    drift: int
    """By how much more than it must its stamp exceeds those of its past."""
    key: str
    value: bytes | None


steps = st.builds(
    Step,
    st.integers(0, len(AUTHORS) - 1),
    st.integers(0, 2**4 - 1),
    st.booleans(),
    st.integers(0, 3),
    st.sampled_from(KEYS),
    st.sampled_from((b"1", None, b"22")),
)


def written(drawn: Iterable[Step]) -> History:
    """The history of these steps."""
    ops: list[Op] = []
    pasts: dict[tuple[bytes, int], Dots] = {}
    for step in drawn:
        op, past = _next(step, ops, pasts)
        ops.append(op)
        pasts[dot(op)] = past
    return History(tuple(ops), pasts)


def _next(step: Step, ops: Sequence[Op], pasts: dict[tuple[bytes, int], Dots]) -> tuple[Op, Dots]:
    writer = AUTHORS[step.author]
    mine = [op for op in ops if op.writer == writer]
    causes = [op for bit, op in enumerate(reversed(ops)) if step.causes >> bit & 1]
    past = frozenset[tuple[bytes, int]]().union(*({dot(op)} | pasts[dot(op)] for op in (*causes, *mine[-1:])))
    stamp = 1 + step.drift + max((op.record.hlc for op in ops if dot(op) in past), default=0)
    dependencies = reach(causes if step.sparse else past)
    number = len(mine) + 1
    request = f"r{len(ops)}" if step.drift == 3 else ""
    origin = Dot(SHARD, writer, number)
    over = max((op.record.hlc for op in ops if dot(op) in past and op.record.key == step.key), default=0)
    record = Record(0, step.key, step.value, stamp, origin, {SHARD: dependencies}, 1, request, not over, over)
    return Op(SHARD, writer, number, 1, dependencies, (record,)), past


histories = (st.lists(steps, min_size=1, max_size=6) | st.lists(steps, min_size=6, max_size=10)).map(written)


def arrivals(history: History) -> st.SearchStrategy[list[Op]]:
    """All ops of a history in any order, some of them several times."""
    doubled = st.lists(st.sampled_from(history.ops), max_size=4)
    return doubled.flatmap(lambda more: st.permutations([*history.ops, *more]))


deliveries = histories.flatmap(lambda history: st.tuples(st.just(history), arrivals(history)))
"""A history, and its ops in the order in which they arrive."""


def batches(arrived: Sequence[Op]) -> st.SearchStrategy[list[list[Op]]]:
    """What arrives, cut into pushes."""
    cuts = st.lists(st.booleans(), min_size=len(arrived), max_size=len(arrived))
    return cuts.map(lambda ends: _cut(arrived, ends))


def _cut(arrived: Sequence[Op], ends: Sequence[bool]) -> list[list[Op]]:
    pushes: list[list[Op]] = [[]]
    for op, end in zip(arrived, ends, strict=True):
        pushes[-1].append(op)
        if end:
            pushes.append([])
    return pushes


# Several members at once

Kind = Literal["write", "unaware", "elsewhere", "delete", "deliver", "copy", "truncate", "collect", "restart"]

DELIVER: Kind = "deliver"
WRITES: tuple[Kind, ...] = ("write", "unaware", "elsewhere", "delete")
"""A client writes who has seen all that the member has, nothing of it, or what another member has too; or deletes."""


class Event(NamedTuple):
    """Something happens to a member; what ``which`` chooses from depends on the kind."""

    member: int
    kind: Kind
    which: int
    wall_ms: int


def events(*kinds: Kind) -> st.SearchStrategy[list[Event]]:
    """What happens in a shard, of these kinds; deliveries are as frequent as all the rest."""
    event = st.builds(
        Event,
        st.integers(0, len(AUTHORS) - 1),
        st.sampled_from((*kinds, *(DELIVER,) * len(kinds))),
        st.integers(0, 30),
        st.integers(0, 2),
    )
    return st.lists(event, max_size=10) | st.lists(event, min_size=15, max_size=40)


class Shard:
    """Members that write, hear of each other's writes and copy each other's rows, and what they should know by that."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.members = [Member(number, limits) for number in range(len(AUTHORS))]
        self.ops: list[Op] = []
        self.pasts: dict[tuple[bytes, int], Dots] = {}
        self._arrived: list[set[tuple[bytes, int]]] = [set() for _ in self.members]

    @property
    def history(self) -> History:
        """What was written so far."""
        return History(tuple(self.ops), self.pasts)

    def known(self, number: int) -> list[Op]:
        """What a member should have applied: of all that came to it that whose past has come too."""
        here = self._arrived[number]
        return [op for op in self.ops if dot(op) in here and self.pasts[dot(op)] <= here]

    def happen(self, event: Event) -> None:
        """Do what an event says, if it can be done."""
        number, member = event.member, self.members[event.member]
        match event.kind:
            case "deliver":
                if self.ops:
                    self.deliver(number, [self.ops[event.which % len(self.ops)]])
            case "copy":
                self.copy(number, event.which % len(self.members), 1 + event.wall_ms)
            case "truncate":
                member.truncate(event.which % 4)
            case "collect":
                member.collect(KEYS[event.which % len(KEYS)])
            case "restart":
                self.members[number] = member.restarted()
                self._arrived[number] = set(map(dot, self.known(number)))  # what was held back is lost
            case _:
                self._write(event)

    def deliver(self, number: int, ops: Sequence[Op]) -> None:
        """Ops come to a member; its own do not come back."""
        member = self.members[number]
        member.deliver(op for op in ops if op.writer != member.role.writer)
        self._arrived[number].update(map(dot, ops))

    def copy(self, number: int, donor: int, page_rows: int) -> None:
        """A member copies the rows of another."""
        member, other = self.members[number], self.members[donor]
        if number != donor:
            member.absorb(other, other.copy(member.role.vector, page_rows))
            self._arrived[number].update(map(dot, self.known(donor)))

    def _write(self, event: Event) -> None:
        member = self.members[event.member]
        vector = member.role.vector
        elsewhere = meet([vector, self.members[event.which % len(self.members)].role.vector])
        seen = {"unaware": {}, "elsewhere": elsewhere}.get(event.kind, dict(vector))
        value = None if event.kind == "delete" else b"%d" % len(self.ops)
        request = f"r{len(self.ops)}" if event.which % 2 else ""
        op = member.write(KEYS[event.which % len(KEYS)], value, seen, event.wall_ms, request)
        mine = [before for before in self.ops if before.writer == op.writer]
        causes = [before for before in self.ops if before.counter <= seen.get(before.writer, 0)]
        past = frozenset[tuple[bytes, int]]().union(*({dot(cause)} | self.pasts[dot(cause)] for cause in causes + mine))
        self.ops.append(op)
        self.pasts[dot(op)] = past
        self._arrived[event.member].add(dot(op))
