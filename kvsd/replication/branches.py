"""
Branches: configurations that were forced, how a fork of the cluster is noticed, and which side of it goes on.

Between forced steps there is one configuration an epoch, as quorums intersect.  A configuration lists the steps that led
to it, so two of one cluster are of one chain exactly where their lists agree up to the epoch of the earlier one.  Where they
do not, the cluster has forked, and the lists alone say which branch goes on: at the first epoch at which they part, what
a quorum decided goes before what was forced; then what more voters were left for; then it is settled by the names.
That is a total order of all branches, so all nodes agree on it, whichever they compare first.
"""

from collections.abc import Sequence
from enum import Enum
from hashlib import sha256

from msgspec import Struct

BRANCH_BYTES = 8


class Forced(Struct, frozen=True, array_like=True):
    """
    A step without a quorum: to which epoch, which nodes (with their instances) were given up for it, and how many of
    the voters were left and agreed, all of them.
    """

    epoch: int
    given_up: tuple[tuple[str, bytes], ...]
    voters: int


Steps = Sequence[Forced]


class Kinship(Enum):
    """What another configuration of the cluster is to one's own."""

    KNOWN = "it is one's own, or led to it"
    LATER = "it follows from one's own"
    BEATEN = "it is of another branch, which does not go on"
    BEATS = "it is of another branch, which goes on"


def up_to(steps: Steps, epoch: int) -> Steps:
    """The steps that led to the configuration of an epoch."""
    return [step for step in steps if step.epoch <= epoch]


def branch_name(steps: Steps, epoch: int) -> bytes:
    """What tells the branch of a configuration from others: 8 bytes, or none where nothing was ever forced."""
    led = up_to(steps, epoch)
    if not led:
        return b""
    words = (f"{step.epoch} {address} {instance.hex()}\n" for step in led for address, instance in step.given_up)
    return sha256("".join(words).encode()).digest()[:BRANCH_BYTES]


def kinship(epoch: int, steps: Steps, other_epoch: int, other_steps: Steps) -> Kinship:
    """What a configuration, by its epoch and its forced steps, is to one's own, which comes first."""
    shared = min(epoch, other_epoch)
    mine, theirs = up_to(steps, shared), up_to(other_steps, shared)
    if mine == theirs:
        return Kinship.LATER if other_epoch > epoch else Kinship.KNOWN
    alike = next((n for n, (a, b) in enumerate(zip(mine, theirs, strict=False)) if a != b), min(len(mine), len(theirs)))
    parted = [branch[alike] for branch in (mine, theirs) if len(branch) > alike]
    epoch_parted = min(step.epoch for step in parted)
    beats = _rank(theirs[alike:], epoch_parted) < _rank(mine[alike:], epoch_parted)
    return Kinship.BEATS if beats else Kinship.BEATEN


def _rank(steps: Steps, epoch: int) -> tuple[bool, int, tuple[tuple[str, bytes], ...]]:
    """How a branch stands at the epoch at which another one left it; the least goes on."""
    if not steps or steps[0].epoch > epoch:
        return False, 0, ()
    return True, -steps[0].voters, steps[0].given_up
