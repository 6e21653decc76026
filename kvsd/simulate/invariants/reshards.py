"""
Changing clusters: one configuration an epoch; only members of the owner write; what is said to be covered is there, and
nothing comes of a shard that was said to be done with.
"""

from collections import defaultdict
from collections.abc import Sequence

from kvsd.replication.branches import Forced
from kvsd.replication.configuration import Configuration
from kvsd.replication.effects import DropRole, Keep, LogOp, SetConfiguration, SetMarks, SetVector
from kvsd.replication.marks import NO_MARKS, Final, Marks
from kvsd.replication.placement import slot_of
from kvsd.replication.record import Op, Record
from kvsd.replication.replica import Replica
from kvsd.replication.requests import Absent, Changed, Counted, Found, Outcome, Written
from kvsd.replication.saved import Saved
from kvsd.simulate.invariants.repeats import MANY
from kvsd.simulate.monitor import Invariant, Monitor


class Roles(Invariant):
    """Notes under what names nodes keep replicas on their disks."""

    def __init__(self, monitor: Monitor) -> None:
        super().__init__(monitor)
        self.known: dict[str, dict[bytes, str]] = {}
        """By address, the writers that it is, with their shards."""

    def started(self, replica: Replica, saved: Saved) -> None:
        """What the disk knows."""
        roles = {writer: role.shard for writer, role in saved.roles.items()}
        self.known[replica.state.identity.address] = roles

    def wrote(self, replica: Replica, position: int, changes: Sequence[Keep]) -> None:
        """A vector is kept."""
        address = replica.state.identity.address
        for change in changes:
            match change:
                case SetVector(role, shard):
                    self.known.setdefault(address, {})[role] = shard
                case DropRole(role):
                    if shard := self.known[address].pop(role, ""):
                        self.monitor.dropped.add((address, shard))
                case _:
                    pass


class Chain(Invariant):
    """Epochs follow one another, and no two configurations that were forced in the same way have the same."""

    def __init__(self, monitor: Monitor) -> None:
        super().__init__(monitor)
        self._decided: dict[tuple[int, tuple[Forced, ...]], Configuration] = {}
        self._last: dict[Replica, Configuration | None] = {}
        self._unsynced: dict[Replica, list[tuple[int, Configuration]]] = {}
        """What was adopted and is not on disk: nobody else has heard of that, and a crash takes it back."""

    def started(self, replica: Replica, saved: Saved) -> None:
        """What the disk knows."""
        self._last[replica], self._unsynced[replica] = saved.configuration, []

    def wrote(self, replica: Replica, position: int, changes: Sequence[Keep]) -> None:
        """Configurations are adopted, and ops issued."""
        for change in changes:
            match change:
                case SetConfiguration(configuration):
                    self._adopted(replica, configuration)
                    self._unsynced.setdefault(replica, []).append((position, configuration))
                case LogOp(role, _, op) if op.writer == role:
                    self._issued(replica, op)
                case _:
                    pass

    def synced(self, replica: Replica, position: int) -> None:
        """A configuration counts once it is durable."""
        unsynced = self._unsynced.get(replica, [])
        while unsynced and unsynced[0][0] <= position:
            self._kept(replica, unsynced.pop(0)[1])

    def _kept(self, replica: Replica, configuration: Configuration) -> None:
        address, epoch = replica.state.identity.address, configuration.epoch
        known = self._decided.setdefault((epoch, configuration.forced), configuration)
        if epoch > 1 and known != configuration:
            self.accuse("one-configuration-an-epoch", f"{address} adopted another configuration of epoch {epoch}")

    def decided(self, replica: Replica, outcome: Outcome) -> None:
        """Who is fenced carries nothing out."""
        if replica.state.fenced and isinstance(outcome, Found | Absent | Written | Counted | Changed):
            self.accuse("fenced-does-nothing", f"{replica.state.identity.address} says {outcome}")

    def _adopted(self, replica: Replica, configuration: Configuration) -> None:
        address, epoch = replica.state.identity.address, configuration.epoch
        last, self._last[replica] = self._last[replica], configuration
        if last and epoch < last.epoch:
            self.accuse("epochs-increase", f"{address} goes back from epoch {last.epoch} to {epoch}")
        elif last and last.forced != tuple(step for step in configuration.forced if step.epoch <= last.epoch):
            self.accuse("branch-kept", f"{address} goes over to another branch with epoch {epoch}")
        if configuration.pending is None:
            for name in configuration.shards.keys() - set(configuration.shard_ids()):
                if configuration.shards[name].replicas():
                    self.accuse("one-place-each", f"{name} owns nothing in epoch {epoch} and has members")

    def _issued(self, replica: Replica, op: Op) -> None:
        """Only a member writes, and for its clients only to slots that its shard owns and of which it has a copy."""
        if replica.state.fenced:
            self.accuse("fenced-does-nothing", f"{replica.state.identity.address} writes in {op.shard}")
        address, role, configuration = replica.state.identity.address, None, replica.state.configuration
        for own in replica.state.roles.values():
            role = own if own.writer == op.writer else role
        if role is None or configuration is None:
            return  # it was a member when the event began
        if op.is_own and op.epoch == configuration.epoch:
            record = op.record
            tenure, owner = configuration.owner(slot_of(record.key))
            ready = not configuration.tenures[tenure].lineage or tenure in role.marks.ready
            if (record.tenure, op.shard) != (tenure, owner) or not ready:
                self.accuse("serve-rule", f"{address} wrote {record.key} of tenure {record.tenure} in {op.shard}")


class Debts(Invariant):
    """What a member wrote stays on its disk as long as somebody may want it."""

    def __init__(self, monitor: Monitor) -> None:
        super().__init__(monitor)
        self._own: dict[bytes, tuple[str, int]] = {}
        """By writer: the shard, and the last write of a client."""

    def started(self, replica: Replica, saved: Saved) -> None:
        """What the disk knows; what it does not was lost before anybody knew of it."""
        for writer, role in saved.roles.items():
            if writer in self._own:
                self._own[writer] = (role.shard, min(self._own[writer][1], role.vector.get(writer, 0)))

    def wrote(self, replica: Replica, position: int, changes: Sequence[Keep]) -> None:
        """Writes are issued, and roles are forgotten."""
        for change in changes:
            match change:
                case LogOp(role, _, op) if op.is_own and op.writer == role:
                    self._own[role] = (op.shard, op.counter)
                case DropRole(role):
                    self._check(replica, role)
                case _:
                    pass

    def _check(self, replica: Replica, writer: bytes) -> None:
        me = replica.state.identity.address
        if writer in replica.state.writers:
            shard = replica.state.writers[writer].shard
            self.accuse("forgotten-too-early", f"{me} forgets what it has of {shard} and still has a place there")
        shard, counter = self._own.pop(writer, ("", 0))
        for address in replica.state.members(shard) if self.monitor.trusting else ():
            gone = (address, shard) in self.monitor.dropped
            if not gone and self.disks(address).get(shard, {}).get(writer, 0) < counter:
                self.accuse("forgotten-too-early", f"{me} forgets writes of {shard} that {address} has not got")


class Covers(Invariant):
    """Keeps all writes of clients, and compares them with what replicas say to have taken over."""

    def __init__(self, monitor: Monitor) -> None:
        super().__init__(monitor)
        self._writes: defaultdict[bytes, dict[int, Record]] = defaultdict(dict)
        self._marks: dict[tuple[Replica, bytes], Marks] = {}
        self._finals: dict[Final, str] = {}

    def started(self, replica: Replica, saved: Saved) -> None:
        """What the disk knows."""
        for writer, role in saved.roles.items():
            self._marks[replica, writer] = role.marks

    def wrote(self, replica: Replica, position: int, changes: Sequence[Keep]) -> None:
        """Writes are issued, and marks are raised."""
        for change in changes:
            match change:
                case LogOp(role, _, op) if op.is_own:
                    if op.writer == role:
                        self._check_final(replica, op)
                    self._writes[op.writer][op.counter] = op.record
                case LogOp(_, _, op):
                    self._writes[op.writer].pop(op.counter, None)  # a write of that dot was lost in a crash, unseen
                case SetMarks(role, marks):
                    self._check_marks(replica, role, marks)
                case _:
                    pass

    def _check_marks(self, replica: Replica, writer: bytes, marks: Marks) -> None:
        before = self._marks.get((replica, writer), NO_MARKS)
        self._marks[replica, writer] = marks
        for tenure, covered in marks.cover.items():
            for shard, vector in covered.items():
                seen = before.covered(tenure, shard)
                for author, counter in vector.items():
                    for number in range(seen.get(author, 0) + 1, counter + 1):
                        self._check_cover(replica, writer, tenure, self._writes[author].get(number))
        for final in marks.final:
            self._finals.setdefault(final, replica.state.identity.address)
            if final not in before.final:
                self._check_source(replica, writer, final)

    def _check_cover(self, replica: Replica, writer: bytes, tenure: int, record: Record | None) -> None:
        """A write that concerns a tenure is there, or a later version, unless that was collected."""
        role = next((role for role in replica.state.roles.values() if role.writer == writer), None)
        roster = replica.state.roster
        if record is None or role is None or roster is None or not self.monitor.trusting:
            return
        if roster.concerns(tenure, record):
            row = role.store.get(tenure, record.key)
            forgotten = role.collected.stamp_of((tenure, record.key))
            if record.hlc > forgotten and (row is None or row.record.stamp < record.stamp):
                me, what = replica.state.identity.address, f"{record.key} := {record.value!r} of {record.origin}"
                self.accuse("cover-sound", f"{me} says that tenure {tenure} has all up to {what}, and has not got that")
            limits = replica.state.limits
            plenty = min(limits.requests, limits.page_requests) >= MANY
            if plenty and record.request and not role.requests.get(record.key, record.request):
                me, what = replica.state.identity.address, f"{record.key} := {record.value!r} of {record.origin}"
                self.accuse("requests-remembered", f"{me} has taken {what} over, and knows nothing of its request")

    def _check_source(self, replica: Replica, writer: bytes, final: Final) -> None:
        """Of a source that is done with, all is there that is on any disk."""
        roster = replica.state.roster
        disks = [self.disks(address).get(final.shard, {}) for address in (roster.everyone if roster else ())]
        for author, records in self._writes.items():
            kept = max((disk.get(author, 0) for disk in disks), default=0)
            for counter, record in records.items():
                if counter <= kept and record.origin.shard == final.shard:
                    self._check_cover(replica, writer, final.tenure, record)

    def _check_final(self, replica: Replica, op: Op) -> None:
        """Nothing new comes of a source that is done with."""
        roster = replica.state.roster
        for final, who in self._finals.items():
            if final.shard == op.shard and roster and roster.concerns(final.tenure, op.record):
                me = replica.state.identity.address
                self.accuse("final-sound", f"{me} wrote {op.record.key} in {op.shard} after {who} had noted {final}")
