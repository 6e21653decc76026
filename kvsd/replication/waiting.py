"""
Requests that wait, because their clients prefer that, for what they depend on.
"""

from dataclasses import dataclass

from kvsd.replication.antientropy import AntiEntropy
from kvsd.replication.causality import missing
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
        if wait <= 0:
            self._state.out.answer(asker, unmet)
        elif len(self._waiters) >= self._state.limits.waiters:
            self._state.out.answer(asker, Overloaded("Too many requests wait here; try again later"))
        else:
            self._waiters[asker] = Waiter(asker, role, request, now.monotonic + wait)
            if request.wait:
                self._fetch(role, unmet, now)

    def _moment(self, unmet: Unmet) -> float:
        on_its_way = unmet.missing and all(self._state.usable(lack.node) for lack in unmet.missing)
        return self._state.limits.moment_seconds if on_its_way else 0.0

    def _fetch(self, role: Role, unmet: Unmet, now: Now) -> None:
        holders = [address for lack in unmet.missing for address in [*lack.held_by, lack.node]]
        self._antientropy.pull(role, holders or self._state.others(role.shard), now.monotonic)

    def explained(self, now: Now) -> list[dict[str, object]]:
        """Each request that waits: its key, for how many more seconds at the most, and the writes that it lacks."""
        return [
            {
                "key": waiter.request.key,
                "seconds-left": round(waiter.deadline - now.monotonic, 3),
                "lacks": self._lacks(waiter),
            }
            for waiter in self._waiters.values()
        ]

    @staticmethod
    def _lacks(waiter: Waiter) -> dict[str, int]:
        needed = waiter.request.token.dependencies.get(waiter.role.shard, {})
        return {writer.hex(): counter for writer, counter in missing(waiter.role.vector, needed).items()}

    def cancel(self, asker: Asker) -> None:
        """Nobody waits for the answer any more."""
        self._waiters.pop(asker, None)

    def wake(self, now: Now) -> None:
        """Something was applied: answer who now can be."""
        for waiter in list(self._waiters.values()):
            outcome, after = self._serving.attempt(waiter.role, waiter.request, now)
            if not isinstance(outcome, Unmet):
                del self._waiters[waiter.asker]
                self._state.out.answer(waiter.asker, outcome, after)

    def tick(self, now: Now) -> None:
        """Answer those whose time is up, and fetch for those who still wait."""
        for waiter in list(self._waiters.values()):
            outcome, after = self._serving.attempt(waiter.role, waiter.request, now)
            if isinstance(outcome, Unmet) and now.monotonic < waiter.deadline:
                self._fetch(waiter.role, outcome, now)
                continue
            del self._waiters[waiter.asker]
            self._state.out.answer(waiter.asker, outcome, after)
