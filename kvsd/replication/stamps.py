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
        self._compared = 0
        """How often clocks were compared with this node's when they were looked at last."""
        self._ahead_ms = self._behind_ms = 0
        """How this node's clock stood by then."""

    def are_trustworthy(self) -> bool:
        """Whether this node may draw stamps: not while its clock is far ahead, for they would win every conflict."""
        if self._compared != self._liveness.compared:
            self._look()
        return self._ahead_ms <= self._limits.clock_ahead_ms

    def draw(self, now: Now) -> int:
        """A new stamp; what is written later at a node with a slower clock does not lose for that."""
        if self._compared != self._liveness.compared:
            self._look()
        return self._clock.tick(now.wall_ms + self._behind_ms)

    def _look(self) -> None:
        """See how this node's clock stands: only where another one was heard of since, not for every write."""
        self._compared = self._liveness.compared
        self._ahead_ms, self._behind_ms = self._liveness.clock_ahead_ms(), self._liveness.behind_ms()

    def is_credible(self, stamp: int, now: Now) -> bool:
        """Whether a genuine token may carry a stamp: not where it is far beyond all clocks that were heard of."""
        ahead = self._limits.stamp_ahead_ms << COUNTER_BITS
        if stamp <= self._clock.latest or stamp <= (now.wall_ms << COUNTER_BITS) + ahead:
            return True  # as a rule, and quickly told
        peers = self._liveness.peers.values()
        wall_ms = max([now.wall_ms, *(now.wall_ms - peer.ahead_ms for peer in peers)])
        latest = max([self._clock.latest, wall_ms << COUNTER_BITS, *(peer.hlc for peer in peers)])
        return stamp <= latest + ahead
