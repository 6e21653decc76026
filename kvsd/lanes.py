"""
Lanes to a peer: which messages may wait behind each other.
"""

from enum import Enum
from typing import Final

from kvsd.replication.basis import AskChanges, TellChanges
from kvsd.replication.messages import (
    Accept,
    Accepted,
    Acknowledged,
    Announce,
    AskConfiguration,
    Bind,
    Bound,
    Forward,
    Forwarded,
    Heartbeat,
    Message,
    Outvoted,
    Prepare,
    Promised,
)

_AWAITED = (Forward, Forwarded, AskChanges, TellChanges, Acknowledged)
_VITAL = (Heartbeat, Bind, Bound, Announce, Prepare, Promised, Accept, Accepted, Outvoted, AskConfiguration)
LARGE_BYTES: Final = 64 * 1024
"""A message that is larger has the lane of large ones, whatever it is."""


class Lane(Enum):
    """Which way a message goes."""

    QUICK = "quick"
    USUAL = "usual"
    VITAL = "vital"
    LARGE = "large"

    __hash__ = object.__hash__  # by default its name is hashed, in Python, at every look into a dict


def lane_of(message: Message, size: int = 0) -> Lane:
    """The lane of a message that has so many bytes."""
    if size > LARGE_BYTES:
        return Lane.LARGE
    if isinstance(message, _AWAITED):
        return Lane.QUICK
    return Lane.VITAL if isinstance(message, _VITAL) else Lane.USUAL
