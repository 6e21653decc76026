"""
Forced changes: what may follow a configuration most of whose voters are gone for good.
"""

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from kvsd.replication.branches import Forced
from kvsd.replication.changes import ChangeRefused, created, lose
from kvsd.replication.configuration import Configuration
from kvsd.replication.resharding import abort


def give_up_nodes(configuration: Configuration, nodes: Sequence[str], known: Mapping[bytes, int]) -> Configuration:
    """
    Go on without some nodes, whose disks count as gone, and say that it was forced.

    What only they had is lost.  Refused where a shard would be left without members; a reshard is given up that would make
    such a shard.  ``known`` says up to which of their writes their writers were heard of.
    """
    left = sum(voter not in nodes for voter in configuration.voters())
    if not left:
        raise ChangeRefused("no voter would be left to decide it")
    hopeless = any(set(configuration.members(shard)) <= set(nodes) for shard in created(configuration))
    following = abort(configuration) if hopeless else configuration
    for address in nodes:
        following = lose(following, address, None, known)
    instances = ((address, configuration.nodes.get(address, b"")) for address in nodes)
    step = Forced(configuration.epoch + 1, tuple(sorted(each for each in instances if each[1])), left)
    return replace(following, epoch=step.epoch, forced=(*configuration.forced, step))
