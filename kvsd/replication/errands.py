"""
Errands: what the shards that this node serves have to import from others.  See :mod:`kvsd.replication.importing`.
"""

from collections.abc import Iterator
from typing import NamedTuple

from kvsd.replication.marks import Final
from kvsd.replication.placement import Tenure
from kvsd.replication.roster import Roster
from kvsd.replication.state import State


class Errand(NamedTuple):
    """What a shard has to import: writes of a source, since an epoch, for a tenure."""

    shard: str
    tenure: Tenure
    source: str
    since: int
    first: bool
    """Whether the first copy is still to be made."""


class Errands:
    """Works out errands by the configuration in force, and what was marked already."""

    def __init__(self, state: State) -> None:
        self._state = state

    @property
    def _roster(self) -> Roster:
        assert self._state.roster is not None, "errands are of a configuration"
        return self._state.roster

    def all(self) -> Iterator[Errand]:
        """What the shards that this node serves have to import."""
        if self._state.roster is None:
            return
        for source in self._roster.configuration.shards:
            for shard, tenure, since in self._roster.importers(source):
                role = self._state.serving(shard)
                if role and Final(tenure, source, since) not in role.marks.final:
                    first = tenure not in role.marks.ready
                    if not first or self._is_origin(tenure, source):
                        yield Errand(shard, tenure, source, since, first)

    def _is_origin(self, tenure: Tenure, source: str) -> bool:
        """Whether a tenure's slots come from a shard now: it has the first copy, with that of older sources."""
        return any((move.tenure, move.source) == (tenure, source) for move in self._roster.moves)

    def is_mine(self, shard: str) -> bool:
        """Whether this node is to import for a shard: the first member that is up; two at once do no harm."""
        first = next(
            address
            for address in self._state.members(shard)
            if address == self._state.identity.address or self._state.usable(address)
        )
        return first == self._state.identity.address
