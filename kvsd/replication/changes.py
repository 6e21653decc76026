"""
What may follow a configuration: changes of its nodes and of the members of its shards.

Each change takes a configuration and gives the one of the next epoch.  It raises ChangeRefused where it makes no sense
(any more), so that whoever lost against another proposal can try the same change on what was decided instead.
Changes of shards and slots are in :mod:`kvsd.replication.resharding`.
"""

from collections.abc import Collection, Mapping

from msgspec.structs import replace

from kvsd.replication.causality import Writer
from kvsd.replication.configuration import MAX_INVITED, MAX_NODES, Configuration, Loss, Member, Pending, Shard
from kvsd.replication.node_address import address_fault
from kvsd.replication.placement import address_order
from kvsd.replication.superseded import superseding


class ChangeRefused(ValueError):
    """A change that can't be made to this configuration; the text tells the operator why."""


Shards = dict[str, Shard]

MAX_LOSSES = 256
"""How many lost writers are remembered; those that were settled first are forgotten first."""


# Nodes


def add_node(configuration: Configuration, address: str, instance: bytes = b"") -> Configuration:
    """
    Add a node, as a spare; or give a node whose instance is not known its instance.

    Without an instance the node is merely invited: nobody has heard it yet.
    """
    present = configuration.nodes.get(address)
    _check_not_given_up(configuration, address, instance)
    if present is None:
        _check_room(configuration, address, instance)
        return successor(configuration, nodes={**configuration.nodes, address: instance})
    if present or not instance:
        raise ChangeRefused(f"{address} is a node of the cluster already")
    return bind_node(configuration, address, instance)


def _check_room(configuration: Configuration, address: str, instance: bytes) -> None:
    """Raise ChangeRefused where a new node has no address, or the cluster no room for it."""
    if fault := address_fault(address):
        raise ChangeRefused(f"The address {fault}")
    if len(configuration.nodes) >= MAX_NODES:
        raise ChangeRefused(f"The cluster has {MAX_NODES:,} nodes, and there can be no more")
    if not instance and len(configuration.invited()) >= MAX_INVITED:
        raise ChangeRefused(
            f"{MAX_INVITED} nodes are in the cluster that were never heard of, and there can be no more of them:"
            " start them, or take some out of the view"
        )


def bind_node(configuration: Configuration, address: str, instance: bytes) -> Configuration:
    """Give a node whose instance is not known its instance, also wherever it is a member."""
    if configuration.nodes.get(address) != b"" or not instance:
        raise ChangeRefused(f"{address} is no node of the cluster whose instance is still to be found out")
    _check_not_given_up(configuration, address, instance)

    def bound(members: Collection[Member]) -> tuple[Member, ...]:
        return tuple(replace(m, instance=instance) if m.node == address and not m.instance else m for m in members)

    return successor(
        configuration,
        nodes={**configuration.nodes, address: instance},
        shards={
            name: Shard(bound(shard.members), bound(shard.learners), bound(shard.departed))
            for name, shard in configuration.shards.items()
        },
    )


def _check_not_given_up(configuration: Configuration, address: str, instance: bytes | None) -> None:
    """Raise ChangeRefused where a node would come back that was given up for good, with the data that it had."""
    if any((address, instance) in step.given_up for step in configuration.forced):
        raise ChangeRefused(f"{address} was given up: start it with an empty data directory")
    if (address, instance) in configuration.superseded:
        raise ChangeRefused(f"{address} was superseded by another instance: start it with an empty data directory")


def remove_node(configuration: Configuration, address: str, live: Collection[str]) -> Configuration:
    """
    Remove a node for good; what it wrote and nobody else has can still be fetched from it.

    Refused where a shard would be left without a live member.
    """
    if address not in configuration.nodes:
        raise ChangeRefused(f"{address} is no node of the cluster")
    _check_others(configuration, address, live)
    shards = dict(configuration.shards)
    places = places_of(shards, address)
    for member in places:
        give_up(shards, member)
    return successor(
        configuration,
        nodes={node: instance for node, instance in configuration.nodes.items() if node != address},
        shards=shards,
        pending=_renewed(configuration.pending, dict.fromkeys(places)),
        absent=tuple(node for node in configuration.absent if node != address),
    )


def _check_others(configuration: Configuration, address: str, live: Collection[str]) -> None:
    """Raise ChangeRefused where a shard needs a node that is to go."""
    owners = configuration.shard_ids()
    for name in owners + created(configuration):
        members = configuration.members(name)
        others = [node for node in members if node != address]
        if address not in members:
            continue
        if name not in owners and not others:
            raise ChangeRefused(f"{address} is the only member of {name}, which is being made: abort the reshard first")
        if name in owners and not any(node in live for node in others):
            raise ChangeRefused(f"{name} would have no live member without {address}")


# Members


def add_learner(configuration: Configuration, shard: str, address: str) -> Configuration:
    """
    Have a node without a place copy a shard, to become a member of it.

    An instance that departed from the shard, and may still have writes that nobody else has, goes on under its name;
    it counts as departed, too, until it has been drained or is promoted.
    """
    if shard not in configuration.shard_ids():
        raise ChangeRefused(f"there is no shard {shard} that owns slots")
    if not configuration.nodes.get(address):
        raise ChangeRefused(f"{address} is no node of the cluster whose instance is known")
    if places := places_of(configuration.shards, address):
        raise ChangeRefused(f"{address} has a place in {places[0].shard} already")
    shards = dict(configuration.shards)
    take_up(configuration, shards, shard, address)
    return successor(
        configuration, shards=shards, absent=tuple(node for node in configuration.absent if node != address)
    )


def promote(configuration: Configuration, member: Member) -> Configuration:
    """Make a learner a member."""
    shard = configuration.shards.get(member.shard, Shard())
    if member not in shard.learners:
        raise ChangeRefused(f"{member.node} is not learning {member.shard}")
    promoted = replace(without(shard, member), members=in_order(*shard.members, member))
    return successor(configuration, shards={**configuration.shards, member.shard: promoted})


def drain_departed(configuration: Configuration, member: Member) -> Configuration:
    """Strike out a departed member all of whose writes the others have."""
    shard = configuration.shards.get(member.shard, Shard())
    if member not in shard.departed:
        raise ChangeRefused(f"{member.node} did not depart from {member.shard}")
    if configuration.importers(member.shard):
        raise ChangeRefused(f"others may still lack writes of {member.shard}")
    departed = tuple(each for each in shard.departed if each != member)
    return successor(configuration, shards={**configuration.shards, member.shard: replace(shard, departed=departed)})


# Lost disks


def lose(
    configuration: Configuration, address: str, instance: bytes | None, known: Mapping[bytes, int]
) -> Configuration:
    """
    Put down that a node's disk is gone: every member of another instance than the one it has now is a lost writer.

    The new instance starts as a learner wherever the old one had a place, and as a member where nobody else is left.
    Without an instance the node is forgotten for good, which is refused where a shard would be left without members.
    ``known`` says up to which of their writes the lost writers were heard of.
    """
    gone = list(dict.fromkeys(m for m in configuration.everyone() if m.node == address and m.instance != instance))
    present = configuration.nodes.get(address, instance)
    if instance and present == b"":
        raise ChangeRefused(f"the instance of {address} is still to be found out")
    if present == instance and not gone:
        raise ChangeRefused(f"nothing of {address} is lost")
    _check_not_given_up(configuration, address, instance)
    shards, lost = dict(configuration.shards), dict(configuration.lost)
    renewed: dict[Member, Member | None] = {}
    for member in gone:
        shard = shards[member.shard]
        if member.instance and member in shard.holders():
            lost[member.writer] = Loss(member.shard, address, known.get(member.writer, 0))
        shards[member.shard] = without(shard, member)
        renewed[member] = None
        if instance and member in shard.replicas():
            renewed[member] = _start_anew(configuration, shards, member.shard, address, instance)
    _check_members(configuration, shards, address)
    return successor(
        configuration,
        nodes=_with_instance(configuration.nodes, address, instance),
        shards=shards,
        pending=_renewed(configuration.pending, renewed),
        lost=dict(sorted(lost.items(), key=lambda entry: entry[1].kept is None)[-MAX_LOSSES:]),
        absent=tuple(node for node in configuration.absent if node != address or instance),
        superseded=superseding(configuration.superseded, address, instance, [present, *(m.instance for m in gone)]),
    )


def _start_anew(configuration: Configuration, shards: Shards, name: str, address: str, instance: bytes) -> Member:
    shard, member = shards[name], Member(address, name, configuration.epoch + 1, instance)
    if shard.members:
        shards[name] = replace(shard, learners=in_order(*shard.learners, member))
    else:
        shards[name] = replace(shard, members=(member,))
    return member


def _check_members(configuration: Configuration, shards: Mapping[str, Shard], address: str) -> None:
    for name in configuration.shard_ids() + created(configuration):
        if not shards[name].members:
            raise ChangeRefused(f"{name} would have no member without {address}")


def _with_instance(nodes: Mapping[str, bytes], address: str, instance: bytes | None) -> dict[str, bytes]:
    """The nodes, with the instance that one of them has now, or without that one; no other is added."""
    renewed = {node: instance if node == address else present for node, present in nodes.items()}
    return {node: present for node, present in renewed.items() if present is not None}


def settle(configuration: Configuration, writer: Writer, kept: int) -> Configuration:
    """Put down up to which of its writes a lost writer's shard has them; the later ones are gone."""
    loss = configuration.lost.get(writer)
    if loss is None or loss.kept is not None:
        raise ChangeRefused("there is no such lost writer, or what is left of it is known already")
    return successor(configuration, lost={**configuration.lost, writer: replace(loss, kept=kept)})


# What changes are made of


def successor(configuration: Configuration, **changes: object) -> Configuration:
    """The configuration of the next epoch, without the shards that are over: nobody is left, and nothing to be had."""
    following = replace(configuration, epoch=configuration.epoch + 1, **changes)
    over = [name for name, shard in following.shards.items() if not shard.everyone() and not following.importers(name)]
    shards = {name: shard for name, shard in following.shards.items() if name not in over}
    return replace(following, shards=shards) if over else following


def created(configuration: Configuration) -> list[str]:
    """The shards that are being made for a reshard, and own no slots yet."""
    owners = configuration.shard_ids()
    moves = configuration.pending.moves if configuration.pending else ()
    return list(dict.fromkeys(move.target for move in moves if move.target not in owners))


def places_of(shards: Mapping[str, Shard], address: str) -> list[Member]:
    """Wherever a node is a member or a learner."""
    return [member for shard in shards.values() for member in shard.replicas() if member.node == address]


def in_order(*members: Member) -> tuple[Member, ...]:
    """Members as they stand in a shard: sorted numerically by their addresses, the older first."""
    return tuple(sorted(members, key=lambda member: (address_order(member.node), member.epoch)))


def without(shard: Shard, member: Member) -> Shard:
    """A shard without any trace of a member."""
    members, learners, departed = (
        tuple(each for each in group if each != member) for group in (shard.members, shard.learners, shard.departed)
    )
    return Shard(members, learners, departed)


def give_up(shards: Shards, member: Member) -> None:
    """Take a place away: a member departs; a learner is dropped, and so is a member whose instance was never known."""
    shard = shards[member.shard]
    departed = shard.departed
    if member in shard.members and member.instance:
        departed = in_order(*departed, member)
    shards[member.shard] = replace(without(shard, member), departed=departed)


def take_up(configuration: Configuration, shards: Shards, name: str, address: str) -> Member:
    """Make a node a learner of a shard, under the name that this instance departed with, if it did."""
    shard, instance = shards[name], configuration.nodes[address]
    back = (member for member in shard.departed if (member.node, member.instance) == (address, instance))
    member = next(back, Member(address, name, configuration.epoch + 1, instance))
    shards[name] = replace(shard, learners=in_order(*shard.learners, member))
    return member


def _renewed(pending: Pending | None, renewed: Mapping[Member, Member | None]) -> Pending | None:
    """A reshard with other members in the place of some that are gone, or without these."""
    if pending is None:
        return None
    leave, join = (
        tuple(member for old in group if (member := renewed.get(old, old))) for group in (pending.leave, pending.join)
    )
    return replace(pending, leave=leave, join=join)
