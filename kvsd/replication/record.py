"""
One write: what it says, what it depends on, and which of two writes wins.

Last writer wins by *stamp*, and stamps follow causality (see :mod:`kvsd.replication.hlc`): a write that knew of
another always has the larger stamp, so the rule only ever decides between concurrent writes, and the same way at
every replica.
"""

from typing import Annotated

from msgspec import Meta, Struct

from kvsd.replication.causality import Counter, Dependencies, Dot, VersionVector, Writer
from kvsd.replication.marks import NO_MARKS, Marks
from kvsd.replication.occupant import Boot
from kvsd.replication.placement import Tenure
from kvsd.replication.token import Epoch, Stamp

MAX_REQUEST_ID = 255

RequestId = Annotated[str, Meta(max_length=MAX_REQUEST_ID)]

RowKey = tuple[Tenure, str]
"""What a row is found by: the tenure and the key."""


class Record(Struct, frozen=True, array_like=True, gc=False):
    """
    One version of one key.

    ``value`` is JSON text, None for a tombstone; ``origin`` the dot that the write was issued under;
    ``dependencies`` the writes that its author had seen; ``epoch`` the configuration it was made in; ``request`` the
    id by which a retry of it is recognised; ``created`` whether there was no live version when it was issued; ``over``
    the stamp of the version that it was put over, 0 for none.
    """

    tenure: Tenure
    key: str
    value: bytes | None
    hlc: Stamp
    origin: Dot
    dependencies: Dependencies
    epoch: Epoch
    request: RequestId
    created: bool
    over: Stamp

    @property
    def stamp(self) -> tuple[int, bytes]:
        """What decides between two versions of a key: the larger stamp wins."""
        return self.hlc, self.origin.writer

    @property
    def is_tombstone(self) -> bool:
        """Whether this version says that the key is deleted."""
        return self.value is None


def beats(record: Record, other: Record) -> bool:
    """Whether a version wins over another one of its key: the larger stamp does."""
    return record.hlc > other.hlc or (record.hlc == other.hlc and record.origin.writer > other.origin.writer)


class CarriedOut(Struct, frozen=True, array_like=True, gc=False):
    """The write that a request with an id led to: the record without its value, and a digest of that."""

    record: Record
    digest: bytes


class Op(Struct, frozen=True, array_like=True, gc=False):
    """
    One step of a shard's causal broadcast: the counter-th of its writer.

    It is applied where everything of its writer before it and everything in ``dependencies`` (writes of the same
    shard) has been applied.  A client's write is one record, whose origin is the op itself.  An op by which a shard
    takes over slots brings records that were written elsewhere, requests that led to others, and marks.

    ``boot`` is the number that was drawn when the issuing process was started, ``first`` the counter of the first op that
    it could issue, and ``before`` the boot of the process that issued the op before that: so processes on copies of one
    disk are told apart.  What is not known, or was issued by an older version, is 0.
    """

    shard: str
    writer: Writer
    counter: Counter
    epoch: Epoch
    dependencies: VersionVector
    records: tuple[Record, ...]
    requests: tuple[CarriedOut, ...] = ()
    marks: Marks = NO_MARKS
    boot: Boot = 0
    first: Annotated[int, Meta(ge=0, lt=2**62)] = 0
    before: Boot = 0

    @property
    def is_own(self) -> bool:
        """Whether it is a write of a client, and not a part of what was taken over."""
        records = self.records
        if len(records) != 1:
            return False
        origin = records[0].origin
        return origin.counter == self.counter and origin.writer == self.writer and origin.shard == self.shard

    @property
    def record(self) -> Record:
        """What a client wrote; only where it is_own."""
        return self.records[0]


class Row(Struct, frozen=True, array_like=True, gc=False):
    """A record as a replica of the shard holds it: with the op (writer and counter) that brought it there."""

    writer: Writer
    counter: Counter
    record: Record
