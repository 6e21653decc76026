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

from kvsd.replication.acknowledging import Acknowledging
from kvsd.replication.administration import Administration
from kvsd.replication.antientropy import AntiEntropy
from kvsd.replication.basis import AskChanges, Confirm, TellChanges
from kvsd.replication.broadcast import Broadcast
from kvsd.replication.concern import Concerns
from kvsd.replication.configuration import Configuration
from kvsd.replication.confirming import Confirmations
from kvsd.replication.consensus import Consensus, newly_given_up
from kvsd.replication.duties import Duties
from kvsd.replication.effects import Effect, Now, Ticket
from kvsd.replication.exporting import Exports
from kvsd.replication.forwarding import Forwards
from kvsd.replication.founding import Founding
from kvsd.replication.giving import Giving
from kvsd.replication.heartbeats import Heartbeats
from kvsd.replication.importing import Imports
from kvsd.replication.laggards import Laggards
from kvsd.replication.limits import Limits
from kvsd.replication.liveness import Fate
from kvsd.replication.membership import Membership
from kvsd.replication.messages import (
    Acknowledged,
    Announce,
    AskConfiguration,
    Bind,
    Bound,
    Forward,
    Forwarded,
    Heartbeat,
    Import,
    Imported,
    Message,
    Pull,
    PullOps,
    PullRows,
    Push,
    Sender,
    TellConfiguration,
)
from kvsd.replication.occupancy import Occupancy
from kvsd.replication.occupant import Contested, Forked
from kvsd.replication.outbox import Remote
from kvsd.replication.requests import CountKeys, Get, Put, Request, Unassigned
from kvsd.replication.routing import Routing
from kvsd.replication.saved import Saved
from kvsd.replication.serving import Serving
from kvsd.replication.shelf import EMPTY_SHELF, Shelf
from kvsd.replication.stability import Stability
from kvsd.replication.state import Identity, State
from kvsd.replication.succession import Succession
from kvsd.replication.upkeep import Upkeep
from kvsd.replication.voting import Voting
from kvsd.replication.waiting import Waiting


class Replica:
    """The state machine of one node."""

    def __init__(self, identity: Identity, limits: Limits | None = None, shelf: Shelf = EMPTY_SHELF) -> None:
        self.state = State(identity, limits or Limits(), shelf)
        self.stability = Stability(self.state)
        self.founding = Founding(self.state)
        self.heartbeats = Heartbeats(self.state, self.founding)
        self.occupancy = Occupancy(self.state)
        self.membership = Membership(self.state, self.founding)
        self.broadcast = Broadcast(self.state)
        self.antientropy = AntiEntropy(self.state)
        self.giving = Giving(self.state)
        self.acknowledging = Acknowledging(self.state)
        self.concerns = Concerns(self.state)
        self.serving = Serving(self.state, self.stability, self.broadcast, self.concerns)
        self.waiting = Waiting(self.state, self.serving, self.concerns, self.antientropy)
        self.forwards = Forwards(self.state)
        self.confirmations = Confirmations(self.state)
        self.routing = Routing(self.state, self.serving, self.concerns, self.waiting, self.forwards)
        self.exports = Exports(self.state)
        self.imports = Imports(self.state, self.broadcast, self.exports)
        self.voting = Voting(self.state)
        self.consensus = Consensus(self.state, self.voting)
        self.duties = Duties(self.state, self.membership)
        self.administration = Administration(self.state, self.duties)
        self.succession = Succession(self.voting, self.consensus, self.administration, self.duties)
        self.upkeep = Upkeep(self.state)
        self.laggards = Laggards(self.state)
        self._epoch = 0  # that all mechanisms go by

    def start(self, saved: Saved, founding: Configuration | None, seeds: Iterable[str], now: Now) -> list[Effect]:
        """Take up what the disk knows; else found a cluster, if that is to be; else look for one at the seeds."""
        self.state.now = now
        self.state.restore(saved)
        self.heartbeats.restore(saved)
        self.voting.restore(saved.promise, saved.forced)
        if saved.configuration is None and founding:
            self.founding.begin(founding)
        elif saved.configuration is None:
            self.membership.seek(seeds)
        return self._effects()

    # A client asks

    def submit(self, asked: Iterable[tuple[Ticket, Request]], now: Now) -> list[Effect]:
        """Clients' requests, in their order; a Reply to the ticket of each follows, now or later."""
        self.state.now = now
        for ticket, request in asked:
            if self.state.fenced:
                self.state.out.answer(ticket, Unassigned(self.state.fenced), after=0)
            elif isinstance(request, Put) or isinstance(request, Get) or isinstance(request, CountKeys):  # noqa: SIM101 - faster
                self.routing.route(ticket, request, now)
            elif isinstance(request, Confirm):
                self.confirmations.ask(ticket, request)
            else:
                self.administration.ask(ticket, request, now.monotonic)
                if self.succession.begin(now):
                    self._follow(now)
        self.confirmations.send(now)
        return self._effects()

    def cancel(self, ticket: Ticket) -> list[Effect]:
        """The client is gone; what it asked for may still happen."""
        self.waiting.cancel(ticket)
        self.concerns.cancel(ticket)
        self.forwards.cancel(ticket)
        self.confirmations.cancel(ticket)
        self.administration.cancel(ticket)
        return self._effects()

    def stop(self, now: Now) -> list[Effect]:
        """The node is about to end: whoever waits is answered."""
        self.waiting.expire(now)
        self.concerns.expire()
        self.administration.expire()
        return self._effects()

    # A peer speaks

    def receive(self, sender: Sender, messages: Sequence[Message], now: Now) -> list[Effect]:
        """Messages of a peer, in the order in which it sent them; but configurations come first."""
        self.state.now = now
        if self.state.fenced != "":
            return []
        others: list[Message] = []
        for message in messages:
            match message:
                case AskConfiguration():
                    self.membership.asked(sender, message)
                case TellConfiguration():
                    self.membership.told(sender, message)
                case Contested() | Forked():
                    self.occupancy.told(sender, message)
                case _:
                    others.append(message)
        if self.state.fenced != "":
            self.routing.reroute(now)
            self.administration.refuse(Unassigned(self.state.fenced))
            return self._effects()
        self._follow(now)
        if not self.occupancy.admits(sender):
            self.membership.meet_claimant(sender, others)
            if self.occupancy.is_restart(sender):  # what the last run was asked will not be answered any more
                self._start_over(sender.address, now)
            others = self.occupancy.requests(sender, others)
        elif not self.membership.admit(sender, others, now.monotonic, silent=not messages):
            others = []
        for message in others:
            self._hear(sender, message, now)
        return self._effects()

    def _hear(self, sender: Sender, message: Message, now: Now) -> None:
        """What any node of the cluster may say; all else only who was bound to its address."""
        match message:
            case Forwarded():
                self.routing.end(self.forwards.answered(sender.address, message, now), now)
            case Forward():
                self.routing.carry_out(Remote(sender.address, message.id), message.request, now)
            case AskChanges():
                self.state.out.send(sender.address, self.serving.reader.changes_since(message), after=0)
            case TellChanges():
                self.confirmations.told(sender.address, message)
            case Bind():
                self.founding.bind(sender)
            case Bound():
                self.founding.bound(sender, message)
            case Heartbeat():
                if news := self.heartbeats.heard(sender, message, now):
                    self.stability.refresh(about=news)
                self.concerns.reported()
            case Announce():
                self.membership.announce(sender, now.monotonic)
            case _:
                if self.state.is_genuine(sender.address, sender.instance):
                    self._hear_member(sender.address, message, now)

    def _hear_member(self, peer: str, message: Message, now: Now) -> None:
        match message:
            case Push():
                self.broadcast.deliver(message.ops, now.monotonic)
                if message.acknowledge:
                    self.acknowledging.wished(peer, message.ops)
            case Acknowledged():
                self.concerns.acknowledged(peer, message)
            case Pull():
                self.giving.give(peer, message)
            case PullOps():
                applied = bool(self.broadcast.deliver(message.ops, now.monotonic))
                self.antientropy.pulled_ops(peer, message, applied=applied, now=now.monotonic)
            case PullRows():
                role = self.antientropy.pulled_rows(peer, message, now.monotonic)
                if role:
                    self.broadcast.drain(role)
            case Import():
                if answer := self.exports.give(message, peer):
                    self.state.out.send(peer, answer)
            case Imported():
                self.imports.imported(peer, message, now.monotonic)
            case _:
                self.succession.hear(peer, message, now)
                self._follow(now)
        if len(self.waiting):
            self.waiting.wake(now)

    # Time passes

    def tick(self, now: Now) -> list[Effect]:
        """Do what is due."""
        state = self.state
        state.now = now
        suspected, trusted = state.liveness.tick(now.monotonic)
        for peer in suspected:
            state.out.note("peer-suspected", peer=peer)
            self._start_over(peer, now)
        for peer in trusted:
            state.out.note("peer-trusted", peer=peer)
        if not state.fenced:
            self.heartbeats.tick(now)
            self.antientropy.tick(now.monotonic)
            self.imports.tick(now.monotonic)
            self.waiting.tick(now)
        self.concerns.tick(now)
        for ended in self.forwards.tick(now):
            self.routing.end(ended, now)
        self.confirmations.tick(now)
        if state.fenced:
            return self._effects()
        self.stability.tick(now.monotonic)
        self.upkeep.tick()
        self.laggards.tick(now.monotonic)
        self.membership.tick(now)
        self.duties.ask_invited(now)
        self.consensus.tick(now.monotonic)
        if self.succession.begin(now):
            self._follow(now)
        return self._effects()

    # The configuration changes

    def _follow(self, now: Now) -> None:
        """Adopt what was decided, and have all mechanisms go by the configuration in force."""
        state = self.state
        for configuration in self.consensus.take_decided():
            state.out.note("configuration-decided", epoch=configuration.epoch)
            if given_up := newly_given_up(configuration):
                state.out.note("nodes-given-up", epoch=configuration.epoch, nodes=", ".join(given_up))
            state.adopt(configuration)
            self.consensus.tell(configuration)
        if self._epoch == state.epoch:
            return
        self._epoch = state.epoch
        self.stability.refresh()
        self.imports.adopted(now.monotonic)
        self.concerns.adopted()
        self.administration.adopted(now.monotonic)
        for role in state.roles.values():
            self.broadcast.drain(role)
        self.routing.reroute(now)
        self.waiting.wake(now)
        for sender, messages in self.membership.release():
            for message in messages:
                self._hear(sender, message, now)

    def posted(self, peer: str, fate: Fate, now: Now) -> list[Effect]:
        """What became of messages to a peer; what it answered is received by itself."""
        self.state.now = now
        if self.state.liveness.posted(peer, fate, now.monotonic):
            self.state.out.note("peer-suspected", peer=peer)
            self._start_over(peer, now)
        elif fate is not Fate.ANSWERED and not self.state.usable(peer):
            for ended in self.forwards.failed(peer, now):
                self.routing.end(ended, now)
        return self._effects()

    def _start_over(self, peer: str, now: Now) -> None:
        """What a peer was asked for will not be answered any more: ask another one, or again."""
        self.antientropy.abandon(peer)
        self.imports.abandon(peer)
        self.confirmations.failed(peer)
        for ended in self.forwards.failed(peer, now):
            self.routing.end(ended, now)

    # The disk speaks

    def synced(self, position: int, now: Now) -> list[Effect]:
        """Everything up to a position is durable."""
        self.state.now = now
        epoch = self.state.disk.epoch
        self.state.disk.synced(position, now.monotonic)
        self.stability.synced()
        if self.state.fenced:
            return self._effects()
        self.acknowledging.tell()
        if self.state.disk.epoch != epoch:
            self.heartbeats.tell_all(now)
        return self._effects()

    def storage_full(self, full: bool) -> list[Effect]:
        """The disk has no room left, or has room again."""
        if full != self.state.disk.full:
            self.state.disk.full = full
            self.state.out.note("storage-full" if full else "storage-has-room")
        return self._effects()

    def _effects(self) -> list[Effect]:
        self.serving.reader.look()
        if self.state.out.is_empty():
            return []
        self.broadcast.send()
        self.state.disk.keep_vectors(self.state.now.monotonic)
        return self.state.out.take()
