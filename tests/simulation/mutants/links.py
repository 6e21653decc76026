"""
Defects of the ways between nodes: what is not genuine is believed, and who was away stays away.
"""

from kvsd.replication.liveness import Liveness
from kvsd.replication.waiting import Waiting
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


DEFECTS: list[Plant] = [seal_unchecked, never_trusted_again, never_woken]
