"""The pace of connections: requests that dribble, clients that send ahead, close their side, or stay when a node stops."""

from collections.abc import Iterator

from twisted.web.http import HTTPChannel
from typing_extensions import override

from kvsd.metrics import Metrics
from kvsd.replication.requests import Absent, Found, Written
from kvsd.replication.token import EMPTY
from kvsd.resources.door import RequestLimits
from kvsd.resources.root import make_site
from kvsd.resources.site import BoundedSite
from tests.http_case import Answer, Connection, HttpCase, request_bytes, settle
from tests.http_twins import Pipe

LATE = "Request did not arrive within 60 seconds"
WRITE = request_bytes("PUT", "/kvs/a", b'{"value": 1}')


class PaceCase(HttpCase):
    """Doors with a lane, and without one."""

    limits = RequestLimits(max_body_bytes=1000)

    @override
    def setUp(self) -> None:
        super().setUp()
        self.node.outcome = Found("s0", EMPTY, b"1")

    def both(self) -> Iterator[BoundedSite]:
        """Doors, twice."""
        for lane in (True, False):
            yield make_site(self.node, Metrics(), self.limits, self.clock, lane=lane)

    def channel(self, site: BoundedSite) -> HTTPChannel:
        """A connection on the node's side."""
        channel = site.buildProtocol(None)
        assert isinstance(channel, HTTPChannel)
        return channel


class LineTests(PaceCase):
    """Request lines that do not come to an end."""

    def test_dribbles(self) -> None:
        """A request line that dribbles is answered by 408 after a minute, and its connection ends."""
        for site in self.both():
            for before in (b"", b"\r\n", request_bytes("GET", "/kvs/a"), request_bytes("GET", "/view")):
                connection = Connection(self.channel(site))
                connection.send(before)
                connection.answers()
                for byte in b"GET /kvs/aaa":
                    connection.send(bytes([byte]))
                    self.clock.advance(5.1)
                (answer,) = connection.answers()
                self.assert_error(answer, 408, LATE)
                self.assertEqual("close", answer.headers["connection"])
                self.assertTrue(connection.is_closing)

    def test_each_line_has_its_own_time(self) -> None:
        """A client that sends ahead, so that each piece ends within a request line, goes on for hours."""
        data = request_bytes("GET", "/kvs/a") * 100
        for site in self.both():
            connection = Connection(self.channel(site))
            size = len(data) // 100
            for at in range(5, len(data) - size, size):
                connection.send(data[at - 5 if at == 5 else at : at + size])
                self.clock.advance(59)
            self.assertFalse(connection.is_closing)
            self.assertEqual({200}, {answer.status for answer in connection.answers()})


class TurnTests(PaceCase):
    """Clients that send ahead."""

    def test_others_have_their_turn(self) -> None:
        """Of what came at once, a little is answered at once; others come in between."""
        for target, most in (("/kvs/a", 200), ("/view", 1)):
            for site in self.both():
                pipe = Pipe(self.channel(site))
                pipe.channel.dataReceived(request_bytes("GET", target) * 1000)
                begun = pipe.value().count(b"HTTP/1.1 200")
                self.assertGreater(begun, 0)
                self.assertLessEqual(begun, most if site.protocol is not BoundedSite.protocol else 1)
                self.assertEqual(200, Connection(self.channel(site)).ask("GET", "/healthz").status)
                settle(pipe.channel)
                self.assertEqual(1000, pipe.value().count(b"HTTP/1.1 200"))

    def test_nothing_is_read_meanwhile(self) -> None:
        """What comes in the meantime is not read, so it does not pile up here."""
        for site in self.both():
            pipe = Pipe(self.channel(site))
            pipe.channel.dataReceived(request_bytes("GET", "/kvs/a") * 1000)
            self.assertEqual("paused", pipe.producerState)
            settle(pipe.channel)
            self.assertEqual("producing", pipe.producerState)

    def test_gone_meanwhile(self) -> None:
        """A client that leaves in between leaves nothing behind."""
        for site in self.both():
            pipe = Pipe(self.channel(site))
            pipe.channel.dataReceived(request_bytes("GET", "/kvs/a") * 1000 + b"GET")
            pipe.hang_up()
            settle(pipe.channel)
            self.assertEqual([], self.clock.getDelayedCalls())


class HalfClosedTests(PaceCase):
    """Clients that close their side once they have asked."""

    def test_answered(self) -> None:
        """A write that is under way when its client closes its side is answered, and then the connection ends."""
        for site in self.both():
            self.node.outcome = None
            pipe = Pipe(self.channel(site))
            pipe.send(WRITE + request_bytes("GET", "/view"))
            pipe.half_close()
            self.assertEqual((b"", False), (pipe.value(), pipe.disconnecting))
            self.node.open[-1].callback(Written("s0", EMPTY, existed=False))
            settle(pipe.channel)
            self.assertEqual([201, 200], [answer.status for answer in _answers(pipe)])
            self.assertTrue(pipe.disconnecting)

    def test_nothing_under_way(self) -> None:
        """Where nothing is under way, or half a request, the connection ends at once."""
        for site in self.both():
            for data in (b"", b"GET", WRITE[:-3], request_bytes("GET", "/kvs/a"), b"\r\n"):
                pipe = Pipe(self.channel(site))
                pipe.send(data)
                pipe.half_close()
                self.assertTrue(pipe.disconnecting, data)

    def test_not_for_ever(self) -> None:
        """A client that has gone altogether looks the same: it is given up after ten seconds."""
        for site in self.both():
            self.node.outcome = None
            pipe = Pipe(self.channel(site))
            pipe.send(request_bytes("GET", "/kvs/a", headers={"Prefer": "wait=60"}))
            pipe.half_close()
            self.clock.advance(9.9)
            self.assertFalse(pipe.disconnected)
            self.clock.advance(0.2)
            self.assertTrue(pipe.disconnected)


class DrainTests(PaceCase):
    """Nodes that stop."""

    def test_last_answers_say_so(self) -> None:
        """Connections that were kept end with their next answer, which says so; so do those with a request under way."""
        for site in self.both():
            self.node.outcome = Absent("s0", EMPTY)
            idle, other = (Pipe(self.channel(site)) for _ in range(2))
            idle.send(request_bytes("GET", "/kvs/a"))
            self.assertNotIn(b"Connection", idle.value())
            self.node.outcome = None
            other.send(WRITE)
            site.drain()
            self.assertFalse(idle.disconnecting)
            self.node.open[-1].callback(Written("s0", EMPTY, existed=False))
            self.node.outcome = Absent("s0", EMPTY)
            idle.clear()
            idle.send(request_bytes("GET", "/kvs/a"))
            for pipe, status in ((idle, 404), (other, 201)):
                (answer,) = _answers(pipe)
                self.assertEqual((status, "close"), (answer.status, answer.headers.get("connection")))
                self.assertTrue(pipe.disconnecting)

    def test_peers_go_on(self) -> None:
        """Other nodes speak to a node to its end: it needs them for its last answers."""
        for site in self.both():
            connection = Connection(self.channel(site))
            site.drain()
            for _ in range(2):
                answer = connection.ask("POST", "/kvsd/i/messages", b"x")
                self.assertEqual((200, None), (answer.status, answer.headers.get("connection")))
            self.assertFalse(connection.is_closing)


def _answers(pipe: Pipe) -> list[Answer]:
    connection = Connection.__new__(Connection)
    connection.transport = pipe  # type: ignore[assignment]
    return connection.answers()
