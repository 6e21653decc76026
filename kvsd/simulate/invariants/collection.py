"""
Collection: only tombstones are dropped, and only once everybody has on disk what the deletion depends on; how late
they were is not forgotten.
"""

from collections.abc import Sequence

from kvsd.replication.effects import DropRow, Keep, SetRow
from kvsd.replication.record import Record
from kvsd.replication.replica import Replica
from kvsd.replication.saved import Saved
from kvsd.replication.store import RowKey
from kvsd.simulate.invariants.durability import beyond
from kvsd.simulate.monitor import Invariant, Monitor


class Collection(Invariant):
    """
    Looks at every row that is dropped.

    Who finds a key without a row gets no dependencies with that, so by then no member may lack any of them.
    """

    def __init__(self, monitor: Monitor) -> None:
        super().__init__(monitor)
        self._records: dict[tuple[Replica, bytes, str], Record] = {}
        self._dropped: dict[str, dict[tuple[str, RowKey], int]] = {}
        """By address: the stamps of the tombstones that were dropped there, by shard and key."""

    def started(self, replica: Replica, saved: Saved) -> None:
        """What the disk knows; what it still has was dropped in vain."""
        dropped = self._dropped.setdefault(replica.state.identity.address, {})
        for writer, role in saved.roles.items():
            for row in role.rows:
                self._records[replica, writer, row.record.key] = row.record
                dropped.pop((role.shard, (row.record.tenure, row.record.key)), None)

    def wrote(self, replica: Replica, position: int, changes: Sequence[Keep]) -> None:
        """Rows change, or are dropped."""
        for change in changes:
            match change:
                case SetRow(role, row):
                    self._records[replica, role, row.record.key] = row.record
                case DropRow(role, _, key):
                    record = self._records.pop((replica, role, key), None)
                    if record and self.monitor.trusting:
                        self._check(replica, record)
                case _:
                    pass

    def ticked(self, replica: Replica) -> None:
        """A replica that dropped a tombstone takes nothing for new that is older."""
        address = replica.state.identity.address
        for (shard, key), stamp in self._dropped[address].items():
            role = replica.state.roles.get(shard)
            if role and self.monitor.trusting and role.collected.stamp_of(key) < stamp:
                bound = role.collected.stamp_of(key)
                self.accuse(
                    "collected-remembered", f"{address} dropped a tombstone of {key} of {stamp} and knows of {bound}"
                )

    def _check(self, replica: Replica, record: Record) -> None:
        me, what = replica.state.identity.address, f"{record.key} := {record.value!r} of {record.hlc}"
        if not record.is_tombstone:
            self.accuse("collected-too-early", f"{me} dropped {what}, which is no tombstone")
        self._dropped[me][record.origin.shard, (record.tenure, record.key)] = record.hlc
        for shard, vector in record.dependencies.items():
            for address in replica.state.members(shard):
                if lacking := beyond(vector, self.disks(address).get(shard, {})):
                    why = f"{address} has not got {shard} {lacking} on disk"
                    self.accuse("collected-too-early", f"{me} dropped {what} although {why}")
