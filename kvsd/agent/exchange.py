"""
What treq hands to an agent and gets from it: headers, a body, a response.
"""

from typing import Any, Final

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IConsumer, IProtocol
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer, IResponse
from zope.interface import implementer

from kvsd.agent.answers import Answer

_DONE: Final = Failure(ResponseDone())


class TardyBody(Exception):
    """A body that is not written at once, or not whole."""


class FixedHeaders(Headers):
    """
    Headers that stay as they are, whatever is added to them.

    treq and what it wraps around an agent copy the headers of each request, say that they understand gzip, look for
    cookies, and take note of encodings.  Nodes do nothing of that.
    """

    def copy(self) -> "FixedHeaders":
        """Itself: nobody can change it."""
        return self

    def addRawHeader(self, name: str | bytes, value: str | bytes) -> None:
        """Do nothing."""

    def setRawHeaders(self, name: str | bytes, values: object) -> None:
        """Do nothing."""

    def removeHeader(self, name: str | bytes) -> None:
        """Do nothing."""


_NO_HEADERS: Final = FixedHeaders()


@implementer(IResponse)
class PeerResponse:
    """A whole answer.  Its headers have done their work and are not kept."""

    version = (b"HTTP", 1, 1)
    phrase = b""
    headers = _NO_HEADERS
    request = None
    previousResponse = None

    def __init__(self, answer: Answer) -> None:
        self.code = answer.code
        self.length = len(answer.body)
        self._body = answer.body

    def deliverBody(self, protocol: IProtocol) -> None:
        """Give the body to a protocol, all of it at once."""
        over: Any = _Over()
        protocol.makeConnection(over)
        if self._body:
            protocol.dataReceived(self._body)
        protocol.connectionLost(_DONE)

    def setPreviousResponse(self, response: IResponse) -> None:
        """There is none: nothing is redirected."""
        raise NotImplementedError("nodes are not redirected")


@implementer(IBodyProducer)
class Body:
    """Bytes that are written at once: treq's own producer would take turns of the reactor over it."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.length = len(body)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Write all of it."""
        consumer.write(self._body)
        return succeed(None)

    def pauseProducing(self) -> None:
        """It is over already."""

    def resumeProducing(self) -> None:
        """It is over already."""

    def stopProducing(self) -> None:
        """It is over already."""


class _Over:
    """Stands for the connection of a body that is here already: there is nothing to pause or to end."""

    def pauseProducing(self) -> None:
        """It is over already."""

    def resumeProducing(self) -> None:
        """It is over already."""

    def stopProducing(self) -> None:
        """It is over already."""

    def loseConnection(self) -> None:
        """It is over already."""


class _Written:
    """What a producer writes."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.write = self.parts.append


def written_by(producer: IBodyProducer) -> bytes:
    """
    The body that a producer writes at once.

    Raises TardyBody for a producer that takes its time: what it has written by now would seem to be all.
    """
    written = _Written()
    if not producer.startProducing(written).called:
        producer.stopProducing()
        raise TardyBody("a body has to be written at once")
    body = b"".join(written.parts)
    if len(body) != producer.length:
        raise TardyBody(f"a body is {len(body)} bytes long instead of {producer.length}")
    return body
