"""
What a node finds on its disk when it starts: all but the rows, which are read when they are needed.
"""

from dataclasses import dataclass, field

from kvsd.replication.causality import VersionVector
from kvsd.replication.configuration import Configuration
from kvsd.replication.counts import Count
from kvsd.replication.marks import NO_MARKS, Marks
from kvsd.replication.messages import Ballot, Vote
from kvsd.replication.placement import TenureSlot
from kvsd.replication.record import CarriedOut, Op, Row


@dataclass
class SavedRole:
    """What was kept of one role, but for its rows; ops and requests come with their numbers, in order."""

    shard: str
    vector: VersionVector
    collected: int = 0
    tombstones: list[Row] = field(default_factory=list)
    counts: dict[TenureSlot, Count] = field(default_factory=dict)
    ops: list[tuple[int, Op]] = field(default_factory=list)
    requests: list[tuple[int, CarriedOut]] = field(default_factory=list)
    marks: Marks = NO_MARKS
    place: bytes = b""
    """The name under which the rows were kept, empty where that is the role's own."""
    issuer: int = 0
    """The boot of the process that issued the role's own last op, 0 where that is not known."""


@dataclass
class Saved:
    """What a node finds on its disk."""

    configuration: Configuration | None = None
    bindings: dict[str, tuple[bytes, bool]] = field(default_factory=dict)
    hlc: int = 0
    roles: dict[bytes, SavedRole] = field(default_factory=dict)
    promise: tuple[int, Ballot, Vote | None] | None = None
    """An epoch, and what was promised and accepted in deciding what follows it."""
    forced: tuple[int, Ballot, Vote | None] | None = None
    """The same of attempts to force it."""
