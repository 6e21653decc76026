"""
The plan of a reshard: which slots and which nodes would move, so that as few as possible do.

Who computes it from the same configuration and the same live nodes gets the same plan.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from kvsd.replication.configuration import (
    MIN_REPLICAS,
    NOT_ENOUGH_NODES,
    Configuration,
    ConfigurationError,
    shard_number,
)
from kvsd.replication.placement import SLOTS, address_order


class Layout(NamedTuple):
    """What a reshard would come to."""

    shards: dict[str, tuple[str, ...]]
    """The nodes of each shard afterwards, sorted numerically; shards in the order of their numbers."""
    owners: tuple[str, ...]
    """The shard of each slot afterwards."""
    slots_to_move: int
    """How many slots change their shard."""
    least: int
    """
    How many slots have to move at the very least for so many shards; more do only where a shard is given up because
    none of its nodes is live, although it owns more slots than one that stays.
    """
    nodes_to_move: tuple[str, ...]
    """The live nodes that change their shard."""
    nodes_to_join: tuple[str, ...]
    """The live nodes that had no shard and get one."""


UNHEARD = "There are enough nodes in the view, but these can't be heard: {}; try again later"
TOO_FEW_FOR_WRITES = (
    "{} would have {} members, and this node was started with --write-concern={}: add nodes, or start with a lower one"
)


class NodesUnheard(ConfigurationError):
    """Nodes that the view lists, and that would be enough, can't be heard; the text names them."""


def deal(configuration: Configuration, shard_count: int, live: Collection[str], view: Collection[str] = ()) -> Layout:
    """
    Deal slots and live nodes to so many shards; nodes that are not live get no place.

    Only nodes of the cluster whose instance is known count as live.  Raises ConfigurationError where a shard would
    have fewer than two of them, except for the one shard of a cluster of one node; NodesUnheard where it would not if
    the nodes of the view were all live.
    """
    up = {node for node, instance in configuration.nodes.items() if instance and node in live}
    alone = (
        shard_count
        == len(up)
        == len(set(configuration.nodes) - configuration.invited())
        == len(configuration.shard_ids())
        == 1
    )
    if shard_count < 1 or (len(up) // shard_count < MIN_REPLICAS and not alone):
        unheard = set(view).intersection(configuration.nodes) - up
        if shard_count < 1 or len(up | unheard) // shard_count < MIN_REPLICAS:
            raise ConfigurationError(NOT_ENOUGH_NODES)
        raise NodesUnheard(UNHEARD.format(", ".join(sorted(unheard, key=address_order))))
    places = _places(configuration, up)
    present = [configuration.owner(slot)[1] for slot in range(SLOTS)]
    shards = _shards(configuration, shard_count, Counter(present), set(places.values()))
    owners = _dealt(present, shards)
    homes = dict(zip(places, _dealt(list(places.values()), shards), strict=True))
    nodes = sorted(homes, key=address_order)
    return Layout(
        shards={shard: tuple(node for node in nodes if homes[node] == shard) for shard in shards},
        owners=tuple(owners),
        slots_to_move=sum(before != after for before, after in zip(present, owners, strict=True)),
        least=_least(Counter(present).values(), shard_count),
        nodes_to_move=tuple(node for node in nodes if places[node] not in (None, homes[node])),
        nodes_to_join=tuple(node for node in nodes if places[node] is None),
    )


def check_members(layout: Layout, least: int) -> None:
    """Raise ConfigurationError where a layout that moves anything has a shard with fewer nodes than writes ask for by default."""
    if not (layout.slots_to_move or layout.nodes_to_move or layout.nodes_to_join):
        return
    shard = min(layout.shards, key=lambda name: len(layout.shards[name]))
    if len(layout.shards[shard]) < least:
        raise ConfigurationError(TOO_FEW_FOR_WRITES.format(shard, len(layout.shards[shard]), least))


def _places(configuration: Configuration, up: Collection[str]) -> dict[str, str | None]:
    """The shard of each live node, if it has one: first the members, then learners and others, sorted numerically."""
    places = {node: configuration.member(node) for node in sorted(up, key=address_order)}

    def serves(node: str) -> bool:
        place = places[node]
        return place is not None and place in configuration.shards[place.shard].members

    in_turn = sorted(places, key=serves, reverse=True)
    return {node: place.shard if (place := places[node]) else None for node in in_turn}


def _shards(
    configuration: Configuration, shard_count: int, owned: Mapping[str, int], with_live: Collection[str | None]
) -> list[str]:
    """Which shards there are to be: those with live nodes and many slots stay first, new ones make up the number."""
    present = sorted(configuration.shard_ids(), key=lambda shard: (shard not in with_live, -owned[shard]))
    kept = sorted(present[:shard_count], key=shard_number)
    return kept + [f"s{configuration.next_shard + number}" for number in range(shard_count - len(kept))]


def _dealt(present: Sequence[str | None], shards: Sequence[str]) -> list[str]:
    """
    The shard of each thing afterwards, given the shard where it is, if any.

    Each shard keeps its first ones as far as its share goes; the others fill up the shards that lack some, in order.
    """
    left = _shares(Counter(shard for shard in present if shard), len(present), shards)
    kept: list[str | None] = []
    for shard in present:
        stays = shard is not None and left.get(shard, 0) > 0
        if shard is not None and stays:
            left[shard] -= 1
        kept.append(shard if stays else None)
    open_places = (shard for shard in shards for _ in range(left[shard]))
    return [shard or next(open_places) for shard in kept]


def _shares(have: Mapping[str, int], total: int, shards: Sequence[str]) -> dict[str, int]:
    """How many each shard is to have: as even as can be, and one more for those that have most."""
    base, extra = divmod(total, len(shards))
    ranked = sorted(shards, key=lambda shard: (-have.get(shard, 0), shard_number(shard)))
    return {shard: base + (rank < extra) for rank, shard in enumerate(ranked)}


def _least(owned: Collection[int], shard_count: int) -> int:
    base, extra = divmod(SLOTS, shard_count)
    most = sorted(owned, reverse=True)[:shard_count]
    return SLOTS - sum(min(slots, base + (rank < extra)) for rank, slots in enumerate(most))
