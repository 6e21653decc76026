"""
A lean agent for treq: it asks one peer, at one path, over connections that are kept.

Twisted's own agent can do all of HTTP, and that costs more than what nodes have to say to each other: a URL is parsed
anew for each request, headers are put in order, a body is written in turns.  This one has its headers ready.  It can
do what nodes do: POST bytes, get bytes (:mod:`kvsd.answers`).  What the peer says that it does not understand is a
failure of the request and the end of the connection.

There are a few connections at the most.  A request takes one on which nothing is under way, or a new one; where
there is none it is written behind the others of the connection that has fewest of them (RFC 9112, section 9.3.2),
and its answer is the one behind theirs.  A connection that ends takes all its requests with it: nothing is sent
twice.
"""

from collections.abc import Callable
from typing import Final

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.interfaces import IReactorTCP, IReactorTime
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from kvsd.agent.connection import Connecting, Connection
from kvsd.agent.exchange import TardyBody, written_by
from kvsd.replication.invariant import InvariantBroken
from kvsd.replication.node_address import address_fault

CONNECTIONS: Final = 4
"""As many as there are lanes to a peer: no lane's POST waits for the answer to another's."""


class NoAddress(Exception):
    """The text can't be the address of a node; the text of the error says why."""


@implementer(IAgent)
class PeerAgent:
    """
    Asks one peer, whatever URL and headers it is given; the only method is POST.

    ``head`` are the first lines of every request, up to where its length follows; ``connect_seconds`` is for a
    connection to come about, ``answer_bytes`` for the body of an answer.  A request fails with what ended its
    connection; cancelling one ends it.  ``gone`` is called whenever there is no connection left.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        address: str,
        head: bytes,
        *,
        connect_seconds: float,
        answer_bytes: int,
        gone: Callable[[], None] = lambda: None,
    ) -> None:
        self._reactor = reactor
        self._answer_bytes = answer_bytes
        self._host, self._port = _parts(address)
        self._head = head + b"Content-Length: "
        self._connect_seconds = connect_seconds
        self._gone = gone
        self._connections: list[Connection] = []
        self.chosen: Connection | None = None
        """The connection that took the last request."""
        self._closed: list[Deferred[None]] | None = None

    def request(
        self,
        method: bytes,
        uri: bytes,  # noqa: ARG002 (see above)
        headers: Headers | None = None,  # noqa: ARG002
        bodyProducer: IBodyProducer | None = None,  # noqa: N803 (Twisted's name)
    ) -> Deferred[IResponse]:
        """Ask the peer; fires with its whole answer."""
        if method != b"POST":
            raise InvariantBroken("nodes do nothing but POST")
        if self._closed is not None:
            raise InvariantBroken("the agent is closed")
        try:
            body = written_by(bodyProducer) if bodyProducer else b""
        except TardyBody:
            return fail()
        self.chosen = self._free()
        return self.chosen.ask(b"%b%d\r\n\r\n%b" % (self._head, len(body), body))

    def flow(self) -> tuple[int, int]:
        """Return how many bytes the connections that there are have carried, and how many are still to arrive."""
        return sum(c.carried() for c in self._connections), sum(c.waiting() for c in self._connections)

    def close(self) -> Deferred[None]:
        """End all connections, and with them all requests."""
        if self._closed is None:
            self._closed = []
        closed: Deferred[None] = Deferred()
        self._closed.append(closed)
        for connection in list(self._connections):
            connection.end(Failure(CancelledError()), gently=not connection.load())
        self._tell_closed()
        return closed

    def _lost(self, connection: Connection) -> None:
        """A connection has ended, or never came about."""
        self._connections.remove(connection)
        if not self._connections:
            self._gone()
            self._tell_closed()

    def _free(self) -> Connection:
        """The connection for the next request."""
        usable = [connection for connection in self._connections if connection.is_usable()]
        best = min(usable, key=Connection.load, default=None)
        if best is None or (best.load() and len(usable) < CONNECTIONS):
            best = Connection(self._reactor, self._answer_bytes, self._lost)
            self._connections.append(best)
            self._connect(best)
        return best

    def _connect(self, connection: Connection) -> None:
        """Begin to connect.  Where even that fails (the system has no such interface, no free port), the connection is lost."""
        try:
            connector = IReactorTCP(self._reactor).connectTCP(
                self._host, self._port, Connecting(connection), self._connect_seconds
            )
        except Exception:
            connection.connectionLost(Failure())
        else:
            connection.comes_from(connector)

    def _tell_closed(self) -> None:
        if self._closed and not self._connections:
            closed, self._closed = self._closed, []
            for one in closed:
                one.callback(None)


def _parts(address: str) -> tuple[str, int]:
    """Host and port of an ``IP:PORT``.  Raises NoAddress."""
    if fault := address_fault(address):
        raise NoAddress(fault)
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
