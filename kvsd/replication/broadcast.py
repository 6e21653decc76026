"""
Causal broadcast within a shard.

A write becomes an *op*, numbered without gaps by its writer, that names the writes of the shard it depends on.  It is
sent once to every member that can be used, unless much is on its way there as it is; a replica applies it as soon as everything of its writer before it and all
that it names has been applied, and holds it back until then.  What gets lost on the way is fetched by anti-entropy.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from kvsd.replication.causality import VersionVector, Writer, dominates
from kvsd.replication.invariant import InvariantBroken
from kvsd.replication.issuers import Issuer
from kvsd.replication.marks import NO_MARKS, Marks
from kvsd.replication.messages import Push
from kvsd.replication.occupant import Forked
from kvsd.replication.placement import Tenure
from kvsd.replication.record import CarriedOut, Op, Record
from kvsd.replication.role import Role
from kvsd.replication.state import State

MAX_FORKS = 256
"""How many pairs of processes that have copies of one disk are noted."""


@dataclass
class Unsent:
    """Ops of a shard that were issued in this event, about how many bytes they take, and whether their writer waits."""

    ops: list[Op] = field(default_factory=list)
    bytes: int = 0
    acknowledge: bool = False


class Broadcast:
    """Issues ops of this node's roles and delivers those of their peers."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._unsent: dict[str, Unsent] = {}
        self.forked: dict[str, str] = {}
        """The shards of which this node's replica holds writes of a process on a copy of a node's disk, and that node."""
        self._forks: set[tuple[str, Writer, int, int]] = set()
        """The pairs of processes on copies of one disk that were noted: shard, writer and boots."""
        self._refused: dict[bytes, int] = {}
        """The last op of each writer that was refused for its stamp."""
        self.dropped = 0
        """How many ops found no room in the hold-back queue."""

    def issue(self, role: Role, record: Record, dependencies: VersionVector, *, acknowledge: bool) -> None:
        """Apply a new write of this node's; the other replicas are sent it, and may be asked to acknowledge it."""
        boot, counter = self._state.identity.boot, record.origin.counter
        op = Op(
            role.shard,
            role.writer,
            counter,
            record.epoch,
            dependencies,
            (record,),
            (),
            NO_MARKS,
            boot,
            role.issuers.first,
            role.issuers.before,
        )
        self._issue(role, op, acknowledge=acknowledge)

    def take_over(self, role: Role, records: Sequence[Record], requests: Sequence[CarriedOut], marks: Marks) -> None:
        """Have a shard take over records that were written elsewhere, and mark what it was shown with that."""
        counter = role.vector.get(role.writer, 0) + 1
        seen = dict(role.vector)
        epoch = self._state.epoch
        boot = self._state.identity.boot
        op = Op(
            role.shard,
            role.writer,
            counter,
            epoch,
            seen,
            tuple(records),
            tuple(requests),
            marks,
            boot,
            role.issuers.first,
            role.issuers.before,
        )
        self._issue(role, op)

    def _issue(self, role: Role, op: Op, *, acknowledge: bool = False) -> None:
        roster, size = self._state.roster, role.log.size
        if roster is None or role.shard not in roster.served:
            raise InvariantBroken("only members write")
        self._apply(role, op)
        unsent = self._unsent.get(role.shard)
        if unsent is None:
            unsent = self._unsent[role.shard] = Unsent()
        unsent.ops.append(op)
        unsent.bytes += role.log.size - size
        unsent.acknowledge |= acknowledge
        if unsent.bytes > self._state.limits.page_bytes:
            self.send()

    def send(self) -> None:
        """Send what was issued in this event to the other replicas that can be used."""
        state, roster = self._state, self._state.roster
        if not self._unsent or roster is None:
            return
        unsent, self._unsent = self._unsent, {}
        full = state.slow_ways.full
        for shard, issued in unsent.items():
            push = Push(issued.ops, issued.acknowledge)
            for address in roster.audience.get(shard, ()):
                if state.usable(address) and address not in full:
                    state.out.send(address, push)

    def deliver(self, ops: Iterable[Op], now: float) -> list[Role]:
        """Take in ops of peers, if there is room on the disk; returns the roles in which something was applied."""
        if self._state.disk.full:
            return []
        touched: dict[str, Role] = {}
        horizon = self._state.stamps.horizon(self._state.now)
        for op in ops:
            role = self._state.roles.get(op.shard)
            if op.records and op.records[0].hlc > horizon and not self._is_credible(op):
                continue
            if role and self._take(role, op, now):
                touched[role.shard] = role
        return list(touched.values())

    def _is_credible(self, op: Op) -> bool:
        """
        Return True if the stamp of a peer's write is one that a clock which is right may have drawn.

        A write that is refused stays with its writer and is fetched again, until it is credible.  What a shard takes over
        was believed where it comes from.
        """
        if not op.is_own or self._state.stamps.is_credible(op.record.hlc, self._state.now):
            return True
        if self._refused.get(op.writer) != op.counter:
            self._refused[op.writer] = op.counter
            self._state.out.note("stamp-refused", shard=op.shard, writer=op.writer.hex(), counter=op.counter)
        return False

    def _take(self, role: Role, op: Op, now: float) -> bool:
        """Apply an op and what waited for it, or hold it back; says whether anything was applied."""
        known = role.issuers.known.get(op.writer)
        if known and known.boot != op.boot and role.issuers.is_forked(op, role.vector):
            self._meet_fork(role, op, known)
            return False
        if op.counter <= role.vector.get(op.writer, 0):
            return False
        if not self._is_plausible(role, op):
            self._state.out.note("op-refused", shard=op.shard, writer=op.writer.hex(), counter=op.counter)
            return False
        if self._is_due(role, op):  # never by way of a queue that may be full: all others may wait for this one
            self._apply(role, op)
            if role.holdback.count:
                role.holdback.leave_out(op)
                self.drain(role)
            return True
        self.dropped += not role.holdback.add(op, now)
        return False

    def _meet_fork(self, role: Role, op: Op, known: Issuer) -> None:
        """
        Refuse an op of a process on a copy of a disk, of which another process used the same numbers, and say so.

        The process that began later is told to stop; what was applied of it here stays, and is told to the operator.
        """
        state, member = self._state, self._state.writers.get(op.writer)
        node, is_later = member.node if member else "", (op.first, op.boot) > (known.first, known.boot)
        named = role.shard, op.writer, op.boot, known.boot
        if named not in self._forks and len(self._forks) < MAX_FORKS:
            self._forks.add(named)
            state.out.note("instance-forked", shard=role.shard, node=node, writer=op.writer.hex(), counter=op.counter)
        if not is_later:
            self.forked[role.shard] = node
        elif member:
            told = Forked(member.instance, op.boot, role.shard, op.counter)
            state.out.send(member.node, told, after=0)

    def _is_due(self, role: Role, op: Op) -> bool:
        """Whether an op can be applied; while a copy is on its way none can, as the copy may not have it."""
        follows = role.copy is None and op.counter == role.vector.get(op.writer, 0) + 1
        return follows and op.epoch <= self._state.epoch and dominates(role.vector, op.dependencies)

    def _is_plausible(self, role: Role, op: Op) -> bool:
        """Whether a peer's op is what it says: of another writer; a client's write in its own shard, or taken over."""
        if op.writer == role.writer:
            return False
        return self._is_placed(op) if op.is_own else not any(self._is_first(r.tenure) for r in op.records)

    def _is_placed(self, op: Op) -> bool:
        """Whether a client's write is of a tenure of its shard, as far as this configuration can tell."""
        configuration = self._state.configuration
        assert configuration is not None, "a role exists only in a configuration"
        tenure = op.records[0].tenure
        tenancy = configuration.tenures.get(tenure)
        known = tenure < configuration.next_tenure if tenancy is None else tenancy.shard == op.shard
        return known or op.epoch > configuration.epoch

    def _is_first(self, tenure: Tenure) -> bool:
        """Whether a tenure is one of those of the founding, for which nothing is taken over."""
        assert self._state.configuration is not None, "a role exists only in a configuration"
        tenancy = self._state.configuration.tenures.get(tenure)
        return tenancy is not None and not tenancy.lineage

    def drain(self, role: Role) -> None:
        """Apply what is due of the hold-back queue."""
        if role.copy or not role.holdback.count:
            return
        for op in role.holdback.due(role.vector, self._state.epoch):
            if role.issuers.is_forked(op, role.vector):
                self._meet_fork(role, op, role.issuers.known[op.writer])
            else:
                self._apply(role, op)

    def _apply(self, role: Role, op: Op) -> None:
        out = self._state.out
        out.keep_all(role.apply(op, out.written + 1))
        self._state.disk.dirty.add(role.shard)
