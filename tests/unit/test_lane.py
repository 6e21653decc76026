"""The lane: what it takes, and how it behaves towards clients that are slow, impatient or gone."""

from twisted.internet.error import ConnectionDone
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from typing_extensions import override

from kvsd.metrics import Metrics
from kvsd.replication.basis import Basis, Confirm, Confirmed
from kvsd.replication.requests import Absent, Found, Get, Put, Unassigned, Written
from kvsd.replication.token import EMPTY
from kvsd.resources.door import Reply, RequestLimits
from kvsd.resources.lane import LaneChannel
from kvsd.resources.root import make_site
from tests.fakes import token
from tests.http_case import Connection, HttpCase, parse_answer, request_bytes, settle
from tests.http_twins import SEND_BUFFER, Pipe

VALUE = b'{"value": 1}'
OTHERS = "Accept: */*\r\nUser-Agent: x\r\nContent-Type: application/json\r\nConnection: Keep-Alive\r\nPrefer: wait=1"


class LaneCase(HttpCase):
    """Doors with a lane, and a connection to them."""

    limits = RequestLimits(max_body_bytes=1000)

    def setUp(self) -> None:
        super().setUp()
        self.node.outcome = Written("s0", EMPTY, existed=False)
        self.connection = self.connect()

    def pipe(self) -> Pipe:
        """A connection with flow control."""
        channel = self.site.buildProtocol(None)
        assert isinstance(channel, HTTPChannel)
        return Pipe(channel)

    def statuses(self) -> list[int]:
        """Of the answers since the last call."""
        return [answer.status for answer in self.connection.answers()]


class TakingTests(LaneCase):
    """What is answered in the lane: what the parser never sees."""

    def is_taken(self, data: bytes) -> bool:
        """Whether a request, which is under way then, is in the lane."""
        self.node.outcome = None
        before = len(self.node.asked)
        connection = self.connect()
        connection.send(data)
        self.assertEqual(len(self.node.asked), before + 1, data)
        return not connection.channel.requests

    def test_taken(self) -> None:
        """Whole requests about plain keys, with and without a body, and with any headers that change nothing."""
        for method in ("GET", "PUT", "DELETE"):
            for key in ("a", "A-Z_0.9~", ".", "..", "k" * 50):
                self.assertTrue(self.is_taken(request_bytes(method, f"/kvs/{key}", VALUE)))
            self.assertTrue(
                self.is_taken(
                    f"{method} /kvs/a HTTP/1.1\r\nHost: x\r\n{OTHERS}\r\nContent-Length: 12\r\n\r\n".encode() + VALUE
                )
            )
        self.assertTrue(self.is_taken(b"GET /kvs/a HTTP/1.1\r\nHost: x\r\n\r\n"))

    def test_write_concern(self) -> None:
        """A write concern is taken along, for the one request that has it."""
        for text, concern in (("majority", "majority"), ("2", 2), ("all", "all")):
            self.assertTrue(self.is_taken(request_bytes("PUT", f"/kvs/a?w={text}", VALUE)))
            self.assertEqual(self.node.asked[-1], Put("a", b"1", EMPTY, concern=concern))  # type: ignore[arg-type]
        self.node.outcome = Written("s0", EMPTY, existed=False)
        for target in ("/kvs/a?w=2", "/kvs/a"):
            self.connection.send(request_bytes("PUT", target, VALUE))
        self.assertEqual([put.concern for put in self.node.asked[-2:] if isinstance(put, Put)], [2, 1])

    def test_not_taken(self) -> None:
        """All else, though it may be as good a request."""
        for data in (
            b"GET /kvs/a HTTP/1.0\r\n\r\n",
            request_bytes("GET", "/kvs/a%20b"),
            request_bytes("GET", "/kvs/a/b"),
            request_bytes("GET", "/kvs/a?b"),
            request_bytes("HEAD", "/kvs/a"),
            request_bytes("GET", "/kvs/a", headers={"Connection": "close"}),
            request_bytes("GET", "/kvs/a", headers={"Upgrade": "h2c"}),
            request_bytes("GET", "/kvs/a", headers={"Expect": "100-continue"}),
            request_bytes("GET", "/kvs/a", headers={"X": "a\r\n b"}),
            request_bytes("GET", "/kvs/a", headers={f"X-{number}": "y" for number in range(64)}),
            request_bytes("PUT", "/kvs/a", headers={"Transfer-Encoding": "chunked"}) + b"c\r\n" + VALUE + b"\r\n0\r\n\r\n",
            request_bytes("PUT", "/kvs/a", headers={"Content-Length": "012"}) + VALUE,
        ):  # fmt: skip
            self.assertFalse(self.is_taken(data), data)

    def test_body_behind_its_head(self) -> None:
        """A body may come in pieces behind its head, and something else behind it."""
        for size in (1, 5, 50):
            self.node.asked.clear()
            self.node.outcome = Written("s0", EMPTY, existed=False)
            data = request_bytes("PUT", "/kvs/a", b'{"value": "%b"}' % (b"x" * 100))
            head, _, body = (data + request_bytes("GET", "/view")).partition(b"\r\n\r\n")
            self.connection.send(head + b"\r\n\r\n")
            for at in range(0, len(body), size):
                self.assertEqual(bool(self.node.asked), at >= 113)
                self.assertEqual(self.connection.channel.requests[: at < 113], [])
                self.connection.send(body[at : at + size])
            self.assertEqual(self.statuses(), [201, 200])
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_after_something_else(self) -> None:
        """Once the parser has answered what was for it, the connection has its lane again."""
        self.connection.send(request_bytes("GET", "/view"))
        self.node.outcome = None
        self.connection.send(request_bytes("GET", "/kvs/a"))
        self.assertEqual((self.connection.channel.requests, len(self.node.asked)), ([], 1))

    def test_messages(self) -> None:
        """What nodes say to each other, and what only looks like it."""
        connection = self.connection
        answer = connection.ask("POST", "/kvsd/i/messages", b"hello", {"Content-Type": "application/octet-stream"})
        self.assertEqual((answer.status, answer.content), (200, b"heard: hello"))
        self.assertEqual(answer.headers["content-type"], "application/octet-stream")
        error = "the message was not made under this cluster's secret"
        self.assert_error(connection.ask("POST", "/kvsd/i/messages", b"forged"), 400, error)


class AgainTests(LaneCase):
    """A node in which nothing happens answers the same request as before."""

    def setUp(self) -> None:
        super().setUp()
        self.node.quiet = True
        self.node.outcome = Found("s0", EMPTY, b"1")

    def answers_to(self, data: bytes, times: int = 1) -> list[bytes]:
        """The answers to a request that is sent so many times at once."""
        pipe = self.pipe()
        pipe.send(data * times)
        answers: list[bytes] = pipe.value().split(b"HTTP/1.1 ")
        self.assertEqual(answers.pop(0), b"")
        return answers

    def test_the_same_again(self) -> None:
        """The same bytes are answered by the same bytes, on any connection, and each counts; other bytes are asked."""
        data = request_bytes("GET", "/kvs/a")
        answers = self.answers_to(data) + self.answers_to(data, 3)
        self.assertEqual((len(answers), len(set(answers)), len(self.node.asked)), (4, 1, 1))
        self.assertEqual(self.sample("kvsd_requests_total", verb="GET", outcome="found"), 4)
        self.answers_to(request_bytes("GET", "/kvs/a", headers={"X": "y"}))
        self.answers_to(request_bytes("GET", "/kvs/b"))
        self.assertEqual(len(self.node.asked), 3)

    def test_until_something_happens(self) -> None:
        """After an event the node is asked anew, also between two requests that came together."""
        data = request_bytes("GET", "/kvs/a")
        self.answers_to(data)
        self.node.outcome = Absent("s0", EMPTY)
        self.assertEqual([answer[:3] for answer in self.answers_to(data, 2)], [b"404", b"404"])
        self.node.quiet = False
        self.answers_to(data, 3)
        self.assertEqual(len(self.node.asked), 5)

    def test_within_another_request(self) -> None:
        """What was answered as a request is not answered where it is a body, or the head of one with a body."""
        data = b"GET /kvs/a HTTP/1.1\r\nHost: x\r\n\r\n"
        self.answers_to(data)
        self.node.outcome = Found("s0", EMPTY, b"1")
        self.answers_to(data)
        head = b"POST /kvsd/i/messages HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(data)
        self.assertIn(b"heard: " + data, self.answers_to(head + data)[0])
        self.answers_to(request_bytes("GET", "/kvs/a", b"{}"), 2)
        self.assertEqual(len(self.node.asked), 4)

    def test_what_is_asked_each_time(self) -> None:
        """Writes, and reads with a large answer."""
        for outcome, data in (
            (Found("s0", EMPTY, b'"%b"' % (b"x" * 3000)), request_bytes("GET", "/kvs/a")),
            (Written("s0", EMPTY, existed=True), request_bytes("DELETE", "/kvs/a")),
        ):
            self.node.outcome = outcome
            self.node.asked.clear()
            self.answers_to(data)
            self.answers_to(data, 2)
            self.assertEqual(len(self.node.asked), 3)

    def test_answer_that_is_not_made(self) -> None:
        """Where an answer can't be written, the one before it is not given in its place from then on."""
        pipe = self.pipe()
        assert isinstance(pipe.channel, LaneChannel)
        lane = pipe.channel.lane
        encode = lane.encode

        def fail(reply: Reply) -> bytes:
            raise MemoryError

        first, second = request_bytes("GET", "/kvs/a"), request_bytes("GET", "/kvs/b")
        pipe.send(first)
        lane.encode = fail
        pipe.send(first + second)
        self.assertEqual(len(self.flushLoggedErrors(MemoryError)), 1)
        lane.encode = encode
        self.answers_to(second)
        self.assertEqual([get.key for get in self.node.asked if isinstance(get, Get)], ["a", "b", "b"])

    def test_wrong_requests(self) -> None:
        """A request that is wrong is refused each time, and each time counted as that."""
        data = request_bytes("GET", "/kvs/" + "k" * 51)
        self.assertEqual([answer[:3] for answer in self.answers_to(data, 2)], [b"400", b"400"])
        self.assertEqual(self.sample("kvsd_requests_total", verb="GET", outcome="bad-request"), 2)


class ConfirmedTests(LaneCase):
    """A node that has forwarded a read, and asks whether the answer is still so."""

    limits = RequestLimits(max_body_bytes=1000, in_flight=1)

    def setUp(self) -> None:
        super().setUp()
        self.node.quiet = True
        self.node.outcome = None
        self.basis = Basis("10.0.0.2:8090", 7, 3)
        self.data = request_bytes("GET", "/kvs/a")
        self.connection.send(self.data)
        self.node.open[0].callback(Found("s0", EMPTY, b"1", self.basis))
        [self.first] = self.connection.answers()

    def confirmed(self, changes: int | None) -> None:
        """The last question to the node is answered."""
        self.node.open[-1].callback(Confirmed(changes))

    def test_still_so(self) -> None:
        """The same bytes are answered by the same bytes once that is confirmed, and each counts; what follows waits."""
        for number in range(1, 4):
            self.connection.send(self.data + request_bytes("GET", "/view"))
            self.assertEqual(self.node.asked[-1], Confirm("a", self.basis))
            self.assertEqual(self.statuses(), [])
            self.basis = self.basis._replace(changes=10 * number)
            self.confirmed(10 * number)
            first, second = self.connection.answers()
            self.assertEqual((first.content, first.headers), (self.first.content, self.first.headers))
            self.assertEqual(second.status, 200)
        self.assertEqual(self.sample("kvsd_requests_total", verb="GET", outcome="found"), 4)
        self.assertEqual(len(self.node.asked), 4)

    def test_not_so_any_more(self) -> None:
        """Otherwise it is asked anew, and the new answer is the one to be confirmed next; what follows waits for that."""
        self.connection.send(self.data + request_bytes("GET", "/view"))
        self.confirmed(None)
        self.assertEqual((self.node.asked[-1], self.statuses()), (Get("a", EMPTY), []))
        self.node.open[-1].callback(Absent("s0", EMPTY, self.basis._replace(changes=9)))
        self.assertEqual(self.statuses(), [404, 200])
        self.connection.send(self.data)
        self.assertEqual(self.node.asked[-1], Confirm("a", self.basis._replace(changes=9)))
        self.confirmed(9)
        self.assertEqual(self.statuses(), [404])
        self.assertEqual(self.sample("kvsd_requests_total", verb="GET", outcome="absent"), 2)

    def test_refused(self) -> None:
        """Where the question is refused, the node is asked anew."""
        self.connection.send(self.data)
        self.node.open[-1].callback(Unassigned("why"))
        self.assertEqual(self.node.asked[-1], Get("a", EMPTY))
        self.node.open[-1].callback(Found("s0", EMPTY, b"1", self.basis))
        self.assertEqual(self.statuses(), [200])

    def test_too_many(self) -> None:
        """What is to be confirmed is under way like any other request, and counts against their limit."""
        busy = self.connect()
        busy.send(request_bytes("PUT", "/kvs/b", VALUE))
        self.connection.send(self.data)
        self.assertEqual(self.statuses(), [503])
        busy.channel.connectionLost(Failure(ConnectionDone()))
        self.connection.send(self.data)
        self.assertEqual(self.statuses(), [])
        self.confirmed(3)
        self.assertEqual(self.statuses(), [200])

    def test_node_that_fails(self) -> None:
        """A question that the node fails at is under way no more, and the client is answered that it failed."""
        self.node.failure = ValueError("a defect")
        self.connection.send(self.data)
        self.assertEqual(self.statuses(), [500])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.node.failure = None
        self.connection.send(self.data)
        self.assertEqual(self.node.asked[-1], Confirm("a", self.basis))

    def test_hung_up(self) -> None:
        """A client that leaves has its question given up."""
        self.connection.send(self.data)
        self.connection.channel.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.node.given_up, [Confirm("a", self.basis)])

    def test_another_outlook(self) -> None:
        """With another outlook of this node's own it is not even asked whether it is still so."""
        self.node.outcome = None
        self.connection.send(self.data)
        self.assertEqual(self.node.asked[-1], Get("a", EMPTY))


class OrderTests(LaneCase):
    """One request of a connection after another."""

    def test_later(self) -> None:
        """What comes behind a request that takes its time waits for it, wherever it goes, and then follows in order."""
        self.node.outcome = None
        self.connection.send(
            request_bytes("PUT", "/kvs/a", VALUE)
            + request_bytes("GET", "/kvs/b")
            + request_bytes("GET", "/view")
            + request_bytes("GET", "/kvs/c")
        )
        self.assertEqual(self.node.asked, [Put("a", b"1", EMPTY)])
        self.connection.send(request_bytes("GET", "/kvs/d"))
        self.assertEqual(self.statuses(), [])
        self.node.open[0].callback(Written("s0", EMPTY, existed=False))
        self.assertEqual(self.statuses(), [201])
        self.node.outcome = Absent("s0", EMPTY)
        self.node.open[1].callback(Found("s0", EMPTY, b"1"))
        settle(self.connection.channel)
        self.assertEqual(self.statuses(), [200, 200, 404, 404])
        self.assertEqual(self.node.asked[1:], [Get(key, EMPTY) for key in "bcd"])

    def test_much_behind_it(self) -> None:
        """Of what comes behind it, some is read, and no more until it is answered."""
        pipe = self.pipe()
        self.node.outcome = None
        pipe.send(request_bytes("PUT", "/kvs/a", VALUE))
        for _ in range(100):
            pipe.send(request_bytes("GET", "/kvs/b") * 100)
        self.assertGreater(pipe.waiting_bytes, 300_000)
        self.node.outcome = Absent("s0", EMPTY)
        self.node.open[0].callback(Written("s0", EMPTY, existed=False))
        settle(pipe.channel)
        self.assertEqual((pipe.waiting_bytes, len(self.node.asked)), (0, 10_001))


class ReaderTests(LaneCase):
    """Clients that don't read."""

    def test_answers_pile_up_a_little(self) -> None:
        """A client that reads no answers is served until some wait for it, and then no more until it has read them."""
        for value in (b"1", b'"' + b"x" * 100_000 + b'"'):
            self.node.asked.clear()
            self.node.outcome = Found("s0", token(1), value)
            pipe = self.pipe()
            pipe.reads = False
            for _ in range(100):
                pipe.send(request_bytes("GET", "/kvs/a") * 100)
            self.assertLess(pipe.unread, 4 * SEND_BUFFER)
            self.assertGreater(pipe.waiting_bytes, 200_000)
            while len(self.node.asked) < 10_000:
                pipe.read_on()
                pipe.clear()
                pipe.reads = False
            self.assertEqual(pipe.waiting_bytes, 0)

    def test_all_at_once(self) -> None:
        """Who sent all that there is to ask and reads later gets all answers, without another word."""
        self.node.outcome = Found("s0", token(1), b'"' + b"x" * 50_000 + b'"')
        pipe = self.pipe()
        pipe.reads = False
        pipe.send(request_bytes("GET", "/kvs/a") * 100)
        self.assertLess(len(self.node.asked), 10)
        for _ in range(100):
            pipe.read_on()
            pipe.reads = False
        self.assertEqual(len(self.node.asked), 100)

    def test_late_answer_that_is_not_read(self) -> None:
        """Nor is more read where the answer that fills the pipe comes late, in the lane or not."""
        self.node.outcome = None
        for key in ("a", "a%20b"):
            self.node.asked.clear()
            pipe = self.pipe()
            pipe.send(request_bytes("GET", f"/kvs/{key}"))
            pipe.reads = False
            self.node.open[-1].callback(Found("s0", token(1), b'"' + b"x" * 100_000 + b'"'))
            for _ in range(100):
                pipe.send(request_bytes("GET", "/kvs/a") * 100)
            self.assertEqual(len(self.node.asked), 1)
            self.assertGreater(pipe.waiting_bytes, 300_000)


class EndTests(LaneCase):
    """Clients that go, connections that end."""

    def test_hang_up(self) -> None:
        """A client that leaves while its write is under way is waited for no longer, and counted as such."""
        self.node.outcome = None
        self.connection.send(request_bytes("PUT", "/kvs/a", VALUE) + request_bytes("GET", "/kvs/b"))
        self.connection.channel.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.node.given_up, [Put("a", b"1", EMPTY)])
        self.assertEqual(len(self.node.asked), 1)
        self.assertEqual(self.sample("kvsd_requests_total", verb="PUT", outcome="hung-up"), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_idle(self) -> None:
        """The clock of a connection begins anew with each request, and once it was answered, however long that took."""
        for _ in range(3):
            self.connection.send(request_bytes("PUT", "/kvs/a", VALUE))
            self.clock.advance(59)
        self.node.outcome = None
        self.connection.send(request_bytes("GET", "/kvs/a"))
        self.clock.pump([10] * 20)
        self.node.open[0].callback(Absent("s0", EMPTY))
        self.clock.advance(59)
        self.assertFalse(self.connection.is_closing)
        self.clock.advance(1)
        self.assertTrue(self.connection.is_closing)

    def test_body_that_does_not_come(self) -> None:
        """A body that takes too long is answered like one that is not for the lane, and its client is cut off."""
        for headers in ({}, {"Expect": "x"}):
            connection = self.connect()
            connection.send(request_bytes("PUT", "/kvs/a", headers={"Content-Length": "12", **headers}) + b"{")
            self.clock.advance(30)
            connection.send(b'"')
            self.clock.advance(29)
            self.assertEqual(connection.answers(), [])
            self.clock.advance(1)
            (answer,) = connection.answers()
            self.assert_error(answer, 408, "Request did not arrive within 60 seconds")
            self.clock.advance(2)
            self.assertTrue(connection.is_cut)

    def test_hang_up_in_the_middle(self) -> None:
        """A client that leaves before its body is whole leaves nothing behind."""
        self.connection.send(request_bytes("PUT", "/kvs/a", VALUE)[:-1])
        self.connection.channel.connectionLost(Failure(ConnectionDone()))
        self.assertEqual((self.clock.getDelayedCalls(), self.node.asked), ([], []))

    def test_defect_of_the_node(self) -> None:
        """What nobody expected is answered by 500 and logged, and the connection goes on."""
        self.node.failure = ValueError("a defect")
        answer = self.connection.ask("GET", "/kvs/a")
        self.assert_error(answer, 500, "Internal error; the node's log has more")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual(self.sample("kvsd_requests_total", verb="GET", outcome="error"), 1)
        self.node.failure = None
        self.assertEqual(self.connection.ask("PUT", "/kvs/a", VALUE).status, 201)

    def test_defect_of_a_connection(self) -> None:
        """A connection that can't be told its answer is cut off, and nobody else is harmed."""

        class Broken(Pipe):
            @override
            def write(self, data: bytes) -> None:
                raise ValueError("a defect")

        self.node.outcome = None
        channel = self.site.buildProtocol(None)
        assert isinstance(channel, HTTPChannel)
        broken = Broken(channel)
        broken.send(request_bytes("GET", "/kvs/a"))
        self.connection.send(request_bytes("GET", "/kvs/b"))
        for asked in self.node.open:
            asked.callback(Absent("s0", EMPTY))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertTrue(broken.disconnected)
        self.assertEqual(self.statuses(), [404])


class HeadTests(LaneCase):
    """The head of an answer, and the log."""

    def test_bytes(self) -> None:
        """An answer's head is what the parser's own would be; the time of day is in it."""
        self.node.outcome = Absent("s0", EMPTY)
        heads = []
        for lane in (True, False):
            site = make_site(self.node, Metrics(), self.limits, self.clock, lane=lane)
            channel = site.buildProtocol(None)
            assert isinstance(channel, HTTPChannel)
            connection = Connection(channel)
            connection.send(request_bytes("GET", "/kvs/a", headers={"Prefer": "wait=3"}))
            data = connection.transport.value()
            parsed = parse_answer(data)
            assert parsed is not None
            self.assertRegex(parsed[0].headers["date"], r"^\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$")
            heads.append([line for line in data.split(b"\r\n") if not line.startswith(b"Date")])
        self.assertEqual(*heads)

    def test_access_log(self) -> None:
        """The lane's requests are in the access log like all others."""
        lines = []
        for lane in (True, False):
            site = make_site(self.node, Metrics(), self.limits, self.clock, access_log=True, lane=lane)
            site.doStart()
            self.addCleanup(site.doStop)
            channel = site.buildProtocol(None)
            assert isinstance(channel, HTTPChannel)
            with capturedLogs() as events:
                Connection(channel).send(
                    request_bytes("PUT", "/kvs/a", VALUE)
                    + request_bytes("GET", "/kvs/b", b"x")
                    + request_bytes("POST", "/kvsd/i/messages", b"x")
                )
            lines.append([formatEvent(event) for event in events])
        self.assertEqual(*lines)
        self.assertEqual(lines[0][0].partition(" ")[2], "PUT /kvs/a 201")
