"""POSTs between nodes over real connections."""

import gzip
import socket
import time
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint
from twisted.internet.interfaces import IAddress, IListeningPort, IProtocolFactory, IReactorTCP
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from kvsd.metrics import Metrics
from kvsd.ports import NO_FLOW, PeerUnreachable
from kvsd.resources.root import RequestLimits, make_site
from kvsd.transport import TreqTransport
from tests.fakes import FakeNode

MEBIBYTE = 1 << 20
SHORT = 0.2
"""A time limit for POSTs that are to miss it, in seconds."""


class Scripted(Protocol):
    """A peer's end of a connection: says what it is told to, whatever it hears."""

    def __init__(self, script: "Script") -> None:
        self._script = script
        self.heard = b""

    def dataReceived(self, data: bytes) -> None:
        self.heard += data
        if self._script.enough(self.heard):
            self._script.heard.append(self.heard)
            self.heard = b""
            assert self.transport is not None
            self.transport.write(self._script.answer)
            if self._script.closes:
                self.transport.loseConnection()
            self._script.fire(self._script.asked)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._script.fire(self._script.lost)


class Narrow(Protocol):
    """A peer's end of a connection over which so many bytes come in a second, in and out, and after a while none at all."""

    def __init__(self, bytes_per_second: float, whole: int, stuck_after: int) -> None:
        self._bytes_per_second = bytes_per_second
        self._whole = whole
        self._stuck_after = stuck_after
        self._heard = 0

    def connectionMade(self) -> None:
        transport: Any = self.transport
        transport.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        transport.bufferSize = 16_384

    def dataReceived(self, data: bytes) -> None:
        self._heard += len(data)
        transport: Any = self.transport
        transport.pauseProducing()
        if self._heard >= self._whole:
            self._answer(response(b"at last"))
        elif self._heard < self._stuck_after:
            self._later(len(data) / self._bytes_per_second, transport.resumeProducing)

    def _answer(self, rest: bytes) -> None:
        """Say one byte after the other."""
        transport: Any = self.transport
        transport.write(rest[:5])
        if rest[5:]:
            self._later(SHORT / 4, lambda: self._answer(rest[5:]))

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        def still() -> None:
            if self.connected:
                call()

        anything: Any = reactor
        anything.callLater(seconds, still)


class NarrowPeer(Factory):
    """A peer that is slow to take what it is sent."""

    def __init__(self, bytes_per_second: float, whole: int, stuck_after: int) -> None:
        self._parts = (bytes_per_second, whole, stuck_after)

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        return Narrow(*self._parts)


class Script(Factory):
    """A peer that gives one answer to everything; ``asked`` and ``lost`` fire when it has heard enough, and on a close."""

    def __init__(self, answer: bytes, *, closes: bool = False) -> None:
        self.answer = answer
        self.closes = closes
        self.heard: list[bytes] = []
        self.connections = 0
        self.asked: Deferred[None] = Deferred()
        self.lost: Deferred[None] = Deferred()

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        self.connections += 1
        return Scripted(self)

    def enough(self, heard: bytes) -> bool:
        """Whether a request is whole: its body ends with a full stop."""
        return heard.endswith(b".")

    def fire(self, event: "Deferred[None]") -> None:
        """Tell who waits for an event that it has happened."""
        if not event.called:
            event.callback(None)


def response(content: bytes, headers: bytes = b"", status: bytes = b"200 OK") -> bytes:
    """A reply as it stands on the wire."""
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n%s" % (status, len(content), headers, content)


def bound_buffers(listening: IListeningPort) -> None:
    """Have the system keep little for a peer that does not read: connections take that from whom they come to."""
    port: Any = listening
    port.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)


async def wait(seconds: float) -> None:
    """Let some time pass."""
    anything: Any = reactor
    passed: Deferred[None] = Deferred()
    anything.callLater(seconds, passed.callback, None)
    await passed


class TransportCase(TestCase):
    """A transport, and peers to speak to."""

    def setUp(self) -> None:
        self.transport = self.make_transport()

    def make_transport(self, timeout_seconds: float = 10, answer_bytes: int = MEBIBYTE) -> TreqTransport:
        """A transport that is closed at the end."""
        transport = TreqTransport(reactor, timeout_seconds=timeout_seconds, answer_bytes=answer_bytes)
        self.addCleanup(transport.close)
        return transport

    async def listen(self, factory: IProtocolFactory, port: int = 0) -> tuple[str, IListeningPort]:
        """Have a peer listen; its address and port."""
        listening = await TCP4ServerEndpoint(IReactorTCP(reactor), port, interface="127.0.0.1").listen(factory)
        self.addCleanup(listening.stopListening)
        where = listening.getHost()
        assert isinstance(where, IPv4Address)
        return f"127.0.0.1:{where.port}", listening

    async def serve(self, answer: bytes, *, closes: bool = False) -> tuple[str, Script]:
        """Have a scripted peer listen; its address and script."""
        script = Script(answer, closes=closes)
        address, _ = await self.listen(script)
        return address, script

    async def assert_unreachable(self, posted: "Deferred[bytes]", address: str, why: str | None = None) -> None:
        """The POST fails with the address and the reason in its text."""
        try:
            answer = await posted
        except PeerUnreachable as error:
            text = str(error)
            self.assertTrue(text.startswith(f"{address}: "), text)
            self.assertLess(len(text), 200)
            if why is not None:
                self.assertEqual(text, f"{address}: {why}")
        else:
            self.fail(f"it was answered: {answer!r}")


class NodeTests(TransportCase):
    """POSTs to the doors of a node."""

    async def start_node(self, port: int = 0) -> tuple[str, IListeningPort, FakeNode]:
        """A node that listens; it hangs up on its clients where its port is closed at the end."""
        node = FakeNode()
        site = make_site(node, Metrics(), RequestLimits(), Clock())
        address, listening = await self.listen(site, port)
        return address, listening, node

    async def test_there_and_back(self) -> None:
        """A body arrives to the byte, and so does its answer, whatever is in them."""
        address, _, node = await self.start_node()
        for body in (b"", b"x", bytes(range(256)), b"\r\n\r\n", b"x" * 500_000):
            self.assertEqual(await self.transport.post(address, body), b"heard: " + body)
        self.assertEqual(len(node.received), 5)

    async def test_largest(self) -> None:
        """The largest body that a node takes gets through, and so does as large an answer; one byte more does not."""
        address, _, _ = await self.start_node()
        transport = self.make_transport(answer_bytes=9 * MEBIBYTE)
        body = b"x" * 8 * MEBIBYTE
        self.assertEqual(await transport.post(address, body), b"heard: " + body)
        await self.assert_unreachable(transport.post(address, body + b"x"), address, "it answered 413")
        self.assertEqual(await transport.post(address, b"x"), b"heard: x")

    async def test_not_genuine(self) -> None:
        """What the peer refuses did not get through."""
        address, _, _ = await self.start_node()
        await self.assert_unreachable(self.transport.post(address, b"forged"), address, "it answered 400")

    async def test_at_once(self) -> None:
        """Several POSTs to one peer may be under way at once."""
        address, _, _ = await self.start_node()
        bodies = [b"%d" % number for number in range(20)]
        posted = [self.transport.post(address, body) for body in bodies]
        self.assertEqual([await one for one in posted], [b"heard: " + body for body in bodies])

    async def test_nobody_listens(self) -> None:
        """Where nobody listens, that is known at once; when somebody does again, POSTs get through again."""
        address, listening, _ = await self.start_node()
        await maybeDeferred(listening.stopListening)
        await self.assert_unreachable(self.transport.post(address, b"x"), address)
        await self.start_node(int(address.rpartition(":")[2]))
        self.assertEqual(await self.transport.post(address, b"x"), b"heard: x")

    async def test_no_address(self) -> None:
        """What is no address can't be reached."""
        for address in ("", "x", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "a b:1", "[:1", "127.0.0.1:99999", "é:1"):
            await self.assert_unreachable(self.transport.post(address, b"x"), address)

    async def test_ipv6(self) -> None:
        """An address may be one of IPv6."""
        site = make_site(FakeNode(), Metrics(), RequestLimits(), Clock())
        try:
            listening = await TCP6ServerEndpoint(IReactorTCP(reactor), 0, interface="::1").listen(site)
        except OSError:
            self.skipTest("no IPv6 here")
        self.addCleanup(listening.stopListening)
        address = f"[::1]:{listening.getHost().port}"
        self.assertEqual(await self.transport.post(address, b"x"), b"heard: x")


class PeerTests(TransportCase):
    """Peers that answer well, badly or not at all."""

    async def test_one_connection(self) -> None:
        """POSTs one after the other share a connection."""
        address, script = await self.serve(response(b"yes"))
        for _ in range(10):
            self.assertEqual(await self.transport.post(address, b"."), b"yes")
        self.assertEqual(script.connections, 1)

    async def test_request(self) -> None:
        """A POST names its path and its type, asks for no compression, and its body follows whole."""
        address, script = await self.serve(response(b""))
        await self.transport.post(address, b"body.")
        head, _, body = script.heard[0].partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        self.assertEqual((first, body), ("POST /kvsd/i/messages HTTP/1.1", b"body."))
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        self.assertEqual(headers.pop("host"), address)
        self.assertEqual(headers, {"content-length": "5", "content-type": "application/octet-stream"})

    async def test_nothing_clever(self) -> None:
        """Redirects are not followed, cookies not kept, encodings not undone."""
        packed = gzip.compress(b"x" * 1000)
        address, script = await self.serve(response(packed, b"Content-Encoding: gzip\r\nSet-Cookie: a=b\r\n"))
        self.assertEqual(await self.transport.post(address, b"."), packed)
        await self.transport.post(address, b".")
        self.assertNotIn(b"cookie", b"".join(script.heard).lower())
        address, script = await self.serve(
            response(b"", b"Location: http://%s/x\r\n" % address.encode(), b"307 Over there")
        )
        await self.assert_unreachable(self.transport.post(address, b"."), address, "it answered 307")

    async def test_other_answers(self) -> None:
        """An answer of any other status is none, and the connection can be used again."""
        for status in (b"404 Not found", b"413 Too large", b"500 Oops", b"503 Later"):
            address, script = await self.serve(response(b"text", status=status))
            for _ in range(2):
                why = f"it answered {status[:3].decode()}"
                await self.assert_unreachable(self.transport.post(address, b"."), address, why)
            self.assertEqual(script.connections, 1)

    async def test_chunked_answer(self) -> None:
        """An answer in chunks is none: nodes say how long theirs are."""
        address, script = await self.serve(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nyes\r\n0\r\n\r\n"
        )
        await self.assert_unreachable(self.transport.post(address, b"."), address, "its answer comes in chunks")
        await script.lost

    async def test_too_long_an_answer(self) -> None:
        """An answer over the limit is refused and its connection closed, whether more than its head came or not."""
        transport = self.make_transport(answer_bytes=1000)
        answer = response(b"x" * 1001)
        for said in (answer, answer[:-1001]):
            address, script = await self.serve(said)
            await self.assert_unreachable(
                transport.post(address, b"."), address, "its answer is longer than 1000 bytes"
            )
            await script.lost
        address, _ = await self.serve(response(b"x" * 1000))
        self.assertEqual(await transport.post(address, b"."), b"x" * 1000)

    async def test_no_answer(self) -> None:
        """A peer that takes too long, over the first byte or the last, is given up, and its connection closed."""
        transport = self.make_transport(timeout_seconds=SHORT)
        for answer in (b"", b"HTTP/1.1 200", response(b"1234")[:-1]):
            address, script = await self.serve(answer)
            await self.assert_unreachable(transport.post(address, b"."), address, f"nothing moved for {SHORT} s")
            await script.lost

    async def test_what_moves_is_not_given_up(self) -> None:
        """A POST may take many times its time limit, on its way there and back, as long as bytes get through."""
        transport = self.make_transport(timeout_seconds=SHORT)
        address, listening = await self.listen(NarrowPeer(MEBIBYTE, MEBIBYTE, MEBIBYTE))
        bound_buffers(listening)
        began = time.monotonic()
        self.assertEqual(await transport.post(address, b"x" * MEBIBYTE), b"at last")
        self.assertGreater(time.monotonic() - began, 3 * SHORT)

    async def test_what_stops_moving_is_given_up(self) -> None:
        """A POST of which nothing moves any more is given up after the time limit, though most of it got there."""
        transport = self.make_transport(timeout_seconds=SHORT)
        address, listening = await self.listen(NarrowPeer(4 * MEBIBYTE, MEBIBYTE, MEBIBYTE // 2))
        bound_buffers(listening)
        await self.assert_unreachable(transport.post(address, b"x" * MEBIBYTE), address, f"nothing moved for {SHORT} s")

    async def test_flow(self) -> None:
        """How far a POST has come can be seen while it is under way."""
        address, listening = await self.listen(NarrowPeer(MEBIBYTE, MEBIBYTE, MEBIBYTE))
        bound_buffers(listening)
        self.assertEqual(self.transport.flow(address), NO_FLOW)
        posted = self.transport.post(address, b"x" * MEBIBYTE)
        await wait(SHORT)
        first = self.transport.flow(address)
        await wait(SHORT)
        second = self.transport.flow(address)
        self.assertGreater(first.waiting, second.waiting)
        self.assertLess(first.carried, second.carried)
        self.assertEqual(await posted, b"at last")
        self.assertEqual(self.transport.flow(address).waiting, 0)

    async def test_broken_answers(self) -> None:
        """A peer that hangs up, in the middle or at once, or that does not speak HTTP, did not answer."""
        for answer in (
            b"",
            b"HTTP/1.1 200 OK\r\n",
            response(b"1234")[:-1],
            b"SSH-2.0-x\r\n",
            b"\x00" * 100,
            b"HTTP/1.1 200 OK\r\n\r\nhalf?",
        ):
            address, script = await self.serve(answer, closes=True)
            await self.assert_unreachable(self.transport.post(address, b"."), address)
            await script.lost

    async def test_given_up(self) -> None:
        """Cancelling a POST closes its connection, whether it waits for the answer or is in the middle of it."""
        for answer in (b"", response(b"1234")[:-1]):
            address, script = await self.serve(answer)
            posted = self.transport.post(address, b".")
            await script.asked
            posted.cancel()
            await self.assert_unreachable(posted, address, "given up")
            await script.lost

    async def test_closed(self) -> None:
        """Closing fails the POSTs under way and all later ones, and closes the connections that are kept."""
        idle, idle_script = await self.serve(response(b"yes"))
        busy, busy_script = await self.serve(b"")
        await self.transport.post(idle, b".")
        posted = self.transport.post(busy, b".")
        await busy_script.asked
        closed = self.transport.close()
        await self.assert_unreachable(posted, busy, "given up")
        await closed
        await idle_script.lost
        await busy_script.lost
        await self.assert_unreachable(self.transport.post(idle, b"."), idle, "the transport is closed")
        await self.transport.close()
