"""
Forwarding: a request for which another replica is the right one, because this node is no member of the key's shard or
because that replica already has what the request depends on.

Members are tried one after another.  A write may be carried out more than once by that: by a member that falls silent
before it answers, or that gets the request late.  All tries carry one id and one stamp, drawn before the first (see
:class:`kvsd.replication.requests.Put`), so it takes effect once, and never over anything that came after it.
"""

from msgspec import Struct
from msgspec.structs import replace

from kvsd.replication.candidates import Candidates
from kvsd.replication.concern import patience
from kvsd.replication.effects import Now, Ticket
from kvsd.replication.meeting import Meeting
from kvsd.replication.messages import Forward, Forwarded
from kvsd.replication.requests import (
    CountKeys,
    Outcome,
    Outdated,
    Overloaded,
    Put,
    Question,
    StorageFull,
    Unassigned,
    Unavailable,
    Unmet,
)
from kvsd.replication.stamps import CLOCK_AHEAD, STAMP_AHEAD
from kvsd.replication.state import State

MAX_REDRAWN = 3


class Forwarding(Struct, eq=False):
    """A request under way: whom to ask next, whom it was sent to, and what was last heard of it."""

    ticket: Ticket
    shard: str
    request: Question
    candidates: list[str]
    peer: str = ""
    deadline: float = 0.0
    patient: bool = False
    """Whether it is on its last round, in which the member asked may wait."""
    tried: bool = False
    """Whether a member may have carried it out without our hearing of it."""
    redrawn: int = 0
    """How often its stamp turned out to be too old."""
    last: Outcome | None = None

    def here(self) -> Question:
        """The request as this node is to carry it out itself: nobody can have, unless it was tried; so draw a stamp."""
        if isinstance(self.request, Put) and not self.tried:
            return replace(self.request, stamp=0)
        return self.attempt(0.0 if isinstance(self.request, CountKeys) else self.request.wait)

    def attempt(self, wait: float) -> Question:
        """The request as it is to be tried now, with the time in seconds for which it may wait there."""
        if isinstance(self.request, CountKeys):
            return self.request
        if isinstance(self.request, Put):
            return replace(self.request, wait=wait, tried=self.tried)
        return self.request if self.request.wait == wait else replace(self.request, wait=wait)


class Forwards:
    """The requests that this node has sent on and that are unanswered."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._candidates = Candidates(state)
        self._meeting = Meeting(state)
        self._under_way: dict[int, Forwarding] = {}
        self._numbers: dict[Ticket, int] = {}
        """The number of each ticket's request, so that a client that hangs up costs one look-up, however many are sent on."""
        self._count = state.identity.boot << 32  # never a number of an earlier run of this process
        self.total = 0

    def __len__(self) -> int:
        """How many requests are under way."""
        return len(self._under_way)

    def request(self, number: int) -> Question | None:
        """The request that was sent on under a number, while it is under way."""
        forwarding = self._under_way.get(number)
        return forwarding.request if forwarding else None

    # The way there

    def start(self, ticket: Ticket, shard: str, request: Question, candidates: list[str], now: Now) -> Outcome | None:
        """Send a request to the first candidate, all of which can be used; returns an outcome where there is none to wait for."""
        if len(self._under_way) >= self._state.limits.forwards:
            return Overloaded("Too many requests are being forwarded; try again later")
        if isinstance(request, Put) and not self._state.stamps.are_trustworthy():
            return Overloaded(CLOCK_AHEAD)
        self.total += 1
        forwarding = Forwarding(ticket, shard, self._identified(request, now), candidates)
        if not candidates:
            return self._last_round(forwarding, now)
        self._send(forwarding, candidates.pop(0), 0.0, now)
        return None

    def _identified(self, request: Question, now: Now) -> Question:
        """A write that can be tried twice: with an id, and a stamp of this moment, beyond all that its author has seen."""
        if not isinstance(request, Put):
            return request
        self._count += 1
        identity = self._state.identity
        self._state.clock.witness(request.token.hlc)
        minted = f"{identity.instance.hex()[:16]}-{identity.boot:x}-{self._count}"
        return replace(request, request=request.request or minted, stamp=self._state.stamps.draw(now))

    def _next(self, forwarding: Forwarding, now: Now) -> Outcome | None:
        self._follow(forwarding)
        while forwarding.candidates:
            peer = forwarding.candidates.pop(0)
            if self._candidates.can_be_asked(peer):
                self._send(forwarding, peer, 0.0, now)
                return None
        return self._last_round(forwarding, now)

    def _follow(self, forwarding: Forwarding) -> None:
        """Where the key belongs to another shard by now, go there."""
        request = forwarding.request
        if not isinstance(request, CountKeys):
            _, shard = self._state.shard_of(request.key)
            if shard != forwarding.shard:
                forwarding.shard = shard
                forwarding.candidates = self._candidates.in_order(shard, request)

    def _last_round(self, forwarding: Forwarding, now: Now) -> Outcome | None:
        """All were asked: have one of them wait, where the client would rather wait and this node can't do it."""
        wait = 0.0 if isinstance(forwarding.request, CountKeys) else forwarding.request.wait
        others = self._candidates.in_order(forwarding.shard, forwarding.request)
        here = self._state.serving(forwarding.shard) is not None and not self._meeting.is_on()
        can_wait = wait > 0 and others and not here
        if isinstance(forwarding.last, Unmet) and can_wait and not forwarding.patient:
            forwarding.patient = True
            self._send(forwarding, others[0], wait, now)
            return None
        return forwarding.last or Unavailable(forwarding.shard)

    def _send(self, forwarding: Forwarding, peer: str, wait: float, now: Now) -> None:
        self._count += 1
        forwarding.peer = peer
        wait_there = wait + patience(forwarding.request, self._state.limits)
        forwarding.deadline = now.monotonic + self._state.limits.forward_seconds + wait_there
        self._under_way[self._count] = forwarding
        self._numbers[forwarding.ticket] = self._count
        self._state.out.send(peer, Forward(self._count, forwarding.attempt(wait)), after=0)

    # The way back

    def answered(self, peer: str, message: Forwarded, now: Now) -> tuple[Forwarding, Outcome] | None:
        """A member's answer: final, or a reason to try the next one (then None)."""
        forwarding = self._under_way.get(message.id)
        if forwarding is None or forwarding.peer != peer:
            return None
        del self._under_way[message.id], self._numbers[forwarding.ticket]
        if isinstance(message.outcome, Outdated):
            return self._redraw(forwarding, message.outcome, now)
        if not isinstance(message.outcome, Unmet | Unassigned | Overloaded | StorageFull):
            return forwarding, message.outcome
        if not isinstance(message.outcome, Unassigned):
            forwarding.last = message.outcome
        outcome = self._next(forwarding, now)
        return (forwarding, outcome) if outcome else None

    def _redraw(self, forwarding: Forwarding, outdated: Outdated, now: Now) -> tuple[Forwarding, Outcome] | None:
        """
        The stamp was too old: draw another one and try the same member again.

        Only a write that nobody can have carried out yet: with another stamp it would be another version.  Where others
        write the key so often that it is overtaken every time, let it have come first and have been overwritten.
        """
        request = forwarding.request
        if forwarding.tried or not isinstance(request, Put):
            return forwarding, Unavailable(forwarding.shard)
        if not self._state.stamps.is_credible(outdated.latest, now):
            return forwarding, Overloaded(STAMP_AHEAD)
        if forwarding.redrawn < MAX_REDRAWN:
            self._state.clock.witness(outdated.latest)
            forwarding.redrawn += 1
            forwarding.request = replace(request, stamp=self._state.stamps.draw(now))
        else:
            forwarding.tried = True
        forwarding.candidates.insert(0, forwarding.peer)
        outcome = self._next(forwarding, now)
        return (forwarding, outcome) if outcome else None

    def failed(self, peer: str, now: Now) -> list[tuple[Forwarding, Outcome]]:
        """A peer can't be used any more: try the next member for what was sent to it."""
        return self._retry([id_ for id_, forwarding in self._under_way.items() if forwarding.peer == peer], now)

    def tick(self, now: Now) -> list[tuple[Forwarding, Outcome]]:
        """Try the next member where one took too long; returns what came to an end."""
        overdue, at = self._state.slow_ways.is_overdue, now.monotonic
        late = [id_ for id_, f in self._under_way.items() if f.deadline <= at and overdue(f.peer, at - f.deadline, at)]
        return self._retry(late, now)

    def _retry(self, ids: list[int], now: Now) -> list[tuple[Forwarding, Outcome]]:
        ended = []
        for id_ in ids:
            forwarding = self._under_way.pop(id_)
            del self._numbers[forwarding.ticket]
            forwarding.tried = True
            outcome = self._next(forwarding, now)
            if outcome:
                ended.append((forwarding, outcome))
        return ended

    def cancel(self, ticket: Ticket) -> None:
        """Nobody waits for the answer any more."""
        if number := self._numbers.pop(ticket, None):
            del self._under_way[number]
