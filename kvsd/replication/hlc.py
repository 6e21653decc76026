"""
The hybrid logical clock: stamps near real time that never contradict causality.

A stamp is one integer, milliseconds since 1970 in the upper bits and a counter in the lower 16.  See Kulkarni et
al., "Logical Physical Clocks" (OPODIS 2014).  The clock's reading is handed in: it may be wrong by any amount, then
stamps are merely less near to real time.
"""

COUNTER_BITS = 16
MAX_STAMP = 2**63 - 1
MAX_WALL_MS = 2**46
"""A clock past the year 4199 is wrong, and stamps have room for what is drawn after it."""


class ClockExhausted(Exception):
    """There are no stamps after the last one."""


class HybridClock:
    """Issues stamps, each larger than all issued or witnessed before."""

    def __init__(self, latest: int = 0) -> None:
        self.latest = latest

    def tick(self, wall_ms: int) -> int:
        """A new stamp, at the wall clock's reading in milliseconds or just after the latest stamp; raises :class:`ClockExhausted`."""
        if self.latest >= MAX_STAMP:
            raise ClockExhausted
        stamp = (wall_ms if wall_ms < MAX_WALL_MS else MAX_WALL_MS) << COUNTER_BITS
        self.latest = stamp if stamp > self.latest else self.latest + 1
        return self.latest

    def witness(self, stamp: int) -> None:
        """Make every later stamp larger than this one."""
        self.latest = max(self.latest, min(stamp, MAX_STAMP))
