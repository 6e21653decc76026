"""
Clocks: a node whose clock a majority agrees with never refuses writes for it, and no stamp is years ahead.
"""

from collections.abc import Sequence
from typing import NamedTuple

from kvsd.replication.effects import Keep, LogOp
from kvsd.replication.hlc import COUNTER_BITS
from kvsd.replication.liveness import Peer
from kvsd.replication.replica import Replica
from kvsd.replication.requests import Outcome, Overloaded
from kvsd.replication.saved import Saved
from kvsd.replication.stamps import CLOCK_AHEAD
from kvsd.simulate.clock import WALL_MS
from kvsd.simulate.monitor import Invariant, Monitor

AGREE_MS = 10_000
"""Far below the bound: messages are late, and clocks that differ by a bit less may seem to differ by more."""
KNOWN_SECONDS = 5.0
"""By then the others know how a clock stands."""
STANDING_SECONDS = 1.0
"""Between two ticks of a node, unless it stood still."""
NEAR_MS = 8 * 86_400_000
"""A node that starts alone believes its clock for the headroom of stamps; others may be wrong by a day."""


class Reading(NamedTuple):
    """By how much a node's clock is wrong, since when it has been so, and when it was seen last (seconds)."""

    offset_ms: int
    since: float
    seen: float


class RightClocks(Invariant):
    """Knows by how much the clock of every node is wrong."""

    def __init__(self, monitor: Monitor) -> None:
        super().__init__(monitor)
        self._readings: dict[str, Reading] = {}

    def started(self, replica: Replica, saved: Saved) -> None:
        """Who has just started knows no clocks yet."""
        self._readings.pop(replica.state.identity.address, None)

    def ticked(self, replica: Replica) -> None:
        """See how its clock stands; who stood still has to compare it anew."""
        address, now, offset_ms = replica.state.identity.address, replica.state.now.monotonic, offset_of(replica)
        known = self._readings.get(address)
        goes_on = known is not None and known.offset_ms == offset_ms and now - known.seen <= STANDING_SECONDS
        since = known.since if known and goes_on else now
        self._readings[address] = Reading(offset_ms, since, now)

    def decided(self, replica: Replica, outcome: Outcome) -> None:
        """A write is refused for the clock of a node: not while most others, which it can hear, agree with that."""
        if not isinstance(outcome, Overloaded) or outcome.reason != CLOCK_AHEAD:
            return
        if replica.state.stamps.are_trustworthy():
            return  # it passes on what another node has said
        state, me = replica.state, offset_of(replica)
        peers = state.liveness.peers
        now = state.now.monotonic
        agreeing = [a for a, peer in peers.items() if _is_heard(peer, now) and self._agrees(a, me, now)]
        if 2 * (1 + len(agreeing)) > 1 + len(peers) and self._agrees(state.identity.address, me, state.now.monotonic):
            told = f"{', '.join(agreeing)} agree with it, of {len(peers)} other nodes"
            self.accuse("right-clock-writes", f"{state.identity.address} refused a write for its clock although {told}")

    def _agrees(self, address: str, offset_ms: int, now: float) -> bool:
        """Return True if a clock has been right by another one for so long that everybody knows."""
        reading = self._readings.get(address)
        if reading is None or now - reading.seen > 1.0 or now - reading.since < KNOWN_SECONDS:
            return False
        return abs(reading.offset_ms - offset_ms) <= AGREE_MS


class StampsNearTime(Invariant):
    """Knows what the time really is."""

    def wrote(self, replica: Replica, position: int, changes: Sequence[Keep]) -> None:
        """A client's write has a stamp that is not far ahead of the time."""
        for change in changes:
            if isinstance(change, LogOp) and change.op.is_own and change.op.writer == change.role:
                self._check(replica, change.op.record.hlc, f"wrote {change.op.record.key} with a stamp that is")

    def ticked(self, replica: Replica) -> None:
        """What others drew or handed on has taken no clock far ahead of the time."""
        self._check(replica, replica.state.clock.latest, "has a clock that is")

    def _check(self, replica: Replica, stamp: int, what: str) -> None:
        ahead_ms = (stamp >> COUNTER_BITS) - WALL_MS - int(replica.state.now.monotonic * 1000)
        if ahead_ms > NEAR_MS:
            days = ahead_ms // 86_400_000
            self.accuse("stamps-near-time", f"{replica.state.identity.address} {what} {days} days ahead of the time")


def _is_heard(peer: Peer, now: float) -> bool:
    """Return True if a peer can be used, and has been for so long that clocks were compared since."""
    return peer.usable and (peer.good_since is None or now - peer.good_since >= KNOWN_SECONDS)


def offset_of(replica: Replica) -> int:
    """Return by how many milliseconds the clock of a node is wrong at the event at hand."""
    now = replica.state.now
    return now.wall_ms - WALL_MS - int(now.monotonic * 1000)
