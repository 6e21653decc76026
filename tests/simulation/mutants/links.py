"""
Defects of the ways between nodes: what is not genuine is believed, and who was away stays away.
"""

from kvsd import links
from kvsd.lanes import Lane
from kvsd.replication.liveness import Liveness
from kvsd.replication.slow_ways import SlowWays
from kvsd.replication.waiting import Waiting
from kvsd.simulate.network import _Exchange
from kvsd.wire import EnvelopeCodec
from tests.simulation.mutants.planting import Plant, Planting


def seal_unchecked(planting: Planting) -> None:
    """A message that was damaged on its way is not read."""
    planting.rewrite(EnvelopeCodec, "decode", ("if not hmac.compare_digest(tag, self._tag(body)):", "if False:"))


def never_trusted_again(planting: Planting) -> None:
    """A peer that was suspected is trusted again once its link has been good for a while."""
    planting.swap(Liveness, "_good_for_long", lambda *_: False)


def never_woken(planting: Planting) -> None:
    """A request that waits is answered once it can be carried out."""
    planting.rewrite(Waiting, "wake", ("if waiter.role and not self._lacks(waiter):", "if False:"))
    planting.rewrite(Waiting, "tick", (" or (waiter.role and not self._lacks(waiter))", ""))


def deadline_of_the_whole(planting: Planting) -> None:
    """A POST is given up only once nothing of it moves."""
    planting.swap(_Exchange, "_moved", lambda _: None)


def heartbeats_behind_all_else(planting: Planting) -> None:
    """A sign of life does not wait behind what is large."""
    planting.swap(links, "lane_of", lambda *_: Lane.USUAL)


def asked_for_again_and_again(planting: Planting) -> None:
    """What may be on its way over a slow link is not sent again."""
    planting.swap(SlowWays, "is_overdue", lambda _, __, late_seconds, ___: late_seconds >= 0)
    planting.swap(SlowWays, "has_room", lambda *_: True)


DEFECTS: list[Plant] = [
    seal_unchecked,
    never_trusted_again,
    never_woken,
    deadline_of_the_whole,
    heartbeats_behind_all_else,
    asked_for_again_and_again,
]
