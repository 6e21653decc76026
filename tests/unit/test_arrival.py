"""How requests arrive: in pieces, too large, too slow, or not as HTTP at all."""

from twisted.internet.error import ConnectionDone
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel

from kvsd.metrics import Metrics
from kvsd.replication.requests import Absent, Put, Written
from kvsd.replication.token import EMPTY
from kvsd.resources.door import RequestLimits
from kvsd.resources.root import make_site
from tests.http_case import Connection, HttpCase, request_bytes

LIMIT = 1000
PEER_LIMIT = 5000
DISCARD = 100_000
OCTETS = {"Content-Type": "application/octet-stream"}
TOO_LARGE = f"Request body is too large: the limit is {LIMIT} bytes"


def chunked(method: str, target: str, pieces: list[bytes]) -> bytes:
    """A request whose body comes in chunks."""
    body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in [*pieces, b""])
    return request_bytes(method, target, headers={"Transfer-Encoding": "chunked"}) + body


class ArrivalCase(HttpCase):
    """Doors with narrow limits, and a connection to them."""

    limits = RequestLimits(
        max_body_bytes=LIMIT, peer_body_bytes=PEER_LIMIT, arrival_seconds=60, discard_bytes=DISCARD, discard_seconds=1, linger_seconds=2
    )  # fmt: skip

    def setUp(self) -> None:
        super().setUp()
        self.node.outcome = Written("s0", EMPTY, existed=False)
        self.connection = self.connect()

    def assert_serves(self, connection: Connection) -> None:
        """The connection can still be used."""
        self.assertEqual(connection.ask("GET", "/view").status, 200)
        self.assertFalse(connection.is_closing)

    def assert_closed_with(self, status: int, error: str) -> None:
        """The client was answered early, and is cut off after two seconds if it goes on sending."""
        (answer,) = self.connection.answers()
        self.assert_error(answer, status, error)
        self.assertEqual(answer.headers["connection"], "close")
        self.clock.advance(1.9)
        self.assertFalse(self.connection.is_cut)
        self.connection.send(b"x" * 100)
        self.clock.advance(0.2)
        self.assertTrue(self.connection.is_cut)
        self.assertEqual(self.node.asked, [])


class WholeTests(ArrivalCase):
    """Requests that are in order, however they come."""

    def test_in_pieces(self) -> None:
        """A request that comes byte by byte is read like one that comes at once."""
        for byte in request_bytes("PUT", "/kvs/a", b'{"value": 1}') + chunked(
            "PUT", "/kvs/b", [b'{"value', b'":', b"2}"]
        ):
            self.connection.send(bytes([byte]))
        self.assertEqual([answer.status for answer in self.connection.answers()], [201, 201])
        self.assertEqual(self.node.asked, [Put("a", b"1", EMPTY), Put("b", b"2", EMPTY)])

    def test_pipelined(self) -> None:
        """Requests sent at once are answered in their order, with wrong ones among them."""
        right = request_bytes("PUT", "/kvs/a", b'{"value": 1}')
        wrong = [
            request_bytes("PUT", "/kvs/a", b"x"),
            request_bytes("GET", "/x"),
            request_bytes("POST", "/kvs/a", b"{}"),
        ]
        large = request_bytes("PUT", "/kvs/a", b"x" * (LIMIT + 1))
        self.connection.send(right + right.join([*wrong, large]) + right)
        statuses = [answer.status for answer in self.connection.answers()]
        self.assertEqual(statuses, [201, 400, 201, 404, 201, 405, 201, 413, 201])

    def test_expect(self) -> None:
        """A client that asks before it sends its body is told to go on."""
        head, _, body = request_bytes("PUT", "/kvs/a", b'{"value": 1}', {"Expect": "100-continue"}).partition(
            b"\r\n\r\n"
        )
        self.connection.send(head + b"\r\n\r\n")
        self.assertEqual(self.connection.transport.value(), b"HTTP/1.1 100 Continue\r\n\r\n")
        self.connection.transport.clear()
        self.connection.send(body)
        self.assertEqual([answer.status for answer in self.connection.answers()], [201])

    def test_content_type_does_not_matter(self) -> None:
        """A body is read as JSON whatever it says it is; a form is not parsed."""
        for kind in (
            "application/json",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "text/plain",
            "x",
        ):
            answer = self.connection.ask("PUT", "/kvs/a", b'{"value": 1}', {"Content-Type": kind})
            self.assertEqual(answer.status, 201, kind)
            answer = self.connection.ask("POST", "/kvsd/i/messages", b"a=b", {"Content-Type": kind})
            self.assertEqual((answer.status, answer.content), (200, b"heard: a=b"), kind)

    def test_old_http(self) -> None:
        """A client of HTTP/1.0 gets its answer and then the end of the connection."""
        self.connection.send(b"GET /view HTTP/1.0\r\n\r\n")
        self.assertEqual([answer.status for answer in self.connection.answers()], [200])
        self.assertTrue(self.connection.is_closing)


class TooLargeTests(ArrivalCase):
    """Bodies beyond the limit."""

    def test_refused(self) -> None:
        """A body over the limit is refused, whether its length was announced or not, and the connection goes on."""
        for size in (LIMIT + 1, LIMIT * 10):
            for method in ("PUT", "GET", "DELETE"):
                for data in (
                    request_bytes(method, "/kvs/a", b"x" * size),
                    chunked(method, "/kvs/a", [b"x" * 100] * (size // 100 + 1)),
                ):
                    self.connection.send(data)
                    (answer,) = self.connection.answers()
                    self.assert_error(answer, 413, TOO_LARGE)
                    self.assert_serves(self.connection)
        self.assertEqual(self.node.asked, [])
        self.assertEqual(self.sample("kvsd_requests_total", verb="PUT", outcome="too-large"), 4)

    def test_at_the_limit(self) -> None:
        """A body of exactly the limit is taken."""
        body = b'{"value": "' + b"x" * (LIMIT - 13) + b'"}'
        self.assertEqual(len(body), LIMIT)
        self.assertEqual(self.connection.ask("PUT", "/kvs/a", body).status, 201)
        self.assertEqual(self.connection.ask("PUT", "/kvs/a", body + b" ").status, 413)

    def test_not_kept(self) -> None:
        """Of a body that is too large nothing is kept in memory."""
        for head in (request_bytes("PUT", "/kvs/a", headers={"Content-Length": str(DISCARD)}),
                     request_bytes("PUT", "/kvs/a", headers={"Transfer-Encoding": "chunked"}) + b"%x\r\n" % DISCARD):  # fmt: skip
            connection = self.connect()
            connection.send(head + b"x" * (LIMIT + 1))
            connection.send(b"x" * (DISCARD // 2))
            (request,) = connection.channel.requests
            self.assertEqual(request.content.getvalue(), b"")

    def test_larger_between_nodes(self) -> None:
        """The path between nodes has another limit, which no other path has, whatever type its body claims to have."""
        body = b"x" * PEER_LIMIT
        self.assertEqual(self.connection.ask("POST", "/kvsd/i/messages", body, OCTETS).content, b"heard: " + body)
        answer = self.connection.ask("POST", "/kvsd/i/messages", body + b"x", OCTETS)
        self.assert_error(answer, 413, f"Request body is too large: the limit is {PEER_LIMIT} bytes")
        self.assert_error(self.connection.ask("PUT", "/kvs/a", body, OCTETS), 413, TOO_LARGE)
        self.assertEqual(self.connection.ask("POST", "/kvsd/i/messages", b"x" * (LIMIT + 1)).status, 200)
        self.assert_serves(self.connection)

    def test_announced_and_not_sent(self) -> None:
        """A client that announces too much and sends nothing is answered after a second, and cut off."""
        self.connection.send(request_bytes("PUT", "/kvs/a", headers={"Content-Length": str(LIMIT + 1)}))
        self.clock.advance(0.9)
        self.assertEqual(self.connection.answers(), [])
        self.clock.advance(0.2)
        self.assert_closed_with(413, TOO_LARGE)

    def test_answered_early_and_sent_after_all(self) -> None:
        """A client that was answered early and then sends the rest is not answered twice; the connection ends in order."""
        self.connection.send(request_bytes("PUT", "/kvs/a", headers={"Content-Length": str(LIMIT + 1)}))
        self.clock.advance(1)
        self.assertEqual([answer.status for answer in self.connection.answers()], [413])
        self.connection.send(b"x" * (LIMIT + 1))
        self.assertEqual(self.connection.answers(), [])
        self.assertTrue(self.connection.is_closing)
        self.assertFalse(self.connection.is_cut)

    def test_patience_while_it_comes(self) -> None:
        """A body that is too large, but comes in without pauses, is read to its end."""
        self.connection.send(request_bytes("PUT", "/kvs/a", headers={"Content-Length": "20000"}))
        for _ in range(20):
            self.clock.advance(0.9)
            self.connection.send(b"x" * 1000)
        self.assertEqual([answer.status for answer in self.connection.answers()], [413])
        self.assert_serves(self.connection)

    def test_absurd_length(self) -> None:
        """A length beyond all reason is answered at once, and the client is cut off."""
        for length in (DISCARD + 1, 10**12, 10**30):
            self.connection = self.connect()
            self.connection.send(request_bytes("PUT", "/kvs/a", headers={"Content-Length": str(length)}))
            self.assert_closed_with(413, TOO_LARGE)

    def test_absurd_length_in_chunks(self) -> None:
        """So is one that was not announced, once so much has come."""
        piece = b"%x\r\n%s\r\n" % (LIMIT, b"x" * LIMIT)
        self.connection.send(request_bytes("PUT", "/kvs/a", headers={"Transfer-Encoding": "chunked"}))
        for _ in range(DISCARD // LIMIT):
            self.connection.send(piece)
        self.assertEqual(self.connection.answers(), [])
        self.connection.send(piece)
        self.assert_closed_with(413, TOO_LARGE)

    def test_expected(self) -> None:
        """A client that asks before it sends too much is answered at once, and not told to go on."""
        headers = {"Content-Length": str(LIMIT + 1), "Expect": "100-continue"}
        self.connection.send(request_bytes("PUT", "/kvs/a", headers=headers))
        self.assert_closed_with(413, TOO_LARGE)


class TooSlowTests(ArrivalCase):
    """Requests that take too long to arrive."""

    late = "Request did not arrive within 60 seconds"

    def dribble(self, data: bytes) -> None:
        """Send a byte every 30 seconds while the node listens."""
        for byte in data:
            self.clock.advance(30)
            if self.connection.transport.value():
                return
            self.connection.send(bytes([byte]))

    def test_slow_body(self) -> None:
        """A body that dribbles is answered after a minute, and cut off."""
        self.connection.send(request_bytes("PUT", "/kvs/a", headers={"Content-Length": "1000"}))
        self.dribble(b"x" * 100)
        self.assert_closed_with(408, self.late)

    def test_slow_chunks(self) -> None:
        """So is one in chunks."""
        self.connection.send(request_bytes("PUT", "/kvs/a", headers={"Transfer-Encoding": "chunked"}))
        self.dribble(b"2\r\nxx\r\n" * 20)
        self.assert_closed_with(408, self.late)

    def test_slow_head(self) -> None:
        """So are headers that dribble; a head that comes to its end afterwards changes nothing."""
        self.connection.send(b"PUT /kvs/a HTTP/1.1\r\n")
        self.dribble(b"X" * 100)
        (answer,) = self.connection.answers()
        self.assert_error(answer, 408, self.late)
        self.connection.send(b": y\r\nContent-Length: 2\r\n\r\n")
        self.assertEqual(self.connection.answers(), [])
        self.connection.send(b"{}GET /view HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertEqual(self.connection.answers(), [])
        self.assertTrue(self.connection.is_closing)
        self.assertEqual(self.node.asked, [])

    def test_slow_and_too_large(self) -> None:
        """A body that is too large and dribbles gets no more time than another."""
        self.connection.send(request_bytes("PUT", "/kvs/a", headers={"Content-Length": "20000"}))
        for _ in range(100):
            self.clock.advance(0.7)
            if self.connection.transport.value():
                break
            self.connection.send(b"x")
        self.assertEqual(round(self.clock.seconds()), 60)
        self.assert_closed_with(413, TOO_LARGE)

    def test_idle(self) -> None:
        """A connection on which nothing comes for a minute is closed, with or without requests before."""
        self.clock.advance(59)
        self.assert_serves(self.connection)
        self.clock.advance(59)
        self.assertFalse(self.connection.is_closing)
        self.clock.advance(1)
        self.assertTrue(self.connection.is_closing)

    def test_waiting_is_not_idle(self) -> None:
        """A client that waits for its answer may do so longer than a minute."""
        self.node.outcome = None
        self.connection.send(request_bytes("GET", "/kvs/a"))
        self.clock.pump([10] * 10)
        self.assertFalse(self.connection.is_closing)
        self.node.open[0].callback(Absent("s0", EMPTY))
        self.assertEqual([answer.status for answer in self.connection.answers()], [404])
        self.assert_serves(self.connection)

    def test_last_answer_not_read(self) -> None:
        """A client that asks for the end of its connection and never reads its answer is cut off all the same."""
        self.connection.send(request_bytes("GET", "/view", headers={"Connection": "close"}))
        self.assertTrue(self.connection.is_closing)
        self.clock.pump([10] * 8)
        self.assertTrue(self.connection.is_cut)

    def test_nothing_is_left_over(self) -> None:
        """Clients that leave in the middle leave no timer behind."""
        whole = request_bytes("PUT", "/kvs/a", b'{"value": 1}') + request_bytes("PUT", "/kvs/a", b"x" * (LIMIT + 1))
        for length in range(1, len(whole), 50):
            connection = self.connect()
            connection.send(whole[:length])
            connection.channel.connectionLost(Failure(ConnectionDone()))
        self.connection.channel.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.clock.getDelayedCalls(), [])


class NoHttpTests(ArrivalCase):
    """What the parser gives up on."""

    def test_answered_in_json(self) -> None:
        """Bytes that are not HTTP are answered by 400 in JSON and the end of the connection."""
        error = "Bad request: this is not HTTP/1.1, or its headers are too large"
        for noise in (b"nonsense\r\n\r\n", b"GET\r\n\r\n", b"GET /view HTTP/3\r\n\r\n", b"\x00" * 1000 + b"\r\n\r\n", b"x" * 40_000,
                      b"GET /view HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n", b"GET /view HTTP/1.1\r\nHost: x\r\nA: b\0\r\n\r\n",
                      b"GET /view HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", b"GET /view HTTP/1.1\r\n" + b"X: y\r\n" * 501 + b"\r\n",
                      b"PUT /kvs/a HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", b"PUT /kvs/a HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
                      b"PUT /kvs/a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
                      b"PUT /kvs/a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                      b"PUT /kvs/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
                      b"PUT /kvs/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n"):  # fmt: skip
            connection = self.connect()
            connection.send(noise)
            (answer,) = connection.answers()
            self.assert_error(answer, 400, error)
            self.assertEqual(answer.headers["connection"], "close")
            self.assertTrue(connection.is_closing)
        self.assertEqual(self.node.asked, [])

    def test_long_headers(self) -> None:
        """Headers have room for the largest of tokens."""
        self.assertEqual(self.connection.ask("GET", "/view", headers={"Causal-Metadata": "x" * 22_000}).status, 200)


class LogTests(ArrivalCase):
    """What is logged of requests."""

    def test_access_log(self) -> None:
        """Requests leave no line in the log, unless there is to be an access log."""
        for access_log, lines in ((False, []), (True, ["GET /view?x 200", "PUT /kvs/a%20b 400"])):
            site = make_site(self.node, Metrics(), self.limits, self.clock, access_log=access_log)
            site.doStart()
            self.addCleanup(site.doStop)
            channel = site.buildProtocol(None)
            assert isinstance(channel, HTTPChannel)
            with capturedLogs() as events:
                Connection(channel).send(request_bytes("GET", "/view?x") + request_bytes("PUT", "/kvs/a%20b", b"x"))
            self.assertEqual([formatEvent(event).partition(" ")[2] for event in events], lines)
