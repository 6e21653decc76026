"""
Collection: only tombstones are dropped, and only once everybody has on disk what the deletion depends on; how late
they were is not forgotten.
"""

from collections.abc import Sequence

from kvsd.replication.effects import DropRow, Keep, SetRow
from kvsd.replication.placement import slot_of
from kvsd.replication.record import Record, RowKey
from kvsd.replication.replica import Replica
from kvsd.replication.saved import Saved
from kvsd.simulate.invariants.durability import beyond
from kvsd.simulate.monitor import Invariant, Monitor, rows_on_disk


class Collection(Invariant):
    """
    Looks at every row that is dropped.

    Who finds a key without a row gets no dependencies with that, so by then no member may lack any of them.
    """

    def __init__(self, monitor: Monitor) -> None:
        super().__init__(monitor)
        self._records: dict[tuple[Replica, bytes, RowKey], Record] = {}
        self._dropped: dict[str, dict[tuple[bytes, RowKey], int]] = {}
        """By address: the stamps of the tombstones that were dropped there, by replica and key."""

    def started(self, replica: Replica, saved: Saved) -> None:
        """What the disk knows; what it still has was dropped in vain."""
        dropped = self._dropped.setdefault(replica.state.identity.address, {})
        for place, row in rows_on_disk(replica, saved):
            self._records[replica, place, (row.record.tenure, row.record.key)] = row.record
            dropped.pop((place, (row.record.tenure, row.record.key)), None)

    def wrote(self, replica: Replica, position: int, changes: Sequence[Keep]) -> None:
        """Rows change, or are dropped."""
        for change in changes:
            match change:
                case SetRow(place, row):
                    self._records[replica, place, (row.record.tenure, row.record.key)] = row.record
                case DropRow(place, tenure, key):
                    record = self._records.pop((replica, place, (tenure, key)), None)
                    shard = _shard_at(replica, place)
                    if record and shard and self.monitor.trusting:
                        self._check(replica, shard, place, record)
                case _:
                    pass

    def ticked(self, replica: Replica) -> None:
        """A replica that dropped a tombstone takes nothing for new that is older."""
        address = replica.state.identity.address
        roles = {role.place: role for role in replica.state.roles.values()}
        for (place, key), stamp in self._dropped[address].items():
            role = roles.get(place)
            if role and self.monitor.trusting and role.collected.stamp_of(key) < stamp:
                bound = role.collected.stamp_of(key)
                self.accuse(
                    "collected-remembered", f"{address} dropped a tombstone of {key} of {stamp} and knows of {bound}"
                )

    def _check(self, replica: Replica, own: str, place: bytes, record: Record) -> None:
        roster = replica.state.roster
        if roster is None or not roster.keeps(own, record.tenure, slot_of(record.key)):
            return  # it is of no use in this configuration
        me, what = replica.state.identity.address, f"{record.key} := {record.value!r} of {record.hlc}"
        if not record.is_tombstone:
            self.accuse("collected-too-early", f"{me} dropped {what}, which is no tombstone")
        self._dropped[me][place, (record.tenure, record.key)] = record.hlc
        for shard, vector in record.dependencies.items():
            for address in replica.state.members(shard):
                gone = (address, shard) in self.monitor.dropped
                if not gone and (lacking := beyond(vector, self.disks(address).get(shard, {}))):
                    why = f"{address} has not got {shard} {lacking} on disk"
                    self.accuse("collected-too-early", f"{me} dropped {what} although {why}")


def _shard_at(replica: Replica, place: bytes) -> str | None:
    """The shard of which a node keeps rows under a name; None where that is over, or a copy on its way."""
    return next((shard for shard, role in replica.state.roles.items() if role.place == place), None)
