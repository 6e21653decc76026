"""
The lane: the requests that make up nearly all of the load are answered on the connection itself.

A request that :mod:`kvsd.resources.framing` knows is taken from the bytes that came in, once its body is whole; all else
goes on, untouched, to Twisted's parser, and from there to Klein.  Both ways lead to the same desk, so they differ
in nothing that a client could see but the time that it takes.

One request of a connection is under way at a time, on whichever way: what comes meanwhile waits, so answers leave in
the order of their requests, and a write has been carried out before what comes after it is begun.
"""

from functools import partial
from typing import Any

from msgspec.structs import replace
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from typing_extensions import override

from kvsd.resources.desk import Call, Confirmation, Desk
from kvsd.resources.door import Reply, internal_error
from kvsd.resources.framing import Framing, Whole
from kvsd.resources.partial_request import PartialRequest
from kvsd.resources.peer import hear
from kvsd.resources.places import Places
from kvsd.resources.recent import Given, Recent
from kvsd.resources.replies import ReplyWriter, direct_write
from kvsd.resources.site import Channel

TURN_BYTES = 8 * 1024
"""How much is answered to requests that came together before it is the turn of other connections."""

_G = ord("G")
"""What a read begins with, and nothing else that is for the lane."""

_log = Logger()


class Lane:
    """What all connections of a site have in common."""

    def __init__(self, desk: Desk, clock: IReactorTime, places: Places) -> None:
        self.desk = desk
        self.seconds = clock.seconds
        self.encode = ReplyWriter().encode
        self.recent = Recent(desk.node)
        self.places = places

    def channel(self) -> "LaneChannel":
        """A new connection."""
        return LaneChannel(self)


class LaneChannel(Channel):
    """A connection with a lane."""

    transport: Any  # of TCP, or of a test

    def __init__(self, lane: Lane) -> None:
        super().__init__()
        self.lane = lane
        self._framing = Framing(lane.desk.limits.max_body_bytes)
        self._request: Whole | None = None
        """The request in the lane."""
        self._head = b""
        """Its bytes, where it is a read without a body."""
        self._call: Call | Confirmation | None = None
        """What it asks of the node, where that takes its time."""
        self._partial: PartialRequest | None = None
        """A request for the lane of whose body some is still to come."""
        self._unsent: list[bytes] = []
        self._unsent_bytes = 0
        self._heard = 0.0
        """When the lane last had something to do."""

    # Bytes come in

    @override
    def connectionMade(self) -> None:
        """A client has connected."""
        super().connectionMade()
        self._write = direct_write(self.transport)

    @override
    def dataReceived(self, data: bytes) -> None:
        """Bytes have come."""
        if self._call is not None:
            self._heard = self.lane.seconds()
            self.rawDataReceived(data)  # waits with all else that comes while a request is under way
        elif self._partial is not None:
            self._heard = self.lane.seconds()
            if self._partial.add(data):
                data, self._partial = self._partial.end(), None
                self._take(data)
        elif (
            # Whether the next byte is the first of a request, nothing is under way, and answers are read.
            self.between_requests
            and not self._handlingRequest
            and not self._busyReceiving
            and not self.paused
            and not self.transport.disconnecting
        ):
            self._heard = self.lane.seconds()
            self._take(self.clearLineBuffer() + data if self._buffer else data)
        else:
            super().dataReceived(data)

    def _take(self, data: bytes) -> None:
        """Answer the requests that data begins with; from the first one that is not for the lane, all is handed on."""
        if self.draining:
            super().dataReceived(data)  # the parser says that the answer is the last one
            return
        at, size, recent = 0, len(data), self.lane.recent
        request: Whole | int | None = None
        while at < size and not self._waitingForTransport and self._unsent_bytes <= TURN_BYTES:
            head = data[at : data.find(b"\r\n\r\n", at) + 4] if data[at] == _G else b""
            given = recent.get(head) if head else None
            if given is not None and given.basis is None:
                at += len(head)
                self._unsent.append(given.answer)
                self._unsent_bytes += len(given.answer)
                self.lane.desk.count("GET", given.label, self.lane.seconds() - self._heard)
            elif given is not None and self._confirm(head, given):
                at += len(head)
                break
            else:
                request = self._framing.read(data, at)
                if not isinstance(request, Whole):
                    break
                at = request.end
                self._head = b"" if request.body else head
                self._serve(request)
                if self._call is not None:
                    break
        if self._line_late is not None and (at or isinstance(request, int)):
            self.line_arrived()
        self._leave(data, at, request, is_full=self._send() > TURN_BYTES)

    def _leave(self, data: bytes, at: int, request: Whole | int | None, *, is_full: bool) -> None:
        """See to what comes after the requests that were taken: wait, or hand it on."""
        size = len(data)
        if self._call is not None:
            self._handlingRequest = True
            if at < size:
                self.rawDataReceived(data[at:])
        elif self._waitingForTransport:
            self.wait_for_reader()
            self._buffer = data[at:]
        elif is_full and at < size:
            self.rest()
            self._buffer = data[at:]
        elif isinstance(request, int):
            self._await_body(request, data[at:])
        elif at < size:
            super().dataReceived(data[at:])

    def _await_body(self, size: int, data: bytes) -> None:
        """Keep a part of a request until the rest has come."""
        late = partial(self.callLater, self.lane.desk.limits.arrival_seconds)
        self._partial = PartialRequest(size, data, self.lane.places, self._networkProducer, late, self._give_up)

    def _give_up(self, reply: Reply | None) -> None:
        """A body takes too long to come, or there is no room for it: as the parser has it, so does the lane."""
        assert self._partial is not None, "a part of a request is there"
        data, self._partial = self._partial.end(read_on=True), None
        LineReceiver.dataReceived(self, data)  # not as if it came only now: the connection is as idle as it was
        self.requests[-1].give_up(reply)

    # Answers go out

    def _confirm(self, head: bytes, given: Given) -> bool:
        """Have an answer that another node gave confirmed by it, to give it again then; says whether that is under way."""

        def told(changes: int | None) -> None:
            try:
                if changes is None or self.draining:
                    self.lane.recent.forget(head)
                    self._go_on(again=head)
                else:
                    self.lane.desk.count("GET", given.label, self.lane.seconds() - self._heard)
                    self._go_on(self.lane.recent.confirmed(given, changes))
            except Exception:
                _abort(self.transport)

        assert given.basis is not None, "another node gave it"
        self._call = self.lane.desk.confirm(given.key, given.basis, told)
        return self._call is not None

    def _serve(self, request: Whole) -> None:
        """Have a request answered, at once or later."""
        self._request = request
        if not request.verb:
            self._tell(_heard(self.lane.desk, request.body))
            return
        body, request.body = request.body, b""  # or it would be kept until the next request
        call = self.lane.desk.ask(request.verb, request.key, request.said, body, self._tell)
        if not isinstance(call, str):
            self._call = call

    def _tell(self, reply: Reply) -> None:
        """A request is answered; if it took its time, the next ones follow."""
        try:
            if self.draining and self._call is not None:
                reply = replace(reply, headers=(*reply.headers, (b"Connection", b"close")))
            answer = self.lane.encode(reply)
            if self.site.access_log:
                self._log_answer(reply.status)
            elif reply.lasts and self._head and (self._call is None or reply.basis):
                assert self._request is not None, "a request is being answered"
                self.lane.recent.keep(self._head, self._request.key, reply, answer)
            if self._call is not None:
                self._go_on(answer)
            else:
                self._unsent.append(answer)
                self._unsent_bytes += len(answer)
        except Exception:
            _abort(self.transport)

    def _go_on(self, answer: bytes = b"", again: bytes = b"") -> None:
        """The request that took its time has its answer, or is to be taken again; then see to what came meanwhile."""
        self._call = None
        self._handlingRequest = False
        self._heard = self.lane.seconds()
        if answer:
            self._write(answer)
            if self.draining:
                self._dataBuffer = []
                self.loseConnection()
                return
        if again or self._dataBuffer:
            late, self._dataBuffer = self._dataBuffer, []
            if late and not self._waitingForTransport:  # of much data, only some was taken
                self.paused = True  # should more come at once, it stands behind this
                self._networkProducer.resumeProducing()
                self.paused = False
            self._take(b"".join((again, *late, self.clearLineBuffer())))
        elif self._waitingForTransport:
            self.wait_for_reader()
        if self._half_closed:
            self.end_half_closed()

    def _send(self) -> int:
        sent = self._unsent_bytes
        if self._unsent:
            answers, self._unsent, self._unsent_bytes = self._unsent, [], 0
            self._write(answers[0] if len(answers) == 1 else b"".join(answers))
        return sent

    def _log_answer(self, status: int) -> None:
        request = self._request
        assert request is not None, "a request is being answered"
        query = "".join(f"?w={text.decode()}" for text in request.said.concern)
        target = f"/kvs/{request.key}{query}" if request.verb else "/kvsd/i/messages"
        method = request.verb or "POST"
        self.site.log_answer(self.transport.getPeer(), method, target, status)

    # The end

    @override
    def timeoutConnection(self) -> None:
        """
        Nothing has come for some time by way of the parser; the lane does not wind the clock up for each request.

        So it is looked at here whether anything was going on there.
        """
        idle_seconds = self.timeOut or 0
        rest = idle_seconds if self._call is not None else self._heard + idle_seconds - self.lane.seconds()
        if rest <= 0:
            super().timeoutConnection()
        else:
            self.setTimeout(rest)
            self.timeOut = idle_seconds

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The client has gone."""
        if self._call is not None:
            call, self._call = self._call, None
            call.cancel()
        if self._partial is not None:
            self._partial.end()
            self._partial = None
        super().connectionLost(reason)


def _abort(transport: Any) -> None:
    """Let go of a connection that failed: whoever tells it something is in an event of the node, which is not to blame."""
    _log.failure("a connection failed")
    transport.abortConnection()


def _heard(desk: Desk, body: bytes) -> Reply:
    try:
        return hear(desk.node, body)
    except Exception:
        return internal_error(Failure())
