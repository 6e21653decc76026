"""
Defects of write concern: a client is told of more replicas than have its write on disk.
"""

from kvsd.replication import serving
from kvsd.replication.acknowledging import Acknowledging
from kvsd.replication.concern import Concerns
from tests.simulation.mutants.planting import Plant, Planting

DURABLE = "role.durable.get(writer, 0) if role and role.writer == name else None"


def acknowledged_before_sync(planting: Planting) -> None:
    """An op is acknowledged once it is durable, not once it is applied."""
    planting.rewrite(Acknowledging, "tell", (DURABLE, DURABLE.replace("durable", "vector")))


def held_back_acknowledged(planting: Planting) -> None:
    """An op that is held back is not acknowledged before it is applied."""
    received = "(wish.counter if role.holdback.count else role.durable.get(writer, 0)) if"
    planting.rewrite(Acknowledging, "tell", (DURABLE, DURABLE.replace("role.durable.get(writer, 0) if", received)))


def counted_twice(planting: Planting) -> None:
    """A replica that acknowledges a write and then reports it counts once."""
    counted = "sum(dominates(vector, held.covers) for vector in known)"
    again = "sum(dominates(seen, held.covers) for seen in self._acknowledged.values())"
    planting.rewrite(Concerns, "_settle", (counted, f"{counted} + {again}"))


def repeat_counts_at_once(planting: Planting) -> None:
    """A write that is tried again counts where its first try is, not everywhere."""
    planting.swap(serving, "_covered", lambda written, row: {})


def learner_counted(planting: Planting) -> None:
    """Members count, and learners don't."""
    planting.rewrite(Concerns, "_known", ("roster.shard(shard).members if", "roster.shard(shard).replicas() if"))


DEFECTS: list[Plant] = [
    acknowledged_before_sync,
    held_back_acknowledged,
    counted_twice,
    repeat_counts_at_once,
]
AMONG_CHANGES: list[Plant] = [learner_counted]
"""Those that show only where members come and go."""
