"""Answers that are given again: not once they may be others, under their own date, and not too many."""

from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication.basis import Basis
from kvsd.replication.key_changes import MAX_KEYS
from kvsd.resources.door import Reply
from kvsd.resources.recent import GENERATION_BYTES, MAX_ANSWER_BYTES, MAX_REQUEST_BYTES, Recent
from tests.fakes import FakeNode

HEAD = b"HTTP/1.1 200 OK\r\nServer: kvsd\r\nDate: %b\r\nContent-Length: 2\r\n\r\n%b"
FOUND = Reply(200, b"", lasts=True)
NOON, ONE_LATER = b"Thu, 01 Jan 1970 12:00:00 GMT", b"Thu, 01 Jan 1970 12:00:01 GMT"


class RecentTests(SynchronousTestCase):
    """What one request was answered at noon, by a node in which nothing happens."""

    def setUp(self) -> None:
        self.node = FakeNode()
        self.node.quiet = True
        self.noon = 12 * 3600.0
        self.recent = Recent(self.node, lambda: self.noon)
        self.assertIsNone(self.recent.get(b"GET"))
        self.keep(b"GET", b"{}")

    def keep(self, request: bytes, body: bytes, reply: Reply = FOUND) -> None:
        """A request about the key of its name was answered at noon."""
        self.recent.keep(request, request.decode(), reply, HEAD % (NOON, body))

    def answer(self, request: bytes) -> bytes | None:
        """What is given again."""
        given = self.recent.get(request)
        return given.answer if given else None

    def test_again(self) -> None:
        """It is known, and counts as what it is."""
        self.noon += 0.9
        self.keep(b"HEAD", b"{}", Reply(404, b"", lasts=True))
        given = [self.recent.get(request) for request in (b"GET", b"HEAD")]
        self.assertEqual(
            [(g.label, g.answer) for g in given if g], [(w, HEAD % (NOON, b"{}")) for w in ("found", "absent")]
        )
        self.assertIsNone(self.recent.get(b"PUT"))

    def test_key_that_changes(self) -> None:
        """It is not known any more once its key has changed; others are, whatever changes."""
        self.keep(b"PUT", b"1")
        self.node.key_changes.note("GET")
        for _ in range(2):
            self.assertEqual((self.answer(b"GET"), self.answer(b"PUT")), (None, HEAD % (NOON, b"1")))
        for number in range(3 * MAX_KEYS):
            self.node.key_changes.note(f"key{number}")
            if number % 1000 == 0:
                self.assertIsNotNone(self.recent.get(b"PUT"))
        self.keep(b"GET", b"2")
        self.assertEqual(self.answer(b"GET"), HEAD % (NOON, b"2"))
        self.node.key_changes.note_all()
        self.assertEqual((self.answer(b"GET"), self.answer(b"PUT")), (None, None))

    def test_of_another_node(self) -> None:
        """What another node told is known as that, whatever changes here, until it is forgotten."""
        self.keep(b"PUT", b"1", Reply(200, b"", lasts=True, basis=Basis("node", 7, 3)))
        self.node.key_changes.note("PUT")
        given = self.recent.get(b"PUT")
        assert given is not None
        self.assertEqual(given.basis, Basis("node", 7, 3))
        self.assertEqual(self.recent.confirmed(given, 5), HEAD % (NOON, b"1"))
        self.assertEqual(given.basis, Basis("node", 7, 5))
        self.recent.forget(b"PUT")
        self.recent.forget(b"POST")
        self.assertIsNone(self.recent.get(b"PUT"))

    def test_node_that_stops(self) -> None:
        """Nothing is kept of a node without an outlook."""
        self.node.stopped = True
        self.keep(b"PUT", b"1")
        self.assertEqual((self.answer(b"GET"), self.answer(b"PUT")), (None, None))
        self.node.stopped = False
        self.assertIsNone(self.answer(b"PUT"))

    def test_another_second(self) -> None:
        """An answer says at which second it is given, whatever else it says of dates."""
        self.keep(b"PUT", b"\r\nDate: 1\r\n")
        self.noon += 1
        for _ in range(2):
            self.assertEqual(self.answer(b"GET"), HEAD % (ONE_LATER, b"{}"))
            self.assertEqual(self.answer(b"PUT"), HEAD % (ONE_LATER, b"\r\nDate: 1\r\n"))

    def test_another_outlook(self) -> None:
        """When the outlook changes all is unknown; what comes then is known."""
        self.keep(b"PUT", b"1", Reply(200, b"", lasts=True, basis=Basis("node", 7, 3)))
        self.node.outcome = None
        self.assertEqual((self.answer(b"GET"), self.answer(b"PUT")), (None, None))
        self.keep(b"PUT", b"1")
        self.assertEqual((self.answer(b"GET"), self.answer(b"PUT")), (None, HEAD % (NOON, b"1")))

    def test_long_ones(self) -> None:
        """Long requests and answers are not kept."""
        long = b"x" * (MAX_REQUEST_BYTES + 1)
        self.keep(long, b"1")
        self.keep(b"PUT", b"x" * MAX_ANSWER_BYTES)
        self.assertEqual((self.answer(long), self.answer(b"PUT")), (None, None))

    def test_kept_again(self) -> None:
        """What is kept again and again takes the room of one."""
        for _ in range(2 * GENERATION_BYTES // 1800):
            self.keep(b"PUT", b"x" * 1800)
        self.assertEqual(self.answer(b"GET"), HEAD % (NOON, b"{}"))

    def test_bounds(self) -> None:
        """What is asked again stays, of all else only so much."""
        large = HEAD % (NOON, b"x" * 1800)
        number, most = 0, 2 * GENERATION_BYTES // len(large)
        for number in range(2 * most):
            self.keep(b"%d" % number, b"x" * 1800)
            if number % 100 == 0:
                self.assertIsNotNone(self.recent.get(b"GET"))
        self.assertEqual(self.answer(b"%d" % number), large)
        kept = [number for number in range(2 * most) if self.recent.get(b"%d" % number)]
        self.assertTrue(most / 4 < len(kept) <= most, len(kept))
