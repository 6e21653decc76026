"""
Places: room in the node's budget for a body before it is read.

Who announces a body gets room for all of it, or waits for that without being read from, in the order of arrival.  So what was
begun can be finished, and bodies in arrival don't keep each other from it.  After some seconds whoever waits is turned
away.  While others wait, a body that hardly comes in gives its room up as well: else a few idle clients could hold it all.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

from msgspec import Struct
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from kvsd.replication.budget import Budget

MAX_WAITING: Final = 1024
"""How many bodies may wait for room; each has up to 64 KiB of its request in memory already."""
PATIENCE_SECONDS: Final = 5.0
"""For how long a body waits for room."""
LOOK_SECONDS: Final = 0.5
GRACE_SECONDS: Final = 2.0
SLOW_BYTES_PER_SECOND: Final = 64 * 1024
"""A body slower than that, after the grace, gives its room up where others wait."""


class Place(Struct, eq=False):
    """Room for one body, or the wait for it."""

    size: int
    of_peer: bool
    admitted: Callable[[], None]
    """Is called when there is room, unless that was so at once."""
    refused: Callable[[], None]
    """Is called when the body is turned away; the place is left then."""
    since: float
    """When it began to wait, or to come in (seconds)."""
    came: int = 0
    """How many bytes of it have come."""
    is_in: bool = False
    is_over: bool = False


class Places:
    """The bodies that are in arrival at a site."""

    def __init__(self, budget: Budget, clock: IReactorTime) -> None:
        self._budget = budget
        self._clock = clock
        self._in: dict[int, Place] = {}
        self._waiting: dict[bool, deque[Place]] = {True: deque(), False: deque()}
        """Peers' bodies, and clients'."""
        self._number_waiting = 0
        self._soon: IDelayedCall | None = None
        self._look: IDelayedCall | None = None

    def enter(self, size: int, *, of_peer: bool, admitted: Callable[[], None], refused: Callable[[], None]) -> Place:
        """Have room for a body: now, if the place that is returned ``is_in``, or later."""
        place = Place(size, of_peer, admitted, refused, self._clock.seconds())
        if not self._waiting[of_peer] and self._budget.take(size, of_peer=of_peer):
            self._let_in(place)
            return place
        self._waiting[of_peer].append(place)
        self._number_waiting += 1
        if self._number_waiting > MAX_WAITING:
            self._clock.callLater(0, self._refuse, place)
        self._budget.freed = self._freed
        if self._look is None:
            self._look = self._clock.callLater(LOOK_SECONDS, self._look_round)
        return place

    def leave(self, place: Place) -> None:
        """The body is there, or is not wanted any more; its room, if it had some, is free."""
        if place.is_over:
            return
        place.is_over = True
        if place.is_in:
            del self._in[id(place)]
            self._budget.give(place.size)
        else:
            self._number_waiting -= 1

    def _let_in(self, place: Place) -> None:
        place.is_in, place.since = True, self._clock.seconds()
        self._in[id(place)] = place

    def _freed(self) -> None:
        """Bytes were given back: see once this turn is over who can have them."""
        if self._soon is None:
            self._soon = self._clock.callLater(0, self._next)

    def _next(self) -> None:
        self._soon = None
        for of_peer, waiting in self._waiting.items():
            while waiting and (waiting[0].is_over or self._budget.take(waiting[0].size, of_peer=of_peer)):
                place = waiting.popleft()
                if not place.is_over:
                    self._number_waiting -= 1
                    self._let_in(place)
                    place.admitted()
        if not self._number_waiting:
            self._budget.freed = None

    def _look_round(self) -> None:
        """Turn away who has waited too long, and take the room of who does not use it."""
        self._look = None
        now = self._clock.seconds()
        for waiting in self._waiting.values():
            for place in list(waiting):
                if now - place.since < PATIENCE_SECONDS:
                    break
                self._refuse(place)
        if self._number_waiting:
            for place in list(self._in.values()):
                if now - place.since > GRACE_SECONDS and place.came < (now - place.since) * SLOW_BYTES_PER_SECOND:
                    self._refuse(place)
            self._look = self._clock.callLater(LOOK_SECONDS, self._look_round)
        self._next()

    def _refuse(self, place: Place) -> None:
        if not place.is_over:
            self.leave(place)
            place.refused()
