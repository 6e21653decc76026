"""
Pipes: directions that carry only so many bytes in a second.

What is on its way in one direction shares it, turn by turn, as connections share a link; so something small passes
something large.  What nobody waits for any more goes no further.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from kvsd.ports import Flow
from kvsd.simulate.clock import Clock

TURN_SECONDS = 0.05
"""For how long one load has the pipe, before it is the turn of the next."""

Direction = tuple[str, str]
"""From one address to another."""


@dataclass(eq=False)
class Load:
    """Bytes on their way: how many are left, whom to tell that some have arrived, and that all have."""

    left: int
    moved: Callable[[], None]
    done: Callable[[], object]
    wanted: Callable[[], bool]


class Pipe:
    """
    One direction.  ``rate`` tells how many bytes it carries in a second now; None: any number at once, 0: none.
    """

    def __init__(self, clock: Clock, rate: Callable[[], float | None]) -> None:
        self._clock = clock
        self._rate = rate
        self._loads: deque[Load] = deque()
        self._running = False
        self.carried = 0

    @property
    def waiting(self) -> int:
        """How many bytes are on their way."""
        return sum(load.left for load in self._loads if load.wanted())

    def carry(self, load: Load) -> None:
        """Take a load, which shares the pipe with all that is on its way."""
        self._loads.append(load)
        if not self._running:
            self._running = True
            self._turn()

    def _turn(self) -> None:
        """Carry a part of the first load."""
        load, rate = self._loads[0], self._rate()
        if rate is None or not load.wanted():
            self._clock.after(0.0, lambda: self._passed(load.left))
        elif rate:
            size = min(load.left, max(1, int(rate * TURN_SECONDS)))
            self._clock.after(size / rate, lambda: self._passed(size))
        else:
            self._clock.after(TURN_SECONDS, lambda: self._passed(0))

    def _passed(self, size: int) -> None:
        load = self._loads.popleft()
        load.left -= size
        if load.wanted():
            self.carried += size
            if size:
                load.moved()
            if load.left:
                self._loads.append(load)
            else:
                load.done()
        self._running = bool(self._loads)
        if self._running:
            self._turn()


class Pipes:
    """The pipes of all directions that are narrow, or were; ``rate`` tells what a direction carries, None: it is not narrow."""

    def __init__(self, clock: Clock, rate: Callable[[Direction], float | None]) -> None:
        self._clock = clock
        self._rate = rate
        self._pipes: dict[Direction, Pipe] = {}

    def of(self, direction: Direction) -> Pipe | None:
        """What carries the next message, where the way is narrow."""
        if self._rate(direction) is None:
            return None
        if direction not in self._pipes:
            self._pipes[direction] = Pipe(self._clock, lambda: self._rate(direction))
        return self._pipes[direction]

    def flow(self, sender: str, receiver: str) -> Flow:
        """How far what one address sends another has come, as far as the way is narrow."""
        there, back = self._pipes.get((sender, receiver)), self._pipes.get((receiver, sender))
        return Flow((there.carried if there else 0) + (back.carried if back else 0), there.waiting if there else 0)
