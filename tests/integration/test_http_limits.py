"""Requests at and beyond the limits, over real connections: each has its answer, and the next one is served."""

import json

from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.interfaces import IPushProducer, IReactorTCP, IReactorTime, ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from kvsd.metrics import Metrics
from kvsd.replication.requests import Found, Put, Written
from kvsd.replication.token import EMPTY
from kvsd.resources.root import RequestLimits, make_site
from tests.fakes import FakeNode, token
from tests.http_case import Answer, parse_answer, request_bytes

MEBIBYTE = 1 << 20
SHORT = 0.2
"""A time limit for requests that are to miss it, in seconds."""


def chunked(method: str, target: str, content: bytes, size: int) -> bytes:
    """A request whose body comes in chunks of a size."""
    pieces = [content[start : start + size] for start in range(0, len(content), size)]
    body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in [*pieces, b""])
    return request_bytes(method, target, headers={"Transfer-Encoding": "chunked"}) + body


class Client(Protocol):
    """One connection, byte by byte."""

    def __init__(self) -> None:
        self.ended: Deferred[None] = Deferred()
        self._received = b""
        self._awaited: Deferred[None] | None = None

    def dataReceived(self, data: bytes) -> None:
        self._received += data
        self._wake()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended.callback(None)
        self._wake()

    def _wake(self) -> None:
        if self._awaited:
            awaited, self._awaited = self._awaited, None
            awaited.callback(None)

    def send(self, data: bytes) -> None:
        """Send bytes."""
        assert self.transport is not None
        self.transport.write(data)

    async def answer(self) -> Answer:
        """Wait for the next reply."""
        while (parsed := parse_answer(self._received)) is None:
            assert not self.ended.called, f"the connection ended after {self._received!r}"
            self._awaited = Deferred()
            await self._awaited
        answer, self._received = parsed
        return answer

    async def ask(self, method: str, target: str, content: bytes | None = None) -> Answer:
        """Send a request and wait for its reply."""
        self.send(request_bytes(method, target, content))
        return await self.answer()


class LimitsCase(TestCase):
    """The doors of a fake node on a real port."""

    limits = RequestLimits(linger_seconds=SHORT)

    async def setUp(self) -> None:  # type: ignore[override]  # trial waits for it
        self.node = FakeNode()
        self.node.outcome = Written("s0", token(1), existed=False)
        self.metrics = Metrics()
        site = make_site(self.node, self.metrics, self.limits, IReactorTime(reactor))
        listening = await TCP4ServerEndpoint(IReactorTCP(reactor), 0, interface="127.0.0.1").listen(site)
        self.addCleanup(listening.stopListening)
        where = listening.getHost()
        assert isinstance(where, IPv4Address)
        self._port = where.port

    async def connect(self) -> Client:
        """A new connection, closed at the end of the test."""
        endpoint = TCP4ClientEndpoint(IReactorTCP(reactor), "127.0.0.1", self._port)
        client: Client = await connectProtocol(endpoint, Client())
        self.addCleanup(self.close, client)
        return client

    def close(self, client: Client) -> "Deferred[None]":
        """End a connection, and wait until it has."""
        assert ITCPTransport.providedBy(client.transport)
        client.transport.abortConnection()
        return client.ended

    async def assert_serves(self, client: Client) -> None:
        """The connection can still be used."""
        self.assertEqual((await client.ask("GET", "/view")).status, 200)


class LimitsTests(LimitsCase):
    """Requests of all sizes and shapes."""

    async def test_pipelined(self) -> None:
        """A hundred requests sent at once, with wrong ones among them, are answered in their order."""
        client = await self.connect()
        rounds = [
            (request_bytes("PUT", "/kvs/a", b'{"value": 1}'), 201),
            (request_bytes("PUT", "/kvs/%FF", b'{"value": 1}'), 400),
            (chunked("PUT", "/kvs/a", b'{"value": "%s"}' % (b"x" * 1000), 7), 201),
            (request_bytes("GET", "/nonsense"), 404),
            (request_bytes("POST", "/kvs/a", b"{}"), 405),
        ]
        client.send(b"".join(data for data, _ in rounds) * 20)
        for _, status in rounds * 20:
            self.assertEqual((await client.answer()).status, status)

    async def test_answers_that_are_not_read(self) -> None:
        """A client that sends requests and reads no answers is not served on and on; once it reads, it gets them all."""
        self.node.outcome = Found("s0", token(1), b'"' + b"x" * MEBIBYTE + b'"')
        client = await self.connect()
        transport = IPushProducer(client.transport)
        transport.pauseProducing()
        client.send(request_bytes("GET", "/kvs/big") * 100)
        await deferLater(reactor, SHORT)
        self.assertLess(len(self.node.asked), 50)
        transport.resumeProducing()
        for _ in range(100):
            self.assertEqual((await client.answer()).status, 200)
        await self.assert_serves(client)

    async def test_large_but_allowed(self) -> None:
        """A body just below the limit arrives whole, its length announced or not, and stays in memory."""
        client = await self.connect()
        value = json.dumps("x" * (MEBIBYTE - 20)).encode()
        body = b'{"value": ' + value + b"}"
        for data in (request_bytes("PUT", "/kvs/a", body), chunked("PUT", "/kvs/a", body, 10_000)):
            client.send(data)
            self.assertEqual((await client.answer()).status, 201)
        self.assertEqual(self.node.asked, [Put("a", value, EMPTY)] * 2)

    async def test_too_large(self) -> None:
        """A body over the limit gets its 413, its length announced or not, and its connection goes on."""
        client = await self.connect()
        for size in (MEBIBYTE + 1, 20 * MEBIBYTE):
            body = b"x" * size
            for data in (request_bytes("PUT", "/kvs/a", body), chunked("PUT", "/kvs/a", body, 60_000)):
                client.send(data)
                answer = await client.answer()
                self.assertEqual(answer.status, 413)
                self.assertEqual(answer.body, {"error": "Request body is too large: the limit is 1048576 bytes"})
                await self.assert_serves(client)
        self.assertEqual(self.node.asked, [])
        self.assertEqual(
            self.metrics.registry.get_sample_value("kvsd_requests_total", {"verb": "PUT", "outcome": "too-large"}), 4
        )

    async def test_absurd(self) -> None:
        """A client that sends without end is answered, and cut off."""
        client = await self.connect()
        client.send(request_bytes("PUT", "/kvs/a", headers={"Content-Length": str(10**12)}))
        answer = await client.answer()
        self.assertEqual((answer.status, answer.headers["connection"]), (413, "close"))
        client.send(b"x" * 100)
        await client.ended
        await self.assert_serves(await self.connect())

    async def test_deep(self) -> None:
        """A hundred thousand brackets are refused without harm, and the next request is served."""
        client = await self.connect()
        for body in (
            b"[" * 100_000,
            b'{"value":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
            b'{"a":' * 100_000,
            b"[]" * 500_000,
        ):
            self.assertEqual((await client.ask("PUT", "/kvs/a", body)).status, 400)
            await self.assert_serves(client)

    async def test_odd_keys(self) -> None:
        """A key that is not UTF-8, escaped or not, is refused in JSON, and the next request is served."""
        client = await self.connect()
        for raw in ("%FF", "\xff", "%ED%A0%80", "a/%C0%80"):
            answer = await client.ask("GET", f"/kvs/{raw}")
            self.assertEqual((answer.status, answer.body), (400, {"error": "Key is not valid UTF-8"}))
            await self.assert_serves(client)

    async def test_no_http(self) -> None:
        """Bytes that are not HTTP get an answer in JSON and the end of the connection."""
        client = await self.connect()
        client.send(b"\x16\x03\x01\r\n\r\n")
        self.assertEqual((await client.answer()).body["error"][:11], "Bad request")
        await client.ended


class PatienceTests(LimitsCase):
    """Clients that take their time."""

    limits = RequestLimits(arrival_seconds=SHORT, discard_seconds=SHORT, linger_seconds=SHORT, idle_seconds=60)

    async def test_slow(self) -> None:
        """A client that does not come to the end of its request is answered, and cut off."""
        for data in (
            b"PUT /kvs/a HTTP/1.1\r\nHost:",
            request_bytes("PUT", "/kvs/a", headers={"Content-Length": "9"}) + b"{",
        ):
            client = await self.connect()
            client.send(data)
            self.assertEqual((await client.answer()).status, 408)
            await client.ended
        await self.assert_serves(await self.connect())

    async def test_slow_and_too_large(self) -> None:
        """A client that announced too much and does not send it is answered, and cut off."""
        client = await self.connect()
        client.send(request_bytes("PUT", "/kvs/a", headers={"Content-Length": str(2 * MEBIBYTE)}))
        self.assertEqual((await client.answer()).status, 413)
        await client.ended
