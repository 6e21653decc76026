"""
Replicas of a cluster in one process, without nodes: events go in, and effects are carried out by hand.

What a replica hears has been encoded and decoded as between nodes, so that no two replicas share an object.  A write
is durable at once.  All are founded from the start, as nodes are that were started again with their disks.
"""

import itertools
from collections.abc import Container, Iterable
from typing import NamedTuple

from kvsd.replication.configuration import founding_configuration
from kvsd.replication.effects import Effect, Now, Reply, Send, Write
from kvsd.replication.limits import Limits
from kvsd.replication.messages import Message, Sender
from kvsd.replication.replica import Replica
from kvsd.replication.requests import Outcome, Request
from kvsd.replication.saved import Saved
from kvsd.replication.state import Identity
from kvsd.wire import EnvelopeCodec, encode_message

SECRET = b"a secret of sixteen bytes"
START_WALL_MS = 1_800_000_000_000
TICK_SECONDS = Limits().tick_seconds


class Post(NamedTuple):
    """Messages as they come in at a node."""

    sender: Sender
    messages: list[Message]


class Site:
    """One replica, and what it has to say to those who listen."""

    def __init__(self, replica: Replica, listening: Container[str]) -> None:
        self.replica = replica
        self.address = replica.state.identity.address
        self.queues: dict[str, list[bytes]] = {}
        self.outcomes: dict[int, Outcome] = {}
        self._listening = listening

    def perform(self, effects: Iterable[Effect], now: Now) -> None:
        """Do what the replica wants."""
        for effect in effects:
            if isinstance(effect, Write):
                self.perform(self.replica.synced(effect.position, now), now)
            elif isinstance(effect, Send) and effect.peer in self._listening:
                self.queues.setdefault(effect.peer, []).append(encode_message(effect.message))
            elif isinstance(effect, Reply):
                self.outcomes[effect.ticket] = effect.outcome

    @property
    def sender(self) -> Sender:
        """How it signs what it says."""
        identity, configuration = self.replica.state.identity, self.replica.state.configuration
        assert configuration is not None, "all are founded from the start"
        return Sender(identity.address, identity.instance, configuration.cluster, configuration.epoch)


class Replicas:
    """A cluster of so many nodes in so many shards; what is said to others than ``listening`` nodes is thrown away."""

    def __init__(self, nodes: int, shards: int = 1, *, listening: int | None = None) -> None:
        addresses = [f"10.0.{number // 200}.{number % 200 + 1}:8090" for number in range(nodes)]
        instances = {address: address.encode().ljust(16, b"\0") for address in addresses}
        configuration = founding_configuration(addresses, shards).bound(instances)
        self._codec = EnvelopeCodec(SECRET)
        self._time = 1000.0
        self._ticket = 0
        self.listening = set(addresses[:listening])
        self.sites: dict[str, Site] = {}
        for number, (address, instance) in enumerate(instances.items(), 1):
            site = self.sites[address] = Site(Replica(Identity(address, instance, number)), self.listening)
            bindings = {other: (its, True) for other, its in instances.items()}
            site.perform(site.replica.start(Saved(configuration, bindings), None, (), self.now), self.now)
        for _ in range(4):
            self.pass_time()

    @property
    def now(self) -> Now:
        """The time, everywhere."""
        return Now(self._time, START_WALL_MS + int(self._time * 1000))

    def site(self, number: int) -> Site:
        """The number-th node, from 0."""
        return list(self.sites.values())[number]

    def members(self, shard: str) -> list[Site]:
        """The members of a shard."""
        return [self.sites[address] for address in self.site(0).replica.state.members(shard)]

    def keys_of(self, shard: str, count: int) -> list[str]:
        """So many keys that live in a shard."""
        owner = self.site(0).replica.state.shard_of
        keys = (f"key-{number:08}" for number in itertools.count())
        return list(itertools.islice((key for key in keys if owner(key)[1] == shard), count))

    def ticket(self) -> int:
        """A new ticket."""
        self._ticket += 1
        return self._ticket

    def ask(self, site: Site, request: Request) -> Outcome:
        """Put a request to a replica that answers at once."""
        ticket = self.ticket()
        site.perform(site.replica.submit(ticket, request, self.now), self.now)
        return site.outcomes.pop(ticket)

    # What is said

    def posts(self, receiver: Site) -> list[Post]:
        """All that is on its way to a node, decoded; it is as good as received."""
        found = []
        for site in self.sites.values():
            if messages := site.queues.pop(receiver.address, None):
                body = self._codec.encode(site.sender, receiver.address, messages)
                found.append(Post(*self._codec.decode(body, receiver.address)))
        return found

    def heartbeats(self, receiver: Site) -> list[Post]:
        """The heartbeats of all others, as they come in at a node."""
        for site in self.sites.values():
            if site is not receiver:
                site.queues[receiver.address] = [encode_message(site.replica.heartbeats.message(self.now))]
        return self.posts(receiver)

    def deliver(self) -> None:
        """Bring everybody what is said to them, until nobody says anything any more."""
        for _ in range(10):
            for address in sorted(self.listening):
                site = self.sites[address]
                for post in self.posts(site):
                    site.perform(site.replica.receive(post.sender, post.messages, self.now), self.now)

    def advance(self, seconds: float = TICK_SECONDS) -> None:
        """Time passes, and nobody has noticed it yet."""
        self._time += seconds

    def pass_time(self) -> None:
        """Time passes: everybody does what is due, and hears what the others say."""
        self.advance()
        for site in self.sites.values():
            site.perform(site.replica.tick(self.now), self.now)
        self.deliver()
