"""
Durable first: nothing that a crash at this instant would undo is said to anyone, nor called stable.
"""

from collections import deque
from collections.abc import Mapping, Sequence

from kvsd.replication.configuration import addresses
from kvsd.replication.effects import Keep, SetMarks
from kvsd.replication.marks import NO_MARKS, Final, Marks
from kvsd.replication.messages import Acknowledged, Forwarded, Heartbeat, Message, PullOps, PullRows, Push, Sender
from kvsd.replication.replica import Replica
from kvsd.replication.requests import Found, Outcome, Outdated, Unconfirmed, Written
from kvsd.simulate.monitor import Invariant, Monitor, Vector

MANY = 200
"""More answers than a node is given at once, and may still hand on."""


class Durability(Invariant):
    """Compares what is said with what is on the disk of who says it."""

    def hears(self, replica: Replica, sender: Sender, messages: Sequence[Message]) -> None:
        """What a message says must be on the sender's disk by now, as it should have been when it was sent."""
        said: list[tuple[str, Vector]] = []
        for message in messages:
            match message:
                case Heartbeat():
                    said += message.vectors.items()
                case Acknowledged():
                    said.append((message.shard, {message.writer: message.counter}))
                case Push() | PullOps():
                    said += ((op.shard, {op.writer: op.counter}) for op in message.ops)
                case PullRows():
                    said.append((message.shard, message.vector))
                case Forwarded(outcome=Found() | Written() | Unconfirmed() as outcome):
                    said += self._own(replica, sender.address, outcome)
                case _:
                    pass
        if said and self.monitor.trusting:
            self._compare(sender.address, said)

    def answered(self, replica: Replica, outcome: Outcome) -> None:
        """What a client is told of this node's own writes must be on its disk."""
        if isinstance(outcome, Found | Written | Unconfirmed) and self.monitor.trusting:
            address = replica.state.identity.address
            self._compare(address, self._own(replica, address, outcome))

    @staticmethod
    def _own(replica: Replica, address: str, outcome: Found | Written | Unconfirmed) -> list[tuple[str, Vector]]:
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
            if unreported := beyond(stable, replica.stability.reported(shard)):
                address = replica.state.identity.address
                self.accuse("stable-by-reports", f"{address} calls {unreported} of {shard} stable by reports of before")
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


class Concerns(Invariant):
    """
    What a client is told of how many replicas have its write is no more than what the disks of members hold.

    That is for the coordinator to know: a node that hands on what it was told may go by another configuration.
    """

    def __init__(self, monitor: Monitor) -> None:
        super().__init__(monitor)
        self._told: dict[Replica, deque[Outcome]] = {}

    def hears(self, replica: Replica, sender: Sender, messages: Sequence[Message]) -> None:
        """What another node says of a request that was sent on to it."""
        outcomes = (m.outcome for m in messages if isinstance(m, Forwarded) and not isinstance(m.outcome, Outdated))
        self._told.setdefault(replica, deque(maxlen=MANY)).extend(outcomes)

    def decided(self, replica: Replica, outcome: Outcome) -> None:
        """Count the disks that have all that the client's token names of the shard: the write, and what it depends on."""
        roster = replica.state.roster
        if not isinstance(outcome, Written | Unconfirmed) or not outcome.of or roster is None:
            return
        if outcome in self._told.get(replica, ()):
            return
        members, me = roster.members(outcome.shard), replica.state.identity.address
        named = outcome.token.dependencies.get(outcome.shard, {})
        having = [a for a in members if a == me or self._is_excused(a, outcome.shard) or not self._lacks(a, outcome)]
        if members and self.monitor.trusting and outcome.replicas > len(having):
            self.accuse(
                "write-concern",
                f"{me} says that {outcome.replicas} of {outcome.of} have {outcome.shard} {_readable(named)},"
                f" which is on the disks of {having} of {members}",
            )

    def _is_excused(self, address: str, shard: str) -> bool:
        """Whether it lost its disk: what it has said before may still be on its way."""
        return (address, shard) in self.monitor.dropped

    def _lacks(self, address: str, outcome: Written | Unconfirmed) -> dict[str, int]:
        return beyond(outcome.token.dependencies.get(outcome.shard, {}), self.disks(address).get(outcome.shard, {}))


def _readable(vector: Vector) -> dict[str, int]:
    return {writer.hex(): counter for writer, counter in vector.items()}


def beyond(vector: Vector, disk: Mapping[bytes, int]) -> dict[str, int]:
    """The entries of a vector that a disk does not reach."""
    return {writer.hex(): counter for writer, counter in vector.items() if disk.get(writer, 0) < counter}
