"""
The configuration: which nodes there are, which of them replicate which shard, and which shard owns which slots.

There is one configuration an *epoch*, and every message and token names the epoch it was made in.  A *tenure* is one
stay of a set of slots at a shard; records are kept by tenure, so that slots that leave a shard and come back never
meet their own past.
"""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256

from msgspec import Struct

from kvsd.replication.causality import writer_id
from kvsd.replication.placement import SLOTS, Tenure, address_order

MIN_REPLICAS = 2
NOT_ENOUGH_NODES = "Not enough nodes to provide fault tolerance with requested shard count"


class ConfigurationError(ValueError):
    """A configuration that can't be; the text says why."""


class Member(Struct, frozen=True, array_like=True):
    """A node's place in a shard, since the epoch in which it was given it."""

    node: str
    shard: str
    epoch: int

    def writer(self, instance: bytes) -> bytes:
        """The writer that an instance of the node is in this place."""
        return writer_id(self.node, instance, self.shard, self.epoch)


class Configuration(Struct, frozen=True):
    """One epoch's configuration; ``slots[i]`` is the tenure of slot i, ``tenures`` the shard of each tenure."""

    cluster: str
    epoch: int
    nodes: tuple[str, ...]
    shards: dict[str, tuple[Member, ...]]
    slots: tuple[int, ...]
    tenures: dict[Tenure, str]

    def __post_init__(self) -> None:
        """Refuse what no founding and no change could have made."""
        if self.epoch < 1 or len(self.slots) != SLOTS:
            raise ConfigurationError(f"a configuration has an epoch from 1 and {SLOTS} slots")
        if not set(self.slots) <= self.tenures.keys() or not set(self.tenures.values()) <= self.shards.keys():
            raise ConfigurationError("every slot has a tenure and every tenure a shard")
        for shard, members in self.shards.items():
            if not shard[1:].isdecimal() or any(m.shard != shard or m.node not in self.nodes for m in members):
                raise ConfigurationError(f"the members of shard {shard} do not fit together")

    def shard_ids(self) -> list[str]:
        """The ids of all shards, in the order of their numbers."""
        return sorted(self.shards, key=lambda shard: int(shard[1:]))

    def owner(self, slot: int) -> tuple[int, str]:
        """The tenure of a slot and the shard that owns it."""
        tenure = self.slots[slot]
        return tenure, self.tenures[tenure]

    def members(self, shard: str) -> list[str]:
        """The addresses of a shard's members, sorted numerically; none for an unknown shard."""
        return sorted((member.node for member in self.shards.get(shard, ())), key=address_order)

    def member(self, node: str) -> Member | None:
        """The place of a node, if it has one."""
        return next((m for members in self.shards.values() for m in members if m.node == node), None)

    def writers(self, instances: Mapping[str, bytes]) -> dict[bytes, Member]:
        """The writers of all members whose instance is known."""
        every = (member for members in self.shards.values() for member in members)
        return {m.writer(instances[m.node]): m for m in every if m.node in instances}


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
        f"s{number}": tuple(Member(node, f"s{number}", 1) for node in nodes[number::shard_count])
        for number in range(shard_count)
    }
    return Configuration(
        cluster=_cluster_id(nodes, shard_count),
        epoch=1,
        nodes=tuple(nodes),
        shards=shards,
        slots=tuple(slot % shard_count for slot in range(SLOTS)),
        tenures={number: f"s{number}" for number in range(shard_count)},
    )


def _cluster_id(nodes: Sequence[str], shard_count: int) -> str:
    return sha256(f"{','.join(nodes)} {shard_count}".encode()).hexdigest()[:32]
