"""
Requests that wait, because their clients prefer that, for what they depend on.
"""

from dataclasses import dataclass, replace

from kvsd.replication.antientropy import AntiEntropy
from kvsd.replication.causality import VersionVector, missing
from kvsd.replication.effects import Now
from kvsd.replication.outbox import Asker
from kvsd.replication.requests import KeyRequest, Overloaded, Unmet
from kvsd.replication.role import Role
from kvsd.replication.serving import Serving
from kvsd.replication.state import State


@dataclass(frozen=True)
class Waiter:
    """A request that waits at a role until a time (monotonic seconds)."""

    asker: Asker
    role: Role
    request: KeyRequest
    deadline: float


class Waiting:
    """Requests kept until their causes are here or their time is up."""

    def __init__(self, state: State, serving: Serving, antientropy: AntiEntropy) -> None:
        self._state = state
        self._serving = serving
        self._antientropy = antientropy
        self._waiters: dict[Asker, Waiter] = {}

    def __len__(self) -> int:
        """How many requests wait."""
        return len(self._waiters)

    def add(self, asker: Asker, role: Role, request: KeyRequest, unmet: Unmet, now: Now) -> None:
        """
        Keep a request until it can be carried out, and fetch what it lacks at once.

        One whose client would rather not wait is kept for a moment all the same, where what it lacks can only be on
        its way.
        """
        wait = request.wait or self._moment(unmet)
        if wait <= 0 or (len(self._waiters) >= self._state.limits.waiters and not request.wait):
            self._state.out.answer(asker, unmet)
        elif len(self._waiters) >= self._state.limits.waiters:
            self._state.out.answer(asker, Overloaded("Too many requests wait here; try again later"))
        else:
            waiter = self._waiters[asker] = Waiter(asker, role, request, now.monotonic + wait)
            if request.wait:
                self._antientropy.pull(role, self._holders(waiter), now.monotonic)

    def _moment(self, unmet: Unmet) -> float:
        on_its_way = unmet.missing and all(self._state.usable(lack.node) for lack in unmet.missing)
        return self._state.limits.moment_seconds if on_its_way else 0.0

    def explained(self, now: Now) -> list[dict[str, object]]:
        """Each request that waits: its key, for how many more seconds at the most, and the writes that it lacks."""
        return [
            {
                "key": waiter.request.key,
                "seconds-left": round(waiter.deadline - now.monotonic, 3),
                "lacks": {writer.hex(): counter for writer, counter in _lacks(waiter).items()},
            }
            for waiter in self._waiters.values()
        ]

    def cancel(self, asker: Asker) -> None:
        """Nobody waits for the answer any more."""
        self._waiters.pop(asker, None)

    def wake(self, now: Now) -> None:
        """Something was applied: answer who now can be."""
        for waiter in list(self._waiters.values()):
            if not _lacks(waiter):
                self._try(waiter, now)

    def tick(self, now: Now) -> None:
        """Answer those whose time is up, and fetch for those who still wait."""
        fetching: set[str] = set()
        for waiter in list(self._waiters.values()):
            if now.monotonic >= waiter.deadline or not _lacks(waiter):
                self._try(waiter, now)
            elif waiter.role.shard not in fetching:
                fetching.add(waiter.role.shard)
                self._antientropy.pull(waiter.role, self._holders(waiter), now.monotonic)

    def expire(self, now: Now) -> None:
        """Let nobody wait any longer."""
        for waiter in list(self._waiters.values()):
            self._try(replace(waiter, deadline=now.monotonic), now)

    def _try(self, waiter: Waiter, now: Now) -> None:
        outcome, after = self._serving.attempt(waiter.role, waiter.request, now)
        if not isinstance(outcome, Unmet) or now.monotonic >= waiter.deadline:
            del self._waiters[waiter.asker]
            self._state.out.answer(waiter.asker, outcome, after)

    def _holders(self, waiter: Waiter) -> list[str]:
        """The nodes that wrote what a request lacks, then all others."""
        writers = [self._state.writers[writer].node for writer in _lacks(waiter) if writer in self._state.writers]
        return [*writers, *self._state.others(waiter.role.shard)]


def _lacks(waiter: Waiter) -> VersionVector:
    """What a request depends on and its replica has not."""
    return missing(waiter.role.vector, waiter.request.token.dependencies.get(waiter.role.shard, {}))
