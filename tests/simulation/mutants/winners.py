"""
Defects of stamps and rows: the wrong version wins, or a key is counted wrongly.
"""

from kvsd.replication.forwarding import Forwards
from kvsd.replication.serving import Serving
from kvsd.replication.stamps import Stamps
from kvsd.replication.store import Store
from tests.simulation.mutants.planting import Plant, Planting

WON = "won = beats(record, current)"


def token_stamp_unseen(planting: Planting) -> None:
    """A write gets a later stamp than all that its author has seen."""
    planting.rewrite(Serving, "_record", ("max(request.token.hlc, request.stamp)", "request.stamp"))
    planting.rewrite(Forwards, "_identified", ("self._state.clock.witness(request.token.hlc)", "pass"))


def wall_clock_alone(planting: Planting) -> None:
    """Stamps follow causality, also where a clock is wrong."""
    planting.rewrite(Stamps, "draw", ("self._clock.tick(self._wall_ms(now))", "now.wall_ms << COUNTER_BITS"))


def last_arrival_wins(planting: Planting) -> None:
    """Of two versions the one with the later stamp wins, in whatever order they come."""
    planting.rewrite(Store, "put", (WON, "won = True"))


def first_writer_wins(planting: Planting) -> None:
    """Of two versions the later one wins, not the earlier one."""
    planting.rewrite(Store, "put", (WON, "won = beats(current, record)"))


def ties_by_arrival(planting: Planting) -> None:
    """Of two versions with the same time the same one wins everywhere."""
    planting.rewrite(Store, "put", (WON, "won = record.hlc > current.hlc"))


def tombstone_outlives_its_row(planting: Planting) -> None:
    """A key that has a value again is not deleted any more."""
    planting.rewrite(Store, "put", ("self.tombstones.pop(key, None)", "pass"))


def overwritten_counted_twice(planting: Planting) -> None:
    """A key that is overwritten is still one key."""
    gone = "(before is not None)"
    planting.rewrite(Store, "_set", (gone, f"({gone} and not now)"), ("bool(was)", "(bool(was) and not now)"))


DEFECTS: list[Plant] = [
    token_stamp_unseen,
    wall_clock_alone,
    last_arrival_wins,
    first_writer_wins,
    ties_by_arrival,
    tombstone_outlives_its_row,
    overwritten_counted_twice,
]
