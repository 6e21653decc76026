"""
What may follow a configuration: changes of its shards and of who owns which slots.

A reshard is begun, which makes the new shards and has the nodes copy what they are to serve; then it is handed off,
which gives the slots and takes the old places away, or it is aborted; and then its sources are drained one by one.
As in :mod:`kvsd.replication.changes`, ChangeRefused is raised where a change makes no sense (any more).
"""

from collections.abc import Collection, Mapping
from enum import IntEnum

from msgspec.structs import replace

from kvsd.replication.changes import (
    ChangeRefused,
    Shards,
    created,
    give_up,
    in_order,
    places_of,
    successor,
    take_up,
)
from kvsd.replication.configuration import Configuration, Member, Move, Pending, Shard, Tenancy, shard_number
from kvsd.replication.dealing import Layout, check_members, deal
from kvsd.replication.placement import Tenure, address_order

# Begin


def begin_reshard(
    configuration: Configuration,
    shard_count: int,
    live: Collection[str],
    least_members: int = 1,
    view: Collection[str] = (),
) -> Configuration | None:
    """
    Prepare to spread the slots and the live nodes over so many shards; None if nothing has to move for that.

    Whoever owns the slots goes on serving them.  Raises ConfigurationError if there are too few live nodes, or too few
    for every shard to have so many members.
    """
    if configuration.pending is not None:
        raise ChangeRefused("a reshard is under way: wait for it or abort it first")
    if not configuration.is_bound():
        raise ChangeRefused("the instances of some nodes are still to be found out")
    layout = deal(configuration, shard_count, live, view)
    if not (layout.slots_to_move or layout.nodes_to_move or layout.nodes_to_join):
        return None
    check_members(layout, least_members)
    started, moves = configuration.epoch + 1, _moves(configuration, layout)
    shards = dict(configuration.shards)
    join = _seat(configuration, layout, shards)
    return successor(
        configuration,
        shards=shards,
        next_shard=configuration.next_shard + len(shards.keys() - configuration.shards.keys()),
        next_tenure=configuration.next_tenure + len(moves),
        pending=Pending(started, shard_count, moves, _leaving(configuration, layout), join),
    )


def _moves(configuration: Configuration, layout: Layout) -> tuple[Move, ...]:
    """One move for each pair of shards between which slots move, in the order of the shards' numbers."""
    moving: dict[tuple[str, str], list[int]] = {}
    for slot, target in enumerate(layout.owners):
        _, source = configuration.owner(slot)
        if source != target:
            moving.setdefault((source, target), []).append(slot)
    in_turn = sorted(moving, key=lambda pair: (shard_number(pair[0]), shard_number(pair[1])))
    return tuple(
        Move(tenure, *pair, tuple(moving[pair]), _lineage(configuration, moving[pair]))
        for tenure, pair in enumerate(in_turn, configuration.next_tenure)
    )


def _lineage(configuration: Configuration, slots: Collection[int]) -> tuple[Tenure, ...]:
    """The present tenures of slots, and the older ones of which writes may still come in."""
    present = {configuration.slots[slot] for slot in slots}
    tenancies = (configuration.tenures[tenure] for tenure in present)
    return tuple(sorted(present.union(*(tenancy.lineage for tenancy in tenancies if tenancy.sources))))


def _seat(configuration: Configuration, layout: Layout, shards: Shards) -> tuple[Member, ...]:
    """Give the nodes their new places: in new shards they are members, elsewhere learners, which are returned."""
    join = []
    for name, nodes in layout.shards.items():
        if name not in configuration.shards:
            epoch, instances = configuration.epoch + 1, configuration.nodes
            shards[name] = Shard(in_order(*(Member(node, name, epoch, instances[node]) for node in nodes)))
            continue
        present = configuration.assigned(name)
        join += [take_up(configuration, shards, name, node) for node in nodes if node not in present]
    return tuple(join)


def _leaving(configuration: Configuration, layout: Layout) -> tuple[Member, ...]:
    """Who has to leave a shard that stays: nodes that were dealt to another one, and nodes that are not live."""
    return tuple(
        member
        for name, nodes in layout.shards.items()
        for member in configuration.shards.get(name, Shard()).replicas()
        if member.node not in nodes
    )


# Hand off or abort


def hand_off(configuration: Configuration, live: Collection[str]) -> Configuration:
    """
    Give the slots to the shards that were prepared for them, and take away the places that were to be left.

    A shard keeps a member that was to leave it, which then gives up its new place instead, where no live one, or none
    at all, would remain.  Nodes that end up without a place, as they were down, are to be given one when they are back.
    Refused if a node would be the only member of two shards.
    """
    pending = _under_way(configuration)
    slots, tenures = _handed_over(configuration, pending)
    owners = {tenancy.shard for tenancy in tenures.values()}
    shards = dict(configuration.shards)
    for member in (m for name, shard in configuration.shards.items() if name not in owners for m in shard.replicas()):
        give_up(shards, member)
    _take_away(shards, pending.leave, live)
    placed = _placed(shards)
    homeless = {*configuration.absent, *_placed(configuration.shards)} - placed
    return successor(
        configuration,
        shards=shards,
        slots=slots,
        tenures=tenures,
        pending=None,
        absent=tuple(sorted(homeless, key=address_order)),
    )


def abort(configuration: Configuration) -> Configuration:
    """
    Give up a reshard that has not been handed off.

    The shards that were made for it are as if they had never been, and nodes lose the places that they got for it,
    except where they have no other or are the only member.  Refused if a node would be the only member of two shards.
    """
    pending = _under_way(configuration)
    unborn = created(configuration)
    shards = {name: shard for name, shard in configuration.shards.items() if name not in unborn}
    for member in pending.join:
        if member in shards[member.shard].learners:
            give_up(shards, member)
    promoted = [member for member in pending.join if len(places_of(shards, member.node)) > 1]
    _take_away(shards, promoted, live=configuration.nodes)
    placed = _placed(shards)
    return successor(
        configuration,
        shards=shards,
        pending=None,
        lost={writer: loss for writer, loss in configuration.lost.items() if loss.shard not in unborn},
        absent=tuple(node for node in configuration.absent if node not in placed),
    )


def _under_way(configuration: Configuration) -> Pending:
    if configuration.pending is None:
        raise ChangeRefused("no reshard is under way")
    return configuration.pending


def _handed_over(configuration: Configuration, pending: Pending) -> tuple[tuple[Tenure, ...], dict[Tenure, Tenancy]]:
    """The tenures of all slots after the moves, and what is known of these tenures."""
    slots, tenures = list(configuration.slots), dict(configuration.tenures)
    for move in pending.moves:
        sources = dict.fromkeys(configuration.sources(move), configuration.epoch + 1)
        tenures[move.tenure] = Tenancy(move.target, sources, move.lineage)
        for slot in move.slots:
            slots[slot] = move.tenure
    owning = set(slots)
    return tuple(slots), {tenure: tenancy for tenure, tenancy in tenures.items() if tenure in owning}


def _placed(shards: Mapping[str, Shard]) -> set[str]:
    return {member.node for shard in shards.values() for member in shard.replicas()}


# One place for each node


class _Need(IntEnum):
    """How much a shard needs one of its replicas."""

    NOT = 0
    FOR_SERVICE = 1  # the other members are down
    AT_ALL = 2  # there are no other members


def _need(shards: Mapping[str, Shard], place: Member, live: Collection[str]) -> _Need:
    members = shards[place.shard].members
    others = [member for member in members if member != place]
    if place not in members:
        return _Need.NOT
    if not others:
        return _Need.AT_ALL
    return _Need.FOR_SERVICE if place.node in live and not any(m.node in live for m in others) else _Need.NOT


def _take_away(shards: Shards, unwanted: Collection[Member], live: Collection[str]) -> None:
    """Have nodes give up places that are unwanted, or the other places that they have where the unwanted are needed."""
    for node in sorted({member.node for member in unwanted}, key=address_order):
        places = places_of(shards, node)
        kept = max(places, key=lambda place: (_need(shards, place, live), place not in unwanted))
        if kept in unwanted and _need(shards, kept, live) is _Need.NOT:
            give_up(shards, kept)
        for place in places:
            if place != kept and _need(shards, place, live) is _Need.AT_ALL:
                raise ChangeRefused(f"{node} would be the only member of both {place.shard} and {kept.shard}")
            if place != kept:
                give_up(shards, place)


# Drain


def drain_source(configuration: Configuration, tenure: Tenure, shard: str) -> Configuration:
    """Put down that the owner of a tenure has all that a shard ever wrote for it."""
    tenancy = configuration.tenures.get(tenure)
    if tenancy is None or shard not in tenancy.sources:
        raise ChangeRefused(f"{shard} is no source of tenure {tenure}")
    moves = configuration.pending.moves if configuration.pending else ()
    if any(configuration.slots[slot] == tenure for move in moves for slot in move.slots):
        raise ChangeRefused(f"slots of tenure {tenure} are on their way to another shard")
    sources = {source: since for source, since in tenancy.sources.items() if source != shard}
    return successor(configuration, tenures={**configuration.tenures, tenure: replace(tenancy, sources=sources)})
