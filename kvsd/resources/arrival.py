"""
The arrival of a request: how much of it is kept, and how long it may take.

A body that is too large is not kept but read and thrown away, so that its client gets its answer, once all has come,
on a connection that can be used again.  A client that takes too long over it is answered without the rest, is given a
moment to read that, and is cut off.

A body may be as large as another node's only on the path between nodes.  One that is not small waits, without being read
from, until there is room for it (:mod:`kvsd.resources.places`).
"""

from functools import partial
from io import BytesIO
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, datetimeToString
from twisted.web.resource import IResource
from twisted.web.server import NOT_DONE_YET, Request
from typing_extensions import override

from kvsd.replication.budget import SMALL_BYTES
from kvsd.resources.conformance import refusal
from kvsd.resources.door import (
    SERVER,
    Discarded,
    Reply,
    RequestLimits,
    answer,
    internal_error,
    no_room,
    too_large,
)
from kvsd.resources.pacing import late_reply
from kvsd.resources.places import Place, Places

MESSAGES: Final = b"/kvsd/i/messages"
"""The path between nodes."""


class BoundedRequest(Request):
    """A request that is bounded in size and time until it has arrived, and is then answered by a resource."""

    def __init__(
        self,
        resource: IResource,
        limits: RequestLimits,
        clock: IReactorTime,
        places: Places,
        channel: HTTPChannel,
        *more: object,
    ) -> None:
        super().__init__(channel, *more)
        self._resource = resource
        self._limits = limits
        self._places = places
        self._clock = clock
        self._late = clock.seconds() + limits.arrival_seconds
        self._timer: IDelayedCall | None = clock.callLater(limits.arrival_seconds, self.give_up)
        self._kept_bytes = limits.max_body_bytes
        self._received_bytes = 0
        self._place: Place | None = None
        self._dismissed = False

    # What the channel tells, in this order

    @override
    def gotLength(self, length: int | None) -> None:
        """The headers are here; length is that of the body, None where it comes in chunks."""
        self.content = BytesIO()
        of_peer = origin_form(self.channel._path) == MESSAGES
        if of_peer:
            self._kept_bytes = max(self._kept_bytes, self._limits.peer_body_bytes)
        if self._dismissed:
            self.channel.persistent = False
        elif length is not None and length > self._kept_bytes:
            self._discard()
            if length > self._limits.discard_bytes or self.requestHeaders.hasHeader(b"Expect"):
                # Not sent yet, and not to be asked for.
                self.requestHeaders.removeHeader(b"Expect")
                self.give_up()
        elif length is None or length > SMALL_BYTES:
            self._enter(self._kept_bytes if length is None else length, of_peer=of_peer)

    def _enter(self, size: int, *, of_peer: bool) -> None:
        """Have room for the body, and read on once there is some."""
        resume = self.channel._networkProducer.resumeProducing
        refused = partial(self.give_up, no_room())
        self._place = self._places.enter(size, of_peer=of_peer, admitted=resume, refused=refused)
        if not self._place.is_in:
            self.channel._networkProducer.pauseProducing()

    def _leave(self) -> None:
        """Have no more room for the body; read on where that was waited for."""
        place, self._place = self._place, None
        if place is not None:
            self._places.leave(place)
            if not place.is_in:
                self.channel._networkProducer.resumeProducing()

    @override
    def handleContentChunk(self, data: bytes) -> None:
        """A piece of the body."""
        assert self.content is not None, "the length comes before the body"
        self._received_bytes += len(data)
        if self._place is not None:
            self._place.came = self._received_bytes
        if self._dismissed:
            return
        if self._received_bytes <= self._kept_bytes and not isinstance(self.content, Discarded):
            self.content.write(data)
            return
        self._discard()
        if self._received_bytes > self._limits.discard_bytes:
            self.give_up()

    @override
    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """All of the request is here."""
        self._stop_timer()
        self._leave()
        if self._dismissed:
            self.finish()
            return
        # No body here is a form, but Twisted would take a POST's for one, and parse it, if it said so.
        self.requestHeaders.removeHeader(b"Content-Type")
        super().requestReceived(command, path, version)

    @override
    def connectionLost(self, reason: Failure) -> None:
        """The client has gone."""
        self._stop_timer()
        if self._place is not None:
            self._places.leave(self._place)
        super().connectionLost(reason)

    # The answer

    @override
    def process(self) -> None:
        """Have the request answered."""
        self.path = origin_form(self.path)
        self.prepath = []
        self.postpath = []  # the root makes it out from the path
        _name_server(self)
        try:
            refused = refusal(self)
            body = answer(self, refused) if refused else self._resource.render(self)
            if body is not NOT_DONE_YET:
                self.write(body)
                self.finish()
        except Exception:
            self.processingFailed(Failure())

    @override
    def processingFailed(self, reason: Failure) -> Failure:
        """Answer a request that failed in a way that nobody expected."""
        reply = internal_error(reason)
        if self.startedWriting:
            self.loseConnection()
        else:
            self.write(answer(self, reply))
            self.finish()
        return reason

    @override
    def finish(self) -> None:
        """All has been written."""
        channel = self.channel
        is_last = not channel.persistent
        super().finish()
        if is_last:
            # A client that never reads its last answer must not hold its connection for ever.
            channel.setTimeout(self._limits.idle_seconds)

    @override
    def getRequestHostname(self) -> bytes:
        """One name for all: what a client calls this node decides nothing, and need not be a name at all."""
        return SERVER

    # Too much, or too late

    def _discard(self) -> None:
        """Keep no more of the body, and wait for the rest of it a little."""
        self._leave()
        self.content = Discarded()
        patience = min(self._limits.discard_seconds, self._late - self._clock.seconds())
        if self._timer:
            self._timer.reset(max(patience, 0))

    def give_up(self, reply: Reply | None = None) -> None:
        """Answer without the rest of the request: what is said, or what is the matter with it."""
        self._stop_timer()
        self._leave()
        self._dismissed = True
        self.channel.persistent = False
        self.clientproto = b"HTTP/1.1"  # the true one comes with the rest
        _name_server(self)
        self.setHeader(b"Connection", b"close")
        if reply is None and isinstance(self.content, Discarded):
            reply = too_large(self._kept_bytes).reply
        elif reply is None:
            reply = late_reply(self._limits.arrival_seconds)
        self.content = Discarded()
        self.write(answer(self, reply))
        # Closing now, with bytes of the client's unread, would reset the connection and take the answer with it.
        self._timer = self._clock.callLater(self._limits.linger_seconds, self.channel.forceAbortClient)

    def _stop_timer(self) -> None:
        if self._timer and self._timer.active():
            self._timer.cancel()
        self._timer = None


def _name_server(request: Request) -> None:
    request.setHeader(b"Server", SERVER)
    request.setHeader(b"Date", datetimeToString())


def origin_form(target: bytes) -> bytes:
    """The path of a request's target, which a proxy may have written as a whole URL."""
    scheme, colon, rest = target.partition(b"://")
    if colon and scheme.lower() in {b"http", b"https"}:
        return b"/" + rest.partition(b"/")[2]
    return target
