"""
Correspondence with peers: envelopes sealed and opened, in four lanes for each peer.

What somebody waits for (requests that are forwarded, their outcomes, whether these are still so, and acknowledgements)
has a lane of its own: it is small, and would otherwise wait behind pages of a copy.  Where little else is due at the same
moment, that goes along with it and saves a POST.  What tells that this node is up, and what the configuration is, has a
lane, too: on a slow link nodes would otherwise take each other for dead while they talk.  And so has what is large (a page,
a value): it takes seconds there, for which nothing else may wait.  An answer to a POST carries what is ready in the same
lane.  Between the lanes there is no order, and nothing in the core relies on one.
"""

from collections.abc import Callable, Sequence
from typing import Final

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from kvsd.lanes import Lane, lane_of
from kvsd.link import Link
from kvsd.ports import Flow, PeerUnreachable, Transport
from kvsd.refusals import Refusals
from kvsd.replication.liveness import Fate
from kvsd.replication.messages import Message, Sender
from kvsd.replication.occupant import Contested
from kvsd.replication.slow_ways import SlowWay
from kvsd.replication.state import State
from kvsd.wire import EnvelopeCodec, OtherSecret, WireError, encode_message

_log = Logger()

MAX_STRANGE_LINKS = 256
"""For so many ways to nodes that are no peers there is room: who was removed, or is not let in yet, asks as well."""
LOOK_SECONDS: Final = 0.05
"""A way on which bytes wait at two looks, so long apart at the least, is slow."""


Way = tuple[str, Lane]
"""A peer, and a lane to it."""


class Links:
    """
    The ways to all peers.

    ``received`` gets what a peer said in answer to a POST; ``posted`` is told what became of each POST to a peer;
    ``crash`` with an error that should not be.  ``observe`` is told of every POST how many messages it carried, how many
    seconds it took, and whether it was answered.
    """

    def __init__(
        self,
        state: State,
        transport: Transport,
        secret: bytes,
        received: Callable[[Sender, list[Message]], None],
        posted: Callable[[str, Fate], None],
        crash: Callable[[Failure], None],
        clock: IReactorTime,
        observe: Callable[[int, float, bool], None],
    ) -> None:
        self._state = state
        self._clock = clock
        self._observe = observe
        self._transport = transport
        self._envelopes = EnvelopeCodec(secret)
        self.refusals = Refusals(lambda: state.liveness.peers, clock.seconds)
        self._received = received
        self._posted = posted
        self._crash = crash
        self._links: dict[Way, Link] = {}
        self._filled: dict[Way, Link] = {}
        """The links to which something was added since the last flush."""
        self._started: dict[Way, float] = {}
        """When the last POST began."""
        self._late: dict[str, float] = {}
        """When a POST to a peer was last found to be late."""
        self._encoded: tuple[Message | None, bytes] = (None, b"")
        self._flows: dict[str, Flow] = {}
        """How far POSTs had come at the last look."""
        self._looked = 0.0
        self._contests: dict[str, Contested] = {}
        """What claimants of an address are told: in the answer to their POST, as others listen at the address."""

    def send(self, peer: str, message: Message) -> None:
        """Queue a message for a peer; what goes to several peers in a row is encoded once."""
        if isinstance(message, Contested):
            self._contests[peer] = message
            return
        if self._encoded[0] is not message:
            self._encoded = (message, encode_message(message))
        way = peer, lane_of(message, len(self._encoded[1]))
        link = self._filled[way] = self._link(way)
        link.add(self._encoded[1])

    def flush(self) -> None:
        """Send what is queued."""
        filled, self._filled = self._filled, {}
        for (peer, lane), link in filled.items():
            if lane is Lane.USUAL or lane is Lane.VITAL:
                for other in (Lane.QUICK, Lane.USUAL):
                    if other is not lane and (company := filled.get((peer, other))):
                        link.hand_over(company)
        for link in filled.values():
            link.flush()
        if len(self._links) > len(Lane) * len(self._state.liveness.peers) + MAX_STRANGE_LINKS:
            self._forget_strangers()

    def _forget_strangers(self) -> None:
        """Forget the ways to nodes that are no peers, as far as nothing is under way: anybody may have sent an envelope."""
        peers = self._state.liveness.peers
        for way in [way for way, link in self._links.items() if way[0] not in peers and link.is_idle()]:
            del self._links[way]
            self._started.pop(way, None)
        self._late = {peer: at for peer, at in self._late.items() if peer in peers}

    def look(self) -> None:
        """Look how far POSTs have come: a way is slow on which bytes wait, and waited at the last look, and some arrived."""
        now = self._clock.seconds()
        seconds = now - self._looked
        if seconds < LOOK_SECONDS:
            return
        busy = {peer for (peer, _), link in self._links.items() if link.is_busy}
        before, self._flows, self._looked = self._flows, {peer: self._transport.flow(peer) for peer in busy}, now
        slow: dict[str, SlowWay] = {}
        for peer, flow in self._flows.items():
            last = before.get(peer)
            if last and last.waiting and flow.waiting and flow.carried > last.carried:
                slow[peer] = self._slowness(peer, flow.waiting, (flow.carried - last.carried) / seconds)
        self._state.slow_ways.learn(slow, now)

    def _slowness(self, peer: str, waiting: int, bytes_per_second: float) -> SlowWay:
        """Have the links to a peer send less at a time."""
        links = [link for lane in Lane if (link := self._links.get((peer, lane)))]
        for link in links:
            link.carries(bytes_per_second)
        return SlowWay(waiting + sum(link.backlog for link in links), bytes_per_second)

    def close(self) -> None:
        """Send nothing any more that waits for a moment only."""
        for link in self._links.values():
            link.rest()

    def open(self, body: bytes) -> tuple[Sender, list[Message]]:
        """Who sent an envelope and what it says.  Raises WireError where no node of this cluster made it."""
        try:
            sender, messages = self._envelopes.decode(body, self._state.identity.address)
        except OtherSecret as error:
            self.refusals.refused(error.sender)
            raise
        self.refusals.heard(sender.address)
        return sender, messages

    def reply(self, peer: str, heard: Sequence[Message]) -> bytes:
        """
        What is ready to be said to a peer, as the answer to its POST, in the lane of what was heard.

        A claimant of the peer's address gets nothing of what is meant for the peer, unless it is the next start of that.
        """
        lane = lane_of(heard[0]) if heard else Lane.USUAL
        contested = self._contests.pop(peer, None)
        if contested is None:
            return self._seal(peer, self._link((peer, lane)).take())
        ready = self._link((peer, lane)).take() if contested.instance == contested.incumbent else []
        return self._seal(peer, [encode_message(contested), *ready])

    def _seal(self, receiver: str, messages: list[bytes]) -> bytes:
        state = self._state
        cluster = state.configuration.cluster if state.configuration else ""
        epoch = state.disk.epoch
        branch = state.configuration.branch(epoch) if state.configuration else b""
        address, instance, boot = state.identity
        sender = Sender(address, instance, cluster, epoch, branch, boot)
        return self._envelopes.encode(sender, receiver, messages)

    def _link(self, way: Way) -> Link:
        if way not in self._links:
            self._links[way] = Link(
                lambda messages: self._post(way, messages),
                lambda answer: self._answered(way, answer),
                lambda failure: self._lost(way, failure),
                self._clock.callLater,
            )
        return self._links[way]

    def _post(self, way: Way, messages: list[bytes]) -> Deferred[bytes]:
        peer, _ = way
        started = self._started[way] = self._clock.seconds()

        def observed(result: bytes | Failure) -> bytes | Failure:
            self._observe(len(messages), self._clock.seconds() - started, isinstance(result, bytes))
            return result

        body = self._seal(peer, messages)
        return maybeDeferred(self._transport.post, peer, body).addErrback(_as_unreachable, peer).addBoth(observed)

    def _answered(self, way: Way, answer: bytes) -> None:
        peer, _ = way
        try:
            sender, messages = self.open(answer)
        except WireError:
            self._lost(way, Failure())
        else:
            self.refusals.accepted_by(peer)
            self._posted(peer, Fate.ANSWERED)
            self._received(sender, messages)
            self._contests.pop(peer, None)

    def _lost(self, way: Way, failure: Failure) -> bool:
        """A POST had no answer that could be used; says whether the peer is still to get what waits behind it."""
        peer, _ = way
        if failure.check(PeerUnreachable, WireError):
            _log.debug("no answer: {why}", why=failure.getErrorMessage())
            if isinstance(failure.value, PeerUnreachable) and failure.value.other_secret:
                self.refusals.refused_by(peer)
            late = isinstance(failure.value, PeerUnreachable) and failure.value.late
            if not late:
                self._posted(peer, Fate.FAILED)
            elif self._started[way] >= self._late.get(peer, 0.0):
                self._late[peer] = self._clock.seconds()
                self._posted(peer, Fate.LATE)
            # else both lanes met the same silence, which is one
        else:
            self._crash(failure)
        return self._state.usable(peer)


def _as_unreachable(failure: Failure, peer: str) -> Failure:
    """
    Take whatever goes wrong with a POST as a sign that the peer can't be reached.

    What no transport is known to raise is logged: a name, an interface or a route of one peer must never end this node.
    """
    if failure.check(PeerUnreachable):
        return failure
    _log.warn(
        "a POST to {peer} failed in a way that no transport is known for: {why}", peer=peer, why=repr(failure.value)
    )
    return Failure(PeerUnreachable(f"{peer}: {failure.getErrorMessage()}"))
