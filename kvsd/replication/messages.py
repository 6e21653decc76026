"""
What replicas tell each other.

Every message may be lost, doubled, delayed and reordered; none is ever relied on to arrive.
"""

from typing import Annotated, NamedTuple

from msgspec import Meta, Struct

from kvsd.replication.causality import VersionVector
from kvsd.replication.configuration import Configuration
from kvsd.replication.record import CarriedOut, Op, Row
from kvsd.replication.requests import Request, Verdict
from kvsd.replication.token import Epoch, Stamp

Instance = Annotated[bytes, Meta(min_length=16, max_length=16)]
Milliseconds = Annotated[int, Meta(ge=0, lt=2**62)]
Arrival = Annotated[int, Meta(ge=0, lt=2**62)]


class Heartbeat(Struct, frozen=True, array_like=True, tag=True):
    """
    I am here, and this is what I have.

    ``wall_ms`` is the sender's clock and ``hlc`` its latest stamp; ``silent_ms`` says for each node how long ago the
    sender heard of it;
    ``vectors`` what each of its replicas holds durably, by shard; ``founded`` the instances that are known to have
    been bound to their addresses by a majority; ``reported`` how many writes other nodes said that they hold durably,
    by address and shard: who once said more than it has now was given an old copy of its data.
    """

    wall_ms: Milliseconds
    hlc: Stamp
    silent_ms: dict[str, Milliseconds]
    vectors: dict[str, VersionVector]
    founded: dict[str, Instance]
    reported: dict[str, dict[str, int]]


class Bind(Struct, frozen=True, array_like=True, tag=True):
    """Bind my address to my instance, unless it is bound already."""


class Bound(Struct, frozen=True, array_like=True, tag=True):
    """Your address is bound to this instance here, durably."""

    instance: Instance


class Push(Struct, frozen=True, array_like=True, tag=True):
    """New ops of a shard."""

    ops: list[Op]


class Pull(Struct, frozen=True, array_like=True, tag=True):
    """
    Send me what this vector lacks.

    ``id`` is the puller's number for this pull; ``cursor``, if not 0, goes on with the ``copy`` of rows where its last
    page ended.
    """

    id: int
    shard: str
    vector: VersionVector
    copy: int = 0
    cursor: Arrival = 0


class PullOps(Struct, frozen=True, array_like=True, tag=True):
    """Ops that a puller lacked; ``more`` says whether there are more to pull."""

    id: int
    shard: str
    ops: list[Op]
    more: bool


class PullRows(Struct, frozen=True, array_like=True, tag=True):
    """
    A page of a copy of rows, sent where the log no longer reaches back to the puller.

    The puller sets pages aside until the last one (``cursor`` 0), which carries the ``vector`` that the copy amounts
    to, and then takes all of them over at once: a part of a copy is not a causal cut.  ``id`` and ``start`` repeat the
    pull's id and cursor, so that no page is taken for another; ``requests`` are, on the last page, the latest requests
    with an id among the writes that the puller lacked; ``copy`` is a number of the donor's run, for arrivals
    are counted anew in each.
    """

    id: int
    shard: str
    copy: int
    start: Arrival
    rows: list[Row]
    cursor: Arrival
    vector: VersionVector
    requests: list[CarriedOut]


class Forward(Struct, frozen=True, array_like=True, tag=True):
    """A client's request, for a member of the shard to carry out."""

    id: int
    request: Request


class Forwarded(Struct, frozen=True, array_like=True, tag=True):
    """What became of a forwarded request."""

    id: int
    outcome: Verdict


class AskConfiguration(Struct, frozen=True, array_like=True, tag=True):
    """Send me your configuration if it is later than mine (0: I have none)."""

    epoch: Epoch


class TellConfiguration(Struct, frozen=True, array_like=True, tag=True):
    """My configuration."""

    configuration: Configuration


Message = (
    Heartbeat
    | Bind
    | Bound
    | Push
    | Pull
    | PullOps
    | PullRows
    | Forward
    | Forwarded
    | AskConfiguration
    | TellConfiguration
)


class Sender(NamedTuple):
    """Who sent a message, and what it knew then."""

    address: str
    instance: bytes
    cluster: str
    epoch: int
