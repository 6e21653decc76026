"""
One connection to a peer: requests out, answers in, one after the other.
"""

import struct
import termios
from collections import deque
from collections.abc import Callable
from fcntl import ioctl
from typing import Any, Final

from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IAddress, IConnector, IDelayedCall, IReactorTime, ITCPTransport
from twisted.internet.protocol import ClientFactory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.iweb import IResponse

from kvsd.agent.answers import Answer, Answers, BadAnswer
from kvsd.agent.exchange import PeerResponse

# Below the time after which a node closes a connection on which nothing happens, so that no request meets its end.
KEPT_SECONDS: Final = 30.0
_OK: Final = 200


class Connection(Protocol):
    """
    One connection, from the attempt to have it to its end, of which ``lost`` is told.

    A body of an answer has ``answer_bytes`` at the most.
    """

    def __init__(self, reactor: IReactorTime, answer_bytes: int, lost: Callable[["Connection"], None]) -> None:
        self._reactor = reactor
        self._lost = lost
        self._answers = Answers(answer_bytes)
        self._asked: deque[Deferred[IResponse]] = deque()
        self._unsent: list[bytes] = []
        self._connector: IConnector | None = None
        self._idle: IDelayedCall | None = None
        self._used = self._reactor.seconds()
        self._given = self._received = 0
        """How many bytes were given to the transport, and came from it."""
        self._reason: Failure | None = None
        """Why it ends."""
        self._behind = False
        """Whether the transport may have bytes that are yet to be written."""

    def comes_from(self, connector: IConnector) -> None:
        """It is being connected."""
        self._connector = connector

    def is_usable(self) -> bool:
        """Whether more may be asked."""
        return self._reason is None

    def load(self) -> int:
        """How many answers are awaited."""
        return len(self._asked)

    def waiting(self) -> int:
        """Return the bytes of requests that the peer's machine has not acknowledged."""
        return sum(map(len, self._unsent)) + (unacknowledged(self.transport) if self.connected else 0)

    def carried(self) -> int:
        """Return a count of the bytes that the peer's machine acknowledged or sent: it grows while anything moves."""
        return self._received + (self._given - unacknowledged(self.transport) if self.connected else 0)

    def ask(self, request: bytes) -> Deferred[IResponse]:
        """Send a request, as soon as that is possible; fires with its answer, or fails where the connection is lost."""
        if self._reason is not None:
            return fail(self._reason)
        answered: Deferred[IResponse] = Deferred(self._give_up)
        self._asked.append(answered)
        if self.connected:
            self._write(request)
        else:
            self._unsent.append(request)
        return answered

    def end(self, reason: Failure, *, gently: bool = False) -> None:
        """Drop the connection, after what is being written where that is done gently; what was asked fails."""
        if self._reason is not None:
            return
        self._reason = reason
        if not self.connected:
            assert self._connector is not None, "it was told where it comes from"
            self._connector.disconnect()
        elif gently:
            ITCPTransport(self.transport).loseConnection()
        else:
            ITCPTransport(self.transport).abortConnection()

    def _give_up(self, answered: Deferred[IResponse]) -> None:
        """Nobody waits for an answer any more: those behind it would wait for it all the same."""
        self._asked.remove(answered)
        self.end(Failure(ConnectionAborted("a request before it was given up")))

    # For the reactor

    def connectionMade(self) -> None:
        """It came about."""
        ITCPTransport(self.transport).setTcpNoDelay(True)
        self._rest()
        unsent, self._unsent = self._unsent, []
        for request in unsent:
            self._write(request)

    def dataReceived(self, data: bytes) -> None:
        """The peer speaks."""
        if self._reason is not None:
            return
        self._used = self._reactor.seconds()
        self._received += len(data)
        answers = self._answers.receive(data)
        surplus = len(answers) - len(self._asked)
        if self._answers.wrong:
            self.end(Failure(self._answers.wrong))
        elif surplus > 0 or (surplus == 0 and self._answers.is_amid):
            self.end(Failure(BadAnswer("it said something that it was not asked")))
        for answer in answers:
            if self._asked:  # else nobody waits for it, or no longer
                self._take(answer)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It has ended, or could not be had."""
        self._reason = self._reason or reason
        if self._idle and self._idle.active():
            self._idle.cancel()
        self._lost(self)
        asked, self._asked = self._asked, deque()
        for answered in asked:
            answered.errback(self._reason)

    def _write(self, request: bytes) -> None:
        """
        Write a request, to the socket at once where nothing is before it.

        The usual way takes a turn of the reactor and two calls of the system more.
        """
        transport: object = self.transport
        self._given += len(request)
        if not self._behind and isinstance(transport, FileDescriptor):
            written = transport.writeSomeData(request)
            if isinstance(written, int):  # else the connection is lost, and the transport finds out when it writes
                request = request[written:]
        if request:
            self._behind = True
            ITCPTransport(self.transport).write(request)

    def _take(self, answer: Answer) -> None:
        """Give an answer to the first who waits."""
        answered = self._asked.popleft()
        if not self._asked and answer.code == _OK:
            self._behind = False  # all that was asked was there before it was answered
        if answer.last:
            self.end(Failure(ConnectionDone("the peer closes the connection")), gently=not self._asked)
        answered.callback(PeerResponse(answer))

    def _rest(self) -> None:
        """End the connection once it was not used for long."""
        rest = self._used + KEPT_SECONDS - self._reactor.seconds()
        if rest <= 0 and not self._asked:
            self.end(Failure(ConnectionDone("it was not used for long")), gently=True)
        else:
            self._idle = self._reactor.callLater(rest if rest > 0 else KEPT_SECONDS, self._rest)


def unacknowledged(transport: Any) -> int:
    """
    Return how many written bytes the other end's machine has not acknowledged: in the transport and in its socket.

    Where the system does not tell of the socket's (SIOCOUTQ, which has the number of TIOCOUTQ), of the transport's only.
    """
    if not isinstance(transport, FileDescriptor):
        return 0
    own = len(transport.dataBuffer) - transport.offset + transport._tempDataLen
    try:
        queued = ioctl(transport.fileno(), termios.TIOCOUTQ, bytes(4))
    except (OSError, ValueError):
        return own
    return own + int(struct.unpack("i", queued)[0])


class Connecting(ClientFactory):
    """Hands on what becomes of an attempt to connect."""

    noisy = False  # a line in the log for each connection helps nobody

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def buildProtocol(self, addr: IAddress | None) -> Protocol:  # noqa: ARG002 (Twisted's names)
        """It came about."""
        return self._connection

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:  # noqa: ARG002
        """It did not come about."""
        self._connection.connectionLost(reason)
