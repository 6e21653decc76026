"""
Stamps: drawn by the clock that is furthest ahead in the cluster, and believed only up to a bound.
"""

from kvsd.replication.effects import Now
from kvsd.replication.hlc import COUNTER_BITS, HybridClock
from kvsd.replication.limits import Limits
from kvsd.replication.liveness import Liveness

CLOCK_AHEAD = "This node's clock is too far ahead of its peers'; try again later"


class Stamps:
    """Draws stamps for new versions and judges those of tokens."""

    def __init__(self, clock: HybridClock, liveness: Liveness, limits: Limits) -> None:
        self._clock = clock
        self._liveness = liveness
        self._limits = limits

    def are_trustworthy(self) -> bool:
        """Whether this node may draw stamps: not while its clock is far ahead, for they would win every conflict."""
        return self._liveness.clock_ahead_ms() <= self._limits.clock_ahead_ms

    def draw(self, now: Now) -> int:
        """A new stamp; what is written later at a node with a slower clock does not lose for that."""
        return self._clock.tick(now.wall_ms + self._liveness.behind_ms())

    def is_credible(self, stamp: int, now: Now) -> bool:
        """Whether a genuine token may carry a stamp: not where it is far beyond all clocks that were heard of."""
        if stamp <= self._clock.latest:
            return True
        peers = self._liveness.peers.values()
        wall_ms = max([now.wall_ms, *(now.wall_ms - peer.ahead_ms for peer in peers)])
        latest = max([self._clock.latest, wall_ms << COUNTER_BITS, *(peer.hlc for peer in peers)])
        return stamp <= latest + (self._limits.stamp_ahead_ms << COUNTER_BITS)
