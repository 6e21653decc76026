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

from collections.abc import Iterable, Sequence

from kvsd.replication.antientropy import AntiEntropy
from kvsd.replication.broadcast import Broadcast
from kvsd.replication.configuration import Configuration
from kvsd.replication.effects import Effect, Now, Ticket
from kvsd.replication.forwarding import Forwards
from kvsd.replication.founding import Founding
from kvsd.replication.heartbeats import Heartbeats
from kvsd.replication.limits import Limits
from kvsd.replication.liveness import Fate
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
from kvsd.replication.outbox import Remote
from kvsd.replication.record import Op
from kvsd.replication.requests import Request
from kvsd.replication.routing import Routing
from kvsd.replication.saved import Saved
from kvsd.replication.serving import Serving
from kvsd.replication.stability import Stability
from kvsd.replication.state import Identity, State
from kvsd.replication.waiting import Waiting


class Replica:
    """The state machine of one node."""

    def __init__(self, identity: Identity, limits: Limits | None = None) -> None:
        self.state = State(identity, limits or Limits())
        self.stability = Stability(self.state)
        self.founding = Founding(self.state)
        self.heartbeats = Heartbeats(self.state, self.founding)
        self.membership = Membership(self.state, self.founding)
        self.broadcast = Broadcast(self.state)
        self.antientropy = AntiEntropy(self.state)
        self.serving = Serving(self.state, self.stability, self.broadcast)
        self.waiting = Waiting(self.state, self.serving, self.antientropy)
        self.forwards = Forwards(self.state)
        self.routing = Routing(self.state, self.serving, self.waiting, self.forwards)

    def start(self, saved: Saved, founding: Configuration | None, seeds: Iterable[str], now: Now) -> list[Effect]:
        """
        Take up what the disk knows; else found a cluster, if that is to be; else look for one at the seeds.

        A founding that was cut short goes on, as the disk knows the configuration from its beginning.
        """
        self.state.now = now
        self.state.restore(saved)
        if saved.configuration is None:
            if founding:
                self.founding.begin(founding)
            else:
                self.membership.seek(seeds)
        return self._effects()

    # A client asks

    def submit(self, ticket: Ticket, request: Request, now: Now) -> list[Effect]:
        """A client's request; a Reply to the ticket follows, now or later."""
        self.state.now = now
        self.routing.route(ticket, request, now)
        return self._effects()

    def cancel(self, ticket: Ticket) -> list[Effect]:
        """The client is gone; what it asked for may still happen."""
        self.waiting.cancel(ticket)
        self.forwards.cancel(ticket)
        return self._effects()

    def stop(self, now: Now) -> list[Effect]:
        """The node is about to end: whoever waits is answered."""
        self.waiting.expire(now)
        return self._effects()

    # A peer speaks

    def receive(self, sender: Sender, messages: Sequence[Message], now: Now) -> list[Effect]:
        """Messages of a peer, in the order in which it sent them."""
        self.state.now = now
        admitted = self.membership.admit(sender, now.monotonic, silent=not messages)
        for message in messages:
            match message:
                case AskConfiguration():
                    self.membership.asked(sender, message)
                case TellConfiguration():
                    self.membership.told(sender, message)
                    self.stability.refresh()
                case _:
                    if admitted:
                        self._hear(sender, message, now)
        return self._effects()

    def _hear(self, sender: Sender, message: Message, now: Now) -> None:
        """What any node of the cluster may say; all else only who was bound to its address."""
        match message:
            case Bind():
                self.founding.bind(sender)
            case Bound():
                self.founding.bound(sender, message)
            case Heartbeat():
                self.heartbeats.heard(sender, message, now)
                self.stability.refresh()
            case Forward():
                self.routing.carry_out(Remote(sender.address, message.id), message.request, now)
            case Forwarded():
                self.routing.end(self.forwards.answered(sender.address, message, now), now)
            case _:
                if self.state.is_genuine(sender.address, sender.instance):
                    self._hear_member(sender.address, message, now)

    def _hear_member(self, peer: str, message: Message, now: Now) -> None:
        match message:
            case Push():
                self._deliver(message.ops, now)
            case Pull():
                self.antientropy.give(peer, message)
            case PullOps():
                applied = self._deliver(message.ops, now)
                self.antientropy.pulled_ops(peer, message, applied=applied, now=now.monotonic)
            case PullRows():
                role = self.antientropy.pulled_rows(peer, message, now.monotonic)
                if role:
                    self.broadcast.drain(role)
                    self.waiting.wake(now)
            case _:
                raise AssertionError("all other messages were heard before")

    def _deliver(self, ops: list[Op], now: Now) -> bool:
        applied = not self.state.storage_full and bool(self.broadcast.deliver(ops, now.monotonic))
        if applied and len(self.waiting):
            self.waiting.wake(now)
        return applied

    # Time passes

    def tick(self, now: Now) -> list[Effect]:
        """Do what is due."""
        state = self.state
        state.now = now
        suspected, trusted = state.liveness.tick(now.monotonic)
        for peer in suspected:
            self._suspect(peer, now)
        for peer in trusted:
            state.out.note("peer-trusted", peer=peer)
        self.heartbeats.tick(now)
        self.antientropy.tick(now.monotonic)
        self.waiting.tick(now)
        for ended in self.forwards.tick(now):
            self.routing.end(ended, now)
        self.stability.tick(now.monotonic)
        return self._effects()

    def posted(self, peer: str, fate: Fate, now: Now) -> list[Effect]:
        """What became of messages to a peer; what it answered is received by itself."""
        self.state.now = now
        if self.state.liveness.posted(peer, fate, now.monotonic):
            self._suspect(peer, now)
        return self._effects()

    def _suspect(self, peer: str, now: Now) -> None:
        self.state.out.note("peer-suspected", peer=peer)
        self.antientropy.abandon(peer)
        for ended in self.forwards.failed(peer, now):
            self.routing.end(ended, now)

    # The disk speaks

    def synced(self, position: int, now: Now) -> list[Effect]:
        """Everything up to a position is durable."""
        self.state.now = now
        self.state.synced(position)
        return self._effects()

    def storage_full(self, full: bool) -> list[Effect]:
        """The disk has no room left, or has room again."""
        if full != self.state.storage_full:
            self.state.storage_full = full
            self.state.out.note("storage-full" if full else "storage-has-room")
        return self._effects()

    def _effects(self) -> list[Effect]:
        if self.state.out.is_empty():
            return []
        self.state.keep_vectors()
        return self.state.out.take()
