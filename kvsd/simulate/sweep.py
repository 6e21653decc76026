"""
Many runs, one for each seed, on all processors.
"""

import gc
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import TypeVar

from twisted.logger import ILogObserver, LogEvent, globalLogBeginner
from zope.interface import provider

from kvsd.simulate.run import Verdict

T = TypeVar("T")
R = TypeVar("R")

CHUNK = 5


@dataclass
class Tally:
    """What many runs came to together."""

    schedules: int = 0
    operations: int = 0
    orders: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    settled: float = 0.0
    failed: list[Verdict] = field(default_factory=list)

    def add(self, verdict: Verdict) -> None:
        """One more."""
        self.schedules += 1
        self.operations += verdict.operations
        self.faults += verdict.faults
        self.orders += verdict.orders
        self.seconds += verdict.seconds
        self.settled = max(self.settled, verdict.settled)
        if verdict.violations:
            self.failed.append(verdict)

    def figures(self) -> str:
        """How much was tried."""
        return (
            f"{self.schedules:,} schedules, {self.operations:,} client operations, {self.faults.total():,} faults of "
            f"{len(self.faults)} kinds, {self.seconds / 3600:.1f} simulated hours"
        )

    def speed(self, seconds: float, processes: int) -> str:
        """How fast that was, in so many seconds of real time."""
        return (
            f"{self.operations / seconds:,.0f} client operations a second and {self.seconds / seconds:,.0f} times real "
            f"time on {processes} processes, {seconds:,.0f} s"
        )


def quietly() -> None:
    """Prepare a process for runs: nothing is logged, and what is there already is not looked at by the collector."""
    globalLogBeginner.beginLoggingTo([_drop], redirectStandardIO=False, discardBuffer=True)
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


@provider(ILogObserver)
def _drop(event: LogEvent) -> None:
    """Log nothing."""


def over_all(work: Callable[[T], R], tasks: Iterable[T], processes: int, chunk: int = CHUNK) -> Iterator[R]:
    """
    Do some work for every task, in so many processes; the results come in the order of the tasks.

    A process is handed a chunk of so many tasks at a time.  One process is this one, so that a debugger can follow.
    """
    if processes == 1:
        quietly()
        yield from map(work, tasks)
        return
    with ProcessPoolExecutor(processes, initializer=quietly) as pool:
        waiting = iter(tasks)
        while batch := list(islice(waiting, processes * chunk * 20)):
            yield from pool.map(partial(_apply, work), batch, chunksize=chunk)


def _apply(work: Callable[[T], R], task: T) -> R:
    return work(task)
