"""
Causal cuts: a replica that shows a write shows its causes too, to readers without tokens as well.

Within a shard the broadcast sees to that, which :mod:`kvsd.simulate.invariants.delivery` looks after.  Here it is about
causes that were written in another shard, whose slots this one has taken over, or is taking over.
"""

from collections import defaultdict
from collections.abc import Sequence

from kvsd.replication.causality import Writer
from kvsd.replication.effects import Keep, LogOp
from kvsd.replication.placement import slot_of
from kvsd.replication.record import Op, Record
from kvsd.replication.replica import Replica
from kvsd.replication.role import Role
from kvsd.simulate.monitor import Invariant, Monitor


class CausalCuts(Invariant):
    """Keeps all writes of clients, and looks for the causes of each where it is applied."""

    def __init__(self, monitor: Monitor) -> None:
        super().__init__(monitor)
        self._writes: defaultdict[Writer, dict[int, Record]] = defaultdict(dict)

    def wrote(self, replica: Replica, position: int, changes: Sequence[Keep]) -> None:
        """Ops are applied; what they are about can be read from now on."""
        for change in changes:
            match change:
                case LogOp(role, _, op) if op.is_own:
                    if op.writer == role:
                        self._writes[role][op.counter] = op.record
                    self._check(replica, role, op)
                case _:
                    pass

    def _check(self, replica: Replica, writer: Writer, op: Op) -> None:
        """Look for causes in the tenure of a write, of the shards that the tenure was taken over from."""
        state, role, tenure = replica.state, replica.state.serving(op.shard), op.record.tenure
        if role is None or role.writer != writer or not role.whole or not state.configuration or not state.roster:
            return
        tenancy = state.configuration.tenures.get(tenure)
        if tenancy is None or tenancy.shard != op.shard or tenure not in role.marks.ready or not self.monitor.trusting:
            return
        for source in tenancy.sources.keys() & op.record.dependencies.keys():
            for author, counter in op.record.dependencies[source].items():
                if author in state.configuration.lost:
                    continue  # who depends on what is lost for good need not wait for it
                for number, cause in self._writes[author].items():
                    if number <= counter and state.roster.tenure_of(slot_of(cause.key)) == tenure:
                        self._look_for(replica, role, op, cause)

    def _look_for(self, replica: Replica, role: Role, op: Op, cause: Record) -> None:
        name = op.record.tenure, cause.key
        row = role.store.get(*name)
        if cause.hlc <= role.collected.stamp_of(name) or (row and row.record.stamp >= cause.stamp):
            return
        me, effect = replica.state.identity.address, f"{op.record.key} := {op.record.value!r} of {op.record.origin}"
        what = f"{cause.key} := {cause.value!r} of {cause.origin}"
        self.accuse("causal-cut", f"{me} shows {effect}, which depends on {what}, and has not got that")
