"""
Causal broadcast: a dot names one write for ever, a writer's ops are applied in order and once, each after its causes.
"""

from collections import deque
from collections.abc import Mapping, Sequence

from kvsd.replication.effects import Keep, LogOp, SetVector
from kvsd.replication.meeting import Meeting
from kvsd.replication.messages import Heartbeat, Message, PullRows, Sender
from kvsd.replication.record import Op
from kvsd.replication.replica import Replica
from kvsd.replication.saved import Saved
from kvsd.simulate.monitor import Invariant, Monitor


class Delivery(Invariant):
    """Keeps its own account, by counting alone, of what every replica has applied."""

    def __init__(self, monitor: Monitor) -> None:
        super().__init__(monitor)
        self._seen: dict[tuple[Replica, bytes], dict[bytes, int]] = {}
        self._ops: dict[tuple[bytes, int], Op] = {}
        self._unsynced: dict[Replica, deque[tuple[int, Op]]] = {}
        self._copies: dict[Replica, dict[str, dict[bytes, int]]] = {}
        """What a replica was told last: the vectors of the copies of rows that are whole with that, by shard."""

    def started(self, replica: Replica, saved: Saved) -> None:
        """What the disk knows has been applied."""
        self._unsynced[replica] = deque()
        for writer, role in saved.roles.items():
            self._seen[replica, writer] = dict(role.vector)
            for _, op in role.ops:
                self._one_dot_one_write(replica, op)

    def hears(self, replica: Replica, sender: Sender, messages: Sequence[Message]) -> None:
        """Only a copy of rows may make a vector jump, to where the copy ends; who meets the others says nothing of its own."""
        if any(isinstance(message, Heartbeat) and message.meeting and message.vectors for message in messages):
            self.accuse("met-first", f"{sender.address} said what it has, and others may remember that it had more")
        self._copies[replica] = {
            message.shard: message.vector
            for message in messages
            if isinstance(message, PullRows) and not message.cursor
        }

    def wrote(self, replica: Replica, position: int, changes: Sequence[Keep]) -> None:
        """Ops are applied, and vectors follow."""
        for change in changes:
            match change:
                case LogOp(role, _, op):
                    self._applied(replica, role, op)
                    if op.writer == role:
                        self._met_first(replica, op)
                        self._unsynced[replica].append((position, op))
                    else:
                        self._one_dot_one_write(replica, op)
                case SetVector(role, shard, vector):
                    self._raised(replica, role, shard, vector)
                case _:
                    pass

    def synced(self, replica: Replica, position: int) -> None:
        """A write can be seen by others once it is durable; until then, its dot may be used again after a crash."""
        unsynced = self._unsynced[replica]
        while unsynced and unsynced[0][0] <= position:
            self._one_dot_one_write(replica, unsynced.popleft()[1])

    def _applied(self, replica: Replica, role: bytes, op: Op) -> None:
        seen = self._seen.setdefault((replica, role), {})
        if not _is_due(op, seen):
            raise_to(seen, self._copies.get(replica, {}).get(op.shard, {}))
        if op.counter != seen.get(op.writer, 0) + 1:
            self._complain("delivery-order", replica, op, f"it had seen {seen.get(op.writer, 0)} of that writer")
        elif not _is_due(op, seen):
            missing = {writer.hex(): n for writer, n in _causes(op).items() if seen.get(writer, 0) < n}
            self._complain("causal-delivery", replica, op, f"it lacked what that depends on: {missing}")
        if op.epoch > replica.state.epoch:
            self._complain("configuration-first", replica, op, f"it only knew epoch {replica.state.epoch}")
        raise_to(seen, {op.writer: op.counter})

    def _raised(self, replica: Replica, role: bytes, shard: str, vector: dict[bytes, int]) -> None:
        seen = self._seen.setdefault((replica, role), {})
        if vector != seen:
            raise_to(seen, self._copies.get(replica, {}).get(shard, {}))
        if vector != seen:
            said, applied = ({writer.hex(): n for writer, n in v.items()} for v in (vector, seen))
            self.accuse("vector", f"{replica.state.identity.address} says that it has {said}, it applied {applied}")
        self._seen[replica, role] = dict(vector)

    def _met_first(self, replica: Replica, op: Op) -> None:
        if Meeting(replica.state).is_on():
            self._complain("met-first", replica, op, "others may remember that it had more before it was started")

    def _one_dot_one_write(self, replica: Replica, op: Op) -> None:
        known = self._ops.setdefault((op.writer, op.counter), op)
        if known != op:
            self._complain("one-dot-one-write", replica, op, f"another op has that dot: {known}")

    def _complain(self, rule: str, replica: Replica, op: Op, why: str) -> None:
        address = replica.state.identity.address
        deeds = ", ".join(f"{record.key} := {record.value!r}" for record in op.records)
        what = f"{op.writer.hex()}:{op.counter} ({deeds})"
        self.accuse(rule, f"{address} applied {what} although {why}")


def raise_to(seen: dict[bytes, int], vector: Mapping[bytes, int]) -> None:
    """Make a vector reach at least as far as another one."""
    for writer, counter in vector.items():
        seen[writer] = max(counter, seen.get(writer, 0))


def _is_due(op: Op, seen: Mapping[bytes, int]) -> bool:
    follows = op.counter == seen.get(op.writer, 0) + 1
    return follows and all(seen.get(writer, 0) >= counter for writer, counter in _causes(op).items())


def _causes(op: Op) -> dict[bytes, int]:
    """What an op has to come after: by its own word, and by what its author had seen of the shard."""
    causes = dict(op.dependencies)
    if op.is_own:
        raise_to(causes, op.record.dependencies.get(op.shard, {}))
    return causes
