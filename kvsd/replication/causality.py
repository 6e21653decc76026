"""
Dots, version vectors and dependencies: who has seen which write.

A *writer* is one stay of one node instance in one shard; its 6-byte name is never used again, so a counter never
goes back.  A *dot* ``(shard, writer, counter)`` names one write.  A *version vector* says of each writer up to which
counter everything is known; writers that it leaves out stand at 0.  *Dependencies* are one vector a shard.

Vectors and dependencies that are part of a token, a record, an op or a message are never changed any more: they may be
part of others too.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from hashlib import sha256
from typing import Annotated

from msgspec import Meta, Struct

WRITER_BYTES = 6

Writer = Annotated[bytes, Meta(min_length=WRITER_BYTES, max_length=WRITER_BYTES)]
Counter = Annotated[int, Meta(ge=1, lt=2**62)]
VersionVector = dict[Writer, Counter]
Dependencies = dict[str, VersionVector]


class Dot(Struct, frozen=True, array_like=True, gc=False):
    """The name of one write: the counter-th (from 1) that the writer issued in the shard."""

    shard: str
    writer: Writer
    counter: Counter


@lru_cache(maxsize=10_000)
def writer_id(node: str, instance: bytes, shard: str, epoch: int) -> bytes:
    """The 6-byte name of the writer that an instance of a node is in a shard since it joined in an epoch."""
    identity = b"\0".join((node.encode(), instance, shard.encode(), str(epoch).encode()))
    return sha256(identity).digest()[:WRITER_BYTES]


def copy_id(writer: Writer, number: int) -> bytes:
    """The 6-byte name of a copy that a writer takes, by the number of its pull: no writer's, and no other copy's."""
    return sha256(b"copy\0" + writer + str(number).encode()).digest()[:WRITER_BYTES]


def dominates(vector: Mapping[bytes, int], other: Mapping[bytes, int]) -> bool:
    """Whether vector has seen everything that other has."""
    for writer, counter in other.items():  # noqa: SIM110 - half the time of all(), several times a write
        if vector.get(writer, 0) < counter:
            return False
    return True


def missing(vector: Mapping[bytes, int], other: Mapping[bytes, int]) -> VersionVector:
    """The entries of other that vector has not reached."""
    return {writer: counter for writer, counter in other.items() if vector.get(writer, 0) < counter}


def join(vector: VersionVector, other: Mapping[bytes, int]) -> None:
    """Raise vector to the pointwise maximum of both."""
    for writer, counter in other.items():
        if vector.get(writer, 0) < counter:
            vector[writer] = counter


def join_dependencies(dependencies: Dependencies, other: Mapping[str, Mapping[bytes, int]]) -> None:
    """Raise dependencies to the pointwise maximum of both, shard by shard."""
    for shard, vector in other.items():
        join(dependencies.setdefault(shard, {}), vector)


def meet(vectors: Iterable[Mapping[bytes, int]]) -> VersionVector:
    """The pointwise minimum: what every one of the vectors has seen (nothing, if there are none)."""
    remaining = iter(vectors)
    result = dict(next(remaining, {}))
    for vector in remaining:
        result = {writer: low for writer, counter in result.items() if (low := min(counter, vector.get(writer, 0)))}
    return result


def copied(dependencies: Mapping[str, Mapping[bytes, int]]) -> Dependencies:
    """A copy that shares no vector with the original."""
    return {shard: dict(vector) for shard, vector in dependencies.items()}
