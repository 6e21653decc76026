"""
Clock comparison: how this node's clock on the wall stands against its peers' clocks, by their heartbeats.

A reading of a clock is kept as its difference from this node's monotonic clock, which never jumps.  So the readings of
peers stay right when this node's own clock jumps, and a reading of this node's own clock counts only from a moment at
which it was compared with a peer's.

A node is one voice among all: it counts its own clock too.  While a majority of all nodes agrees with a clock, the clock
is right, whatever the others say.  Without such a majority, a node that is ahead of half of the clocks that are heard may be
the wrong one, and says so.
"""

from collections.abc import Iterable
from statistics import median_high, median_low

from kvsd.replication.effects import Now
from kvsd.replication.limits import Limits
from kvsd.replication.liveness import Liveness, Peer


def since_boot_ms(now: Now) -> int:
    """Return the clock on the wall less the monotonic clock: a number that changes only when the former jumps."""
    return now.wall_ms - int(now.monotonic * 1000)


class Clocks:
    """The clocks of all nodes, as this node knows them."""

    def __init__(self, liveness: Liveness, limits: Limits) -> None:
        self._liveness = liveness
        self._bound_ms = limits.clock_ahead_ms
        self.own_ms: int | None = None
        """This node's clock when it was compared last with one that counts, less the monotonic one; None before."""
        self._for_old_times: set[str] = set()
        """The peers whose clocks, when they were heard last, agreed with what this node went by then."""

    def compare(self, peer: Peer, wall_ms: int, now: Now) -> None:
        """Compare this node's clock with a peer's, which the peer has just told."""
        if peer.usable:
            self.own_ms = since_boot_ms(now)
        peer.clock_ms = wall_ms - int(now.monotonic * 1000)
        believed = self.belief_ms()
        self._for_old_times.discard(peer.address)
        if abs(peer.clock_ms - (since_boot_ms(now) if believed is None else believed)) <= self._bound_ms:
            self._for_old_times.add(peer.address)
        self._liveness.compared += 1

    def belief_ms(self) -> int | None:
        """
        Return the clock that this node's stamps go by, less the monotonic one; None where no peer can be compared with.

        It is this node's own clock, put forward where that is behind and put back where that is too far ahead.
        """
        if self.own_ms is None or not any(peer.clock_ms is not None for peer in self._counting()):
            return None
        return self.own_ms + (-self.ahead_ms() if self.is_ahead() else self.behind_ms())

    def _counting(self) -> list[Peer]:
        """Return the peers that can be used: the clocks of others count only in favour of this node's."""
        return [peer for peer in self._liveness.peers.values() if peer.usable]

    def ahead_ms(self) -> int:
        """
        Return by how much this node's clock is ahead of the median of the clocks that are heard, its own among them.

        Of the two in the middle of an even number, the one further from this node's clock counts.  Negative: behind.
        """
        ahead = [0, *self._ahead(self._counting())]
        return high if (high := median_high(ahead)) > 0 else median_low(ahead)

    def is_ahead(self) -> bool:
        """Return True if this node's clock is too far ahead for its stamps, which would win every conflict."""
        return self.ahead_ms() > self._bound_ms and not self._is_agreed(0)

    def behind_ms(self) -> int:
        """
        Return by how much this node's clock is behind the furthest of its peers' clocks that are not plainly wrong.

        A clock is plainly wrong if it is further ahead than the bound and no majority agrees with it.
        """
        lags = [-ahead for ahead in self._ahead(self._counting())]
        return max((lag for lag in lags if lag > 0 and (lag <= self._bound_ms or self._is_agreed(lag))), default=0)

    def _is_agreed(self, lead_ms: int) -> bool:
        """
        Return True if a majority of all nodes agrees with a clock that is so far ahead of this node's.

        A node that can't be used any more counts by its last word, unless that was at odds with what this node went by.
        """
        peers = self._liveness.peers.values()
        counting = (peer for peer in peers if peer.usable or peer.address in self._for_old_times)
        leads = [0, *(-ahead for ahead in self._ahead(counting))]
        agreeing = sum(abs(lead - lead_ms) <= self._bound_ms for lead in leads)
        return 2 * agreeing > len(peers) + 1

    def _ahead(self, peers: Iterable[Peer]) -> list[int]:
        """Return by how much this node's clock was ahead of those of some peers when each was heard last."""
        own = self.own_ms or 0
        return [own - peer.clock_ms for peer in peers if peer.clock_ms is not None]

    def common_stamp(self) -> int:
        """Return a stamp that a majority of all nodes has reached by the reports of peers; 0 if none is known."""
        peers = self._liveness.peers.values()
        reached = sorted((peer.hlc for peer in peers), reverse=True)
        needed = (len(peers) + 1) // 2 + 1
        return reached[needed - 1] if needed <= len(reached) else 0
