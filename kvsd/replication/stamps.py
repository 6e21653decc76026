"""
Stamps: drawn by the clock that is furthest ahead in the cluster, and believed only up to a bound.
"""

from kvsd.replication.effects import Now
from kvsd.replication.hlc import COUNTER_BITS, HybridClock
from kvsd.replication.limits import Limits
from kvsd.replication.liveness import Liveness


class Stamps:
    """Draws stamps for new versions and judges those of tokens."""

    def __init__(self, clock: HybridClock, liveness: Liveness, limits: Limits) -> None:
        self._clock = clock
        self._liveness = liveness
        self._limits = limits

    def draw(self, now: Now) -> int:
        """A new stamp; what is written later at a node with a slower clock does not lose for that."""
        return self._clock.tick(now.wall_ms + self._liveness.behind_ms())

    def is_credible(self, stamp: int, now: Now) -> bool:
        """Whether a genuine token may carry a stamp."""
        slack = self._limits.stamp_ahead_ms << COUNTER_BITS
        return stamp <= max(self._clock.latest, now.wall_ms << COUNTER_BITS) + slack
