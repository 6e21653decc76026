"""
Rows: a version is only ever replaced by one that beats it, equal vectors mean equal rows, and what was deleted and
forgotten does not come back.
"""

from collections import deque
from collections.abc import Sequence

from kvsd.replication.effects import DropRow, Keep, LogOp, SetRow, SetVector
from kvsd.replication.record import Record
from kvsd.replication.replica import Replica
from kvsd.replication.saved import Saved
from kvsd.simulate.monitor import Invariant, Monitor

Stamp = tuple[int, bytes]


class Rows(Invariant):
    """Keeps its own account of the stamps of all rows."""

    def __init__(self, monitor: Monitor) -> None:
        super().__init__(monitor)
        self._stamps: dict[tuple[Replica, bytes, str], Stamp] = {}
        self._forgotten: dict[str, dict[tuple[bytes, str], int]] = {}
        """By address: the stamps of the tombstones that were dropped there, by replica and key."""
        self._cuts: dict[tuple[str, frozenset[tuple[bytes, int]]], dict[str, Stamp]] = {}
        self._unsynced: dict[Replica, deque[tuple[int, str, dict[bytes, int], dict[str, Stamp]]]] = {}
        self.by_value: dict[str, set[int]] = {}
        """The stamps of all versions, by their values; a retry that came before its first try got another one."""
        self.by_request: dict[str, set[int]] = {}
        """The stamps of all versions that came of a request with an id, by that."""

    def started(self, replica: Replica, saved: Saved) -> None:
        """What the disk knows; a tombstone that is there was dropped in vain."""
        self._unsynced[replica] = deque()
        forgotten = self._forgotten.setdefault(replica.state.identity.address, {})
        for writer, role in saved.roles.items():
            for row in role.rows:
                self._stamps[replica, writer, row.record.key] = row.record.stamp
                forgotten.pop((writer, row.record.key), None)

    def wrote(self, replica: Replica, position: int, changes: Sequence[Keep]) -> None:
        """Rows change."""
        for change in changes:
            match change:
                case SetRow(role, row):
                    self._set(replica, role, row.record)
                case DropRow(role, _, key):
                    self._drop(replica, role, key)
                case LogOp(role, _, op):
                    self._logged(replica, role, op.record)
                case SetVector(_, shard, vector):
                    store = replica.state.roles[shard].store
                    live = {row.record.key: row.record.stamp for row in store if row.record.value is not None}
                    self._unsynced[replica].append((position, shard, vector, live))
                case _:
                    pass

    def synced(self, replica: Replica, position: int) -> None:
        """What is durable counts; what is not may be lost in a crash, and its dots used again."""
        unsynced = self._unsynced[replica]
        while unsynced and unsynced[0][0] <= position:
            self._compare(replica, *unsynced.popleft()[1:])

    def _set(self, replica: Replica, role: bytes, record: Record) -> None:
        last = self._stamps.get((replica, role, record.key))
        if last and record.stamp <= last:
            self._complain("last-writer-wins", replica, record, f"it had one with the larger stamp {last[0]}")
        self._stamps[replica, role, record.key] = record.stamp

    def _drop(self, replica: Replica, role: bytes, key: str) -> None:
        stamp = self._stamps.pop((replica, role, key), (0, b""))[0]
        self._forgotten[replica.state.identity.address][role, key] = stamp

    def _logged(self, replica: Replica, role: bytes, record: Record) -> None:
        if record.value is not None:
            self.by_value.setdefault(record.value.decode("utf-8", "replace"), set()).add(record.hlc)
        if record.request:
            self.by_request.setdefault(record.request, set()).add(record.hlc)
        forgotten = self._forgotten[replica.state.identity.address].get((role, record.key), 0)
        if record.hlc <= forgotten and self.monitor.trusting:
            self._complain("collected-too-early", replica, record, f"a tombstone of {forgotten} is forgotten already")

    def _compare(self, replica: Replica, shard: str, vector: dict[bytes, int], live: dict[str, Stamp]) -> None:
        """Replicas that have seen the same writes have the same live rows, whenever that was."""
        known = self._cuts.setdefault((shard, frozenset(vector.items())), live)
        if known != live:
            differ = {
                key: (known.get(key), live.get(key)) for key in {*known, *live} if known.get(key) != live.get(key)
            }
            address, seen = replica.state.identity.address, {writer.hex(): n for writer, n in vector.items()}
            self.accuse("equal-vectors-equal-rows", f"{address} differs from another replica at {seen}: {differ}")

    def _complain(self, rule: str, replica: Replica, record: Record, why: str) -> None:
        address = replica.state.identity.address
        self.accuse(rule, f"{address} took {record.key} := {record.value!r} of {record.hlc} although {why}")
