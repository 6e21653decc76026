"""
The pace of a connection: when its next request is served, and how long is waited for one.

- Requests that came together are served some at a time; in between it is the turn of other connections.
- While a client does not read its answers, its next requests are not served.
- A request line that has begun has a time by which it is whole, as the rest of a request has (``arrival``).
- A client that has closed its side of the connection is still answered.
- Once the node stops, each answer is the last one of its connection, and says so.
"""

from typing import Any

from twisted.internet.interfaces import IDelayedCall, IHalfCloseableProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web.http import RESPONSES, HTTPChannel
from twisted.web.http_headers import Headers
from typing_extensions import override
from zope.interface import implementer

from kvsd.resources.door import SERVER, Reply, error_reply

PEERS_PATH = b"/kvsd/i/messages"


class TimelyChannel(HTTPChannel):
    """A connection whose request lines come in time, and whose last answer says that it is the last one."""

    site: Any  # a BoundedSite, whose module needs this one
    transport: Any  # of TCP, or of a test

    at_request_line = True
    """Whether what comes next is a request line, or the rest of one."""
    draining = False
    """Whether the next answer is to be the last one."""
    _line_late: IDelayedCall | None = None
    """Until when a request line that has begun is waited for."""

    @override
    def dataReceived(self, data: bytes) -> None:
        """Bytes have come."""
        super().dataReceived(data)
        if self._line_late is None and self._buffer and self.at_request_line and not (self.paused or self.is_closing):
            self._line_late = self.callLater(self.site.limits.arrival_seconds, self._refuse_late_line)

    def line_arrived(self) -> None:
        """Wait no more for a request line: it is here."""
        if self._line_late is not None:
            self._line_late.cancel()
            self._line_late = None

    def _refuse_late_line(self) -> None:
        self._line_late = None
        if not self.is_closing:
            self.refuse(late_reply(self.site.limits.arrival_seconds))

    @property
    def is_closing(self) -> bool:
        """Whether the connection ends once what was answered is sent."""
        return bool(self.transport.disconnecting)

    @override
    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Headers) -> None:
        """Begin an answer, which is the last one where the node stops: but peers go on to speak to it to its end."""
        if self.draining and self.requests[0].uri != PEERS_PATH:
            headers.setRawHeaders(b"Connection", [b"close"])
            self.persistent = False
        super().writeHeaders(version, code, reason, headers)

    def refuse(self, reply: Reply) -> None:
        """Answer what is no whole request, and close the connection."""
        lines = b"HTTP/1.1 %d %b\r\nServer: %b\r\nContent-Type: %b\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
        head = lines % (reply.status, RESPONSES[reply.status], SERVER, reply.content_type, len(reply.body))
        self.transport.write(head + reply.body)
        self.loseConnection()

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The client has gone."""
        self.line_arrived()
        super().connectionLost(reason)


@implementer(IHalfCloseableProtocol)
class PacedChannel(TimelyChannel):
    """A connection that is served at a pace which leaves room for others."""

    _next_turn: IDelayedCall | None = None
    _in_turn = False
    """Whether a request is begun in this turn."""
    _half_closed = False
    """Whether the client sends nothing more, and waits for answers."""
    _patience: IDelayedCall | None = None
    """Until when such a client is answered."""

    def readConnectionLost(self) -> None:  # noqa: N802 (the interface's name)
        """The client has closed its side: answer what it has asked before, then close the other side, too."""
        if self._half_closed:
            return
        self._half_closed = True
        if self._is_asked():
            self._patience = self.callLater(self.site.limits.half_closed_seconds, self.transport.abortConnection)
        else:
            self.loseConnection()

    def writeConnectionLost(self) -> None:  # noqa: N802
        """This side was closed, after all answers."""

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The client has gone."""
        for call in self._next_turn, self._patience:
            if call is not None and call.active():
                call.cancel()
        super().connectionLost(reason)

    # Requests are served

    @override
    def allContentReceived(self) -> None:
        """All of a request is here: have it answered, at once or later."""
        self._in_turn = True
        super().allContentReceived()
        self._in_turn = False

    @override
    def requestDone(self, request: http.Request) -> None:
        """A request was answered; the next one waits for its turn, and for the client to read the answers that it has."""
        if self._waitingForTransport:
            self.wait_for_reader()
            super().requestDone(request)
        elif self._in_turn and self.persistent and (self._buffer or any(self._dataBuffer)):
            self.paused = True
            super().requestDone(request)
            self.rest()
        else:
            super().requestDone(request)
        self.end_half_closed()

    def rest(self) -> None:
        """Serve nothing more, and read nothing more, until it was the turn of other connections."""
        self.paused = True
        self._networkProducer.pauseProducing()
        if self._next_turn is None:
            self._next_turn = self.callLater(0, self._take_turn)

    def _take_turn(self) -> None:
        self._next_turn = None
        if self._waitingForTransport or self.is_closing:
            return
        self._networkProducer.resumeProducing()  # before what follows, which may have to pause it
        self.paused = False
        self.dataReceived(b"")
        self.end_half_closed()

    def wait_for_reader(self) -> None:
        """Serve nothing more, and read nothing more, until the client has read what it was answered."""
        self.paused = True
        self._networkProducer.pauseProducing()

    @override
    def resumeProducing(self) -> None:
        """The client has read on."""
        super().resumeProducing()
        if self.paused and self._next_turn is None:
            self.paused = False
            self.dataReceived(b"")
        self.end_half_closed()

    def _is_asked(self) -> bool:
        """Return True if a request is under way, or waits for its turn."""
        return self._handlingRequest or self.paused

    def end_half_closed(self) -> None:
        """Close the connection of a client that has closed its side, once it has all answers."""
        if self._half_closed and not self._is_asked() and not self.is_closing:
            self.loseConnection()


def late_reply(seconds: float) -> Reply:
    """The reply to a request that did not arrive in time."""
    return error_reply(408, f"Request did not arrive within {seconds:g} seconds")
