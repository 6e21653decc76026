"""
The configuration: which nodes there are, which of them replicate which shard, and which shard owns which slots.

There is one configuration an *epoch*, and every message and token names the epoch it was made in.  A *tenure* is one
stay of a set of slots at a shard; records are kept by tenure, so that slots that leave a shard and come back never
meet their own past.  A configuration is a value: what follows it is made by :mod:`kvsd.replication.changes`, and which
one follows is decided by :mod:`kvsd.replication.consensus`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256

from msgspec import Struct
from msgspec.structs import replace

from kvsd.replication.branches import Forced, branch_name
from kvsd.replication.causality import Writer, writer_id
from kvsd.replication.placement import SLOTS, Tenure, address_order
from kvsd.replication.superseded import Superseded

MIN_REPLICAS = 2
MAX_VOTERS = 7
MAX_NODES = 4_096
MAX_INVITED = 64
NOT_ENOUGH_NODES = "Not enough nodes to provide fault tolerance with requested shard count"


class ConfigurationError(ValueError):
    """A configuration that can't be; the text says why."""


class Member(Struct, frozen=True, array_like=True):
    """
    The place of a node's instance in a shard, since the epoch in which it was given it.

    The instances of founding nodes are empty in the first configuration, which is made by computation alone.
    """

    node: str
    shard: str
    epoch: int
    instance: bytes = b""

    @property
    def writer(self) -> Writer:
        """The name under which it writes there; empty while the instance is not known."""
        return writer_id(self.node, self.instance, self.shard, self.epoch) if self.instance else b""


class Shard(Struct, frozen=True, array_like=True):
    """
    Who replicates a shard.

    Members serve; learners are on their way to that; the departed serve no more and take no writes, but may still have
    writes that nobody else has.
    """

    members: tuple[Member, ...] = ()
    learners: tuple[Member, ...] = ()
    departed: tuple[Member, ...] = ()

    def replicas(self) -> tuple[Member, ...]:
        """Whoever serves or will."""
        return self.members + self.learners

    def holders(self) -> tuple[Member, ...]:
        """Whoever may have writes that nobody else has: learners write nothing."""
        return self.members + self.departed

    def everyone(self) -> tuple[Member, ...]:
        """All of them."""
        return self.members + self.learners + self.departed


class Tenancy(Struct, frozen=True, array_like=True):
    """
    What is known of a tenure: the shard; the shards that may still have writes for it, each since an epoch; and the
    older tenures whose writes these are.  The tenures of a founding have no older ones.
    """

    shard: str
    sources: dict[str, int] = {}
    lineage: tuple[Tenure, ...] = ()


class Move(Struct, frozen=True, array_like=True):
    """Slots on their way from one shard to another, where they will be a tenure."""

    tenure: Tenure
    source: str
    target: str
    slots: tuple[int, ...]
    lineage: tuple[Tenure, ...]


class Pending(Struct, frozen=True, array_like=True):
    """
    A reshard that is being prepared: since which epoch, to how many shards, what moves; which members will leave their
    shards for it, and which learners were added for it.
    """

    started: int
    shard_count: int
    moves: tuple[Move, ...]
    leave: tuple[Member, ...] = ()
    join: tuple[Member, ...] = ()


class Loss(Struct, frozen=True, array_like=True):
    """
    A writer whose disk is gone: its shard and node, up to which of its writes were heard of, and up to which others
    turned out to have them (None: that is being found out).
    """

    shard: str
    node: str
    known: int
    kept: int | None = None


class Configuration(Struct, frozen=True):
    """
    One epoch's configuration; ``slots[i]`` is the tenure of slot i, ``tenures`` what is known of each tenure.

    ``nodes`` are all nodes with their instances (empty: not known yet, see :meth:`invited`); ``absent`` those that were left out of the
    shards because they were down, and are to be given a place when they are back; ``lost`` the writers whose disks
    are gone.  ``next_shard`` and ``next_tenure`` are the first numbers that were never used.  ``forced`` are the steps
    to it that no quorum decided; ``superseded`` the instances, each with its address, in whose place another one was
    taken in: none of them ever has a place again.
    """

    cluster: str
    epoch: int
    nodes: dict[str, bytes]
    shards: dict[str, Shard]
    slots: tuple[int, ...]
    tenures: dict[Tenure, Tenancy]
    next_shard: int
    next_tenure: int
    pending: Pending | None = None
    lost: dict[Writer, Loss] = {}
    absent: tuple[str, ...] = ()
    forced: tuple[Forced, ...] = ()
    superseded: Superseded = ()

    def __post_init__(self) -> None:
        """Refuse what no founding and no change could have made."""
        if self.epoch < 1 or len(self.slots) != SLOTS:
            raise ConfigurationError(f"a configuration has an epoch from 1 and {SLOTS} slots")
        owners = {tenancy.shard for tenancy in self.tenures.values()}
        if set(self.slots) != self.tenures.keys() or not owners <= self.shards.keys():
            raise ConfigurationError("every slot has a tenure and every tenure a shard")
        if any(not self.shards[shard].members for shard in owners):
            raise ConfigurationError("a shard that owns slots has members")
        for name, shard in self.shards.items():
            if not name[1:].isdecimal() or any(m.shard != name for m in shard.everyone()):
                raise ConfigurationError(f"the members of shard {name} do not fit together")
            if any(m.node not in self.nodes for m in shard.replicas()):
                raise ConfigurationError(f"a member of shard {name} is no node of the cluster")

    def branch(self, epoch: int) -> bytes:
        """The name of the branch that it is on, as it was in an epoch up to its own."""
        return branch_name(self.forced, epoch)

    # Slots

    def shard_ids(self) -> list[str]:
        """The ids of all shards that own slots, in the order of their numbers."""
        return sorted({tenancy.shard for tenancy in self.tenures.values()}, key=shard_number)

    def owner(self, slot: int) -> tuple[Tenure, str]:
        """The tenure of a slot and the shard that owns it."""
        tenure = self.slots[slot]
        return tenure, self.tenures[tenure].shard

    # Nodes

    def members(self, shard: str) -> list[str]:
        """The addresses of a shard's members, sorted numerically; none for an unknown shard."""
        return addresses(self.shards.get(shard, Shard()).members)

    def assigned(self, shard: str) -> list[str]:
        """The addresses of a shard's members and of those that will be."""
        return addresses(self.shards.get(shard, Shard()).replicas())

    def member(self, node: str) -> Member | None:
        """The place of a node in a shard that owns slots, be it a learner's, if it has one."""
        owners = self.shard_ids()
        places = (m for shard in owners for m in self.shards[shard].replicas() if m.node == node)
        return next(places, None)

    def everyone(self) -> Iterator[Member]:
        """All members, learners and departed."""
        return (member for shard in self.shards.values() for member in shard.everyone())

    def invited(self) -> set[str]:
        """
        Return the addresses that a client has put into the cluster, and at which no node was heard yet.

        Those of founding nodes are none of them, and neither are those at which an earlier instance may still be.
        """
        if self.epoch == 1 or all(self.nodes.values()):
            return set()
        known = {member.node for member in self.everyone()}
        return {node for node, instance in self.nodes.items() if not instance and node not in known}

    def is_bound(self) -> bool:
        """Whether the instance of everyone is known."""
        return all(member.instance for member in self.everyone())

    def bound(self, instances: Mapping[str, bytes]) -> "Configuration":
        """The first configuration with the instances of founding nodes that are known; any later one as it is."""
        if self.epoch > 1:
            return self

        def bind(member: Member) -> Member:
            return replace(member, instance=instances.get(member.node, b""))

        return replace(
            self,
            nodes={node: instances.get(node, b"") for node in self.nodes},
            shards={name: Shard(tuple(map(bind, shard.members))) for name, shard in self.shards.items()},
        )

    def voters(self) -> list[str]:
        """The nodes that decide what follows: all members, or seven of them, from all shards alike."""
        ranks = [addresses(self.shards[shard].members) for shard in self.shard_ids()]
        longest = max(len(rank) for rank in ranks)
        in_turn = [rank[place] for place in range(longest) for rank in ranks if place < len(rank)]
        return sorted(list(dict.fromkeys(in_turn))[:MAX_VOTERS], key=address_order)

    # Where writes may still come from

    def sources(self, move: Move) -> dict[str, int]:
        """The shards that may still have writes for a move's slots, each with the epoch since when."""
        assert self.pending is not None, "moves are pending"
        found = {move.source: self.pending.started}
        for tenure in sorted({self.slots[slot] for slot in move.slots}):
            found.update((shard, self.pending.started) for shard in self.tenures[tenure].sources)
        return found

    def importers(self, shard: str) -> list[tuple[str, Tenure, int]]:
        """Who takes over writes of a shard: shard, tenure, and the epoch since when."""
        moves = self.pending.moves if self.pending else ()
        found = [(m.target, m.tenure, since[shard]) for m in moves if shard in (since := self.sources(m))]
        for tenure, tenancy in self.tenures.items():
            if shard in tenancy.sources:
                found.append((tenancy.shard, tenure, tenancy.sources[shard]))
        return sorted(found)

    def kept_tenures(self) -> set[Tenure]:
        """The tenures of which records may still be needed."""
        moves = self.pending.moves if self.pending else ()
        kept = set(self.tenures).union(*(move.lineage for move in moves), (move.tenure for move in moves))
        return kept.union(*(tenancy.lineage for tenancy in self.tenures.values() if tenancy.sources))


def founding_configuration(view: Iterable[str], shard_count: int) -> Configuration:
    """
    The first configuration, by computation alone: the i-th node (sorted) joins shard i mod the count, slots likewise.

    One node alone may found a cluster of one shard.  Raises ConfigurationError where a shard would have fewer than
    two members.
    """
    nodes = sorted(set(view), key=address_order)
    if shard_count < 1 or (len(nodes) // shard_count < MIN_REPLICAS and (len(nodes), shard_count) != (1, 1)):
        raise ConfigurationError(NOT_ENOUGH_NODES)
    shards = {
        f"s{number}": Shard(tuple(Member(node, f"s{number}", 1) for node in nodes[number::shard_count]))
        for number in range(shard_count)
    }
    return Configuration(
        cluster=_cluster_id(nodes, shard_count),
        epoch=1,
        nodes=dict.fromkeys(nodes, b""),
        shards=shards,
        slots=tuple(slot % shard_count for slot in range(SLOTS)),
        tenures={number: Tenancy(f"s{number}") for number in range(shard_count)},
        next_shard=shard_count,
        next_tenure=shard_count,
    )


def addresses(members: Iterable[Member]) -> list[str]:
    """The addresses of members, sorted numerically."""
    return sorted((member.node for member in members), key=address_order)


def shard_number(shard: str) -> int:
    """The number in a shard's id."""
    return int(shard[1:])


def _cluster_id(nodes: Sequence[str], shard_count: int) -> str:
    return sha256(f"{','.join(nodes)} {shard_count}".encode()).hexdigest()[:32]
