"""
Rows: a version is only ever replaced by one that beats it, a replica has no rows beyond its vector, equal vectors mean
equal rows, and what was deleted and forgotten does not come back.
"""

from collections import Counter, deque
from collections.abc import Iterable, Sequence

from kvsd.replication.causality import VersionVector
from kvsd.replication.effects import DropRow, Keep, LogOp, SetRow, SetVector
from kvsd.replication.placement import TenureSlot, slot_of
from kvsd.replication.record import Record, Row, RowKey
from kvsd.replication.replica import Replica
from kvsd.replication.role import Role
from kvsd.replication.saved import Saved
from kvsd.simulate.monitor import Invariant, Monitor, rows_on_disk

Stamp = tuple[int, bytes]
Cut = tuple[str, int, frozenset[tuple[bytes, int]]]
"""A shard, an epoch and a vector."""


class Rows(Invariant):
    """Keeps its own account of the stamps of all rows."""

    def __init__(self, monitor: Monitor) -> None:
        super().__init__(monitor)
        self._stamps: dict[tuple[Replica, bytes], dict[RowKey, Stamp]] = {}
        self._changed: set[Replica] = set()
        """The replicas whose rows have changed since their last tick."""
        self._forgotten: dict[str, dict[tuple[bytes, RowKey], int]] = {}
        """By address: the stamps of the tombstones that were dropped there, by the place of the rows and key."""
        self._cuts: dict[Cut, dict[str, Stamp]] = {}
        self._unsynced: dict[Replica, deque[tuple[int, Cut, dict[str, Stamp]]]] = {}
        self.by_value: dict[str, set[int]] = {}
        """The stamps of all versions, by their values; a retry that came before its first try got another one."""
        self.by_request: dict[str, set[int]] = {}
        """The stamps of all versions that came of a request with an id, by that."""

    def started(self, replica: Replica, saved: Saved) -> None:
        """What the disk knows; a tombstone that is there was dropped in vain."""
        self._unsynced[replica] = deque()
        forgotten = self._forgotten.setdefault(replica.state.identity.address, {})
        found: dict[bytes, list[Row]] = {}
        for place, row in rows_on_disk(replica, saved):
            key = row.record.tenure, row.record.key
            self._stamps.setdefault((replica, place), {})[key] = row.record.stamp
            forgotten.pop((place, key), None)
            found.setdefault(place, []).append(row)
        for writer, role in saved.roles.items():
            if role.shard:
                self._check_cut(replica, role.shard, role.vector, found.get(role.place or writer, ()))

    def wrote(self, replica: Replica, position: int, changes: Sequence[Keep]) -> None:
        """Rows change."""
        self._changed.add(replica)
        for change in changes:
            match change:
                case SetRow(place, row):
                    self._set(replica, place, row.record)
                case DropRow(place, tenure, key):
                    self._drop(replica, place, (tenure, key))
                case LogOp(writer, _, op):
                    for record in op.records:
                        self._logged(replica, writer, record)
                case SetVector(_, shard, vector) if shard:
                    if own := replica.state.roles.get(shard):
                        self._check_cut(replica, shard, vector, own.store)
                    cut = (shard, replica.state.epoch, frozenset(vector.items()))
                    self._unsynced[replica].append((position, cut, self._live(replica, shard)))
                case _:
                    pass

    def synced(self, replica: Replica, position: int) -> None:
        """What is durable counts; what is not may be lost in a crash, and its dots used again."""
        unsynced = self._unsynced[replica]
        while unsynced and unsynced[0][0] <= position:
            self._compare(replica, *unsynced.popleft()[1:])

    def ticked(self, replica: Replica) -> None:
        """Where anything has changed, all that is read is what was applied, and what is counted is there."""
        if replica in self._changed:
            self._changed.discard(replica)
            state = replica.state
            copies = [role.copy for role in state.roles.values() if role.copy]
            for role in (*state.roles.values(), *copies, *state.dissolving):
                self._check_read(replica, role)

    def _check_read(self, replica: Replica, role: Role) -> None:
        stamps = self._stamps.get((replica, role.place), {})
        rows = {(row.record.tenure, row.record.key): row for row in role.store}
        if (read := {key: row.record.stamp for key, row in rows.items()}) != stamps:
            differ = {key for key in {*read, *stamps} if read.get(key) != stamps.get(key)}
            self._find_fault("reads-what-was-applied", replica, role, f"differs from what was applied at {differ}")
        buried = {key: row for key, row in rows.items() if row.record.is_tombstone}
        if buried != role.store.tombstones:
            differ = {key for key in {*buried, *role.store.tombstones} if key not in buried or key not in rows}
            self._find_fault("tombstones-true", replica, role, f"remembers other tombstones than it has: {differ}")
        counted: Counter[TenureSlot] = Counter()
        live: Counter[TenureSlot] = Counter()
        for (tenure, key), row in rows.items():
            counted[tenure, slot_of(key)] += 1
            live[tenure, slot_of(key)] += not row.record.is_tombstone
        for slot in {*counted, *role.store.counts.slots()}:
            if (found := (counted[slot], live[slot])) != (told := role.store.counts[slot])[:2]:
                self._find_fault("counts-true", replica, role, f"has {found} rows in slot {slot} and counts {told}")

    def _find_fault(self, rule: str, replica: Replica, role: Role, why: str) -> None:
        self.accuse(rule, f"{replica.state.identity.address} in {role.shard} {why}")

    @staticmethod
    def _live(replica: Replica, shard: str) -> dict[str, Stamp]:
        """The stamps of the live rows of a replica, of the tenures of the present."""
        role, configuration = replica.state.roles.get(shard), replica.state.configuration
        assert configuration is not None, "a role exists only in a configuration"
        return {
            row.record.key: row.record.stamp
            for row in (role.store if role else ())
            if row.record.value is not None and configuration.slots[slot_of(row.record.key)] == row.record.tenure
        }

    def _check_cut(self, replica: Replica, shard: str, vector: VersionVector, rows: Iterable[Row]) -> None:
        """What a replica has is a causal cut: it keeps no rows of a copy that is not whole."""
        for row in rows:
            if row.counter > vector.get(row.writer, 0):
                address, record = replica.state.identity.address, row.record
                what = f"{record.key} := {record.value!r} of {row.writer.hex()}:{row.counter}"
                self.accuse("rows-within-vector", f"{address} has {what} in {shard}, which is beyond its vector")
                return

    def _set(self, replica: Replica, place: bytes, record: Record) -> None:
        stamps = self._stamps.setdefault((replica, place), {})
        last = stamps.get((record.tenure, record.key))
        if last and record.stamp <= last:
            self._complain("last-writer-wins", replica, record, f"it had one with the larger stamp {last[0]}")
        stamps[record.tenure, record.key] = record.stamp

    def _drop(self, replica: Replica, place: bytes, key: RowKey) -> None:
        stamp = self._stamps.get((replica, place), {}).pop(key, (0, b""))[0]
        self._forgotten[replica.state.identity.address][place, key] = stamp

    def _logged(self, replica: Replica, writer: bytes, record: Record) -> None:
        if record.value is not None:
            self.by_value.setdefault(record.value.decode("utf-8", "replace"), set()).add(record.hlc)
        if record.request:
            self.by_request.setdefault(record.request, set()).add(record.hlc)
        place = next((own.place for own in replica.state.roles.values() if own.writer == writer), writer)
        forgotten = self._forgotten[replica.state.identity.address].get((place, (record.tenure, record.key)), 0)
        if record.hlc <= forgotten and self.monitor.trusting and _is_needed(replica, writer, record):
            self._complain("collected-too-early", replica, record, f"a tombstone of {forgotten} is forgotten already")

    def _compare(self, replica: Replica, cut: Cut, live: dict[str, Stamp]) -> None:
        """Replicas that have seen the same writes have the same live rows, whenever that was."""
        known = self._cuts.setdefault(cut, live)
        if known != live:
            differ = {
                key: (known.get(key), live.get(key)) for key in {*known, *live} if known.get(key) != live.get(key)
            }
            address, seen = replica.state.identity.address, {writer.hex(): n for writer, n in cut[2]}
            self.accuse("equal-vectors-equal-rows", f"{address} differs from another replica at {seen}: {differ}")

    def _complain(self, rule: str, replica: Replica, record: Record, why: str) -> None:
        address = replica.state.identity.address
        self.accuse(rule, f"{address} took {record.key} := {record.value!r} of {record.hlc} although {why}")


def _is_needed(replica: Replica, writer: bytes, record: Record) -> bool:
    """Whether a replica keeps a record where it comes: rows of tenures that are over are dropped in any case."""
    return any(
        role.writer == writer and role.keeps(record.tenure, slot_of(record.key))
        for role in replica.state.roles.values()
    )
