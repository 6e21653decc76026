"""
Stamps follow causality: a write has a later stamp than all that its author had seen, of whatever key.
"""

from collections.abc import Sequence

from kvsd.replication.effects import Keep, LogOp
from kvsd.replication.record import Op
from kvsd.replication.replica import Replica
from kvsd.simulate.monitor import Invariant, Monitor


class Stamps(Invariant):
    """Knows the stamps of all writes, by their dots."""

    def __init__(self, monitor: Monitor) -> None:
        super().__init__(monitor)
        self._stamps: dict[tuple[bytes, int], int] = {}

    def wrote(self, replica: Replica, position: int, changes: Sequence[Keep]) -> None:
        """Ops are applied; the one who issues an op is the first to do so."""
        for change in changes:
            if isinstance(change, LogOp):
                op = change.op
                if op.writer == change.role:
                    self._check(replica, op)
                self._stamps[op.writer, op.counter] = op.record.hlc

    def _check(self, replica: Replica, op: Op) -> None:
        for vector in op.record.dependencies.values():
            for dot in vector.items():
                stamp = self._stamps.get(dot, 0)
                if op.record.hlc <= stamp:
                    address, (writer, counter) = replica.state.identity.address, dot
                    what = f"{op.writer.hex()}:{op.counter} ({op.record.key} := {op.record.value!r} of {op.record.hlc})"
                    why = f"its author had seen {writer.hex()}:{counter}, which has the stamp {stamp}"
                    self.accuse("stamps-follow-causality", f"{address} applied {what} although {why}")
