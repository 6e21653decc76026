"""
Write concern: an acknowledgement is kept back until as many replicas have the write on disk as its client asked for.

Counted are the members of the write's shard in the configuration that is in force at its coordinator whenever that
looks, the coordinator among them while it is one; never learners, nor the departed.  So a majority is one of those who
are members now, be they more or fewer than when the write was carried out.  That a member has a write is known by its
acknowledgement (:mod:`kvsd.replication.acknowledging`) or by its report.  When the time is up the client is told how
far the write came: it stays written all the same.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from msgspec import Struct
from msgspec.structs import replace

from kvsd.replication.causality import VersionVector, Writer, dominates, join
from kvsd.replication.effects import Now
from kvsd.replication.limits import Limits
from kvsd.replication.messages import Acknowledged
from kvsd.replication.outbox import Asker
from kvsd.replication.reports import Reports
from kvsd.replication.requests import (
    Concern,
    KeyRequest,
    Outcome,
    Overloaded,
    Put,
    Question,
    Refused,
    Unconfirmed,
    Verdict,
    Written,
)
from kvsd.replication.role import Role
from kvsd.replication.state import State

TOO_MANY = "w={} asks for more replicas than shard {} has members ({})"


class Attempt(Struct, frozen=True, gc=False):
    """What came of carrying a request out: the outcome, the position that it depends on, and what it says is written."""

    outcome: Verdict
    after: int
    covers: VersionVector | None = None
    """The writes of the shard that a replica must have for this one to count as being there."""
    repeated: bool = False
    """Whether it was carried out before, so that replicas may have it by now."""


@dataclass(eq=False)
class Held:
    """An acknowledgement that is kept back, until a time at the latest (monotonic seconds)."""

    asker: Asker
    role: Role
    concern: Concern
    covers: VersionVector
    written: Written
    after: int
    deadline: float
    members: int
    """How many members the shard had when it was carried out."""
    capped: bool = False
    """Whether more than there are members means all of them."""
    over: bool = False


class Concerns:
    """The acknowledgements that are kept back here, and what members have acknowledged."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._reports = Reports(state)
        self._held: dict[Asker, Held] = {}
        self._queues: dict[tuple[str, Concern, bool], deque[Held]] = {}
        """Writes of this node's own, by shard and concern: who has one of them has those before it."""
        self._repeats: list[Held] = []
        """Writes that were carried out before, which have no such order."""
        self._acknowledged: dict[Writer, VersionVector] = {}
        """For each member what it has acknowledged, by the writers that this node is or was."""

    def __len__(self) -> int:
        """How many acknowledgements are kept back."""
        return len(self._held)

    # Keeping back

    def refusal(self, shard: str, request: Put) -> Outcome | None:
        """Why a write is not to be carried out: not enough members for what it asks, or no room to wait."""
        if request.concern == 1:
            return None
        members = len(self._state.members(shard))
        if needed(request.concern, members, capped=request.capped) > members:
            return Refused(TOO_MANY.format(request.concern, shard, members))
        if len(self._held) >= self._state.limits.concerns:
            return Overloaded("Too many writes wait for replicas here; try again later")
        return None

    def answer(self, asker: Asker, role: Role, request: KeyRequest, attempt: Attempt, now: Now) -> None:
        """Give the outcome to whoever asked; that of a write not before enough replicas are known to have it."""
        outcome, covers = attempt.outcome, attempt.covers
        if not isinstance(request, Put) or request.concern == 1 or not isinstance(outcome, Written) or covers is None:
            self._state.out.answer(asker, outcome, attempt.after)
            return
        deadline = now.monotonic + patience(request, self._state.limits)
        members = len(self._state.members(role.shard))
        held = Held(
            asker, role, request.concern, covers, outcome, attempt.after, deadline, members, capped=request.capped
        )
        self.cancel(asker)  # the message that brought the request may have come twice
        self._held[asker] = held
        alone_is_enough = needed(request.concern, members, capped=request.capped) == 1
        if (attempt.repeated or alone_is_enough) and self._settle(held, self._known(role.shard)):
            return
        if attempt.repeated:
            self._repeats.append(held)
        else:
            self._queues.setdefault((role.shard, request.concern, request.capped), deque()).append(held)

    # Learning who has what

    def acknowledged(self, peer: str, message: Acknowledged) -> None:
        """A replica has this node's writes up to one of them on its disk."""
        member = self._state.writers.get(message.role)
        if member and (member.node, member.shard) == (peer, message.shard):
            join(self._acknowledged.setdefault(message.role, {}), {message.writer: message.counter})
            if self._held:
                self._look(message.shard)

    def reported(self) -> None:
        """A member has reported what it has."""
        for shard in {held.role.shard for held in self._held.values()}:
            self._look(shard)

    def adopted(self) -> None:
        """
        Others may be members from now on.

        Where there are none any more, or this node's role is gone, nobody will ever be known to have more.
        """
        writers = self._state.writers
        self._acknowledged = {role: seen for role, seen in self._acknowledged.items() if role in writers}
        for held in list(self._held.values()):
            shard = held.role.shard
            if self._state.roles.get(shard) is not held.role or not self._state.members(shard):
                self._give_up(held)
        self.reported()

    def _look(self, shard: str) -> None:
        """Let go of all that enough replicas have by now."""
        known = self._known(shard)
        for (name, *_), queue in self._queues.items():
            while name == shard and queue and (queue[0].over or self._settle(queue[0], known)):
                queue.popleft()
        for held in self._repeats:
            if held.role.shard == shard and not held.over:
                self._settle(held, known)

    def _known(self, shard: str) -> list[Mapping[bytes, int]]:
        """What each member of a shard is known to have: this node all, as any answer waits for its disk."""
        roster, role = self._state.roster, self._state.roles.get(shard)
        known: list[Mapping[bytes, int]] = []
        for member in roster.shard(shard).members if roster else ():
            if member.node == self._state.identity.address:
                known.append(role.vector if role else {})
            else:
                vector = dict(self._reports.vector(member.node, shard) or {})
                join(vector, self._acknowledged.get(member.writer, {}))
                known.append(vector)
        return known

    def _settle(self, held: Held, known: Sequence[Mapping[bytes, int]]) -> bool:
        """Answer a write that enough replicas have; says whether that is so."""
        replicas = sum(dominates(vector, held.covers) for vector in known)
        if replicas < needed(held.concern, len(known), capped=held.capped):
            return False
        self._end(held, replace(held.written, replicas=replicas, of=len(known)))
        return True

    # Letting go

    def cancel(self, asker: Asker) -> None:
        """Nobody waits for the answer any more."""
        if held := self._held.pop(asker, None):
            held.over = True

    def tick(self, now: Now) -> None:
        """Answer those whose time is up."""
        for held in list(self._held.values()):
            if held.deadline <= now.monotonic:
                self._give_up(held)
        self._repeats = [held for held in self._repeats if not held.over]
        for name, queue in list(self._queues.items()):
            self._queues[name] = deque(held for held in queue if not held.over)

    def expire(self) -> None:
        """Let nobody wait any longer."""
        for held in list(self._held.values()):
            self._give_up(held)

    def _give_up(self, held: Held) -> None:
        """Tell how far a write came."""
        known = self._known(held.role.shard)
        replicas = sum(dominates(vector, held.covers) for vector in known)
        reached = (replicas, len(known)) if known else (1, held.members)
        self._end(held, Unconfirmed(held.written.shard, held.written.token, held.written.existed, *reached))

    def _end(self, held: Held, outcome: Outcome) -> None:
        held.over = True
        del self._held[held.asker]
        self._state.out.answer(held.asker, outcome, held.after)


def needed(concern: Concern, members: int, *, capped: bool = False) -> int:
    """How many of so many members a concern asks for; ``capped``: not for more than there are."""
    match concern:
        case "majority":
            return members // 2 + 1
        case "all":
            return members
        case int():
            return min(concern, members) if capped else concern


def patience(request: Question, limits: Limits) -> float:
    """For how many seconds a request may wait for replicas."""
    if not isinstance(request, Put) or request.concern == 1:
        return 0.0
    return limits.concern_seconds if request.within is None else request.within
