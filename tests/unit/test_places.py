"""Bodies beyond the budget: reading pauses until there is room, and after some seconds a client is told to come again."""

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from kvsd.replication.budget import Budget
from kvsd.replication.requests import Written
from kvsd.replication.token import EMPTY
from kvsd.resources.door import RequestLimits
from kvsd.resources.places import GRACE_SECONDS, MAX_WAITING, PATIENCE_SECONDS
from kvsd.resources.root import make_site
from tests.http_case import Connection, HttpCase, request_bytes

KIBIBYTE = 1024
BUDGET = 1000 * KIBIBYTE
"""Of which clients may have 750 KiB."""
NO_ROOM = "Too many bytes of requests are under way at this node; try again later"


def put(key: str, size: int) -> bytes:
    """A request with a body of some size."""
    return request_bytes("PUT", f"/kvs/{key}", b'{"value": "%s"}' % (b"x" * (size - 13)))


class InTheLane(HttpCase):
    """A node with room for one large body of a client; requests that the lane knows."""

    limits = RequestLimits(idle_seconds=1000)
    lane = True

    def setUp(self) -> None:
        super().setUp()
        self.node.budget = Budget(BUDGET)
        self.node.outcome = Written("s0", EMPTY, existed=False)
        self.metrics = type(self.metrics)()
        self.site = make_site(self.node, self.metrics, self.limits, self.clock, lane=self.lane)
        self.first, self.second = self.connect(), self.connect()

    def assert_reading(self, *expected: bool) -> None:
        """Which of the two connections are read from."""
        states = [connection.transport.producerState for connection in (self.first, self.second)]
        self.assertEqual(states, ["producing" if reading else "paused" for reading in expected])

    def used(self) -> float | None:
        """The metric of the budget."""
        return self.sample("kvsd_body_bytes")

    def begin(self, connection: Connection, request: bytes) -> bytes:
        """Send a part of a request; returns the rest."""
        connection.send(request[: 20 * KIBIBYTE])
        return request[20 * KIBIBYTE :]

    def test_one_after_the_other(self) -> None:
        """A body for which there is no room is not read until there is, and is then served as ever."""
        rest = self.begin(self.first, put("a", 500 * KIBIBYTE))
        other = self.begin(self.second, put("b", 400 * KIBIBYTE))
        self.assert_reading(True, False)
        self.assertGreaterEqual(self.used() or 0, 500 * KIBIBYTE)
        self.first.send(rest)
        self.assertEqual([answer.status for answer in self.first.answers()], [201])
        self.clock.advance(0)
        self.assert_reading(True, True)
        self.second.send(other)
        self.assertEqual([answer.status for answer in self.second.answers()], [201])
        self.assertEqual(self.used(), 0)

    def test_turned_away(self) -> None:
        """After some seconds without room a client gets 503 with Retry-After, and the end of its connection."""
        rest = self.begin(self.first, put("a", 500 * KIBIBYTE))
        self.begin(self.second, put("b", 400 * KIBIBYTE))
        for _ in range(12):
            self.first.send(rest[: 35 * KIBIBYTE])  # it is not slow
            rest = rest[35 * KIBIBYTE :]
            self.clock.advance(PATIENCE_SECONDS / 10)
        (answer,) = self.second.answers()
        self.assert_error(answer, 503, NO_ROOM)
        self.assertEqual((answer.headers["retry-after"], answer.headers["connection"]), ("1", "close"))
        self.assert_reading(True, True)
        self.first.send(rest)
        self.assertEqual([answer.status for answer in self.first.answers()], [201])
        self.assertEqual(self.used(), 0)

    def test_idle_body_gives_way(self) -> None:
        """A body that does not come in loses its room where others wait, and only then."""
        self.begin(self.first, put("a", 500 * KIBIBYTE))
        self.clock.pump([0.5] * 20)
        self.assertEqual(self.first.answers(), [])
        rest = self.begin(self.second, put("b", 400 * KIBIBYTE))
        self.clock.pump([0.1] * 10)
        (answer,) = self.first.answers()
        self.assert_error(answer, 503, NO_ROOM)
        self.assert_reading(True, True)
        self.second.send(rest)
        self.assertEqual([answer.status for answer in self.second.answers()], [201])
        self.assertLess(GRACE_SECONDS, PATIENCE_SECONDS)

    def test_hang_up(self) -> None:
        """A client that leaves gives its room to the next one, and one that waits leaves the queue."""
        self.begin(self.first, put("a", 500 * KIBIBYTE))
        self.begin(self.second, put("b", 400 * KIBIBYTE))
        third = self.connect()
        rest = self.begin(third, put("c", 400 * KIBIBYTE))
        self.second.channel.connectionLost(Failure(ConnectionDone()))
        self.first.channel.connectionLost(Failure(ConnectionDone()))
        self.clock.advance(0)
        self.assertEqual(third.transport.producerState, "producing")
        third.send(rest)
        self.assertEqual([answer.status for answer in third.answers()], [201])
        self.assertEqual(self.used(), 0)

    def test_peers_have_a_share(self) -> None:
        """Where clients have all that they may have, a peer's message still has room; a second one waits."""
        self.node.budget.take_anyway(750 * KIBIBYTE)
        message = request_bytes("POST", "/kvsd/i/messages", b"m" * 200 * KIBIBYTE)
        rest, more = self.begin(self.first, message), self.begin(self.second, message)
        self.assert_reading(True, False)
        self.first.send(rest)
        self.assertEqual([answer.status for answer in self.first.answers()], [200])
        self.clock.advance(0)
        self.second.send(more)
        self.assertEqual([answer.status for answer in self.second.answers()], [200])

    def test_small_bodies_need_no_room(self) -> None:
        """Whatever is under way, small requests are served."""
        self.node.budget.take_anyway(BUDGET)
        self.assertEqual(self.first.ask("PUT", "/kvs/a", b'{"value": 1}').status, 201)
        self.assertEqual(self.first.ask("GET", "/view").status, 200)

    def test_too_many_wait(self) -> None:
        """Only so many bodies wait for room: the next client is told to come again at once."""
        self.node.budget.take_anyway(BUDGET)
        crowd = [self.connect() for _ in range(MAX_WAITING)]
        for connection in [*crowd, self.first]:
            self.begin(connection, put("a", 30 * KIBIBYTE))
        self.clock.advance(0)
        (answer,) = self.first.answers()
        self.assert_error(answer, 503, NO_ROOM)
        self.assertEqual([answer for connection in crowd for answer in connection.answers()], [])


class InKlein(InTheLane):
    """The same without the lane."""

    lane = False

    def test_announced_length_decides(self) -> None:
        """What announces more than a client's limit to a path of clients is not kept, whatever type it says it has."""
        head = request_bytes(
            "PUT", "/kvs/a", None, {"Content-Length": str(8 << 20), "Content-Type": "application/octet-stream"}
        )
        self.first.send(head + b"x" * 100 * KIBIBYTE)
        self.assertEqual(self.used(), 0)
        self.clock.advance(1.1)
        (answer,) = self.first.answers()
        self.assertEqual(answer.status, 413)

    def test_chunks(self) -> None:
        """A body that does not say how long it is needs room for the longest."""
        self.node.budget = Budget(2 << 20)
        self.site = make_site(self.node, type(self.metrics)(), self.limits, self.clock, lane=False)
        self.first, self.second = self.connect(), self.connect()
        head = request_bytes("PUT", "/kvs/a", headers={"Transfer-Encoding": "chunked"})
        self.first.send(head)
        self.second.send(head)
        self.assert_reading(True, False)
        self.first.send(b'c\r\n{"value": 1}\r\n0\r\n\r\n')
        self.assertEqual([answer.status for answer in self.first.answers()], [201])
        self.clock.advance(0)
        self.assert_reading(True, True)
