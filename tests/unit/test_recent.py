"""Answers that are given again: not with another outlook, under their own date, and not too many."""

from twisted.trial.unittest import SynchronousTestCase

from kvsd.resources.recent import GENERATION_BYTES, MAX_ANSWER_BYTES, MAX_REQUEST_BYTES, Recent
from tests.fakes import FakeNode

HEAD = b"HTTP/1.1 200 OK\r\nServer: kvsd\r\nDate: %b\r\nContent-Length: 2\r\n\r\n%b"
NOON, ONE_LATER = b"Thu, 01 Jan 1970 12:00:00 GMT", b"Thu, 01 Jan 1970 12:00:01 GMT"


class RecentTests(SynchronousTestCase):
    """What one request was answered at noon, by a node in which nothing happens."""

    def setUp(self) -> None:
        self.node = FakeNode()
        self.node.quiet = True
        self.noon = 12 * 3600.0
        self.recent = Recent(self.node, lambda: self.noon)
        self.assertIsNone(self.recent.get(b"GET"))
        self.recent.keep(b"GET", "found", HEAD % (NOON, b"{}"))

    def answer(self, request: bytes) -> bytes | None:
        """What is given again."""
        given = self.recent.get(request)
        return given.answer if given else None

    def test_again(self) -> None:
        """It is known until the outlook changes."""
        self.noon += 0.9
        given = self.recent.get(b"GET")
        assert given is not None
        self.assertEqual((given.label, given.answer), ("found", HEAD % (NOON, b"{}")))
        self.assertIsNone(self.recent.get(b"PUT"))

    def test_another_second(self) -> None:
        """An answer says at which second it is given, whatever else it says of dates."""
        self.recent.keep(b"PUT", "found", HEAD % (NOON, b"\r\nDate: 1\r\n"))
        self.noon += 1
        for _ in range(2):
            self.assertEqual(self.answer(b"GET"), HEAD % (ONE_LATER, b"{}"))
            self.assertEqual(self.answer(b"PUT"), HEAD % (ONE_LATER, b"\r\nDate: 1\r\n"))

    def test_another_outlook(self) -> None:
        """When the outlook changes all is unknown, and what was asked before that is not kept; what comes then is known."""
        self.node.outcome = None
        self.recent.keep(b"PUT", "found", HEAD % (NOON, b"1"))
        self.assertEqual((self.answer(b"GET"), self.answer(b"PUT")), (None, None))
        self.recent.keep(b"PUT", "found", HEAD % (NOON, b"1"))
        self.assertEqual((self.answer(b"GET"), self.answer(b"PUT")), (None, HEAD % (NOON, b"1")))

    def test_long_ones(self) -> None:
        """Long requests and answers are not kept."""
        long = b"x" * (MAX_REQUEST_BYTES + 1)
        self.recent.keep(long, "found", HEAD % (NOON, b"1"))
        self.recent.keep(b"PUT", "found", HEAD % (NOON, b"x" * MAX_ANSWER_BYTES))
        self.assertEqual((self.answer(long), self.answer(b"PUT")), (None, None))

    def test_bounds(self) -> None:
        """What is asked again stays, of all else only so much."""
        large = HEAD % (NOON, b"x" * 1800)
        number, most = 0, 2 * GENERATION_BYTES // len(large)
        for number in range(2 * most):
            self.recent.keep(b"%d" % number, "found", large)
            if number % 100 == 0:
                self.assertIsNotNone(self.recent.get(b"GET"))
        self.assertEqual(self.answer(b"%d" % number), large)
        kept = [number for number in range(2 * most) if self.recent.get(b"%d" % number)]
        self.assertTrue(most / 4 < len(kept) <= most, len(kept))
