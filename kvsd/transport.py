"""
POSTs to peers over HTTP, by treq.

A peer is always an address, so nothing is resolved; its connection is kept between POSTs.  Every POST has one time
limit for all of it, and an answer has a limit in bytes.  Whatever goes wrong is a PeerUnreachable with a short text.
"""

from typing import Any, Final

from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred, fail, maybeDeferred, succeed
from twisted.internet.defer import TimeoutError as Overdue
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.interfaces import IConsumer, IReactorTCP, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, HTTPConnectionPool, ResponseDone, ResponseFailed
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IAgentEndpointFactory, IBodyProducer, IResponse
from zope.interface import implementer

from kvsd.ports import PeerUnreachable, Transport

TIMEOUT_SECONDS: Final = 1.5
ANSWER_BYTES: Final = 8 << 20

_CONNECTIONS_PER_PEER = 2
# Below the time after which a node closes a connection on which nothing happens, so that no POST meets its end.
_KEPT_SECONDS = 30


class TreqTransport(Transport):
    """
    The way to hand bytes to the nodes of a cluster.

    ``timeout_seconds`` is for a whole exchange, connecting included; a longer answer than ``answer_bytes`` is refused.
    """

    def __init__(
        self, reactor: IReactorTime, *, timeout_seconds: float = TIMEOUT_SECONDS, answer_bytes: int = ANSWER_BYTES
    ) -> None:
        self._reactor = reactor
        self._timeout_seconds = timeout_seconds
        self._answer_bytes = answer_bytes
        self._pool = HTTPConnectionPool(reactor, persistent=True)
        self._pool.maxPersistentPerHost = _CONNECTIONS_PER_PEER
        self._pool.cachedConnectionTimeout = _KEPT_SECONDS
        # Whether a POST that got no answer is sent again is for the node to say.
        self._pool.retryAutomatically = False
        self._pool._factory.noisy = False  # a line in the log for each connection helps nobody
        endpoints = _PeerEndpoints(IReactorTCP(reactor), timeout_seconds)
        self._agent = Agent.usingEndpointFactory(reactor, endpoints, self._pool)
        self._under_way: set[Deferred[bytes]] = set()
        self._closed = False

    def post(self, address: str, body: bytes) -> Deferred[bytes]:
        """
        Hand body to the node at address (``IP:PORT``); fires with the bytes of its answer.

        Fails with PeerUnreachable.  Cancelling the Deferred closes the connection.
        """
        if self._closed:
            return fail(PeerUnreachable(f"{address}: the transport is closed"))
        treq_reactor: Any = self._reactor  # without one, treq imports the global reactor, to no purpose
        requested = maybeDeferred(
            HTTPClient(_PeerAgent(self._agent, address)).request,
            "POST",
            "http://peer",
            data=_Body(body),
            headers=Headers({b"Content-Type": [b"application/octet-stream"]}),
            allow_redirects=False,
            unbuffered=True,
            reactor=treq_reactor,
        )
        posted: Deferred[bytes] = requested.addCallback(self._answer)
        posted.addTimeout(self._timeout_seconds, self._reactor, _overdue)
        self._under_way.add(posted)
        posted.addBoth(self._ended, posted)
        return posted.addErrback(self._explain, address)

    def close(self) -> Deferred[None]:
        """Drop all connections; posts under way fail with PeerUnreachable."""
        self._closed = True
        for posted in list(self._under_way):
            posted.cancel()
        closed: Deferred[None] = self._pool.closeCachedConnections()
        return closed

    def _answer(self, response: IResponse) -> Deferred[bytes]:
        collected = _Answer(response.code, self._answer_bytes)
        response.deliverBody(collected)
        return collected.finished

    def _ended(self, result: bytes | Failure, posted: Deferred[bytes]) -> bytes | Failure:
        self._under_way.discard(posted)
        return result

    def _explain(self, failure: Failure, address: str) -> Failure:
        """One kind of failure for all that can go wrong."""
        error = failure.value
        if isinstance(error, ResponseFailed) and error.reasons:
            error = error.reasons[-1].value
        match error:
            case Overdue():
                why = f"no answer within {self._timeout_seconds:g} s"
            case CancelledError():
                why = "given up"
            case _:
                why = str(error) or type(error).__name__
        late = isinstance(error, Overdue | TimeoutError)
        return Failure(PeerUnreachable(f"{address}: {why}", late=late))


def _overdue(result: bytes | Failure, _seconds: float) -> bytes | Failure:
    """What a POST that was cancelled for its time ends with; cancelling alone leads to several kinds of failure."""
    return Failure(Overdue()) if isinstance(result, Failure) else result


@implementer(IAgentEndpointFactory)
class _PeerEndpoints:
    """Endpoints for URLs whose host is an address: no name is looked up, in no thread."""

    def __init__(self, reactor: IReactorTCP, timeout_seconds: float) -> None:
        self._reactor = reactor
        self._timeout_seconds = timeout_seconds

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:  # noqa: N802 (Twisted's name)
        host = uri.host.decode()
        endpoint = TCP6ClientEndpoint if ":" in host else TCP4ClientEndpoint
        return endpoint(self._reactor, host, uri.port, timeout=self._timeout_seconds)


@implementer(IAgent)
class _PeerAgent:
    """
    An agent that asks one peer for one thing, whatever URL it is given: treq's URLs can't hold an address of IPv6.

    Nodes neither compress what they say to each other nor set cookies, and treq is kept from both.
    """

    def __init__(self, agent: IAgent, address: str) -> None:
        self._agent = agent
        self._uri = f"http://{address}/kvsd/i/messages".encode()

    def request(
        self,
        method: bytes,
        uri: bytes,  # noqa: ARG002 (see above)
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,  # noqa: N803 (Twisted's name)
    ) -> Deferred[IResponse]:
        headers = headers.copy() if headers else Headers()
        headers.removeHeader(b"Accept-Encoding")
        return self._agent.request(method, self._uri, headers, bodyProducer).addCallback(_plain)


def _plain(response: IResponse) -> IResponse:
    response.headers.removeHeader(b"Content-Encoding")
    response.headers.removeHeader(b"Set-Cookie")
    return response


@implementer(IBodyProducer)
class _Body:
    """Bytes that are written at once: treq's own producer would take turns of the reactor over it."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.length = len(body)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:  # noqa: N802 (Twisted's name)
        consumer.write(self._body)
        return succeed(None)

    def pauseProducing(self) -> None:  # noqa: N802 (Twisted's name)
        pass

    def resumeProducing(self) -> None:  # noqa: N802 (Twisted's name)
        pass

    def stopProducing(self) -> None:  # noqa: N802 (Twisted's name)
        pass


class _Answer(Protocol):
    """Collects the body of an answer; ``finished`` fires with it, and closes the connection where it is cancelled."""

    def __init__(self, code: int, limit_bytes: int) -> None:
        self.finished: Deferred[bytes] = Deferred(lambda _: self._drop())
        self._code = code
        self._limit_bytes = limit_bytes
        self._body = bytearray()

    def dataReceived(self, data: bytes) -> None:
        if self.finished.called:
            return
        self._body += data
        if len(self._body) > self._limit_bytes:
            self._drop()
            self.finished.errback(PeerUnreachable(f"its answer is longer than {self._limit_bytes} bytes"))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.finished.called:
            return
        if not reason.check(ResponseDone):
            self.finished.errback(reason)
        elif self._code != 200:
            self.finished.errback(PeerUnreachable(f"it answered {self._code}"))
        else:
            self.finished.callback(bytes(self._body))

    def _drop(self) -> None:
        assert self.transport is not None, "a body is delivered over a connection"
        self.transport.loseConnection()
