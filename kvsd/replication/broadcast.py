"""
Causal broadcast within a shard.

A write becomes an *op*, numbered without gaps by its writer, that names the writes of the shard it depends on.  It is
sent once to every member that can be used; a replica applies it as soon as everything of its writer before it and all
that it names has been applied, and holds it back until then.  What gets lost on the way is fetched by anti-entropy.
"""

from collections.abc import Iterable

from kvsd.replication.causality import VersionVector, dominates
from kvsd.replication.messages import Push
from kvsd.replication.record import Op, Record
from kvsd.replication.role import Role
from kvsd.replication.state import State


class Broadcast:
    """Issues ops of this node's roles and delivers those of their peers."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.dropped = 0
        """How many ops found no room in the hold-back queue."""

    def issue(self, role: Role, record: Record, dependencies: VersionVector) -> None:
        """Apply a new write of this node's and send it to the other members."""
        state = self._state
        op = Op(role.shard, role.writer, record.origin.counter, record.epoch, dependencies, record)
        self._apply(role, op)
        for address in state.others(role.shard):
            state.out.send(address, Push([op]))

    def deliver(self, ops: Iterable[Op], now: float) -> list[Role]:
        """Take in ops of peers; returns the roles in which something was applied."""
        touched: dict[str, Role] = {}
        for op in ops:
            role = self._state.roles.get(op.shard)
            if role and self._take(role, op, now):
                touched[role.shard] = role
        return list(touched.values())

    def _take(self, role: Role, op: Op, now: float) -> bool:
        """Apply an op and what waited for it, or hold it back; says whether anything was applied."""
        if op.counter <= role.vector.get(op.writer, 0):
            return False
        if not self._is_plausible(role, op):
            self._state.out.note("op-refused", shard=op.shard, writer=op.writer.hex(), counter=op.counter)
            return False
        if self._is_due(role, op):  # never by way of a queue that may be full: all others may wait for this one
            self._apply(role, op)
            role.holdback.forget(role.vector)
            self.drain(role)
            return True
        self.dropped += not role.holdback.add(op, now)
        return False

    def _is_due(self, role: Role, op: Op) -> bool:
        follows = op.counter == role.vector.get(op.writer, 0) + 1
        return follows and op.epoch <= self._state.epoch and dominates(role.vector, op.dependencies)

    def _is_plausible(self, role: Role, op: Op) -> bool:
        """Whether a peer's op is what it says: of another writer, under the dot of its record, in its own shard."""
        origin, configuration = op.record.origin, self._state.configuration
        assert configuration is not None, "a role exists only in a configuration"
        named = (origin.shard, origin.writer, origin.counter) == (op.shard, op.writer, op.counter)
        placed = configuration.tenures.get(op.record.tenure) == op.shard or op.epoch > configuration.epoch
        return named and placed and op.writer != role.writer

    def drain(self, role: Role) -> None:
        """Apply what is due of the hold-back queue."""
        for op in role.holdback.due(role.vector, self._state.epoch):
            self._apply(role, op)

    def _apply(self, role: Role, op: Op) -> None:
        out = self._state.out
        for change in role.apply(op, out.written + 1):
            out.keep(change)
        self._state.dirty.add(role.shard)
