"""
After the storm: within ten seconds of being mended, a cluster serves everybody, agrees, and is at rest.
"""

from collections.abc import Iterator, Sequence, Sized

from kvsd.replication.configuration import Configuration
from kvsd.replication.replica import Replica
from kvsd.replication.role import Role
from kvsd.simulate.clients import Client, Scribe
from kvsd.simulate.history import FinalState, Version
from kvsd.simulate.machine import Machine
from kvsd.simulate.plan import KEYS, Step
from kvsd.simulate.world import Cluster

SETTLE_SECONDS = 10.0
CHANGE_SECONDS = 30.0
"""For so long a change that is under way when all is mended may take to come to its end."""
POLL_SECONDS = 0.5
PROBE_SECONDS = 2.5
"""For so long before the end, at the latest, everybody is asked."""
PROBE_PATIENCE = 2.0
"""More than a POST of before the mending may still keep a link busy."""
ECHO_SECONDS = 1.5
"""By then it has shown which POSTs of before the mending got lost; their receivers are avoided for a while."""
HEARD_SECONDS = 1.0
DROPPED_SECONDS = 3.0
"""So long after its time an invited node may be in the configuration."""
END = "end"
"""The client whose reads come after everything."""


class Quiet:
    """Waits for a cluster to come to rest, and takes down what it ended with."""

    def __init__(self, cluster: Cluster, clients: Sequence[Client], scribe: Scribe, prefix: str) -> None:
        self._cluster = cluster
        self._machines = list(cluster.machines.values())
        self._clients = clients
        self._scribe = scribe
        self._prefix = prefix
        self._mended = cluster.clock.seconds()

    def settle(self, *, changing: bool, concerns: int) -> float:
        """
        Wait, ask everybody for everything, wait again; returns how many seconds it took in all.

        So many of those who ask want their writes to be at all replicas: no more than a node has room for.
        """
        patience = CHANGE_SECONDS if changing else SETTLE_SECONDS
        self._cluster.clock.run(self._mended + ECHO_SECONDS)
        self._rest(patience - PROBE_SECONDS)
        self._ask_everybody(concerns)
        self._rest(patience)
        seconds = self._cluster.clock.seconds() - self._mended
        self._read_all()
        return seconds

    def _rest(self, until: float) -> None:
        """Let time pass until there is no unrest; what there still is then is a violation."""
        clock = self._cluster.clock
        while unrest := next(self._unrest(), None):
            if clock.seconds() >= self._mended + until:
                self._cluster.monitor.accuse("liveness", f"{until:g} s after all was mended: {unrest}")
                return
            clock.run(clock.seconds() + POLL_SECONDS)

    # Requests

    def _ask_everybody(self, concerns: int) -> None:
        """Every node carries out writes, deletions and reads of keys of all shards, at once; some with a write concern."""
        scripts = []
        for asked, number in enumerate(self._serving()):
            w, wait = ("all", PROBE_PATIENCE) if asked < concerns else ("", 0.0)
            keys = [KEYS[(number + n) % len(KEYS)] for n in range(3)]
            deeds = [("put", keys[0]), ("get", keys[0]), ("delete", keys[1]), ("put", keys[2])]
            scripts.append([Step(0.01, deed, number, key, wait, PROBE_PATIENCE, w=w) for deed, key in deeds])  # type: ignore[arg-type]
        self._follow("p", scripts)

    def _read_all(self) -> None:
        """The last reads, of each key at two nodes, come after all that was ever answered."""
        answered = tuple(operation.number for operation in self._scribe.history if operation.answered is not None)
        keys = sorted({operation.key for operation in self._scribe.history})
        serving = self._serving()
        count = len(serving)
        scripts = [
            [Step(0.0, "get", serving[(number + half * (count // 2)) % count], key, 0.0, PROBE_PATIENCE, tries=5)]
            for number, key in enumerate(keys)
            for half in (0, 1)
        ]
        begun = len(self._scribe.history)
        self._follow(END, scripts)
        for operation in self._scribe.history[begun:]:
            operation.after = answered

    def _serving(self) -> list[int]:
        """The numbers of the machines that have a place in a shard."""
        configuration = self._cluster.configuration
        return [number for number, machine in enumerate(self._machines) if configuration.member(machine.address)]

    def _follow(self, name: str, scripts: Sequence[Sequence[Step]]) -> None:
        """Have clients follow scripts to the end; what they are refused is a violation."""
        clock, monitor = self._cluster.clock, self._cluster.monitor
        clients = [
            Client(f"{self._prefix}{name}{number}", script, self._machines, clock, self._scribe)
            for number, script in enumerate(scripts)
        ]
        for client in clients:
            client.begin()
        until = clock.seconds() + PROBE_PATIENCE * max(len(script) for script in scripts)
        while any(client.busy for client in clients) and clock.seconds() < until:
            clock.run(clock.seconds() + POLL_SECONDS / 10)
        for client in clients:
            for failure in client.failures:
                monitor.accuse("availability", f"after all was mended, {failure}")

    # Rest

    def _unrest(self) -> Iterator[str]:
        """What is not at rest."""
        yield from (f"client {client.name} still waits" for client in self._clients if client.busy)
        configuration = self._cluster.configuration
        for machine in self._machines:
            if machine.run is None:
                yield f"{machine.address} does not run"
            elif machine.address in configuration.nodes:
                yield from (f"{machine.address} {what}" for what in self._busy(machine.run.replica))
                if machine.run.replica.state.invitations.overdue(self._cluster.clock.seconds() - DROPPED_SECONDS):
                    yield f"{machine.address} has invited nodes that should have been dropped"
        yield from self._unsettled(configuration)
        for shard in configuration.shard_ids():
            first, *others = self._roles(shard)
            for other in others:
                if other.vector != first.vector or _rows(other) != _rows(first):
                    yield f"the replicas of {shard} differ"

    @staticmethod
    def _unsettled(configuration: Configuration) -> Iterator[str]:
        """What the configuration still has to do."""
        if configuration.pending:
            yield "a reshard is pending"
        if any(tenancy.sources for tenancy in configuration.tenures.values()):
            yield "sources are not drained"
        for name, shard in configuration.shards.items():
            if shard.learners or shard.departed:
                yield f"{name} has learners or departed"
        if any(loss.kept is None for loss in configuration.lost.values()):
            yield "losses are not settled"
        if configuration.absent:
            yield "nodes are absent"

    def _busy(self, replica: Replica) -> Iterator[str]:
        """What a replica has still to do."""
        state, now = replica.state, self._cluster.clock.seconds()
        if not state.founded:
            yield "is not founded"
        if state.configuration != self._cluster.configuration:
            yield f"is at epoch {state.epoch}"
        if state.dissolving or "" in self._cluster.roles.known[state.identity.address].values():
            yield "has a role or a copy to forget"
        if state.disk.full:
            yield "takes its disk to be full"
        if not state.stamps.are_trustworthy():
            yield "takes its clock to be far ahead"
        for peer in state.liveness.peers.values():
            if not peer.usable:
                yield f"avoids {peer.address}"
            if peer.told is None or now - peer.told > HEARD_SECONDS:
                yield f"sends no heartbeats to {peer.address}"
            if now - (peer.heard or 0.0) > HEARD_SECONDS:
                yield f"hears nothing of {peer.address}"
        if asked := _asked(replica):
            yield f"has {asked} requests of clients, nodes and operators to answer"
        for role in state.roles.values():
            yield from self._unfinished(replica, role)

    @staticmethod
    def _unfinished(replica: Replica, role: Role) -> Iterator[str]:
        roster = replica.state.roster
        if any(not roster or not roster.keeps(role.shard, *slot) for slot in role.store.counts.slots()):
            yield f"has rows of {role.shard} that nobody needs"
        if role.durable != role.vector:
            yield f"has writes of {role.shard} that are not durable"
        if role.holdback.count:
            yield f"holds back {role.holdback.count} ops of {role.shard}"
        if unstable := replica.stability.unstable_count(role):
            yield f"takes {unstable} writes of {role.shard} to be unstable"
        if len(role.log):
            yield f"keeps {len(role.log)} ops of {role.shard} in its log"
        if role.store.tombstones:
            yield f"keeps {len(role.store.tombstones)} tombstones of {role.shard}"

    # The end

    def finals(self) -> list[FinalState]:
        """What every replica holds."""
        return [
            FinalState(machine.address, shard, _rows(machine.run.replica.state.roles[shard]), _count(machine, shard))
            for shard in self._cluster.configuration.shard_ids()
            for machine in self._members(shard)
            if machine.run and shard in machine.run.replica.state.roles
        ]

    def _members(self, shard: str) -> list[Machine]:
        return [self._cluster.machines[address] for address in self._cluster.configuration.members(shard)]

    def _roles(self, shard: str) -> list[Role]:
        runs = [machine.run for machine in self._members(shard)]
        return [run.replica.state.roles[shard] for run in runs if run and shard in run.replica.state.roles]


def _asked(replica: Replica) -> int:
    """How much was asked of a replica that it has not answered yet."""
    queues: tuple[Sized, ...] = (replica.waiting, replica.concerns, replica.forwards, replica.administration)
    return sum(map(len, queues))


def _rows(role: Role) -> dict[str, Version]:
    return {
        row.record.key: Version(None if row.record.value is None else row.record.value.decode(), row.record.hlc)
        for row in role.store
    }


def _count(machine: Machine, shard: str) -> int:
    assert machine.run is not None, "only what runs can be asked"
    state = machine.run.replica.state
    return state.roles[shard].store.live_keys_in(state.roster.owned[shard] if state.roster else ())
