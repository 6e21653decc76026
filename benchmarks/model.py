"""
A model of a large cluster in one process, for measuring tokens.

Tokens are made by the code of a node: its state, its rules of what is stable, over a real configuration.  Time,
messages and rows are made up: a write arrives at each other replica after some milliseconds, heartbeats go out every
300 ms and take 20 to 400 ms to each node, and every node judges by those that have come in at it.  Counters begin
where a node stands that has taken some million writes.
"""

import heapq
from collections import deque
from itertools import accumulate, count
from random import Random
from typing import NamedTuple

from kvsd.replication.causality import Dot, VersionVector, Writer, copied, dominates, join_dependencies
from kvsd.replication.configuration import Configuration, Member, founding_configuration
from kvsd.replication.limits import Limits
from kvsd.replication.liveness import Peer
from kvsd.replication.placement import slot_of
from kvsd.replication.record import Record
from kvsd.replication.role import Role
from kvsd.replication.roster import Roster
from kvsd.replication.stability import Stability
from kvsd.replication.state import Identity, State
from kvsd.replication.token import EMPTY, Token, TokenCodec

LIMITS = Limits()
HEARTBEAT_MS = 1000 * LIMITS.heartbeat_seconds
HEARTBEATS_KEPT = 4
SHORTEST_DELAY_MS, LONGEST_DELAY_MS = 20, 400
PUSH_MS = (2.0, 20.0)
SYNC_MS = 5.0
ASK_AGAIN_MS = 20.0
VERSIONS_MS = 2000.0
FIRST_COUNTER = 3_000_000


class Load(NamedTuple):
    """
    What clients do: each sends ``rate`` requests a second on average (fewer than 200), half of them reads.

    ``zipf`` is the exponent by which some keys are more wanted than others, 0 for none.
    """

    clients: int
    rate: float
    keys: int
    zipf: float


class Node:
    """One replica: a node's real state and rules, and what is on its way to it; times are milliseconds."""

    def __init__(self, number: int, member: Member, cluster: "Cluster") -> None:
        self.number = number
        self.shard = member.shard
        self._cluster = cluster
        self._state = State(Identity(member.node, member.instance, 1), LIMITS)
        self._state.configuration = cluster.configuration
        self._state.roster = cluster.roster  # what is stable does not depend on this node's own places
        self.role = Role(member.shard, member.writer, self._state.clock, LIMITS)
        self.role.vector = cluster.first_vector(member.shard)
        self.role.durable = dict(self.role.vector)
        self.address = member.node
        self._state.roles[member.shard] = self.role
        self._stability = Stability(self._state)
        self._peers: dict[str, list[tuple[Node, Peer]]] = {}
        self.phase = cluster.random.uniform(0, HEARTBEAT_MS)
        """When it sends its first heartbeat."""
        self._beats = 0
        self._sent: deque[VersionVector] = deque([dict(self.role.durable)] * HEARTBEATS_KEPT, HEARTBEATS_KEPT)
        self._arriving: deque[tuple[float, Writer, int]] = deque()
        self._syncing: deque[tuple[float, Writer, int]] = deque()

    # Writes of the shard

    def expect(self, dot: Dot, due: float) -> None:
        """A write of another replica is on its way; none overtakes those before it."""
        self._arriving.append((max(due, self._arriving[-1][0]) if self._arriving else due, dot.writer, dot.counter))

    def catch_up(self, now: float) -> None:
        """Apply what has arrived, and take note of what is on disk."""
        while self._arriving and self._arriving[0][0] <= now:
            due, writer, counter = self._arriving.popleft()
            self.role.vector[writer] = counter
            self._syncing.append((due + SYNC_MS, writer, counter))
        while self._syncing and self._syncing[0][0] <= now:
            _, writer, counter = self._syncing.popleft()
            self.role.durable[writer] = counter

    def issue(self, key: str, token: Token, now: float) -> tuple[Record, Token]:
        """Carry out a write: the new version, and the client's token after it."""
        writer = self.role.writer
        dot = Dot(self.shard, writer, self.role.vector[writer] + 1)
        self.role.vector[writer] = dot.counter
        self._syncing.append((now + SYNC_MS, writer, dot.counter))
        hlc = max(token.hlc, self._state.clock.latest, int(now) << 16) + 1
        self._state.clock.witness(hlc)
        tenure, _ = self._state.shard_of(key)
        after = self.pruned(token.merged(self._state.epoch, hlc, {self.shard: {writer: dot.counter}}), now)
        unstable = self._stability.unstable(token.dependencies)
        return Record(tenure, key, b"1", hlc, dot, unstable, self._state.epoch, "", created=False, over=0), after

    def shown(self, record: Record, token: Token, now: float) -> Token:
        """The token of a client that was shown a record, as a node of that shard hands it out."""
        seen = copied(record.dependencies)
        join_dependencies(seen, {record.origin.shard: {record.origin.writer: record.origin.counter}})
        return self.pruned(token.merged(record.epoch, record.hlc, seen), now)

    # What is stable

    def pruned(self, token: Token, now: float) -> Token:
        """The token without what is stable, by the reports that have come in here by now."""
        self._hear(token, now)
        return self._stability.pruned(token)

    def _hear(self, token: Token, now: float) -> None:
        for shard in token.dependencies:
            if shard not in self._peers:
                self._meet(shard)
            for node, peer in self._peers[shard]:
                peer.vectors[shard] = node.reported(self.number, now)
        self._stability.refresh()

    def _meet(self, shard: str) -> None:
        """Know the other replicas of a shard; of those about which no token asks, a node of the model knows nothing."""
        others = [node for node in self._cluster.shards[shard] if node is not self]
        self._peers[shard] = [(node, Peer(node.address)) for node in others]
        for node, peer in self._peers[shard]:
            peer.epoch = self._state.epoch
            self._state.liveness.peers[node.address] = peer

    # Heartbeats

    def act(self, now: float) -> float:
        """Send a heartbeat to all; gives when the next is due."""
        self.catch_up(now)
        self._sent.append(dict(self.role.durable))
        self._beats += 1
        return self.phase + HEARTBEAT_MS * self._beats

    def reported(self, receiver: int, now: float) -> VersionVector:
        """What this node says to have durably in the last heartbeat of it that has come in at a receiver."""
        for back in range(1, HEARTBEATS_KEPT):
            beat = self._beats - back + 1
            sent = self.phase + HEARTBEAT_MS * (beat - 1)
            span = LONGEST_DELAY_MS - SHORTEST_DELAY_MS + 1
            if sent + SHORTEST_DELAY_MS + hash((self.number, receiver, beat)) % span <= now:
                return self._sent[-back]
        return self._sent[0]


class Cluster:
    """All nodes, the versions of all keys, and the clock."""

    def __init__(self, nodes: int, shards: int, random: Random) -> None:
        self.random = random
        self.configuration = _configuration(nodes, shards)
        self.roster = Roster(self.configuration, ("", b""))
        self.codec = TokenCodec(b"secret", self.configuration.cluster)
        number = count()
        self.shards: dict[str, list[Node]] = {
            name: [Node(next(number), member, self) for member in shard.members]
            for name, shard in self.configuration.shards.items()
        }
        self._versions: dict[str, deque[tuple[float, Record]]] = {}
        self._events: list[tuple[float, int, Node | Client]] = []
        self._number = count()
        for actor in (node for members in self.shards.values() for node in members):
            self.start(actor, actor.phase)

    def first_vector(self, shard: str) -> VersionVector:
        """What every replica of a shard has at the beginning."""
        return {member.writer: FIRST_COUNTER for member in self.configuration.shards[shard].members}

    def start(self, actor: "Node | Client", due: float) -> None:
        """Have a node or a client act for the first time."""
        heapq.heappush(self._events, (due, next(self._number), actor))

    def run(self, seconds: float) -> None:
        """Let time go by, up to so many seconds after the beginning."""
        while self._events[0][0] < 1000 * seconds:
            now, number, actor = self._events[0]
            heapq.heapreplace(self._events, (actor.act(now), number, actor))

    def member_for(self, key: str, now: float) -> Node:
        """Some replica of a key's shard, as it is now."""
        _, shard = self.configuration.owner(slot_of(key))
        node = self.random.choice(self.shards[shard])
        node.catch_up(now)
        return node

    def write(self, node: Node, key: str, token: Token, now: float) -> Token:
        """Have a replica write a key, and tell the others."""
        record, token = node.issue(key, token, now)
        for other in self.shards[node.shard]:
            if other is not node:
                other.expect(record.origin, now + self.random.uniform(*PUSH_MS))
        versions = self._versions.setdefault(key, deque())
        versions.append((now, record))
        while len(versions) > 1 and versions[1][0] < now - VERSIONS_MS:
            versions.popleft()
        return token

    def read(self, node: Node, key: str, token: Token, now: float) -> Token:
        """Have a replica show the winning version of a key that it has."""
        there = [r for _, r in self._versions.get(key, ()) if r.origin.counter <= node.role.vector[r.origin.writer]]
        if not there:
            return node.pruned(token, now)
        return node.shown(max(there, key=lambda record: record.stamp), token, now)


class Client:
    """A client that carries its token from request to request, each for a random key through a random node."""

    def __init__(self, cluster: Cluster, keys: "Keys", rate: float) -> None:
        self.token = EMPTY
        self.lengths: list[int] = []
        self.named: list[int] = []
        self.unmet = 0
        self._cluster = cluster
        self._keys = keys
        self._pause_ms = 1000 / rate - SYNC_MS

    def act(self, now: float) -> float:
        """Send one request; gives when the next is due."""
        cluster, key = self._cluster, self._keys.draw()
        node = cluster.member_for(key, now)
        if not dominates(node.role.vector, self.token.dependencies.get(node.shard, {})):
            self.unmet += 1
            return now + ASK_AGAIN_MS
        carry_out = cluster.read if cluster.random.random() < 0.5 else cluster.write
        self.token = carry_out(node, key, self.token, now)
        self.lengths.append(len(cluster.codec.encode(self.token)))
        self.named.append(sum(map(len, self.token.dependencies.values())))
        return now + SYNC_MS + cluster.random.expovariate(1 / self._pause_ms)


class Keys:
    """Which keys are asked for: all alike, or by Zipf's law."""

    def __init__(self, load: Load, random: Random) -> None:
        self._names = [f"key{number}" for number in range(load.keys)]
        self._weights = list(accumulate((rank + 1) ** -load.zipf for rank in range(load.keys)))
        self._random = random

    def draw(self) -> str:
        """A key."""
        return self._random.choices(self._names, cum_weights=self._weights)[0]


def _configuration(nodes: int, shards: int) -> Configuration:
    addresses = [f"10.0.{number // 250}.{number % 250 + 1}:8090" for number in range(nodes)]
    instances = {address: number.to_bytes(16, "big") for number, address in enumerate(addresses)}
    return founding_configuration(addresses, shards).bound(instances)


def clients_of(cluster: Cluster, load: Load) -> list[Client]:
    """Have clients begin to put a load on the cluster."""
    keys = Keys(load, cluster.random)
    clients = [Client(cluster, keys, load.rate) for _ in range(load.clients)]
    for client in clients:
        cluster.start(client, 1000 * cluster.random.uniform(0, 1 / load.rate))
    return clients
