"""
Slow ways: links on which what is sent takes its time, but arrives.

The node tells which of its own ways have bytes waiting while others arrive; a peer tells in its heartbeats that its way to
this node is such a one.  An answer that such a way may be carrying is waited for beyond its usual time, as asking anew
would only put more onto it; pages are cut to what it carries, and what waits for it is not added to: the peer will pull.
"""

from collections.abc import Mapping

from msgspec import Struct

from kvsd.replication.limits import Limits

FULL_SECONDS = 1.0
"""A way is full where it takes longer than that to carry what waits."""


class SlowWay(Struct, frozen=True, gc=False):
    """A way to a peer on which bytes wait: how many, and how many it carries in a second."""

    backlog: int
    bytes_per_second: float


class SlowWays:
    """The slow ways from this node and to it; times are monotonic seconds."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._out: Mapping[str, SlowWay] = {}
        """By peer; empty nearly always."""
        self.full: set[str] = set()
        """The peers for which so much waits that more would only wait behind it."""
        self._moved: dict[str, float] = {}
        """When something was last known to move between this node and a peer, on a slow way."""

    @property
    def out(self) -> Mapping[str, SlowWay]:
        """The slow ways from this node, by peer."""
        return self._out

    def learn(self, out: Mapping[str, SlowWay], now: float) -> None:
        """Take in which ways from this node are slow now, all of them; one that was full is so until it is not slow."""
        self._out = out
        self.full = {
            peer
            for peer, way in out.items()
            if peer in self.full or way.backlog > max(self.page_bytes(peer), way.bytes_per_second * FULL_SECONDS)
        }
        for peer in out:
            self._moved[peer] = now

    def told(self, peer: str, now: float) -> None:
        """Take in that a peer says that its way to this node is slow."""
        self._moved[peer] = now

    def is_moving(self, peer: str, now: float, within_seconds: float | None = None) -> bool:
        """Return True if something moved a moment ago between this node and a peer: an answer may still be on its way."""
        moved = self._moved.get(peer)
        return moved is not None and now - moved <= (within_seconds or self._limits.suspect_seconds)

    def is_overdue(self, peer: str, late_seconds: float, now: float) -> bool:
        """Return True if an answer that is so late is not to be expected any more: nothing moves, or it took too long."""
        if late_seconds < 0:
            return False
        return late_seconds > self._limits.moving_seconds or not self.is_moving(peer, now)

    def has_room(self, peer: str) -> bool:
        """Return True if a page for a peer would not wait behind as much, which may be what it is about."""
        way = self._out.get(peer)
        return way is None or way.backlog <= self.page_bytes(peer)

    def page_bytes(self, peer: str) -> int:
        """Return the size of a page for a peer: what its way carries in a short while."""
        limits, way = self._limits, self._out.get(peer)
        if way is None:
            return limits.page_bytes
        return max(limits.page_bytes // 16, min(limits.page_bytes, int(way.bytes_per_second * limits.page_seconds)))
