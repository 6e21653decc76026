"""
Causal broadcast within a shard.

A write becomes an *op*, numbered without gaps by its writer, that names the writes of the shard it depends on.  It is
sent once to every member that can be used; a replica applies it as soon as everything of its writer before it and all
that it names has been applied, and holds it back until then.  What gets lost on the way is fetched by anti-entropy.
"""

from collections.abc import Iterable

from kvsd.replication.causality import VersionVector
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
            if role and op.counter > role.vector.get(op.writer, 0) and self._hold(role, op, now):
                touched[role.shard] = role
        return [role for role in touched.values() if self.drain(role)]

    def _hold(self, role: Role, op: Op, now: float) -> bool:
        held = role.holdback.add(op, now)
        self.dropped += not held
        return held

    def drain(self, role: Role) -> bool:
        """Apply what is due of the hold-back queue; says whether that was anything."""
        applied = False
        for op in role.holdback.due(role.vector, self._state.epoch):
            self._apply(role, op)
            applied = True
        return applied

    def _apply(self, role: Role, op: Op) -> None:
        out = self._state.out
        for change in role.apply(op, out.written + 1):
            out.keep(change)
        self._state.dirty.add(role.shard)
