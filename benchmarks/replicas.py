"""
Replicas of a cluster in one process, without nodes: events go in, and effects are carried out by hand.

What a replica hears has been encoded and decoded as between nodes, so that no two replicas share an object.  A write
is durable at once.  All are founded from the start, as nodes are that were started again with their disks.
"""

import itertools
from collections.abc import Container, Iterable, Mapping, Sequence
from inspect import signature
from typing import Any, NamedTuple

from kvsd.replication.configuration import founding_configuration
from kvsd.replication.effects import DropRow, Effect, Keep, Now, Reply, Send, SetRow, Write
from kvsd.replication.limits import Limits
from kvsd.replication.messages import Message, Sender
from kvsd.replication.placement import slot_of
from kvsd.replication.record import Row
from kvsd.replication.replica import Replica
from kvsd.replication.requests import Get, Outcome, Request
from kvsd.replication.saved import Saved
from kvsd.replication.state import Identity
from kvsd.wire import EnvelopeCodec, encode_message

SECRET = b"a secret of sixteen bytes"
START_WALL_MS = 1_800_000_000_000
ONE_BY_ONE = "ticket" in signature(Replica.submit).parameters
"""Whether a replica takes requests one by one, as in earlier commits."""
TICK_SECONDS = Limits().tick_seconds


class Post(NamedTuple):
    """Messages as they come in at a node."""

    sender: Sender
    messages: list[Message]


class Durable:
    """A shelf of rows in a dictionary, by replica, tenure and key."""

    def __init__(self, rows: Mapping[tuple[bytes, int, str], Row]) -> None:
        self._rows = rows

    def get(self, role: bytes, tenure: int, key: str) -> Row | None:
        """The row of a key."""
        return self._rows.get((role, tenure, key))

    def scan(self, role: bytes, tenure: int, slot: int, after: str | None, at_most: int) -> list[Row]:
        """The first rows of a slot behind a key."""
        keys = (key for r, t, key in self._rows if (r, t, slot_of(key)) == (role, tenure, slot))
        found = sorted(key for key in keys if after is None or key > after)[:at_most]
        return [self._rows[role, tenure, key] for key in found]


class Site:
    """One replica, and what it has to say to those who listen."""

    def __init__(self, identity: Identity, listening: Container[str]) -> None:
        self.rows: dict[tuple[bytes, int, str], Row] = {}
        """What is durable, by replica, tenure and key."""
        given: dict[str, Any] = {"shelf": Durable(self.rows)} if "shelf" in signature(Replica).parameters else {}
        self.replica = Replica(identity, **given)  # earlier commits kept their rows themselves
        self.address = identity.address
        self.queues: dict[str, list[bytes]] = {}
        self.outcomes: dict[int, Outcome] = {}
        self._listening = listening

    def perform(self, effects: Iterable[Effect], now: Now) -> None:
        """Do what the replica wants."""
        for effect in effects:
            if isinstance(effect, Write):
                self._keep(effect.changes)
                self.perform(self.replica.synced(effect.position, now), now)
            elif isinstance(effect, Send) and effect.peer in self._listening:
                self.queues.setdefault(effect.peer, []).append(encode_message(effect.message))
            elif isinstance(effect, Reply):
                self.outcomes[effect.ticket] = effect.outcome

    def _keep(self, changes: Iterable[Keep]) -> None:
        for change in changes:
            if isinstance(change, SetRow):
                self.rows[change.role, change.row.record.tenure, change.row.record.key] = change.row
            elif isinstance(change, DropRow):
                self.rows.pop((change.role, change.tenure, change.key), None)

    @property
    def sender(self) -> Sender:
        """How it signs what it says."""
        identity, configuration = self.replica.state.identity, self.replica.state.configuration
        assert configuration is not None, "all are founded from the start"
        return Sender(identity.address, identity.instance, configuration.cluster, configuration.epoch)


def submit(replica: Replica, asked: Sequence[tuple[int, Request]], now: Now) -> list[Effect]:
    """Put requests to a replica, with their tickets, as one event."""
    given: Any = replica.submit
    effects: list[Effect] = []
    if ONE_BY_ONE:
        for ticket, request in asked:
            effects += given(ticket, request, now)
    else:
        effects = given(asked, now)
    return effects


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
            site = self.sites[address] = Site(Identity(address, instance, number), self.listening)
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
        """Put a request to a replica that answers at once, as a node does."""
        if isinstance(request, Get) and (outcome := site.replica.serving.reader.at_once(request, self.now)):
            return outcome
        ticket = self.ticket()
        site.perform(submit(site.replica, [(ticket, request)], self.now), self.now)
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
