"""
Durable first: nothing that a crash at this instant would undo is said to anyone, nor called stable.
"""

from collections.abc import Mapping, Sequence

from kvsd.replication.configuration import addresses
from kvsd.replication.effects import Keep, SetMarks
from kvsd.replication.marks import NO_MARKS, Final, Marks
from kvsd.replication.messages import Forwarded, Heartbeat, Message, PullOps, PullRows, Push, Sender
from kvsd.replication.replica import Replica
from kvsd.replication.requests import Found, Outcome, Written
from kvsd.simulate.monitor import Invariant, Monitor, Vector


class Durability(Invariant):
    """Compares what is said with what is on the disk of who says it."""

    def hears(self, replica: Replica, sender: Sender, messages: Sequence[Message]) -> None:
        """What a message says must be on the sender's disk by now, as it should have been when it was sent."""
        said: list[tuple[str, Vector]] = []
        for message in messages:
            match message:
                case Heartbeat():
                    said += message.vectors.items()
                case Push() | PullOps():
                    said += ((op.shard, {op.writer: op.counter}) for op in message.ops)
                case PullRows():
                    said.append((message.shard, message.vector))
                case Forwarded(outcome=Found() | Written() as outcome):
                    said += self._own(replica, sender.address, outcome)
                case _:
                    pass
        if said and self.monitor.trusting:
            self._compare(sender.address, said)

    def answered(self, replica: Replica, outcome: Outcome) -> None:
        """What a client is told of this node's own writes must be on its disk."""
        if isinstance(outcome, Found | Written) and self.monitor.trusting:
            address = replica.state.identity.address
            self._compare(address, self._own(replica, address, outcome))

    @staticmethod
    def _own(replica: Replica, address: str, outcome: Found | Written) -> list[tuple[str, Vector]]:
        """The writes of a node itself that an outcome names."""
        shards = replica.state.configuration.shards.values() if replica.state.configuration else ()
        own = [member.writer for shard in shards for member in shard.members if member.node == address]
        vectors = outcome.token.dependencies.items()
        return [(shard, {w: vector[w]}) for shard, vector in vectors for w in own if w in vector]

    def _compare(self, address: str, said: Sequence[tuple[str, Vector]]) -> None:
        disk = self.disks(address)
        for shard, vector in said:
            if (address, shard) not in self.monitor.dropped and (lacking := beyond(vector, disk.get(shard, {}))):
                self.accuse("durable-first", f"{address} spoke of {shard} {lacking}, which is not on its disk")


class Stability(Invariant):
    """What a node calls stable is on the disks of all members and learners, and was shown to who takes it over."""

    def __init__(self, monitor: Monitor) -> None:
        super().__init__(monitor)
        self._checked: dict[tuple[Replica, str], Vector] = {}
        self._marks: dict[bytes, Marks] = {}
        """By writer: all that its role was ever marked with, be it on disk by now or not."""

    def wrote(self, replica: Replica, position: int, changes: Sequence[Keep]) -> None:
        """Marks are raised."""
        for change in changes:
            if isinstance(change, SetMarks):
                self._marks[change.role] = self._marks.get(change.role, NO_MARKS).merged(change.marks)

    def ticked(self, replica: Replica) -> None:
        """Look at all that is called stable newly."""
        configuration = replica.state.configuration
        if configuration is None or not self.monitor.trusting:
            return
        for shard in configuration.shards:
            stable = replica.stability.vector(shard)
            if stable and self._checked.get((replica, shard)) != stable:
                self._checked[replica, shard] = dict(stable)
                self._compare(replica, shard, stable)

    def _compare(self, replica: Replica, shard: str, stable: Vector) -> None:
        roster, me = replica.state.roster, replica.state.identity.address
        assert roster is not None, "something is stable in a configuration"
        for address in addresses(roster.shard(shard).replicas()):
            gone = (address, shard) in self.monitor.dropped
            if not gone and (lacking := beyond(stable, self.disks(address).get(shard, {}))):
                self.accuse(
                    "stable", f"{me} takes {shard} {lacking} to be stable, but {address} has not got it on disk"
                )
        for importer, tenure, since in roster.importers(shard):
            for member in roster.shard(importer).replicas():
                marks, final = self._marks.get(member.writer, NO_MARKS), Final(tenure, shard, since)
                if final not in marks.final and (lacking := beyond(stable, marks.covered(tenure, shard))):
                    self.accuse(
                        "stable", f"{me} takes {shard} {lacking} to be stable, but {member.node} was not shown it"
                    )


def beyond(vector: Vector, disk: Mapping[bytes, int]) -> dict[str, int]:
    """The entries of a vector that a disk does not reach."""
    return {writer.hex(): counter for writer, counter in vector.items() if disk.get(writer, 0) < counter}
