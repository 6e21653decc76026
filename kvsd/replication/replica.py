"""
The replica: everything a node decides, as a state machine without input or output.

A client asks (:meth:`Replica.submit`), a peer speaks (:meth:`Replica.receive`), time passes (:meth:`Replica.tick`), a
message fails, a write becomes durable: each event leads to a list of effects, which the node performs in order.  The
rules that hold throughout:

- *Durable before known.*  No effect that depends on a write leaves before that write is on disk; every effect names
  the position that must be durable first.
- *Causal cut.*  What a role holds contains the causes of everything in it: ops are applied in causal order, copies of
  rows are taken over whole.
- *A dot names one write for ever.*  Counters are durable before they are seen, and an instance that lost its disk is
  another writer.
- *Configuration first.*  A message of a later configuration waits until that is known.
"""

from collections.abc import Iterable

from kvsd.replication.antientropy import AntiEntropy
from kvsd.replication.broadcast import Broadcast
from kvsd.replication.configuration import Configuration
from kvsd.replication.effects import DropOps, Effect, Now, Ticket
from kvsd.replication.forwarding import Forwarding, Forwards
from kvsd.replication.limits import Limits
from kvsd.replication.membership import Membership
from kvsd.replication.messages import (
    AskConfiguration,
    Bind,
    Bound,
    Forward,
    Forwarded,
    Heartbeat,
    Message,
    Pull,
    PullOps,
    PullRows,
    Push,
    Sender,
    TellConfiguration,
)
from kvsd.replication.record import Op
from kvsd.replication.requests import (
    Counted,
    CountKeys,
    KeyRequest,
    Outcome,
    Request,
    Unassigned,
    Unavailable,
    Unmet,
)
from kvsd.replication.role import Role
from kvsd.replication.saved import Saved
from kvsd.replication.serving import Serving
from kvsd.replication.stability import Stability
from kvsd.replication.state import Asker, Binding, Identity, Remote, State
from kvsd.replication.waiting import Waiting


class Replica:
    """The state machine of one node."""

    def __init__(self, identity: Identity, limits: Limits | None = None) -> None:
        self.state = State(identity, limits or Limits())
        self.stability = Stability(self.state)
        self.broadcast = Broadcast(self.state)
        self.antientropy = AntiEntropy(self.state)
        self.membership = Membership(self.state)
        self.serving = Serving(self.state, self.stability, self.broadcast)
        self.waiting = Waiting(self.state, self.serving, self.antientropy)
        self.forwards = Forwards(self.state)
        self._upkeep: float | None = None

    # Starting

    def restore(self, saved: Saved) -> list[Effect]:
        """Take up where the disk left off."""
        state = self.state
        state.clock.witness(saved.hlc)
        state.configuration = saved.configuration
        state.bindings = {address: Binding(*binding) for address, binding in saved.bindings.items()}
        state.watch()
        state.learn_writers()
        for role in state.roles.values():
            if kept := saved.roles.get(role.writer):
                role.restore(kept)
        return self._effects()

    def found(self, configuration: Configuration) -> list[Effect]:
        """Found a cluster together with the other nodes of a configuration that each computes for itself."""
        self.membership.found(configuration)
        return self._effects()

    def seek(self, seeds: Iterable[str]) -> list[Effect]:
        """Look for a cluster at these nodes."""
        self.membership.seek(tuple(seeds))
        return self._effects()

    # A client asks

    def submit(self, ticket: Ticket, request: Request, now: Now) -> list[Effect]:
        """A client's request; a Reply to the ticket follows, now or later."""
        self._route(ticket, request, now)
        return self._effects()

    def cancel(self, ticket: Ticket) -> list[Effect]:
        """The client is gone; what it asked for may still happen."""
        self.waiting.cancel(ticket)
        self.forwards.cancel(ticket)
        return self._effects()

    def _route(self, ticket: Ticket, request: Request, now: Now) -> None:
        reason = self.unassigned()
        if reason:
            self.state.answer(ticket, Unassigned(reason))
            return
        shard = request.shard if isinstance(request, CountKeys) else self.state.shard_of(request.key)[1]
        role = self.state.roles.get(shard)
        if role is None:
            self._forward(ticket, shard, request, now)
        elif isinstance(request, CountKeys):
            self.state.answer(ticket, Counted(role.store.live_keys), self.state.out.position)
        else:
            self._serve_or_route(ticket, role, request, now)

    def unassigned(self) -> str:
        """Why this node can't serve any key, in words; empty if it can."""
        state = self.state
        if state.usurped:
            return (
                f"{state.identity.address} was founded with another data directory; this one is not part of the cluster"
            )
        if state.configuration is None:
            return "no configuration is known yet"
        if state.configuration.member(state.identity.address) is None:
            return "this node was not added to a shard"
        if not state.founded:
            return "the cluster is forming: a majority of the view has not answered yet"
        return ""

    def _forward(self, ticket: Ticket, shard: str, request: Request, now: Now) -> None:
        candidates = self.forwards.candidates(shard, request)
        outcome = self.forwards.start(ticket, shard, request, candidates, now)
        if outcome:
            self.state.answer(ticket, outcome)

    def _serve_or_route(self, ticket: Ticket, role: Role, request: KeyRequest, now: Now) -> None:
        """Routing before waiting: what is not here yet may be at another member."""
        outcome, after = self.serving.attempt(role, request, now)
        if not isinstance(outcome, Unmet):
            self.state.answer(ticket, outcome, after)
            return
        candidates = self.forwards.satisfying(role.shard, request)
        if not candidates or self.forwards.start(ticket, role.shard, request, candidates, now):
            self.waiting.add(ticket, role, request, outcome, now)

    def _serve(self, asker: Asker, role: Role, request: KeyRequest, now: Now) -> None:
        outcome, after = self.serving.attempt(role, request, now)
        if isinstance(outcome, Unmet):
            self.waiting.add(asker, role, request, outcome, now)
        else:
            self.state.answer(asker, outcome, after)

    # A peer speaks

    def receive(self, sender: Sender, messages: Iterable[Message], now: Now) -> list[Effect]:
        """Messages of a peer, in the order in which it sent them."""
        if sender.address in self.state.liveness.peers:
            self.state.liveness.heard(sender.address, now.monotonic)
        for message in messages:
            if self.membership.is_current(sender, message, now.monotonic):
                self._hear(sender, message, now)
        return self._effects()

    def _hear(self, sender: Sender, message: Message, now: Now) -> None:
        """What anybody of the cluster may say; all else only who was bound to its address."""
        match message:
            case AskConfiguration():
                self.membership.told(sender, message)
            case TellConfiguration():
                self.membership.learn(sender, message)
                self.stability.refresh()
            case Bind():
                self.membership.bind(sender)
            case Bound():
                self.membership.bound(sender, message)
            case Heartbeat():
                self.membership.heard(sender, message, now)
                self.stability.refresh()
            case _:
                if self.state.is_genuine(sender.address, sender.instance):
                    self._hear_member(sender.address, message, now)

    def _hear_member(
        self, peer: str, message: Push | Pull | PullOps | PullRows | Forward | Forwarded, now: Now
    ) -> None:
        match message:
            case Push():
                self._deliver(message.ops, now)
            case Pull():
                self.antientropy.give(peer, message)
            case PullOps():
                self._deliver(message.ops, now)
                self.antientropy.pulled_ops(peer, message, now.monotonic)
            case PullRows():
                role = self.antientropy.pulled_rows(peer, message, now.monotonic)
                if role:
                    self.broadcast.drain(role)
                    self.waiting.wake(now)
            case Forward():
                self._carry_out(Remote(peer, message.id), message.request, now)
            case Forwarded():
                self._end(self.forwards.answered(peer, message, now), now)

    def _deliver(self, ops: list[Op], now: Now) -> None:
        if not self.state.storage_full and self.broadcast.deliver(ops, now.monotonic) and len(self.waiting):
            self.waiting.wake(now)

    def _carry_out(self, asker: Remote, request: Request, now: Now) -> None:
        """A forwarded request: it is carried out here or not at all."""
        shard = request.shard if isinstance(request, CountKeys) else self.state.shard_of(request.key)[1]
        role = self.state.roles.get(shard)
        if role is None or self.unassigned():
            self.state.answer(asker, Unassigned(self.unassigned() or f"not a member of {shard}"))
        elif isinstance(request, CountKeys):
            self.state.answer(asker, Counted(role.store.live_keys), self.state.out.position)
        else:
            self._serve(asker, role, request, now)

    def _end(self, ended: tuple[Forwarding, Outcome] | None, now: Now) -> None:
        """A forwarded request came to its end: answer, or wait here where this node is a member itself."""
        if ended is None:
            return
        forwarding, outcome = ended
        role = self.state.roles.get(forwarding.shard)
        if role and isinstance(outcome, Unmet | Unavailable) and not isinstance(forwarding.request, CountKeys):
            request = forwarding.here()
            assert not isinstance(request, CountKeys), "the kind of a request never changes"
            self._serve(forwarding.ticket, role, request, now)
        else:
            self.state.answer(forwarding.ticket, outcome)

    # Time passes

    def tick(self, now: Now) -> list[Effect]:
        """Do what is due."""
        state = self.state
        suspected, trusted = state.liveness.tick(now.monotonic)
        for peer in suspected:
            self._suspect(peer, now)
        for peer in trusted:
            state.out.note("peer-trusted", peer=peer)
        self.membership.tick(now)
        self.antientropy.tick(now.monotonic)
        self.waiting.tick(now)
        for ended in self.forwards.tick(now):
            self._end(ended, now)
        if self._upkeep is None or now.monotonic - self._upkeep >= state.limits.upkeep_seconds:
            self._upkeep = now.monotonic
            self._keep_up()
        return self._effects()

    def failed(self, peer: str, now: Now) -> list[Effect]:
        """Messages to a peer got no answer."""
        if self.state.liveness.failed(peer):
            self._suspect(peer, now)
        return self._effects()

    def _suspect(self, peer: str, now: Now) -> None:
        self.state.out.note("peer-suspected", peer=peer)
        self.antientropy.abandon(peer)
        for ended in self.forwards.failed(peer, now):
            self._end(ended, now)

    def _keep_up(self) -> None:
        """Truncate logs and collect tombstones."""
        state, limits = self.state, self.state.limits
        self.stability.refresh()
        for role in state.roles.values():
            dropped = role.log.truncate(self.stability.vector(role.shard), limits.log_bytes, limits.log_drops)
            if dropped:
                state.out.keep(DropOps(role.writer, dropped))
            for tombstone in self.stability.collectable(role, limits.log_drops):
                state.out.keep(role.collect(tombstone))
                state.dirty.add(role.shard)

    # The disk speaks

    def synced(self, position: int) -> list[Effect]:
        """Everything up to a position is durable."""
        for role in self.state.roles.values():
            role.synced(position)
        return self._effects()

    def storage_full(self, full: bool) -> list[Effect]:
        """The disk has no room left, or has room again."""
        if full != self.state.storage_full:
            self.state.storage_full = full
            self.state.out.note("storage-full" if full else "storage-has-room")
        return self._effects()

    def _effects(self) -> list[Effect]:
        state = self.state
        for shard in sorted(state.dirty):
            state.out.keep(state.roles[shard].vector_change(state.out.written + 1))
        state.dirty.clear()
        return state.out.take()
