"""
POSTs to peers over HTTP, by treq over an agent of our own.

A peer is always an address, so nothing is resolved; its connections are kept between POSTs.  An answer has a limit in
bytes.  Whatever goes wrong is a PeerUnreachable with a short text.

A POST may take as long as it makes progress: while the peer's machine acknowledges bytes of the request, or bytes of the
answer come.  Only a POST of which nothing has moved for the timeout is given up.

Most of what treq does for a request is the same for all of them, and is done once or not at all: it is given a URL
that is encoded already, headers that stay as they are, and a jar that keeps no cookies.
"""

from http.client import HTTPResponse
from typing import Any, Final
from urllib.request import Request

from hyperlink import EncodedURL
from msgspec import Struct
from treq.client import HTTPClient
from treq.cookies import IndexableCookieJar
from twisted.internet.defer import CancelledError, Deferred, fail, gatherResults, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.web.iweb import IResponse
from typing_extensions import override

from kvsd.agent.connection import Connection
from kvsd.agent.exchange import Body, FixedHeaders
from kvsd.agent.peer_agent import NoAddress, PeerAgent
from kvsd.ports import NO_FLOW, Flow, PeerUnreachable, Transport

TIMEOUT_SECONDS: Final = 1.5
LOOKS: Final = 6
"""How often within a timeout is looked whether a POST has made progress."""
ANSWER_BYTES: Final = 8 << 20
OTHER_SECRET_STATUS: Final = 403
"""What a node answers that has another secret: :mod:`kvsd.resources.peer`."""

_HEAD: Final = b"POST /kvsd/i/messages HTTP/1.1\r\nHost: %b\r\nContent-Type: application/octet-stream\r\n"
_HEADERS: Final = FixedHeaders()  # those that count are in _HEAD


class _Watch(Struct, eq=False):
    """A POST under way: its connection, what that had carried at the last look, and when this was found to have grown."""

    connection: Connection | None
    since: float
    carried: int | None = None

    def look(self, now: float) -> None:
        """Look whether anything moved; what moved before the first look counts as of the beginning."""
        carried = self.connection.carried() if self.connection else 0
        if self.carried is not None and carried != self.carried:
            self.since = now
        self.carried = carried


class TreqTransport(Transport):
    """
    The way to hand bytes to the nodes of a cluster.

    ``timeout_seconds`` is for how long nothing of an exchange may move, and for connecting; a longer answer than
    ``answer_bytes`` is refused.
    """

    def __init__(
        self, reactor: IReactorTime, *, timeout_seconds: float = TIMEOUT_SECONDS, answer_bytes: int = ANSWER_BYTES
    ) -> None:
        self._reactor = reactor
        self._timeout_seconds = timeout_seconds
        self._answer_bytes = answer_bytes
        self._peers: dict[str, tuple[PeerAgent, HTTPClient]] = {}
        """The peers to which there are connections."""
        self._watched: dict[Deferred[bytes], _Watch] = {}
        self._given_up: set[Deferred[bytes]] = set()
        """Those of which nothing moved any more."""
        self._timer: IDelayedCall | None = None
        self._closed = False

    def post(self, address: str, body: bytes) -> Deferred[bytes]:
        """
        Hand body to the node at address (``IP:PORT``); fires with the bytes of its answer.

        Fails with PeerUnreachable.  Cancelling the Deferred closes the connection.
        """
        if self._closed:
            return fail(PeerUnreachable(f"{address}: the transport is closed"))
        try:
            agent, client = self._client(address)
        except NoAddress as error:
            return fail(PeerUnreachable(f"{address}: {error}"))
        reactor: Any = self._reactor  # without one, treq imports the global reactor, to no purpose
        requested: Deferred[Any] = maybeDeferred(
            client.request,
            "POST",
            _URL,
            headers=_HEADERS,
            data=Body(body),
            cookies=_NO_COOKIES,
            allow_redirects=False,
            unbuffered=True,
            reactor=reactor,
        )
        posted: Deferred[bytes] = requested.addCallback(_body)
        self._watched[posted] = _Watch(agent.chosen, self._reactor.seconds())
        self._keep_time()
        return posted.addBoth(self._ended, posted, address)

    @override
    def flow(self, address: str) -> Flow:
        """Return how far the POSTs to an address have come."""
        peer = self._peers.get(address)
        return Flow(*peer[0].flow()) if peer else NO_FLOW

    def close(self) -> Deferred[None]:
        """Drop all connections; posts under way fail with PeerUnreachable."""
        self._closed = True
        if self._timer:
            self._timer.cancel()
            self._timer = None
        closing = [agent.close() for agent, _ in list(self._peers.values())]
        return gatherResults(closing).addCallback(lambda _: None)

    def _client(self, address: str) -> tuple[PeerAgent, HTTPClient]:
        """A client that speaks with a peer alone.  Raises NoAddress."""
        if address not in self._peers:
            agent = PeerAgent(
                self._reactor,
                address,
                _HEAD % address.encode(),
                connect_seconds=self._timeout_seconds,
                answer_bytes=self._answer_bytes,
                gone=lambda: self._forget(address),
            )
            self._peers[address] = agent, HTTPClient(agent, _NO_COOKIES)
        return self._peers[address]

    def _forget(self, address: str) -> None:
        del self._peers[address]

    def _ended(self, result: bytes | Failure, posted: Deferred[bytes], address: str) -> bytes | Failure:
        """A POST came to its end; one kind of failure for all that can go wrong."""
        del self._watched[posted]
        if isinstance(result, bytes):
            return result
        late = posted in self._given_up
        if late:
            self._given_up.remove(posted)
            why = f"nothing moved for {self._timeout_seconds:g} s"
        elif result.check(CancelledError):
            why = "given up"
        else:
            why = str(result.value) or type(result.value).__name__
        other_secret = isinstance(result.value, PeerUnreachable) and result.value.other_secret
        return Failure(PeerUnreachable(f"{address}: {why}", late=late, other_secret=other_secret))

    def _keep_time(self) -> None:
        """Have the clock strike now and then: one timer for all POSTs, as hardly any is ever needed."""
        if self._timer is None and self._watched and not self._closed:
            self._timer = self._reactor.callLater(self._timeout_seconds / LOOKS, self._strike)

    def _strike(self) -> None:
        """Give up POSTs of which nothing has moved for too long."""
        self._timer = None
        now = self._reactor.seconds()
        for posted, watch in list(self._watched.items()):
            watch.look(now)
            if now - watch.since >= self._timeout_seconds and posted in self._watched:
                self._given_up.add(posted)
                posted.cancel()
        self._keep_time()


def _body(response: IResponse) -> bytes:
    """The body of an answer.  Raises PeerUnreachable where its status is not 200."""
    if response.code != 200:
        raise PeerUnreachable(f"it answered {response.code}", other_secret=response.code == OTHER_SECRET_STATUS)
    body = _Whole()
    response.deliverBody(body)
    return body.content


class _Whole(Protocol):
    """Takes a body whole."""

    content = b""

    def dataReceived(self, data: bytes) -> None:
        """Take bytes in."""
        self.content += data


class _EncodedURL(EncodedURL):
    """A URL that needs no more encoding; it is the same for all, as an agent knows whom it speaks with."""

    def to_uri(self) -> EncodedURL:
        """Itself."""
        return self

    def to_text(self, with_password: bool = False) -> str:  # noqa: ARG002 (hyperlink's names)
        """Its text, made beforehand."""
        return "http://peer/"


class _NoCookies(IndexableCookieJar):
    """A jar that keeps no cookies."""

    def add_cookie_header(self, request: Request) -> None:
        """There is none to add."""

    def extract_cookies(self, response: HTTPResponse, request: Request) -> None:
        """Let them go."""


_URL: Final = _EncodedURL.from_text("http://peer/")
_NO_COOKIES: Final = _NoCookies()
