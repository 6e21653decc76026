"""
Members of a shard without clients, peers or time: each is a role, the broadcast that feeds it, and a disk.

A test writes at one and carries the ops, or a copy of the rows, to the others in whatever order it likes.
"""

from collections.abc import Iterable, Mapping

from kvsd.entries import Entry, entries, owner_entry, saved
from kvsd.replication.broadcast import Broadcast
from kvsd.replication.causality import Dependencies, Dot, VersionVector
from kvsd.replication.configuration import founding_configuration
from kvsd.replication.effects import DropOps, Write
from kvsd.replication.limits import Limits
from kvsd.replication.marks import Marks
from kvsd.replication.messages import PullRows
from kvsd.replication.record import Op, Record, Row, RowKey
from kvsd.replication.role import Role
from kvsd.replication.saved import Saved
from kvsd.replication.state import Identity, State
from tests.tables import pages_of, row_table

SHARD = "s0"
ADDRESSES = tuple(f"10.0.0.{number}:8090" for number in range(1, 5))
INSTANCES = {address: address.encode().ljust(16, b"\0") for address in ADDRESSES}
CONFIGURATION = founding_configuration(ADDRESSES, 1)
WRITERS = tuple(member.writer for member in CONFIGURATION.bound(INSTANCES).shards[SHARD].members)
"""The writers of the members, in the order of their addresses."""


class Member:
    """One member of the shard, by its number from 0."""

    def __init__(self, number: int, limits: Limits | None = None) -> None:
        self.number = number
        self.disk: dict[str, dict[bytes, bytes]] = {"meta": {}, "rows": {}, "ops": {}}
        address = ADDRESSES[number]
        self.state = State(
            Identity(address, INSTANCES[address], 1), limits or Limits(), row_table(lambda: self.disk["rows"])
        )
        self._keep([owner_entry(INSTANCES[address], address)])
        self.state.adopt(CONFIGURATION)
        for other, instance in INSTANCES.items():
            self.state.bind(other, instance, founded=True)
        self.broadcast = Broadcast(self.state)
        self.settle()

    @property
    def role(self) -> Role:
        """The member's role."""
        return self.state.roles[SHARD]

    def settle(self) -> None:
        """End an event: what it changed is on disk."""
        self.state.disk.keep_vectors(0.0)
        for effect in self.state.out.take():
            if isinstance(effect, Write):
                self._keep(entries(effect.changes))
                self.state.disk.synced(effect.position, 0.0)

    def _keep(self, found: Iterable[Entry]) -> None:
        for table, key, value in found:
            if value is None:
                self.disk[table].pop(key, None)
            else:
                self.disk[table][key] = value

    # Events

    def write(self, key: str, value: bytes | None, dependencies: VersionVector, wall_ms: int, request: str = "") -> Op:
        """A client that has seen the dependencies writes; returns the op."""
        role, row = self.role, self.role.store.get(0, key)
        record = Record(
            tenure=0,
            key=key,
            value=value,
            hlc=self.state.clock.tick(wall_ms),
            origin=Dot(SHARD, role.writer, role.vector.get(role.writer, 0) + 1),
            dependencies=_of_shard(dependencies),
            epoch=1,
            request=request,
            created=row is None or row.record.is_tombstone,
            over=row.record.hlc if row else 0,
        )
        self.broadcast.issue(role, record, dict(dependencies), acknowledge=False)
        self.settle()
        return next(op for op in role.log if (op.writer, op.counter) == (role.writer, record.origin.counter))

    def deliver(self, ops: Iterable[Op]) -> None:
        """Ops of peers come."""
        self.broadcast.deliver(ops, 0.0)
        self.settle()

    def copy(self, vector: Mapping[bytes, int], page_rows: int) -> list[Row]:
        """The rows that a member with the vector lacks, as they are sent to it page by page."""
        return [row for page in pages_of(self.role.store, vector, page_rows) for row in page]

    def absorb(self, donor: "Member", rows: Iterable[Row]) -> None:
        """Take over a copy, made of these rows."""
        role, out = self.role, self.state.out
        requests = donor.role.requests.beyond(role.vector, 10**6)
        marks = donor.role.marks.merged(Marks(forgotten=donor.role.collected.latest))
        last = PullRows(1, SHARD, 1, 0, [], 0, dict(donor.role.vector), requests, marks)
        for change in role.absorb(rows, last, out.written + 1):
            out.keep(change)
        self.state.disk.dirty.add(SHARD)
        self.broadcast.drain(role)
        self.settle()

    def truncate(self, at_most: int) -> None:
        """The oldest ops leave the log."""
        self.state.out.keep(DropOps(self.role.writer, self.role.log.truncate({}, -1, at_most)))
        self.settle()

    def collect(self, key: str) -> None:
        """A key's tombstone, if there is one, is dropped."""
        if tombstone := self.role.store.tombstones.get((0, key)):
            self.state.out.keep(self.role.collect(tombstone, self.state.out.written + 1))
            self.state.disk.dirty.add(SHARD)
            self.settle()

    # What it has

    def rows(self) -> dict[RowKey, Row]:
        """Its rows by tenure and key."""
        return {(row.record.tenure, row.record.key): row for row in self.role.store}

    def found(self) -> Saved:
        """What is found on its disk."""
        meta, ops = (sorted(self.disk[table].items()) for table in ("meta", "ops"))
        return saved(meta, ops)[1]

    def restarted(self) -> "Member":
        """The member after a crash: what is on disk is all that is left of it."""
        member = Member(self.number, self.state.limits)
        member.state.roles.clear()
        member.disk = {table: dict(kept) for table, kept in self.disk.items()}
        member.state.restore(self.found())
        return member


def _of_shard(vector: VersionVector) -> Dependencies:
    return {SHARD: dict(vector)} if vector else {}
