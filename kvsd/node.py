"""
The node: it acts for one replica.

It alone has a clock.  It hands the replica events and performs the effects that come back, in their order and never
before what they depend on is durable.  An event that raises stops the node: it must not go on as a corpse that still
answers.
"""

from collections.abc import Callable
from functools import partial

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from kvsd.askers import Askers
from kvsd.bodies import parts
from kvsd.entries import entries
from kvsd.insight import Insight
from kvsd.journal import Journal
from kvsd.links import Links
from kvsd.oversight import Oversight
from kvsd.ports import Storage, StorageDamaged, StorageError, Transport
from kvsd.replication.budget import SMALL_BYTES
from kvsd.replication.effects import Effect, Note, Now, Reply, Send, Ticket, Write
from kvsd.replication.liveness import Fate
from kvsd.replication.messages import Message, Sender
from kvsd.replication.replica import Replica
from kvsd.replication.requests import Get, Outcome, Overloaded, Request
from kvsd.tokens import Tokens
from kvsd.turn import EndOfTurn

NO_ROOM = Overloaded("Too many bytes of requests are under way at this node; try again later")

_log = Logger()


def nothing() -> None:
    """Do nothing."""


def unobserved(messages: int, seconds: float, ok: bool) -> None:
    """Take no notice of a POST."""


class Node:
    """
    One replica with a clock, a disk and peers.

    ``wall_ms`` reads the clock on the wall, in milliseconds since 1970; ``secret`` is the cluster's.  When the node can't
    go on, ``crash`` or ``halt`` is called once, with a sentence: ``crash`` where it may go on after another start, ``halt``
    where it would come to the same end again with the same data and settings.  ``observe_post`` is told of every POST to a
    peer how many messages it carried, how many seconds it took, and whether it was answered.
    """

    outlook: int | None = None
    """As long as this is the same number, outcomes of reads that last do so until their keys change; None where it ends."""
    _stopping = _stopped = False

    def __init__(
        self,
        replica: Replica,
        reactor: IReactorTime,
        wall_ms: Callable[[], int],
        storage: Storage,
        transport: Transport,
        secret: bytes,
        crash: Callable[[str], None],
        observe_post: Callable[[int, float, bool], None] = unobserved,
        halt: Callable[[str], None] | None = None,
    ) -> None:
        def posted(peer: str, fate: Fate) -> None:
            self._act(lambda: replica.posted(peer, fate, self.now()))

        state = replica.state
        self.address, self.key_changes, self.budget = state.identity.address, state.key_changes, state.budget
        self.tokens = Tokens(replica.state, secret)
        self._replica, self._reactor = replica, reactor
        self.now = lambda: Now(reactor.seconds(), wall_ms())
        self._storage = storage
        self._transport = transport
        self._crash, self._halt = crash, halt or crash
        self._journal = Journal(
            storage,
            entries,
            reactor,
            synced=lambda position: self._act(lambda: replica.synced(position, self.now())),
            perform=self._perform,
            full=self._look_for_room,
            crash=self._fail,
        )
        self._links = Links(replica.state, transport, secret, self._hear, posted, self._fail, reactor, observe_post)
        self.insight = Insight(replica, self.now, self._links.refusals.reasons)
        self.oversight = Oversight(replica, self.insight, self.now)
        self._askers = Askers(lambda ticket: self._act(lambda: replica.cancel(ticket)), self._journal, self.budget)
        self._end_of_turn = EndOfTurn(reactor, self._flush)
        self._asked: list[tuple[Ticket, Request]] = []  # what was asked in this turn
        self._asked_bytes = 0  # of large bodies
        self._ticking = LoopingCall(self._tick)

    # Life

    def start(self, effects: list[Effect]) -> None:
        """Perform what the replica wanted when it was set up, and let time pass."""
        self._act(lambda: effects)
        self._ticking.clock = self._reactor
        self._ticking.start(self._replica.state.limits.tick_seconds).addErrback(self._fail)

    async def stop(self, patience_seconds: float) -> None:
        """
        Answer what was asked and make everything durable, for so many seconds each at the most; then let go of it all.

        Requests that wait for their causes are refused at once.
        """
        self._stopping = True
        self._act(lambda: self._replica.stop(self.now()))
        for settled in (self._askers.drained, self._journal.idle):
            if not self._stopped:
                await settled().addTimeout(patience_seconds, self._reactor).addErrback(lambda _: None)
        self._stopped = True
        if self._ticking.running:
            self._ticking.stop()
        self._links.close()
        await self._transport.close()
        await self._storage.close()

    # What the doors ask

    def submit(self, request: Request, answered: Callable[[Outcome], None], size: int = 0) -> Callable[[], None]:
        """
        Put a client's request to the replica; returns what to call when nobody waits for the answer any more.

        What is asked in one turn is one event, before the next one of another kind or at the end of the turn.
        ``answered`` gets the outcome, once: in this call, where the node stops or has no room, or later.  It is a part of
        the event that led to the outcome, so it may not raise.  ``size`` is that of the body that the request came with: a
        large one is counted until nothing of the request is held any more but what is stored.
        """
        if self._stopping:
            answered(Overloaded("This node is shutting down; try another one"))
            return nothing
        if size > SMALL_BYTES and not self.budget.take(size):
            answered(NO_ROOM)
            return nothing
        ticket = self._askers.admit(answered)
        if size > SMALL_BYTES:
            self._asked_bytes += size
            self._askers.weigh(ticket, size)
        self._asked.append((ticket, request))
        self._end_of_turn.wish()
        return partial(self._askers.forget, ticket)

    def read(self, request: Get) -> Outcome | None:
        """What a read is answered, where the replica can say that at once; else None, and it is to be submitted or asked."""
        if self._stopping or self._stopped:
            return None
        try:
            return self._replica.serving.reader.at_once(request, self.now())
        except Exception:
            self._fail(Failure())
            return None

    def ask(self, request: Request) -> Deferred[Outcome]:
        """The same as a Deferred; cancelling it says that nobody waits for the answer."""
        outcome: Deferred[Outcome] = Deferred(lambda _: forget())
        forget = self.submit(request, outcome.callback)
        return outcome

    def receive(self, body: bytes) -> bytes:
        """
        Take in a peer's POST; returns what is ready to be said to that peer, in the same form.

        Raises WireError where no node of this cluster made the body.
        """
        sender, messages = self._links.open(body)
        if len(body) > SMALL_BYTES:
            self._journal.weigh(len(body))
        self._hear(sender, messages)
        if len(body) > SMALL_BYTES:
            self._askers.hold(len(body))
        return self._links.reply(sender.address, messages)

    # Events

    def _act(self, *events: Callable[[], list[Effect]]) -> None:
        """Put to the replica what clients asked by now, then give it events, and perform the effects; or stop for good."""
        if self._asked:
            asked, self._asked = self._asked, []
            if self._asked_bytes:
                self._asked_bytes = 0
                events = (
                    *parts(asked, lambda part: self._replica.submit(part, self.now()), self._journal.weigh),
                    *events,
                )
            else:
                events = (lambda: self._replica.submit(asked, self.now()), *events)
        for event in events:
            if self._stopped:
                return
            try:
                effects = event()
                self.outlook = None if self._stopping else self._replica.serving.reader.outlook
                for effect in effects:
                    self._release(effect)
            except Exception:
                self._fail(Failure())

    def _flush(self) -> None:
        """At the end of a turn: commit and send all that came together in it; a mere read brings nothing."""
        self._act()
        if not self._stopped:
            self._journal.flush()
            self._links.flush()

    def _tick(self) -> None:
        self._look_for_room()
        self._links.look()
        self._act(lambda: self._replica.tick(self.now()))

    def _hear(self, sender: Sender, messages: list[Message]) -> None:
        self._act(lambda: self._replica.receive(sender, messages, self.now()))

    def _look_for_room(self) -> None:
        full = self._journal.refused or not self._storage.has_room()
        self._act(lambda: self._replica.storage_full(full))

    def _fail(self, failure: Failure) -> None:
        """Stop for good."""
        if not self._stopped:
            self._stopped, self.outlook = True, None
            if not failure.check(StorageError):  # which says it all, and is nobody's mistake here
                _log.failure("the node stops: an event failed", failure=failure)
            end = self._halt if failure.check(StorageDamaged) else self._crash
            end(f"the node stops: {failure.getErrorMessage()}")

    # Effects

    def _release(self, effect: Effect) -> None:
        """Perform an effect, or have it wait for the write that it depends on."""
        if isinstance(effect, Reply) or isinstance(effect, Send):  # noqa: SIM101 - faster
            self._journal.after(effect.after, effect)
        elif isinstance(effect, Write):
            self._journal.write(effect.position, effect.changes)
            self._end_of_turn.wish()
        elif isinstance(effect, Note):
            text = "".join(f" {name}={fact}" for name, fact in effect.facts.items())
            _log.info("{event}{text}", event=effect.event, facts=effect.facts, text=text)
        else:
            self._stopped = True
            self._halt(effect.reason)

    def _perform(self, effect: Send | Reply) -> None:
        if self._stopped:
            return
        if isinstance(effect, Reply):
            self._askers.answer(effect.ticket, effect.outcome)
        else:
            self._links.send(effect.peer, effect.message)
            self._end_of_turn.wish()
