"""
What a replica has its node do, in this order: write, and once that is durable, send and answer.
"""

from collections.abc import Sequence

from msgspec import Struct

from kvsd.replication.causality import VersionVector
from kvsd.replication.configuration import Configuration
from kvsd.replication.marks import Marks
from kvsd.replication.messages import Ballot, Message, Vote
from kvsd.replication.record import CarriedOut, Op, Row
from kvsd.replication.requests import Outcome

Ticket = int


class Now(Struct, frozen=True, gc=False):
    """The time of an event: seconds of a clock that never jumps, milliseconds since 1970 of one that may."""

    monotonic: float
    wall_ms: int


# What is to be kept.


class SetRow(Struct, frozen=True, gc=False):
    """Keep a row of a replica (named by the writer that it is); ``revives``: it takes the place of a tombstone."""

    role: bytes
    row: Row
    revives: bool = False


class DropRow(Struct, frozen=True, gc=False):
    """Forget a row of a replica, which may be a tombstone."""

    role: bytes
    tenure: int
    key: str
    tombstone: bool = False


class SetCount(Struct, frozen=True, gc=False):
    """Keep how much there is in a slot: rows (0: nothing any more), keys that have a value, and their bytes."""

    role: bytes
    tenure: int
    slot: int
    rows: int
    live: int
    live_bytes: int


class LogOp(Struct, frozen=True, gc=False):
    """Keep an op under its number in the order of arrival."""

    role: bytes
    arrival: int
    op: Op


class DropOps(Struct, frozen=True, gc=False):
    """Forget logged ops, by their numbers of arrival."""

    role: bytes
    arrivals: Sequence[int]


class SetVector(Struct, frozen=True, gc=False):
    """
    Keep what a replica has seen: its shard, its vector, the latest stamp, and that of tombstones it dropped.

    ``place`` is the name under which its rows are kept, empty where that is its own.  What is of no shard is a copy on
    its way, or what a copy has replaced.  ``issuer`` is the boot of the process that issued the replica's own last op.
    """

    role: bytes
    shard: str
    vector: VersionVector
    hlc: int
    collected: int
    place: bytes = b""
    issuer: int = 0


class SetMarks(Struct, frozen=True, gc=False):
    """Keep the marks of a replica."""

    role: bytes
    marks: Marks


class DropRole(Struct, frozen=True, gc=False):
    """Forget a replica, of which nothing is left but its vector and its marks."""

    role: bytes


class SetRequest(Struct, frozen=True, gc=False):
    """Keep what a request with an id led to, under a number that only grows."""

    role: bytes
    number: int
    request: CarriedOut


class DropRequest(Struct, frozen=True, gc=False):
    """Forget a request, by its number."""

    role: bytes
    number: int


class SetBindings(Struct, frozen=True, gc=False):
    """Keep the bindings: by address the instance, and whether a majority is known to have bound it."""

    bindings: dict[str, tuple[bytes, bool]]


class SetConfiguration(Struct, frozen=True, gc=False):
    """Keep the configuration."""

    configuration: Configuration


class SetPromise(Struct, frozen=True, gc=False):
    """Keep what was promised, and what was accepted last, in deciding what follows an epoch."""

    epoch: int
    ballot: Ballot
    vote: Vote | None


OfRows = SetRow | DropRow | SetCount
OfRole = LogOp | DropOps | SetVector | SetMarks | DropRole | SetRequest | DropRequest
OfNode = SetBindings | SetConfiguration | SetPromise
Keep = OfRows | OfRole | OfNode


# What a node is told to do.


class Write(Struct, frozen=True, gc=False):
    """Make these durable, all or none; ``position`` counts the writes of a replica."""

    position: int
    changes: Sequence[Keep]


class Send(Struct, frozen=True, gc=False):
    """Send a message, once everything up to the position ``after`` is durable."""

    after: int
    peer: str
    message: Message


class Reply(Struct, frozen=True, gc=False):
    """Answer a client, once everything up to the position ``after`` is durable."""

    after: int
    ticket: Ticket
    outcome: Outcome


class Halt(Struct, frozen=True, gc=False):
    """Stop the process: going on would break a promise.  The reason in words."""

    reason: str


class Note(Struct, frozen=True, gc=False):
    """Something an operator wants to know: the name of an event and its facts, never a value or a token."""

    event: str
    facts: dict[str, object]


Effect = Write | Send | Reply | Halt | Note
