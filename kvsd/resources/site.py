"""
The site: connections that speak HTTP, and what becomes of those that do not.
"""

import re
from functools import partial

from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web.resource import IResource
from twisted.web.server import Site
from typing_extensions import override

from kvsd.resources.admission import Admission
from kvsd.resources.arrival import BoundedRequest
from kvsd.resources.door import RequestLimits, error_reply
from kvsd.resources.pacing import PacedChannel
from kvsd.resources.places import Places

_NOT_ASCII = re.compile(rb"[\x80-\xff]")

_log = Logger()


class Channel(PacedChannel):
    """A connection that takes paths which a client forgot to escape, and answers bad requests, too, with JSON."""

    site: "BoundedSite"

    # A causal token in a header may have 16 KiB, before base64.
    MAX_LENGTH = 32 * 1024
    totalHeadersSize = 64 * 1024  # noqa: N815 (Twisted's name)

    between_requests = True
    """Whether nothing has come since the last request, not even an empty line."""

    @override
    def connectionMade(self) -> None:
        """A client has connected."""
        super().connectionMade()
        self.site.admission.opened(self.transport)
        self.site.connections.add(self)

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The client has gone."""
        self.site.admission.closed()
        self.site.connections.discard(self)
        super().connectionLost(reason)

    @override
    def lineReceived(self, line: bytes) -> None:
        """A line of a request's head."""
        self.between_requests = False
        if self.at_request_line and line:
            self.at_request_line = False
            self.line_arrived()
            if not line.isascii():
                line = _NOT_ASCII.sub(lambda byte: b"%%%02X" % ord(byte.group()), line)
        super().lineReceived(line)

    @override
    def allContentReceived(self) -> None:
        """All of a request is here; the next line is the first of another."""
        self.at_request_line = self.between_requests = True
        super().allContentReceived()

    @override
    def headerReceived(self, line: bytes) -> bool:
        """A header; False where it was refused."""
        try:
            return bool(super().headerReceived(line))
        except ValueError:
            # Such as a Content-Length with more digits than Python makes a number of.
            self._respondToBadRequestAndDisconnect()
            return False

    @override
    def lineLengthExceeded(self, line: bytes) -> None:
        """A request line or a header was too long."""
        self._respondToBadRequestAndDisconnect()

    @override
    def _respondToBadRequestAndDisconnect(self) -> None:
        # Called wherever the parser gives up.  Were it called otherwise one day, clients would get Twisted's own
        # answer, which has the same status and no body.
        self.refuse(error_reply(400, "Bad request: this is not HTTP/1.1, or its headers are too large"))


class BoundedSite(Site):
    """A site that bounds what its clients send; with access_log, each answered request is an event of its own."""

    noisy = False
    protocol = Channel  # type: ignore[assignment]  # what it is by default stands between for HTTP/2, and costs time

    def __init__(
        self,
        resource: IResource,
        limits: RequestLimits,
        reactor: IReactorTime,
        places: Places,
        *,
        access_log: bool = False,
    ) -> None:
        arriving = partial(BoundedRequest, resource, limits, reactor, places)
        super().__init__(resource, requestFactory=arriving, timeout=limits.idle_seconds, reactor=reactor)
        self.limits = limits
        self.access_log = access_log
        self.connections: set[Channel] = set()
        self.admission = Admission(limits.max_connections, limits.open_files, reactor)

    def drain(self) -> None:
        """The node stops: the next answer on each connection is the last one, and says so."""
        for connection in self.connections:
            connection.draining = True

    @override
    def startFactory(self) -> None:
        """There is no log file to open."""

    @override
    def log(self, request: http.Request) -> None:
        """A request was answered."""
        if self.access_log:
            method, target = request.method.decode("latin-1"), request.uri.decode("latin-1")
            self.log_answer(request.getClientAddress(), method, target, request.code)

    def log_answer(self, client: IAddress, method: str, target: str, status: int) -> None:
        """Put an answered request into the log."""
        _log.info(
            "{client} {method} {target} {status}",
            client=getattr(client, "host", "-"),
            method=method,
            target=target,
            status=status,
        )
