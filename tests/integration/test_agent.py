"""The agent between treq and a peer: its connections, on real sockets and by a clock that the test moves."""

from io import BytesIO
from typing import Any

from treq.client import HTTPClient
from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IAddress, IConnector, IProtocol, IReactorTCP, IReactorTime
from twisted.internet.protocol import Protocol, ServerFactory, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.client import FileBodyProducer, ResponseDone
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer
from zope.interface.verify import verifyObject

from kvsd.agent.answers import Answer, BadAnswer
from kvsd.agent.connection import KEPT_SECONDS
from kvsd.agent.exchange import Body, FixedHeaders, PeerResponse, TardyBody
from kvsd.agent.peer_agent import CONNECTIONS, NoAddress, PeerAgent
from kvsd.ports import PeerUnreachable
from kvsd.transport import TreqTransport

HEAD = b"POST /there HTTP/1.1\r\nHost: peer\r\n"


@implementer(IReactorTime, IReactorTCP)
class OwnTime(Clock):
    """The real network, by a clock of its own."""

    connectTCP = IReactorTCP(reactor).connectTCP  # noqa: N815 (Twisted's name)
    listenTCP = IReactorTCP(reactor).listenTCP  # noqa: N815 (likewise)


class Ear(Protocol):
    """A peer's end of a connection: keeps what it hears; the test speaks for it."""

    def __init__(self, peer: "Peer") -> None:
        self._peer = peer
        self.heard = b""
        self.lost: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        """Listen."""
        self.heard += data
        while self._peer.expected and self._peer.heard() >= self._peer.expected[0][0]:
            self._peer.expected.pop(0)[1].callback(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Take note of the end."""
        self.lost.callback(None)

    def say(self, raw: bytes) -> None:
        """Say something."""
        assert self.transport is not None
        self.transport.write(raw)


class Peer(ServerFactory):
    """A peer with its connections, in the order in which they came."""

    noisy = False

    def __init__(self) -> None:
        self.ears: list[Ear] = []
        self.expected: list[tuple[int, Deferred[None]]] = []

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        """Take a connection."""
        self.ears.append(Ear(self))
        return self.ears[-1]

    def heard(self) -> int:
        """How many bytes came in, over all connections."""
        return sum(len(ear.heard) for ear in self.ears)

    def hears(self, count: int) -> Deferred[None]:
        """Fires once so many bytes came in."""
        heard: Deferred[None] = Deferred()
        if self.heard() >= count:
            heard.callback(None)
        else:
            self.expected.append((count, heard))
        return heard


def request(body: bytes) -> bytes:
    """A request as the peer hears it."""
    return HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


def response(body: bytes, line: bytes = b"") -> bytes:
    """An answer as the peer says it."""
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%b\r\n%b" % (len(body), line, body)


class Content(Protocol):
    """Takes a body."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.reason: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        """Take bytes in."""
        self.parts.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Take note of the end."""
        self.reason = reason


async def content(answered: "Deferred[IResponse]") -> bytes:
    """The body of an answer."""
    body = Content()
    (await answered).deliverBody(body)
    return b"".join(body.parts)


class AgentTests(TestCase):
    """An agent and a peer."""

    def setUp(self) -> None:
        """Have a peer listen."""
        self.clock = OwnTime()
        self.peer = Peer()
        self.port = self.clock.listenTCP(0, self.peer, interface="127.0.0.1")
        self.addCleanup(self.port.stopListening)
        where = self.port.getHost()
        assert isinstance(where, IPv4Address)
        self.gone = 0
        self.agent = PeerAgent(
            self.clock,
            f"127.0.0.1:{where.port}",
            HEAD,
            connect_seconds=10,
            answer_bytes=1000,
            gone=self.count_gone,
        )
        self.addCleanup(self.agent.close)

    def count_gone(self) -> None:
        """The agent has no connection left."""
        self.gone += 1

    def ask(self, body: bytes) -> "Deferred[IResponse]":
        """Send a request."""
        return self.agent.request(b"POST", b"http://whatever/", None, Body(body))

    async def asked(self, *bodies: bytes) -> "list[Deferred[IResponse]]":
        """Send requests, all of which the peer has heard."""
        answered = [self.ask(body) for body in bodies]
        await self.peer.hears(self.peer.heard() + sum(len(request(body)) for body in bodies))
        return answered

    def let_go(self, answered: "list[Deferred[IResponse]]") -> None:
        """Requests that nobody answers end with the test."""
        for one in answered:
            one.addErrback(lambda _: None)

    async def test_interfaces(self) -> None:
        """All parts are what Twisted takes them for."""
        verifyObject(IAgent, self.agent)
        verifyObject(IBodyProducer, Body(b"x"))
        verifyObject(IResponse, PeerResponse(Answer(200, b"x", last=False)))
        self.assertEqual(FixedHeaders(), FixedHeaders().copy())

    async def test_one_after_the_other(self) -> None:
        """Requests one after the other share a connection, and are written to the byte."""
        for body in (b"", b"x", b"y" * 500_000):
            (answered,) = await self.asked(body)
            self.peer.ears[0].say(response(body[:10]))
            self.assertEqual(await content(answered), body[:10])
        self.assertEqual(self.peer.ears[0].heard, request(b"") + request(b"x") + request(b"y" * 500_000))
        self.assertEqual(len(self.peer.ears), 1)

    async def test_many_at_once(self) -> None:
        """There are a few connections; beyond that requests are written behind others, and answered in their order."""
        bodies = [b"%02d" % number for number in range(5 * CONNECTIONS)]
        answered = await self.asked(*bodies)
        self.assertEqual(len(self.peer.ears), CONNECTIONS)
        for ear in self.peer.ears:
            said = [part[-2:] for part in ear.heard.split(HEAD)[1:]]
            self.assertEqual(len(said), 5)
            ear.say(b"".join(response(b"to " + body) for body in said))
        self.assertEqual([await content(one) for one in answered], [b"to " + body for body in bodies])

    async def test_large_requests_behind_each_other(self) -> None:
        """What does not fit into the socket is followed by the next, and nothing gets in between."""
        bodies = [b"%d" % number * 1_000_000 for number in range(2 * CONNECTIONS)]
        answered = await self.asked(*bodies, b"end")
        expected = [request(one) + request(other) for one, other in zip(bodies, bodies[CONNECTIONS:], strict=False)]
        expected[0] += request(b"end")
        self.assertTrue(expected == [ear.heard for ear in self.peer.ears])  # to show the difference would take for ever
        for ear in self.peer.ears:
            ear.say(response(b"") * ear.heard.count(HEAD))
        self.assertEqual([await content(one) for one in answered], [b""] * (2 * CONNECTIONS + 1))

    async def test_tardy_bodies(self) -> None:
        """A body that is not written at once is refused: treq's own producer takes turns, and would be cut short."""
        client: Any = HTTPClient(self.agent)
        for data in (b"bytes", BytesIO(b"a file")):
            await self.assertFailure(client.post("http://whatever/", data, reactor=reactor), TardyBody)
        short = Body(b"x")
        short.length = 2
        await self.assertFailure(self.agent.request(b"POST", b"", None, short), TardyBody)
        producer = FileBodyProducer(BytesIO(b"x"), cooperator=NoTurns())
        await self.assertFailure(self.agent.request(b"POST", b"", None, producer), TardyBody)
        self.assertEqual((self.peer.ears, self.gone), ([], 0))

    async def test_not_asked(self) -> None:
        """A peer that speaks without being asked is hung up on, in one breath with an answer or later."""
        for after in (b"x", response(b"twice")):
            (answered,) = await self.asked(b"1")
            ear = self.peer.ears[-1]
            ear.say(response(b"once") + after)
            self.assertEqual(await content(answered), b"once")
            await ear.lost
        (answered,) = await self.asked(b"2")
        ear = self.peer.ears[-1]
        ear.say(response(b"once"))
        await answered
        ear.say(b"x")
        await ear.lost
        self.assertEqual(self.gone, 3)

    async def test_bad_answer(self) -> None:
        """An answer that is not understood fails what was asked over its connection, and that is closed."""
        answered = await self.asked(*[b"x"] * (CONNECTIONS + 1))
        self.peer.ears[0].say(b"SSH-2.0-x\r\n\r\n")
        for one in (answered[0], answered[-1]):
            await self.assertFailure(one, BadAnswer)
        await self.peer.ears[0].lost
        self.peer.ears[1].say(response(b"well"))
        self.assertEqual(await content(answered[1]), b"well")
        self.let_go(answered)

    async def test_hangs_up(self) -> None:
        """A peer that hangs up fails what was asked over the connection; the next request takes a new one."""
        (answered,) = await self.asked(b"x")
        ear = self.peer.ears[0]
        ear.say(response(b"half")[:-2])
        assert ear.transport is not None
        ear.transport.loseConnection()
        await self.assertFailure(answered, ConnectionDone)
        (answered,) = await self.asked(b"y")
        self.peer.ears[1].say(response(b"whole"))
        self.assertEqual(await content(answered), b"whole")

    async def test_peer_closes(self) -> None:
        """An answer that is the last of its connection is one, and the next request takes another connection."""
        for _ in range(2):
            (answered,) = await self.asked(b"x")
            self.peer.ears[-1].say(response(b"bye", b"Connection: close\r\n"))
            self.assertEqual(await content(answered), b"bye")
            await self.peer.ears[-1].lost
        self.assertEqual(len(self.peer.ears), 2)

    async def test_given_up(self) -> None:
        """A request that is given up ends its connection, with those behind it; others go on."""
        answered = await self.asked(*[b"x"] * (CONNECTIONS + 1))
        answered[0].cancel()
        await self.assertFailure(answered[0], CancelledError)
        await self.assertFailure(answered[-1], ConnectionAborted)
        await self.peer.ears[0].lost
        self.peer.ears[1].say(response(b"well"))
        self.assertEqual(await content(answered[1]), b"well")
        self.let_go(answered)

    async def test_given_up_before_it_is_connected(self) -> None:
        """A request can be given up before there is a connection, and nobody hears of it."""
        answered = self.ask(b"x")
        answered.cancel()
        await self.assertFailure(answered, CancelledError)
        self.assertEqual(self.gone, 1)
        (answered,) = await self.asked(b"y")
        (ear,) = (ear for ear in self.peer.ears if ear.heard)
        self.assertEqual(ear.heard, request(b"y"))
        ear.say(response(b""))
        await answered

    async def test_kept(self) -> None:
        """A connection on which nothing happens is closed after a while, and not before."""
        (answered,) = await self.asked(b"x")
        self.clock.advance(KEPT_SECONDS)  # a request is under way
        self.peer.ears[0].say(response(b""))
        await answered
        self.clock.advance(KEPT_SECONDS - 1)
        (answered,) = await self.asked(b"x")
        self.peer.ears[0].say(response(b""))
        await answered
        self.clock.advance(KEPT_SECONDS - 1)
        self.assertEqual((len(self.peer.ears), self.gone, self.peer.ears[0].lost.called), (1, 0, False))
        self.clock.advance(1)
        await self.peer.ears[0].lost
        self.assertEqual((self.gone, self.clock.getDelayedCalls()), (1, []))

    async def test_nobody_listens(self) -> None:
        """Where nobody listens all that was asked fails."""
        await maybeDeferred(self.port.stopListening)
        for answered in [self.ask(b"x"), self.ask(b"y"), self.ask(b"z")]:
            await self.assertFailure(answered, Exception)
        self.assertEqual(self.gone, 1)

    async def test_close(self) -> None:
        """Closing ends all connections, whatever they are at; and can be done twice."""
        (answered,) = await self.asked(b"x")
        connecting = self.ask(b"y")
        closed = self.agent.close(), self.agent.close()
        for one in (answered, connecting):
            await self.assertFailure(one, CancelledError)
        for two in closed:
            await two
        await self.peer.ears[0].lost

    async def test_no_address(self) -> None:
        """Only addresses can be spoken with: no name is ever looked up."""
        for text in ("localhost:1", "127.0.0.1", "127.0.0.1:0x1", "::1:80", ""):
            with self.assertRaises(NoAddress):
                PeerAgent(self.clock, text, HEAD, connect_seconds=1, answer_bytes=1)


@implementer(IReactorTime, IReactorTCP)
class RefusingReactor(Clock):
    """A reactor that can't so much as begin to connect."""

    def connectTCP(self, *_: object) -> IConnector:  # noqa: N802 (Twisted's name)
        """Raise what the system says."""
        raise OSError(99, "Cannot assign requested address")

    listenTCP = IReactorTCP(reactor).listenTCP  # noqa: N815 (likewise)


class ConnectingRaisesTests(SynchronousTestCase):
    """Connections of which not even the attempt comes about."""

    def test_request_fails(self) -> None:
        """Each request fails with what the system says, no connection is left over, and the agent can be closed."""
        gone: list[None] = []
        agent = PeerAgent(
            RefusingReactor(), "127.0.0.1:1", HEAD, connect_seconds=1, answer_bytes=1, gone=lambda: gone.append(None)
        )
        for times in (1, 2, 3):
            self.failureResultOf(agent.request(b"POST", b""), OSError)
            self.assertEqual(times, len(gone))
        self.successResultOf(agent.close())

    def test_post_fails(self) -> None:
        """A POST fails as one to a peer that can't be reached."""
        transport = TreqTransport(RefusingReactor())
        for _ in range(2):
            failure = self.failureResultOf(transport.post("127.0.0.1:1", b"x"), PeerUnreachable)
            self.assertEqual("127.0.0.1:1: [Errno 99] Cannot assign requested address", failure.getErrorMessage())
        self.successResultOf(transport.close())


class NoTurns:
    """A cooperator that never gets to it."""

    def cooperate(self, _: object) -> "NoTurns":
        """Put it off."""
        return self

    def whenDone(self) -> "Deferred[None]":  # noqa: N802 (Twisted's name)
        """Never."""
        return Deferred()

    def stop(self) -> None:
        """Stop doing nothing."""


class BodyTests(TestCase):
    """What an answer delivers."""

    def test_delivered_once_and_whole(self) -> None:
        """A body is delivered at once, and then its end; an empty one is an end alone."""
        for body, parts in ((b"all of it", [b"all of it"]), (b"", [])):
            taken = Content()
            target: IProtocol = taken
            PeerResponse(Answer(200, body, last=False)).deliverBody(target)
            self.assertEqual(taken.parts, parts)
            assert taken.reason is not None
            self.assertIsInstance(taken.reason.value, ResponseDone)
