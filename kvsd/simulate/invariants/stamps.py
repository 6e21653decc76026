"""
Stamps: a write has a later one than all that its author had seen, of whatever key, and than the version that it is put
over where it is issued, so that it has an effect there; for a node's clock is past all that the node holds.
"""

from collections.abc import Sequence

from kvsd.replication.effects import DropRow, Keep, LogOp, SetRow
from kvsd.replication.record import Op, Row, RowKey
from kvsd.replication.replica import Replica
from kvsd.replication.saved import Saved
from kvsd.simulate.monitor import Invariant, Monitor, rows_on_disk


class Stamps(Invariant):
    """Knows the stamps of all writes, by their dots, and those of the rows of all replicas."""

    def __init__(self, monitor: Monitor) -> None:
        super().__init__(monitor)
        self._stamps: dict[tuple[bytes, int], int] = {}
        self._rows: dict[tuple[Replica, bytes, RowKey], int] = {}
        self._latest: dict[Replica, int] = {}

    def started(self, replica: Replica, saved: Saved) -> None:
        """What the disk knows."""
        for place, row in rows_on_disk(replica, saved):
            self._hold(replica, place, row)

    def wrote(self, replica: Replica, position: int, changes: Sequence[Keep]) -> None:
        """Ops are applied, and rows change; the one who issues an op is the first to apply it."""
        for change in changes:
            match change:
                case LogOp(role, _, op):
                    if op.writer == role and op.is_own:
                        self._check(replica, op)
                    if op.is_own:
                        self._stamps[op.writer, op.counter] = op.record.hlc
                case SetRow(place, row):
                    self._hold(replica, place, row)
                case DropRow(place, tenure, key):
                    self._rows.pop((replica, place, (tenure, key)), None)
                case _:
                    pass

    def ticked(self, replica: Replica) -> None:
        """The next stamp will be later than all that are here."""
        latest, clock = self._latest.get(replica, 0), replica.state.clock.latest
        if clock < latest:
            address = replica.state.identity.address
            self.accuse("clock-past-all", f"{address} holds a row of {latest}, its clock is only at {clock}")

    def _hold(self, replica: Replica, place: bytes, row: Row) -> None:
        self._rows[replica, place, (row.record.tenure, row.record.key)] = row.record.hlc
        self._latest[replica] = max(row.record.hlc, self._latest.get(replica, 0))

    def _check(self, replica: Replica, op: Op) -> None:
        role = replica.state.roles.get(op.shard)
        place = role.place if role else op.writer
        if op.record.hlc <= (there := self._rows.get((replica, place, (op.record.tenure, op.record.key)), 0)):
            self._complain("write-takes-effect", replica, op, f"the version that was there has the stamp {there}")
        for vector in op.record.dependencies.values():
            for dot in vector.items():
                if op.record.hlc <= (stamp := self._stamps.get(dot, 0)):
                    why = f"its author had seen {dot[0].hex()}:{dot[1]}, which has the stamp {stamp}"
                    self._complain("stamps-follow-causality", replica, op, why)

    def _complain(self, rule: str, replica: Replica, op: Op, why: str) -> None:
        address, record = replica.state.identity.address, op.record
        what = f"{op.writer.hex()}:{op.counter} ({record.key} := {record.value!r} of {record.hlc})"
        self.accuse(rule, f"{address} issued {what} although {why}")
