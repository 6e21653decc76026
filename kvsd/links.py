"""
Correspondence with peers: one link each, envelopes sealed and opened.
"""

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from kvsd.link import Link
from kvsd.ports import PeerUnreachable, Transport
from kvsd.replication.liveness import Fate
from kvsd.replication.messages import Message, Sender
from kvsd.replication.state import State
from kvsd.wire import EnvelopeCodec, WireError, encode_message

_log = Logger()


class Links:
    """
    The ways to all peers.

    ``received`` gets what a peer said in answer to a POST; ``posted`` is told what became of each POST to a peer;
    ``crash`` with an error that should not be.  ``clock`` reads seconds; ``observe`` is told of every POST
    how many messages it carried, how many seconds it took, and whether it was answered.
    """

    def __init__(
        self,
        state: State,
        transport: Transport,
        secret: bytes,
        received: Callable[[Sender, list[Message]], None],
        posted: Callable[[str, Fate], None],
        crash: Callable[[Failure], None],
        clock: Callable[[], float],
        observe: Callable[[int, float, bool], None],
    ) -> None:
        self._state = state
        self._clock = clock
        self._observe = observe
        self._transport = transport
        self._envelopes = EnvelopeCodec(secret)
        self._received = received
        self._posted = posted
        self._crash = crash
        self._links: dict[str, Link] = {}
        self._filled: dict[str, Link] = {}
        """The links to which something was added since the last flush."""
        self._encoded: tuple[Message | None, bytes] = (None, b"")

    def send(self, peer: str, message: Message) -> None:
        """Queue a message for a peer; what goes to several peers in a row is encoded once."""
        if self._encoded[0] is not message:
            self._encoded = (message, encode_message(message))
        link = self._filled[peer] = self._link(peer)
        link.add(self._encoded[1])

    def flush(self) -> None:
        """Send what is queued."""
        filled, self._filled = self._filled, {}
        for link in filled.values():
            link.flush()

    def open(self, body: bytes) -> tuple[Sender, list[Message]]:
        """Who sent an envelope and what it says.  Raises WireError where no node of this cluster made it."""
        return self._envelopes.decode(body, self._state.identity.address)

    def reply(self, peer: str) -> bytes:
        """What is ready to be said to a peer, as the answer to its POST."""
        return self._seal(peer, self._link(peer).take())

    def _seal(self, receiver: str, messages: list[bytes]) -> bytes:
        state = self._state
        cluster = state.configuration.cluster if state.configuration else ""
        sender = Sender(state.identity.address, state.identity.instance, cluster, state.disk.epoch)
        return self._envelopes.encode(sender, receiver, messages)

    def _link(self, peer: str) -> Link:
        if peer not in self._links:
            self._links[peer] = Link(
                lambda messages: self._post(peer, messages),
                lambda answer: self._answered(peer, answer),
                lambda failure: self._lost(peer, failure),
            )
        return self._links[peer]

    def _post(self, peer: str, messages: list[bytes]) -> Deferred[bytes]:
        started = self._clock()

        def observed(result: bytes | Failure) -> bytes | Failure:
            self._observe(len(messages), self._clock() - started, isinstance(result, bytes))
            return result

        return self._transport.post(peer, self._seal(peer, messages)).addBoth(observed)

    def _answered(self, peer: str, answer: bytes) -> None:
        try:
            sender, messages = self.open(answer)
        except WireError:
            self._lost(peer, Failure())
        else:
            self._posted(peer, Fate.ANSWERED)
            self._received(sender, messages)

    def _lost(self, peer: str, failure: Failure) -> bool:
        """A POST had no answer that could be used; says whether the peer is still to get what waits behind it."""
        if failure.check(PeerUnreachable, WireError):
            _log.debug("no answer: {why}", why=failure.getErrorMessage())
            late = isinstance(failure.value, PeerUnreachable) and failure.value.late
            self._posted(peer, Fate.LATE if late else Fate.FAILED)
        else:
            self._crash(failure)
        return self._state.usable(peer)
