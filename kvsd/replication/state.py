"""
What a node knows, shared by the mechanisms that act on it.

The mechanisms (broadcast, anti-entropy, membership, …) know this and not each other; :mod:`kvsd.replication.replica`
alone knows them all.
"""

from functools import partial
from typing import NamedTuple

from kvsd.replication.budget import Budget
from kvsd.replication.clocks import Clocks
from kvsd.replication.configuration import Configuration, Member
from kvsd.replication.durability import Durability
from kvsd.replication.effects import Now, SetBindings, SetConfiguration
from kvsd.replication.hlc import HybridClock
from kvsd.replication.invitations import Invitations
from kvsd.replication.key_changes import KeyChanges
from kvsd.replication.limits import Limits
from kvsd.replication.liveness import Liveness
from kvsd.replication.outbox import Outbox
from kvsd.replication.placement import slot_of
from kvsd.replication.role import Role
from kvsd.replication.roster import Roster
from kvsd.replication.saved import Saved
from kvsd.replication.shelf import EMPTY_SHELF, Shelf
from kvsd.replication.slow_ways import SlowWays
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


class Contest(NamedTuple):
    """
    The peer that heard another process at this node's address, and when it last said so (monotonic seconds).

    The other one may be of this instance (``same``): the last run of this node, or a copy.
    """

    peer: str
    at: float
    same: bool


class State:
    """The node's configuration, its roles, its peers and its clock, and the outbox of the event at hand."""

    def __init__(self, identity: Identity, limits: Limits, shelf: Shelf = EMPTY_SHELF) -> None:
        self.shelf = shelf
        self.identity = identity
        self.limits = limits
        self.clock = HybridClock()
        self.key_changes = KeyChanges()
        """Of the rows of all roles."""
        self.new_role = partial(Role, clock=self.clock, limits=limits, shelf=shelf, key_changes=self.key_changes)
        """Makes a role, of a shard and a writer."""
        self.out = Outbox()
        self.liveness = Liveness(identity.address, limits)
        self.invitations = Invitations(identity.address, limits)
        self.clocks = Clocks(self.liveness, limits)
        self.stamps = Stamps(self.clock, self.clocks, self.liveness, limits)
        self.configuration: Configuration | None = None
        self.epoch = 0
        """The epoch of the configuration, 0 without one."""
        self.bindings: dict[str, Binding] = {}
        self.roster: Roster | None = None
        """What follows from the configuration."""
        self.writers: dict[bytes, Member] = {}
        """All members, learners and departed whose writer is known."""
        self.instances: dict[str, bytes] = {}
        """The instances to which a majority is known to have bound the addresses of founding nodes."""
        self.roles: dict[str, Role] = {}
        """This node's roles, by shard."""
        self.dissolving: list[Role] = []
        """Roles that are over, and are forgotten little by little."""
        self.budget = Budget(limits.body_bytes)
        self.disk = Durability(self.out, self.roles, self.dissolving, limits)
        self.slow_ways = SlowWays(limits)
        self.now = Now(0.0, 0)
        """The time of the event at hand."""
        self.restored: float | None = None
        """When it took up what its disk had (monotonic seconds); None if that was nothing."""
        self.contested = False
        """Whether a majority has bound this founding node's address to another instance."""
        self.contest: Contest | None = None  # another process at this node's address
        self.fenced = ""
        """Why this node is no part of the cluster any more and does nothing at all, in words; empty where it is one."""

    @property
    def founded(self) -> bool:
        """Whether this node's address is known to belong to its instance."""
        address, instance, _ = self.identity
        return self.configuration is not None and self.configuration.nodes.get(address) == instance

    @property
    def usurped(self) -> bool:
        """Whether this node's address is known to belong to another instance."""
        if self.configuration is None or self.epoch == 1:
            return self.contested
        return self.configuration.nodes.get(self.identity.address) not in (None, b"", self.identity.instance)

    # Learning

    def restore(self, saved: Saved) -> None:
        """Take up where the disk left off."""
        self.restored = self.now.monotonic if saved.configuration else None
        self.clock.witness(saved.hlc)
        self.stamps.begin(self.now, saved.hlc)
        self.configuration = saved.configuration
        self.epoch = self.disk.epoch = saved.configuration.epoch if saved.configuration else 0
        self.bindings = {address: Binding(*binding) for address, binding in saved.bindings.items()}
        known: dict[bytes, Role] = {}
        for writer, kept in saved.roles.items():
            known[writer] = self.new_role(kept.shard, writer, place=kept.place)
            known[writer].restore(kept)
        self.learn(known)
        self.dissolving += known.values()

    def adopt(self, configuration: Configuration) -> None:
        """Go by a configuration from now on; bindings of another cluster are void."""
        if self.configuration and self.configuration.cluster != configuration.cluster:
            self.bindings.clear()
            self.out.keep(SetBindings({}))
        self.configuration, self.epoch = configuration, configuration.epoch
        self.disk.adopted(self.out.keep(SetConfiguration(configuration)), configuration.epoch)
        self.learn()

    def bind(self, address: str, instance: bytes, founded: bool) -> None:
        """Keep which instance the address of a founding node belongs to."""
        if self.bindings.get(address) != (instance, founded):
            self.bindings[address] = Binding(instance, founded)
            self.out.keep(SetBindings(dict(self.bindings)))
            self.learn()

    def learn(self, known: dict[bytes, Role] | None = None) -> None:
        """
        Derive what follows from the configuration and the bindings; take up and give up roles.

        ``known`` are roles by their writers, to be taken out and taken up where they are this node's.
        """
        if self.configuration is None:
            return
        self.instances = {address: b.instance for address, b in self.bindings.items() if b.founded}
        self.configuration = self.configuration.bound(self.instances)
        roster = self.roster = Roster(self.configuration, (self.identity.address, self.identity.instance))
        self.writers = roster.writers
        silent = self.invitations.follow(roster.invited, self.now.monotonic, new=bool(self.liveness.peers))
        self.liveness.watch(set(roster.everyone) - silent, self.now.monotonic)
        for shard in [shard for shard, role in self.roles.items() if not _is_place(roster, role)]:
            self.dissolving.append(self.roles.pop(shard))
        for shard, member in roster.places.items():
            role = self.roles.get(shard) or (known or {}).pop(member.writer, None)
            if role is None and member in roster.shard(shard).replicas():
                role = self.new_role(shard, member.writer)
            if role:
                self.roles[shard] = role
                role.whole, role.target = member not in roster.shard(shard).learners, None
                role.sweep_anew(partial(roster.keeps, shard))
                role.marks = role.marks.only(roster.tenures)

    def meet(self, address: str) -> None:
        """A node speaks: if it was merely invited, it is a peer from now on."""
        if self.invitations.meet(address):
            self.learn()

    # Asking

    def shard_of(self, key: str) -> tuple[int, str]:
        """The tenure and the shard of a key."""
        assert self.roster is not None, "keys have a place only in a configuration"
        return self.roster.owners[self.roster.slots[slot_of(key)]]

    def members(self, shard: str) -> list[str]:
        """The addresses of a shard's members."""
        return self.roster.members(shard) if self.roster else []

    def others(self, shard: str) -> list[str]:
        """The addresses of the other members of a shard that can be used now."""
        return [address for address in self.members(shard) if self.usable(address)]

    def usable(self, address: str) -> bool:
        """Whether a node is alive and the one that its address belongs to."""
        peer = self.liveness.peers.get(address)
        return peer is not None and peer.usable and self.is_genuine(address, peer.instance)

    def is_genuine(self, address: str, instance: bytes) -> bool:
        """Whether this instance is known to belong to the address."""
        return self.roster is not None and self.roster.is_genuine(address, instance)

    def is_destroyed(self, address: str) -> bool:
        """
        Return True if the disk of a node counts as gone: another instance speaks for its address.

        That one does so only since the node was silent for the bound of the failure detector
        (:mod:`kvsd.replication.occupancy`).
        """
        if self.configuration is None or address == self.identity.address:
            return self.usurped
        peer, instance = self.liveness.peers.get(address), self.configuration.nodes.get(address)
        return bool(peer and peer.instance and instance) and peer is not None and peer.instance != instance

    def serving(self, shard: str) -> Role | None:
        """This node's role in a shard of which it is a member; none where it is fenced."""
        roster = self.roster
        return self.roles.get(shard) if roster and shard in roster.served and not self.fenced else None


def _is_place(roster: Roster, role: Role) -> bool:
    member = roster.places.get(role.shard)
    return member is not None and member.writer == role.writer


def nodes_in_view(state: State) -> list[str]:
    """Return the nodes that are taken to be up, this one among them."""
    return [*state.liveness.view(state.now.monotonic), *state.invitations.view(state.now.monotonic)]
