"""
Routing: a request is carried out here, at another replica, or waits; routing goes before waiting.
"""

from kvsd.replication.assignment import Assignment
from kvsd.replication.candidates import Candidates
from kvsd.replication.concern import Concerns
from kvsd.replication.effects import Now, Ticket
from kvsd.replication.forwarding import Forwarding, Forwards
from kvsd.replication.messages import AskConfiguration
from kvsd.replication.outbox import Asker, Remote
from kvsd.replication.requests import (
    Counted,
    CountKeys,
    Get,
    KeyRequest,
    Outcome,
    Question,
    Unassigned,
    Unavailable,
    Unmet,
)
from kvsd.replication.role import Role
from kvsd.replication.serving import Serving
from kvsd.replication.state import State
from kvsd.replication.waiting import Waiting


class Routing:
    """Brings requests to where they can be carried out, and their outcomes back."""

    def __init__(
        self, state: State, serving: Serving, concerns: Concerns, waiting: Waiting, forwards: Forwards
    ) -> None:
        self._state = state
        self._serving = serving
        self._concerns = concerns
        self._waiting = waiting
        self._forwards = forwards
        self._candidates = Candidates(state)
        self.assignment = Assignment(state)
        self._asked: float | None = None
        """When the other nodes were last asked for a later configuration (monotonic seconds)."""

    def route(self, ticket: Ticket, request: Question, now: Now) -> None:
        """
        Have a client's request carried out somewhere.

        A member that meets the other nodes after a start has other members carry requests out.
        """
        reason = self.assignment.misplaced()
        if reason and (self._state.configuration is None or not isinstance(request, CountKeys)):
            self._state.out.answer(ticket, Unassigned(reason), after=0)
        elif not isinstance(request, CountKeys):
            self._route_key(ticket, request, now)
        elif role := self._role(request):
            self._count_keys(ticket, role, request)
        else:
            self._forward(ticket, request.shard, request, now)

    def _route_key(self, ticket: Ticket, request: KeyRequest, now: Now) -> None:
        if role := self._role(request):
            self._serve_or_forward(ticket, role, request, now)
            return
        shard = self._shard(request)
        refusal = self._serving.vetting.vet(shard, request.token, now)
        if isinstance(refusal, Unmet):
            self._await_configuration(ticket, request, refusal, now)
        elif refusal:
            self._state.out.answer(ticket, refusal, after=0)
        else:
            self._forward(ticket, shard, request, now)

    def _await_configuration(self, asker: Asker, request: KeyRequest, unmet: Unmet, now: Now) -> None:
        """The client has seen a later configuration than this node has: fetch it."""
        if self._asked is None or now.monotonic - self._asked >= self._state.limits.tick_seconds:
            self._asked = now.monotonic
            for address, peer in self._state.liveness.peers.items():
                if peer.usable:
                    self._state.out.send(address, AskConfiguration(self._state.epoch), after=0)
        self._waiting.add(asker, None, request, unmet, now)

    def _role(self, request: Question) -> Role | None:
        """This node's role where it can carry a request out."""
        if isinstance(request, CountKeys):
            return self._state.serving(request.shard)
        return None if self.assignment.is_meeting() else self.assignment.role_of(request.key)

    def _shard(self, request: Question) -> str:
        return request.shard if isinstance(request, CountKeys) else self._state.shard_of(request.key)[1]

    def _count_keys(self, asker: Asker, role: Role, request: CountKeys) -> None:
        assert self._state.roster is not None, "a role exists only in a configuration"
        slots = self._state.roster.owned.get(role.shard, [])
        if request.slots is not None:
            wanted = set(request.slots)
            taken = request.tenure is not None
            slots = [(request.tenure or 0, s) for s in wanted] if taken else [o for o in slots if o[1] in wanted]
        counted = Counted(role.store.live_keys_in(slots), role.store.live_bytes_in(slots))
        self._state.out.answer(asker, counted)

    def _forward(self, ticket: Ticket, shard: str, request: Question, now: Now) -> None:
        candidates = self._candidates.in_order(shard, request)
        outcome = self._forwards.start(ticket, shard, request, candidates, now)
        if outcome:
            self._state.out.answer(ticket, outcome, after=0)

    def _serve_or_forward(self, ticket: Ticket, role: Role, request: KeyRequest, now: Now) -> None:
        """What is not here yet may be at another member; only where it is not, the request waits."""
        attempt = self._serving.attempt(role, request, now)
        if not isinstance(attempt.outcome, Unmet):
            self._concerns.answer(ticket, role, request, attempt, now)
            return
        if attempt.outcome.epoch_needed:
            self._await_configuration(ticket, request, attempt.outcome, now)
            return
        candidates = self._candidates.satisfying(role.shard, request)
        if not candidates or self._forwards.start(ticket, role.shard, request, candidates, now):
            self._waiting.add(ticket, role, request, attempt.outcome, now)

    def carry_out(self, asker: Remote, request: Question, now: Now) -> None:
        """A forwarded request: it is carried out here or not at all."""
        reason = self.assignment.lacking()
        role = None if reason else self._role(request)
        if role is None:
            reason = reason or f"not a member of {self._shard(request)}, or not ready"
            self._state.out.answer(asker, Unassigned(reason), after=0)
        elif isinstance(request, CountKeys):
            self._count_keys(asker, role, request)
        else:
            self._serve(asker, role, request, now)

    def _serve(self, asker: Asker, role: Role, request: KeyRequest, now: Now) -> None:
        attempt = self._serving.attempt(role, request, now)
        if isinstance(attempt.outcome, Unmet):
            self._waiting.add(asker, role, request, attempt.outcome, now)
        elif isinstance(request, Get) and not attempt.after:
            self._state.out.answer(asker, self._serving.reader.lasting(attempt.outcome), after=0)
        else:
            self._concerns.answer(asker, role, request, attempt, now)

    def end(self, ended: tuple[Forwarding, Outcome] | None, now: Now) -> None:
        """A forwarded request came to its end: answer, or wait here where this node is a member itself."""
        if ended is None:
            return
        forwarding, outcome = ended
        if isinstance(outcome, Unmet | Unavailable) and (role := self._role(forwarding.request)):
            request = forwarding.here()
            if not isinstance(request, CountKeys):
                self._serve(forwarding.ticket, role, request, now)
                return
        self._state.out.answer(forwarding.ticket, outcome, after=0)

    def reroute(self, now: Now) -> None:
        """Another configuration is in force: who waited may be served elsewhere, or by other rules."""
        for asker, request in self._waiting.release(now):
            if isinstance(asker, Remote):
                self.carry_out(asker, request, now)
            else:
                self.route(asker, request, now)
