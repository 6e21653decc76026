"""
Defects of what readers are shown once more: it is not what they would see by now.
"""

from kvsd.replication.reader import Reader
from kvsd.replication.shown import Shown
from tests.simulation.mutants.planting import Plant, Planting


def shown_to_who_has_seen_more(planting: Planting) -> None:
    """Who has seen something is not given a token that lacks it."""
    planting.rewrite(Shown, "again", (" or token.dependencies", ""), ("token.hlc > seen.hlc or ", ""))


def read_at_once_before_sync(planting: Planting) -> None:
    """A read is answered at once only where what it saw is durable."""
    planting.rewrite(Reader, "at_once", ("None if after else ", ""))


DEFECTS: list[Plant] = [
    shown_to_who_has_seen_more,
    read_at_once_before_sync,
]
