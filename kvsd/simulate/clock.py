"""
Simulated time: a heap of calls that are due, and nothing that ever waits.

A second of a quiet cluster takes as long as its calls do.  Calls may belong to an actor, a process that can be gone
or busy: those of one that is gone never come, and those of one that is busy come when it is free, in their order.
"""

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

WALL_MS = 1_800_000_000_000
"""The time of clocks on the wall when a world begins."""


class Actor:
    """Something that acts when its calls come, a process for one."""

    def __init__(self) -> None:
        self.gone = False
        """Whether it is gone for good."""
        self.paused = False
        """Whether it stands still; what would come meanwhile comes when it goes on."""
        self.backlog: list[tuple[int, Timer]] = []
        """What would have come, with the numbers of the places in the heap."""
        self.busy_until = 0.0
        """When it is free again."""
        self.lag = 0.0
        """For how many seconds every call keeps it busy."""

    def is_busy(self, now: float) -> bool:
        """Whether a call has to queue up."""
        return self.paused or self.busy_until > now or self.lag > 0


@implementer(IDelayedCall)
class Timer:
    """One call that is due at a time."""

    __slots__ = ("_clock", "_state", "actor", "call", "due", "entry")

    def __init__(self, clock: "Clock", actor: Actor | None, due: float, call: Callable[[], object]) -> None:
        self._clock = clock
        self._state = ""
        self.actor = actor
        self.due = due
        self.call = call
        self.entry = 0
        """The number of its place in the heap; others of the same timer are void."""

    def getTime(self) -> float:  # noqa: N802 (Twisted's name)
        """When it is due."""
        return self.due

    def cancel(self) -> None:
        """Don't call."""
        self._check()
        self._state = "cancelled"
        self.entry = 0

    def reset(self, secondsFromNow: float) -> None:  # noqa: N803 (Twisted's name)
        """Call so many seconds from now instead."""
        self._check()
        self._clock.place(self, self._clock.seconds() + secondsFromNow)

    def delay(self, secondsLater: float) -> None:  # noqa: N803 (Twisted's name)
        """Call so many seconds later."""
        self._check()
        self._clock.place(self, self.due + secondsLater)

    def active(self) -> bool:
        """Whether it is still to come."""
        return not self._state

    def run(self) -> None:
        """Call now."""
        self._state = "called"
        self.entry = 0
        self.call()

    def _check(self) -> None:
        if self._state == "called":
            raise AlreadyCalled
        if self._state == "cancelled":
            raise AlreadyCancelled


class Clock:
    """The time of a simulated world, and all that is going to happen in it."""

    def __init__(self) -> None:
        self._now = 0.0
        self._heap: list[tuple[float, int, Timer]] = []
        self._entries = 0

    def seconds(self) -> float:
        """The time, in seconds since the world began."""
        return self._now

    def after(self, seconds: float, call: Callable[[], object], actor: Actor | None = None) -> Timer:
        """Have something called after some seconds, by an actor or by the world itself."""
        return self.at(self._now + seconds, call, actor)

    def at(self, due: float, call: Callable[[], object], actor: Actor | None = None) -> Timer:
        """Have something called at a time."""
        timer = Timer(self, actor, 0.0, call)
        self.place(timer, due)
        return timer

    def place(self, timer: Timer, due: float) -> None:
        """Put a timer at a time, which is not before now; where it was before counts no more."""
        due = due if due > self._now else self._now
        self._entries += 1
        timer.due = due
        timer.entry = self._entries
        heappush(self._heap, (due, self._entries, timer))

    def pending(self) -> list[Timer]:
        """The calls to come, soonest first."""
        return [timer for _, entry, timer in sorted(self._heap, key=lambda e: e[:2]) if timer.entry == entry]

    def resume(self, actor: Actor) -> None:
        """A paused actor goes on."""
        actor.paused = False
        backlog, actor.backlog = actor.backlog, []
        for entry, timer in backlog:
            if timer.entry == entry:
                self.place(timer, self._now)

    def run(self, until: float) -> None:
        """Let time pass until then; it never goes back."""
        heap = self._heap
        while heap and heap[0][0] <= until:
            due, entry, timer = heappop(heap)
            if timer.entry != entry:
                continue
            self._now = due
            actor = timer.actor
            if actor is None:
                timer.run()
            elif actor.gone:
                timer.entry = 0
            elif actor.paused:
                actor.backlog.append((entry, timer))
            elif actor.busy_until > due:
                self.place(timer, actor.busy_until)
            else:
                actor.busy_until = due + actor.lag
                timer.run()
        self._now = max(self._now, until)


@implementer(IReactorTime)
class ActorClock:
    """The clock as an actor has it: what it calls later happens only while it is there and not busy."""

    def __init__(self, clock: Clock, actor: Actor) -> None:
        self._clock = clock
        self._actor = actor

    def seconds(self) -> float:
        """The time, in seconds since the world began."""
        return self._clock.seconds()

    def callLater(
        self,
        delay: float,
        callable: Callable[..., Any],  # noqa: A002 (Twisted's name)
        *args: object,
        **kwargs: object,
    ) -> IDelayedCall:
        """Call something after some seconds."""
        if delay < 0:
            raise ValueError(f"{delay} seconds from now is in the past")
        if args or kwargs:
            return self._clock.after(delay, lambda: callable(*args, **kwargs), self._actor)
        return self._clock.after(delay, callable, self._actor)

    def getDelayedCalls(self) -> list[IDelayedCall]:
        """The calls to come."""
        return [timer for timer in self._clock.pending() if timer.actor is self._actor]
