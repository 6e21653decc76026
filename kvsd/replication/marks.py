"""
What a shard has been shown of the writes of others, as far as tenures that it took over are concerned.

Marks are part of what a shard replicates: they change by ops of its own causal broadcast only.  So any replica that
has a mark also has the rows that the mark speaks of, and a token that names a write of another shard can be judged
here, without asking that one.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from kvsd.replication.causality import Dependencies, copied, join_dependencies
from kvsd.replication.placement import Tenure

T = TypeVar("T")


class Final(NamedTuple):
    """A shard can have no more writes for a tenure, of which it was a source since an epoch: all were shown."""

    tenure: Tenure
    shard: str
    since: int


class Marks(Struct, frozen=True, array_like=True):
    """
    ``cover[tenure][shard][writer]`` is up to which of a writer's writes in that shard all that concern the tenure are
    here; ``ready`` are the tenures whose first copy is complete; ``final`` the sources that are done with; no tombstone
    that was forgotten where records came from has a stamp beyond ``forgotten``.
    """

    cover: dict[Tenure, Dependencies] = {}
    ready: tuple[Tenure, ...] = ()
    final: tuple[Final, ...] = ()
    forgotten: int = 0

    def __bool__(self) -> bool:
        """Whether anything is marked."""
        return bool(self.cover or self.ready or self.final or self.forgotten)

    def covered(self, tenure: Tenure, shard: str) -> Mapping[bytes, int]:
        """Up to which of a shard's writes all that concern a tenure are here."""
        return self.cover.get(tenure, {}).get(shard, {})

    def merged(self, other: "Marks") -> "Marks":
        """All that either of both marks."""
        if not other:
            return self
        cover = {tenure: copied(covered) for tenure, covered in self.cover.items()}
        for tenure, covered in other.cover.items():
            join_dependencies(cover.setdefault(tenure, {}), covered)
        forgotten = max(self.forgotten, other.forgotten)
        return Marks(cover, _union(self.ready, other.ready), _union(self.final, other.final), forgotten)

    def only(self, tenures: Collection[Tenure]) -> "Marks":
        """The marks of these tenures."""
        if all(tenure in tenures for tenure in (*self.cover, *self.ready, *(final.tenure for final in self.final))):
            return self
        return replace(
            self,
            cover={tenure: covered for tenure, covered in self.cover.items() if tenure in tenures},
            ready=tuple(tenure for tenure in self.ready if tenure in tenures),
            final=tuple(final for final in self.final if final.tenure in tenures),
        )


NO_MARKS = Marks()


def _union(one: Iterable[T], other: Iterable[T]) -> tuple[T, ...]:
    return tuple(dict.fromkeys((*one, *other)))
