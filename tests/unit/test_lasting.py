"""Outcomes that last: the last ones, and no more."""

from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication.key_changes import KeyChanges
from kvsd.replication.lasting import MAX_LASTING, Lasting
from kvsd.replication.requests import Found, Get
from kvsd.replication.token import EMPTY, Token


class LastingTests(SynchronousTestCase):
    """Keys that were shown under one outlook."""

    def setUp(self) -> None:
        self.changes = KeyChanges()
        self.lasting = Lasting(self.changes)
        self.found = Found("s0", Token(1, 5), b"1")

    def test_bounds(self) -> None:
        """The oldest goes first; what was shown again counts as young."""
        for number in range(MAX_LASTING):
            self.lasting.keep(f"key{number}", self.found, 7)
        self.lasting.keep("key0", self.found, 7)
        self.lasting.keep("one more", self.found, 7)
        known = [self.lasting.again(Get(f"key{number}", EMPTY), 7, 5) is self.found for number in range(MAX_LASTING)]
        self.assertEqual(known, [number != 1 for number in range(MAX_LASTING)])

    def test_another_outlook(self) -> None:
        """Under another outlook nothing is known."""
        self.lasting.keep("key", self.found, 7)
        self.assertIs(self.lasting.again(Get("key", EMPTY), 7, 5), self.found)
        self.assertIsNone(self.lasting.again(Get("key", EMPTY), 8, 5))
        self.assertIsNone(self.lasting.again(Get("other", EMPTY), 7, 5))
