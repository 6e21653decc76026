"""
Requests that wait, because their clients prefer that, for what they depend on.
"""

from typing import NamedTuple

from msgspec.structs import replace

from kvsd.replication.antientropy import AntiEntropy
from kvsd.replication.budget import SMALL_BYTES
from kvsd.replication.causality import Dependencies
from kvsd.replication.concern import Concerns
from kvsd.replication.effects import Now
from kvsd.replication.outbox import Asker, Remote
from kvsd.replication.past import Past
from kvsd.replication.requests import KeyRequest, Overloaded, Put, Unmet
from kvsd.replication.role import Role
from kvsd.replication.serving import Serving
from kvsd.replication.state import State


class Waiter(NamedTuple):
    """A request that waits at a role until a time (monotonic seconds)."""

    asker: Asker
    role: Role | None
    """None: it waits for a configuration."""
    request: KeyRequest
    deadline: float
    unmet: Unmet

    @property
    def size(self) -> int:
        """How many bytes its value has, 0 where it is small."""
        value = self.request.value if isinstance(self.request, Put) else None
        return len(value) if value is not None and len(value) > SMALL_BYTES else 0

    def request_at(self, now: Now) -> KeyRequest:
        """The request with what is left of the time that its client gave it."""
        if not self.request.wait:
            return self.request
        left = max(0.0, self.deadline - now.monotonic)
        if isinstance(self.request, Put) and self.request.within is not None:
            return replace(self.request, wait=left, within=min(self.request.within, left))
        return replace(self.request, wait=left)


class Waiting:
    """Requests kept until their causes are here or their time is up."""

    def __init__(self, state: State, serving: Serving, concerns: Concerns, antientropy: AntiEntropy) -> None:
        self._state = state
        self._serving = serving
        self._concerns = concerns
        self._antientropy = antientropy
        self._past = Past(state)
        self._waiters: dict[Asker, Waiter] = {}
        self.bytes = 0
        """How many bytes of values the requests that wait hold."""

    def __len__(self) -> int:
        """How many requests wait."""
        return len(self._waiters)

    def add(self, asker: Asker, role: Role | None, request: KeyRequest, unmet: Unmet, now: Now) -> None:
        """
        Keep a request until it can be carried out, and fetch what it lacks at once.

        One whose client would rather not wait is kept for a moment all the same, where what it lacks can only be on
        its way.
        """
        wait = request.wait or self._moment(unmet)
        if wait <= 0 or (len(self._waiters) >= self._state.limits.waiters and not request.wait):
            self._state.out.answer(asker, unmet, after=0)
        elif len(self._waiters) >= self._state.limits.waiters:
            self._state.out.answer(asker, Overloaded("Too many requests wait here; try again later"), after=0)
        elif not self._keep(waiter := Waiter(asker, role, request, now.monotonic + wait, unmet)):
            refusal = Overloaded("Too many bytes of requests wait here; try again later")
            self._state.out.answer(asker, refusal, after=0)
        elif request.wait and role:
            self._antientropy.pull(role, self._holders(waiter), now.monotonic)

    def _moment(self, unmet: Unmet) -> float:
        if unmet.epoch_needed:
            return self._state.limits.heartbeat_seconds
        on_its_way = unmet.missing and all(self._state.usable(lack.node) for lack in unmet.missing)
        return self._state.limits.moment_seconds if on_its_way else 0.0

    def explained(self, now: Now) -> list[dict[str, object]]:
        """Each request that waits: its key, for how many more seconds at the most, and the writes that it lacks."""
        return [
            {
                "key": waiter.request.key,
                "seconds-left": round(waiter.deadline - now.monotonic, 3),
                "lacks": {writer.hex(): counter for v in self._lacks(waiter).values() for writer, counter in v.items()},
                "epoch-needed": waiter.unmet.epoch_needed,
            }
            for waiter in self._waiters.values()
        ]

    def _keep(self, waiter: Waiter) -> bool:
        """Have a request wait; return False where there is no room for its value."""
        self.cancel(waiter.asker)  # the message that brought the request may have come twice
        size, budget = waiter.size, self._state.budget
        if size and self.bytes + size > self._state.limits.waiter_bytes:
            return False
        # A client's own request is counted from its arrival at its node on; one that a peer has forwarded only here.
        if isinstance(waiter.asker, Remote) and not budget.take(size, of_peer=True):
            return False
        self.bytes += size
        self._waiters[waiter.asker] = waiter
        return True

    def cancel(self, asker: Asker) -> None:
        """Let go of a request that waits, if it does."""
        waiter = self._waiters.pop(asker, None)
        if waiter and (size := waiter.size):
            self.bytes -= size
            if isinstance(asker, Remote):
                self._state.budget.give(size)

    def wake(self, now: Now) -> None:
        """Something was applied: answer who now can be."""
        for waiter in list(self._waiters.values()):
            if waiter.role and not self._lacks(waiter):
                self._try(waiter, now)

    def release(self, now: Now) -> list[tuple[Asker, KeyRequest]]:
        """Let go of all, as another configuration is in force: who asked for what, with the time that is left."""
        waiters = list(self._waiters.values())
        for waiter in waiters:
            self.cancel(waiter.asker)
        return [(waiter.asker, waiter.request_at(now)) for waiter in waiters]

    def tick(self, now: Now) -> None:
        """Answer those whose time is up, and fetch for those who still wait."""
        fetching: set[str] = set()
        for waiter in list(self._waiters.values()):
            if now.monotonic >= waiter.deadline or (waiter.role and not self._lacks(waiter)):
                self._try(waiter, now)
            elif waiter.role and waiter.role.shard not in fetching:
                fetching.add(waiter.role.shard)
                self._antientropy.pull(waiter.role, self._holders(waiter), now.monotonic)

    def expire(self, now: Now) -> None:
        """Let nobody wait any longer."""
        for waiter in list(self._waiters.values()):
            self._try(waiter._replace(deadline=now.monotonic), now)

    def _try(self, waiter: Waiter, now: Now) -> None:
        if waiter.role is None:
            self.cancel(waiter.asker)
            self._state.out.answer(waiter.asker, waiter.unmet, after=0)
            return
        request = waiter.request_at(now)
        attempt = self._serving.attempt(waiter.role, request, now)
        if not isinstance(attempt.outcome, Unmet) or now.monotonic >= waiter.deadline:
            self.cancel(waiter.asker)
            self._concerns.answer(waiter.asker, waiter.role, request, attempt, now)

    def _holders(self, waiter: Waiter) -> list[str]:
        """The nodes that wrote what a request lacks, then all others."""
        assert waiter.role is not None, "only writes can be fetched"
        lacks = self._lacks(waiter).get(waiter.role.shard, {})
        writers = [self._state.writers[writer].node for writer in lacks if writer in self._state.writers]
        return [*writers, *self._state.others(waiter.role.shard)]

    def _lacks(self, waiter: Waiter) -> Dependencies:
        """What a request depends on and its replica has not."""
        if waiter.role is None:
            return {}
        tenure, _ = self._state.shard_of(waiter.request.key)
        return self._past.lacking(waiter.role, tenure, waiter.request.token)
