"""
Stamps: drawn by the clock that is furthest ahead in the cluster, and believed only up to a bound.

A clock on the wall may jump by years.  So stamps go by a *belief* about it, which follows the monotonic clock from one
comparison with peers to the next (:mod:`kvsd.replication.clocks`).  A jump beyond the bound is not believed before that:
nothing is drawn from a clock that has jumped and was not compared, and a node that nobody can be compared with goes on, with
stamps that are merely less near to real time.  At its start a node believes its clock no further than the bound of stamps
beyond the latest stamp on its disk.
"""

from kvsd.replication.clocks import Clocks, since_boot_ms
from kvsd.replication.effects import Now
from kvsd.replication.hlc import COUNTER_BITS, MAX_STAMP, HybridClock
from kvsd.replication.limits import Limits
from kvsd.replication.liveness import Liveness

CLOCK_AHEAD = "This node's clock is too far ahead of its peers'; try again later"
STAMP_AHEAD = "The stamp of the write is far ahead of all clocks here; try again later"


class Stamps:
    """Draws stamps for new versions and judges those of tokens and of peers."""

    def __init__(self, clock: HybridClock, clocks: Clocks, liveness: Liveness, limits: Limits) -> None:
        self._clock = clock
        self._clocks = clocks
        self._liveness = liveness
        self._bound_ms = limits.clock_ahead_ms
        self._headroom_ms = limits.stamp_ahead_ms
        self._compared = 0
        """How often clocks were compared with this node's when they were looked at last."""
        self._belief_ms = 0
        """The clock that stamps go by, less the monotonic one."""
        self._own_ms = 0
        """The clock on the wall when that was last believed, less the monotonic one."""
        self._has_jumped = False
        """Whether the clock on the wall was not believed when the jump was looked for last."""
        self._is_ahead = False

    def begin(self, now: Now, latest: int) -> None:
        """Start at a time, with the latest stamp that the disk knows (0: none)."""
        self._own_ms = self._belief_ms = since_boot_ms(now)
        if latest:
            beyond_ms = now.wall_ms - (latest >> COUNTER_BITS) - self._headroom_ms
            self._belief_ms -= max(0, beyond_ms)

    def are_trustworthy(self) -> bool:
        """Whether this node may draw stamps: not while its clock is far ahead, for they would win every conflict."""
        if self._compared != self._liveness.compared:
            self._look()
        return not self._is_ahead and self._clock.latest < MAX_STAMP

    def draw(self, now: Now) -> int:
        """A new stamp; what is written later at a node with a slower clock does not lose for that."""
        if self._compared != self._liveness.compared:
            self._look()
        return self._clock.tick(self._wall_ms(now))

    def _wall_ms(self, now: Now) -> int:
        """Return the time that stamps go by: the clock on the wall where that is a bit ahead of the belief."""
        steady_ms = int(now.monotonic * 1000) + self._belief_ms
        return now.wall_ms if 0 <= now.wall_ms - steady_ms <= self._bound_ms else steady_ms

    def jumped_ms(self, now: Now) -> int:
        """Return by how much the clock on the wall has jumped since it was compared, the first time that it is asked."""
        jump_ms = since_boot_ms(now) - self._own_ms
        has_jumped, self._has_jumped = self._has_jumped, abs(jump_ms) > self._bound_ms
        return jump_ms if self._has_jumped and not has_jumped else 0

    def _look(self) -> None:
        """See how this node's clock stands: only where another one was heard of since, not for every write."""
        self._compared = self._liveness.compared
        self._is_ahead = self._clocks.is_ahead()
        if (belief_ms := self._clocks.belief_ms()) is not None:
            self._belief_ms, self._own_ms = belief_ms, self._clocks.own_ms or 0

    def horizon(self, now: Now) -> int:
        """Return a stamp up to which all are credible, as a rule all that there are."""
        if self._compared != self._liveness.compared:
            self._look()
        furthest = (self._wall_ms(now) + self._headroom_ms) << COUNTER_BITS
        return max(furthest, self._clock.latest)

    def is_credible(self, stamp: int, now: Now) -> bool:
        """
        Whether a genuine token or a peer may carry a stamp: not where it is far beyond all clocks that can be right.

        Where most nodes have reached such stamps, their word counts: once clocks were wrong, all have to go on from there.
        """
        if stamp <= self.horizon(now):
            return True  # as a rule, and quickly told
        latest = max(self._clock.latest, self._clocks.common_stamp())
        return stamp <= latest + (self._headroom_ms << COUNTER_BITS)
