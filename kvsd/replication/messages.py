"""
What replicas tell each other.

Every message may be lost, doubled, delayed and reordered; none is ever relied on to arrive.
"""

from typing import Annotated, NamedTuple

from msgspec import Meta, Struct

from kvsd.replication.basis import AskChanges, TellChanges
from kvsd.replication.branches import BRANCH_BYTES
from kvsd.replication.causality import Counter, Dependencies, VersionVector, Writer
from kvsd.replication.configuration import Configuration
from kvsd.replication.marks import NO_MARKS, Marks
from kvsd.replication.occupant import Contested, Forked
from kvsd.replication.placement import Tenure
from kvsd.replication.record import CarriedOut, Op, Record, Row
from kvsd.replication.requests import Question, Verdict
from kvsd.replication.token import Epoch, Stamp

Instance = Annotated[bytes, Meta(min_length=16, max_length=16)]
Branch = Annotated[bytes, Meta(max_length=BRANCH_BYTES)]
Milliseconds = Annotated[int, Meta(ge=0, lt=2**62)]
Arrival = Annotated[int, Meta(ge=0, lt=2**62)]


class Heartbeat(Struct, frozen=True, array_like=True, tag=True):
    """
    I am here, and this is what I have.

    ``epoch`` is the configuration that was on the sender's disk when it said this: what it says is all that it had until
    then.  ``wall_ms`` is the sender's clock and ``hlc`` its latest stamp; ``silent_ms`` says for each node how long ago the
    sender heard of it;
    ``vectors`` and ``marks`` what each of its replicas holds durably, by shard (no marks: left out); ``partial`` the
    shards of which it is a learner that has not yet what a member had when it became one, and ``meeting`` that it says
    nothing of all that yet; ``founded`` the instances that are known to have been bound to their addresses by a
    majority; ``reported`` how many writes each replica ever said that it holds durably, by the writer that it is: who
    once said more than it has now was given an old copy of its data; ``slow`` the nodes to which something takes long, but
    moves.
    """

    epoch: Epoch
    wall_ms: Milliseconds
    hlc: Stamp
    silent_ms: dict[str, Milliseconds]
    vectors: dict[str, VersionVector]
    founded: dict[str, Instance]
    reported: dict[Writer, int]
    marks: dict[str, Marks] = {}
    partial: tuple[str, ...] = ()
    meeting: bool = False
    slow: tuple[str, ...] = ()


class Bind(Struct, frozen=True, array_like=True, tag=True):
    """Bind my address to my instance, unless it is bound already."""


class Bound(Struct, frozen=True, array_like=True, tag=True):
    """Your address is bound to this instance here, durably."""

    instance: Instance


class Push(Struct, frozen=True, array_like=True, tag=True):
    """New ops of a shard; ``acknowledge`` says that their writer waits until the receiver has them on disk."""

    ops: list[Op]
    acknowledge: bool = False


class Acknowledged(Struct, frozen=True, array_like=True, tag=True):
    """A replica (``role``) of a shard has all ops of a writer up to a counter on its disk."""

    shard: str
    role: Writer
    writer: Writer
    counter: Counter


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
    marks: Marks = NO_MARKS


class Import(Struct, frozen=True, array_like=True, tag=True):
    """
    Send me what there is for a tenure in a shard that is one of its sources, beyond a vector.

    The ``first`` copy is of the rows that the shard has in the slots now; later on it is the writes of the tenures in
    the lineage.  ``id``, ``copy`` and ``cursor`` are as in a pull.
    """

    id: int
    shard: str
    tenure: Tenure
    first: bool
    vector: VersionVector
    copy: int = 0
    cursor: Arrival = 0


class Imported(Struct, frozen=True, array_like=True, tag=True):
    """
    A part of what was asked for: ``cover`` is what it amounts to with its last page (``cursor`` 0).

    ``forgotten`` is the latest stamp of a tombstone that was dropped there; ``complete`` says that with it the puller
    has all that the donor has; ``epoch`` the configuration by which the donor
    serves, ``start`` and ``copy`` repeat the question.
    """

    id: int
    shard: str
    tenure: Tenure
    epoch: Epoch
    copy: int
    start: Arrival
    cursor: Arrival
    records: list[Record]
    requests: list[CarriedOut]
    cover: Dependencies
    forgotten: Stamp
    complete: bool


class Announce(Struct, frozen=True, array_like=True, tag=True):
    """I am here and in no configuration: let me in."""


Round = Annotated[int, Meta(ge=0, lt=2**62)]


class Ballot(Struct, frozen=True, array_like=True, order=True):
    """
    The number of an attempt to decide; no two are ever the same, as ``boot`` is drawn at each start of a node.

    ``given_up`` are the nodes without which it is to be decided, where that is forced.  Forced attempts and others have
    nothing to do with each other: a voter keeps what it has promised and accepted for each kind.
    """

    round: Round = 0
    node: str = ""
    boot: Round = 0
    given_up: tuple[str, ...] = ()

    @property
    def is_forced(self) -> bool:
        """Whether it is to be decided without a majority."""
        return bool(self.given_up)


class Vote(Struct, frozen=True, array_like=True):
    """That a voter accepted a configuration in an attempt."""

    ballot: Ballot
    configuration: Configuration


class Prepare(Struct, frozen=True, array_like=True, tag=True):
    """Take part in no attempt before this one, by which some nodes get another instance; say what you have accepted."""

    epoch: Epoch
    ballot: Ballot
    replaces: tuple[str, ...] = ()


class Promised(Struct, frozen=True, array_like=True, tag=True):
    """I will; this is what I accepted last."""

    epoch: Epoch
    ballot: Ballot
    vote: Vote | None


class Accept(Struct, frozen=True, array_like=True, tag=True):
    """Accept this configuration as what follows an epoch."""

    epoch: Epoch
    vote: Vote


class Accepted(Struct, frozen=True, array_like=True, tag=True):
    """I did."""

    epoch: Epoch
    ballot: Ballot


class Outvoted(Struct, frozen=True, array_like=True, tag=True):
    """I can't: I have promised to wait for this attempt."""

    epoch: Epoch
    ballot: Ballot


class Forward(Struct, frozen=True, array_like=True, tag=True):
    """A client's request, for a member of the shard to carry out."""

    id: int
    request: Question


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
    | Acknowledged
    | Pull
    | PullOps
    | PullRows
    | Import
    | Imported
    | Announce
    | Contested
    | Forked
    | Prepare
    | Promised
    | Accept
    | Accepted
    | Outvoted
    | Forward
    | Forwarded
    | AskChanges
    | TellChanges
    | AskConfiguration
    | TellConfiguration
)


class Sender(NamedTuple):
    """Who sent a message, with the branch of its configuration, and the boot of its process (0: it does not say)."""

    address: str
    instance: bytes
    cluster: str
    epoch: int
    branch: bytes = b""
    boot: int = 0
