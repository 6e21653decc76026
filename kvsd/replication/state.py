"""
What a node knows, shared by the mechanisms that act on it.

The mechanisms (broadcast, anti-entropy, membership, …) know this and not each other; :mod:`kvsd.replication.replica`
alone knows them all.
"""

from typing import NamedTuple

from kvsd.replication.configuration import Configuration, Member
from kvsd.replication.effects import Now, SetBindings, SetConfiguration
from kvsd.replication.hlc import HybridClock
from kvsd.replication.limits import Limits
from kvsd.replication.liveness import Liveness
from kvsd.replication.outbox import Outbox
from kvsd.replication.placement import slot_of
from kvsd.replication.role import Role
from kvsd.replication.saved import Saved
from kvsd.replication.stamps import Stamps


class Identity(NamedTuple):
    """This node: its address, the 16 bytes that name its data directory, and a number drawn at each start."""

    address: str
    instance: bytes
    boot: int


class Binding(NamedTuple):
    """The instance that an address is bound to, and whether a majority is known to have bound it."""

    instance: bytes
    founded: bool


class State:
    """The node's configuration, its roles, its peers and its clock, and the outbox of the event at hand."""

    def __init__(self, identity: Identity, limits: Limits) -> None:
        self.identity = identity
        self.limits = limits
        self.clock = HybridClock()
        self.out = Outbox()
        self.liveness = Liveness(identity.address, limits)
        self.stamps = Stamps(self.clock, self.liveness, limits)
        self.configuration: Configuration | None = None
        self.bindings: dict[str, Binding] = {}
        self._members: dict[str, list[str]] = {}
        self.instances: dict[str, bytes] = {}
        """The instances to which a majority is known to have bound addresses."""
        self.writers: dict[bytes, Member] = {}
        """The members whose writer is known."""
        self.roles: dict[str, Role] = {}
        """This node's roles, by shard."""
        self.dirty: set[str] = set()
        """The shards whose vectors changed in this event."""
        self.storage_full = False
        self._writing_since: float | None = None
        self.now = Now(0.0, 0)
        """The time of the event at hand."""
        self.restored: float | None = None
        """When it took up what its disk had (monotonic seconds); None if that was nothing."""
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

    def restore(self, saved: Saved) -> None:
        """Take up where the disk left off."""
        self.restored = self.now.monotonic if saved.configuration else None
        self.clock.witness(saved.hlc)
        self.configuration = saved.configuration
        self.bindings = {address: Binding(*binding) for address, binding in saved.bindings.items()}
        self.learn_writers()
        for role in self.roles.values():
            if kept := saved.roles.get(role.writer):
                role.restore(kept)

    def adopt(self, configuration: Configuration) -> None:
        """Go by a configuration from now on; bindings of another cluster are void."""
        if self.configuration and self.configuration.cluster != configuration.cluster:
            self.bindings.clear()
            self.out.keep(SetBindings({}))
        self.configuration = configuration
        self.out.keep(SetConfiguration(configuration))
        self.learn_writers()

    def bind(self, address: str, instance: bytes, founded: bool) -> None:
        """Keep which instance an address belongs to."""
        if self.bindings.get(address) != (instance, founded):
            self.bindings[address] = Binding(instance, founded)
            self.out.keep(SetBindings(dict(self.bindings)))
            self.learn_writers()

    def learn_writers(self) -> None:
        """Derive whom to watch and who writes under which name; take up this node's own role once it is its own."""
        if self.configuration is None:
            return
        self.liveness.watch(self.configuration.nodes)
        self._members = {shard: self.configuration.members(shard) for shard in self.configuration.shards}
        self.instances = {address: b.instance for address, b in self.bindings.items() if b.founded}
        self.writers = self.configuration.writers(self.instances)
        member = self.configuration.member(self.identity.address)
        if member and self.founded and member.shard not in self.roles:
            writer = member.writer(self.identity.instance)
            self.roles[member.shard] = Role(member.shard, writer, self.clock, self.limits)

    # Durability

    def keep_vectors(self) -> None:
        """Keep, with this event's write, the vectors that changed in it."""
        for shard in sorted(self.dirty):
            self.out.keep(self.roles[shard].vector_change(self.out.written + 1))
        self.dirty.clear()
        if self._writing_since is None and self.out.position > self.out.written:
            self._writing_since = self.now.monotonic

    def synced(self, position: int) -> None:
        """Everything up to a position is durable."""
        self._writing_since = None if position == self.out.written else self.now.monotonic
        for role in self.roles.values():
            role.synced(position)

    def is_stuck(self, now: float) -> bool:
        """Whether the disk has been at a write for so long that this node should not pass for one that works."""
        since = self._writing_since
        return since is not None and not self.storage_full and now - since > self.limits.suspect_seconds

    # Asking

    def shard_of(self, key: str) -> tuple[int, str]:
        """The tenure and the shard of a key."""
        assert self.configuration is not None, "keys have a place only in a configuration"
        return self.configuration.owner(slot_of(key))

    def members(self, shard: str) -> list[str]:
        """The addresses of a shard's members."""
        return self._members.get(shard, [])

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
