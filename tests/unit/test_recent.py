"""Answers that are given again: not after an event, not in another second, not too many."""

from twisted.trial.unittest import SynchronousTestCase

from kvsd.resources.recent import MAX_ANSWER_BYTES, MAX_GIVEN, MAX_REQUEST_BYTES, Given, Recent
from tests.fakes import FakeNode

ANSWER = Given("found", b"1")


class RecentTests(SynchronousTestCase):
    """What one request was answered at noon, by a node in which nothing happens."""

    def setUp(self) -> None:
        self.node = FakeNode()
        self.node.quiet = True
        self.noon = 12 * 3600.0
        self.recent = Recent(self.node, lambda: self.noon)
        self.assertIsNone(self.recent.get(b"GET"))
        self.recent.keep(b"GET", ANSWER)

    def test_again(self) -> None:
        """It is known until something happens, or the next second begins."""
        self.noon += 0.9
        self.assertEqual(self.recent.get(b"GET"), ANSWER)
        self.assertIsNone(self.recent.get(b"PUT"))

    def test_another_second(self) -> None:
        """An answer says at which second it was given."""
        self.noon += 1
        self.assertIsNone(self.recent.get(b"GET"))

    def test_event(self) -> None:
        """After an event all is unknown, and what was asked before it is not kept; what comes then is known."""
        self.node.outcome = None
        self.recent.keep(b"PUT", ANSWER)
        self.assertEqual((self.recent.get(b"GET"), self.recent.get(b"PUT")), (None, None))
        self.recent.keep(b"PUT", ANSWER)
        self.assertEqual((self.recent.get(b"GET"), self.recent.get(b"PUT")), (None, ANSWER))

    def test_bounds(self) -> None:
        """Long requests and answers are not kept, nor more than so many."""
        long = b"x" * (MAX_REQUEST_BYTES + 1)
        self.recent.keep(long, ANSWER)
        self.recent.keep(b"PUT", Given("found", b"x" * (MAX_ANSWER_BYTES + 1)))
        self.assertEqual((self.recent.get(long), self.recent.get(b"PUT")), (None, None))
        for number in range(MAX_GIVEN):
            self.recent.keep(b"%d" % number, ANSWER)
        kept = [number for number in range(MAX_GIVEN) if self.recent.get(b"%d" % number)]
        self.assertEqual(len(kept), MAX_GIVEN - 1)
