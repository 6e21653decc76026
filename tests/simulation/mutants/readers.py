"""
Defects of what readers are shown once more: it is not what they would see by now.
"""

from kvsd.replication.heartbeats import Heartbeats
from kvsd.replication.reader import Reader
from kvsd.replication.shown import Shown
from tests.simulation.mutants.planting import Plant, Planting


def shown_to_who_has_seen_more(planting: Planting) -> None:
    """Who has seen something is not given a token that lacks it."""
    planting.rewrite(Shown, "again", (" or token.dependencies", ""), ("token.hlc > seen.hlc or ", ""))


def read_at_once_before_sync(planting: Planting) -> None:
    """A read is answered at once only where what it saw is durable."""
    planting.rewrite(Reader, "at_once", ("None if after else ", ""))


def same_outlook_after_a_write(planting: Planting) -> None:
    """A write changes the outlook."""
    planting.rewrite(Reader, "outlook", ("state.out.written, ", "0, "))


def same_outlook_with_other_reports(planting: Planting) -> None:
    """Other reports change the outlook: tokens say more or less by them."""
    planting.rewrite(Reader, "outlook", ("self._stability.reports, ", "0, "))


def reports_that_are_not_noticed(planting: Planting) -> None:
    """What a peer reports is looked at wherever it says something else than before."""
    planting.rewrite(Heartbeats, "heard", ("return before != (peer.epoch, peer.vectors, peer.marks)", "return False"))


DEFECTS: list[Plant] = [
    same_outlook_after_a_write,
    same_outlook_with_other_reports,
    reports_that_are_not_noticed,
    shown_to_who_has_seen_more,
    read_at_once_before_sync,
]
