"""
What a node knows, shared by the mechanisms that act on it.

The mechanisms (broadcast, anti-entropy, membership, …) know this and not each other; :mod:`kvsd.replication.replica`
alone knows them all.
"""

from typing import NamedTuple

from kvsd.replication.causality import VersionVector, dominates, join
from kvsd.replication.configuration import Configuration, Member
from kvsd.replication.effects import Now, SetBindings, SetConfiguration, Ticket
from kvsd.replication.hlc import HybridClock
from kvsd.replication.limits import Limits
from kvsd.replication.liveness import Liveness
from kvsd.replication.messages import Forwarded
from kvsd.replication.outbox import Outbox
from kvsd.replication.placement import slot_of
from kvsd.replication.requests import Outdated, Unavailable, Verdict
from kvsd.replication.role import Role


class Identity(NamedTuple):
    """This node: its address, the 16 bytes that name its data directory, and a number drawn at each start."""

    address: str
    instance: bytes
    boot: int


class Binding(NamedTuple):
    """The instance that an address is bound to, and whether a majority is known to have bound it."""

    instance: bytes
    founded: bool


class Remote(NamedTuple):
    """A peer that forwarded a client's request, and its number for it."""

    peer: str
    id: int


Asker = Ticket | Remote


class State:
    """The node's configuration, its roles, its peers and its clock, and the outbox of the event at hand."""

    def __init__(self, identity: Identity, limits: Limits) -> None:
        self.identity = identity
        self.limits = limits
        self.clock = HybridClock()
        self.out = Outbox()
        self.liveness = Liveness(identity.address, limits)
        self.configuration: Configuration | None = None
        self.bindings: dict[str, Binding] = {}
        self.writers: dict[bytes, Member] = {}
        """The members whose writer is known."""
        self.roles: dict[str, Role] = {}
        """This node's roles, by shard."""
        self.dirty: set[str] = set()
        """The shards whose vectors changed in this event."""
        self.storage_full = False
        self.usurped = False
        """Whether the majority has bound this node's address to another instance."""

    @property
    def epoch(self) -> int:
        """The epoch of the configuration, 0 without one."""
        return self.configuration.epoch if self.configuration else 0

    @property
    def founded(self) -> bool:
        """Whether a majority has bound this node's address to its instance."""
        binding = self.bindings.get(self.identity.address)
        return binding is not None and binding.founded and binding.instance == self.identity.instance

    # Learning

    def adopt(self, configuration: Configuration) -> None:
        """Go by a configuration from now on; bindings of another cluster are void."""
        if self.configuration and self.configuration.cluster != configuration.cluster:
            self.bindings.clear()
            self.out.keep(SetBindings({}))
        self.configuration = configuration
        self.out.keep(SetConfiguration(configuration))
        self.watch()
        self.learn_writers()

    def watch(self) -> None:
        """Keep an eye on the configuration's nodes."""
        if self.configuration:
            self.liveness.watch(self.configuration.nodes)

    def bind(self, address: str, instance: bytes, founded: bool) -> None:
        """Keep which instance an address belongs to."""
        if self.bindings.get(address) != (instance, founded):
            self.bindings[address] = Binding(instance, founded)
            self.out.keep(SetBindings(dict(self.bindings)))
            self.learn_writers()

    def learn_writers(self) -> None:
        """Derive who writes under which name, and take up this node's own role once it is its own."""
        if self.configuration is None:
            return
        founded = {address: b.instance for address, b in self.bindings.items() if b.founded}
        self.writers = self.configuration.writers(founded)
        member = self.configuration.member(self.identity.address)
        if member and self.founded and member.shard not in self.roles:
            writer = member.writer(self.identity.instance)
            self.roles[member.shard] = Role(member.shard, writer, self.clock, self.limits)

    # Time

    def tick(self, now: Now) -> int:
        """
        A new stamp, by the clock that is furthest ahead in the cluster.

        So what is written later at another node, by a slower clock, does not lose for that.
        """
        return self.clock.tick(now.wall_ms + self.liveness.behind_ms())

    # Asking

    def shard_of(self, key: str) -> tuple[int, str]:
        """The tenure and the shard of a key."""
        assert self.configuration is not None, "keys have a place only in a configuration"
        tenure = self.configuration.slots[slot_of(key)]
        return tenure, self.configuration.tenures[tenure]

    def members(self, shard: str) -> list[str]:
        """The addresses of a shard's members."""
        return self.configuration.members(shard) if self.configuration else []

    def others(self, shard: str) -> list[str]:
        """The addresses of the other members of a shard that can be used now."""
        return [address for address in self.members(shard) if self.usable(address)]

    def usable(self, address: str) -> bool:
        """Whether a node is alive and the one that its address was bound to."""
        peer = self.liveness.peers.get(address)
        return peer is not None and peer.usable and self.is_genuine(address, peer.instance)

    def is_genuine(self, address: str, instance: bytes) -> bool:
        """Whether a majority is known to have bound the address to the instance."""
        return self.bindings.get(address) == (instance, True)

    def reported(self, address: str, shard: str) -> VersionVector | None:
        """The vector that a member last reported, None if it reported none in this epoch."""
        peer = self.liveness.peers.get(address)
        return peer.vectors.get(shard) if peer and peer.epoch == self.epoch else None

    def writer_of(self, address: str, shard: str) -> bytes | None:
        """The writer that a node is in a shard, if that is known."""
        return next((w for w, m in self.writers.items() if (m.node, m.shard) == (address, shard)), None)

    def holds(self, address: str, shard: str, needed: VersionVector) -> bool:
        """Whether a member is known to have what is needed: by its report, or because it wrote it."""
        known = dict(self.reported(address, shard) or {})
        writer = self.writer_of(address, shard)
        if writer in needed:
            join(known, {writer: needed[writer]})
        return dominates(known, needed)

    # Answering

    def answer(self, asker: Asker, outcome: Verdict, after: int = 0) -> None:
        """Give the outcome to whoever asked, a client or a peer, after a position is durable."""
        if isinstance(asker, Remote):
            self.out.send(asker.peer, Forwarded(asker.id, outcome), after)
        elif isinstance(outcome, Outdated):  # it may have been carried out elsewhere: a new stamp would repeat it
            self.out.reply(asker, Unavailable(outcome.shard), after)
        else:
            self.out.reply(asker, outcome, after)
