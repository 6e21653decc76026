"""Configurations for tests, and what must be true of every one of them."""

from collections import Counter
from collections.abc import Collection, Iterator

from kvsd.replication.changes import created, promote
from kvsd.replication.configuration import Configuration, Member, founding_configuration

NODES = [f"10.0.0.{number}:8090" for number in range(1, 13)]


def instance_of(node: str, disk: int = 1) -> bytes:
    """The 16 bytes that name the disk-th data directory of a node."""
    return f"{node[-10:]}#{disk:05}".encode().ljust(16, b"-")


def founded(nodes: int, shards: int) -> Configuration:
    """The first configuration of so many nodes and shards; all instances are known."""
    view = NODES[:nodes]
    return founding_configuration(view, shards).bound({node: instance_of(node) for node in view})


def member_of(configuration: Configuration, shard: str, node: str) -> Member:
    """A node's place in a shard, or its departed one."""
    return next(member for member in configuration.shards[shard].everyone() if member.node == node)


def all_promoted(configuration: Configuration) -> Configuration:
    """What follows when all learners have become members."""
    for member in [member for shard in configuration.shards.values() for member in shard.learners]:
        configuration = promote(configuration, member)
    return configuration


def slots_owned(configuration: Configuration) -> Counter[str]:
    """How many slots each shard owns."""
    return Counter(configuration.tenures[tenure].shard for tenure in configuration.slots)


def holders_of(configuration: Configuration) -> set[Member]:
    """All who may have writes that nobody else has."""
    return {member for shard in configuration.shards.values() for member in shard.holders()}


def complaints(configuration: Configuration) -> Iterator[str]:
    """What is wrong with a configuration, beyond what it refuses to be."""
    yield from _about_members(configuration)
    yield from _about_places(configuration)
    yield from _about_moves(configuration)


def _about_members(configuration: Configuration) -> Iterator[str]:
    members = set(configuration.everyone())
    if len({member.writer for member in members}) < len(members):
        yield "two members write under one name"
    for name, shard in configuration.shards.items():
        if _repeats(shard.replicas()) or _repeats(shard.holders()):
            yield f"a member of {name} is named twice"
        if _repeats((member.node, member.instance) for member in set(shard.everyone())):
            yield f"an instance writes in {name} under two names"
    if {member.writer for member in members} & configuration.lost.keys():
        yield "a lost writer is still counted on"
    if any(member.epoch > configuration.epoch for member in members):
        yield "a member is from the future"


def _about_places(configuration: Configuration) -> Iterator[str]:
    born = [*configuration.shard_ids(), *created(configuration)]
    places = [member for shard in configuration.shards.values() for member in shard.replicas()]
    if any(configuration.nodes[member.node] != member.instance for member in places):
        yield "the place of a node is another instance's"
    if any(member.shard not in born for member in places):
        yield "a shard that owns no slots has members"
    if any(not configuration.shards[name].members for name in born):
        yield "a shard that owns slots, or will, has no members"
    if not set(configuration.absent) <= configuration.nodes.keys() or _repeats(configuration.absent):
        yield "the absent are no nodes"
    if configuration.pending is None and _repeats(member.node for member in places):
        yield "a node has two places"
    if configuration.pending is None and {member.node for member in places} & set(configuration.absent):
        yield "an absent node has a place"
    sources = {source for tenancy in configuration.tenures.values() for source in tenancy.sources}
    if not sources <= configuration.shards.keys():
        yield "a source was forgotten"
    for name, shard in configuration.shards.items():
        if not (shard.everyone() or configuration.importers(name)):
            yield f"{name} is kept for nothing"


def _about_moves(configuration: Configuration) -> Iterator[str]:
    pending = configuration.pending
    if pending is None:
        return
    if _repeats(slot for move in pending.moves for slot in move.slots):
        yield "a slot moves twice"
    for move in pending.moves:
        if move.tenure in configuration.tenures or move.tenure >= configuration.next_tenure:
            yield "a move's tenure is not a new one"
        if any(configuration.owner(slot)[1] != move.source for slot in move.slots) or move.source == move.target:
            yield "slots move from where they are not, or to where they are"
        if not {configuration.slots[slot] for slot in move.slots} <= set(move.lineage):
            yield "a move forgets where the slots come from"
    places = {member for shard in configuration.shards.values() for member in shard.replicas()}
    if not places.issuperset(pending.leave + pending.join):
        yield "somebody is to leave or to join who is not there"


def _repeats(things: object) -> bool:
    counted = Counter(things)  # type: ignore[call-overload]
    return any(number > 1 for number in counted.values())


def check(configuration: Configuration) -> Configuration:
    """The configuration itself; fails where something is wrong with it."""
    found = list(complaints(configuration))
    assert not found, found
    return configuration


def down(*nodes: int) -> Collection[str]:
    """All nodes but some, which are given by number, from 1."""
    return [node for number, node in enumerate(NODES, 1) if number not in nodes]
