"""What readers were shown: the same again, as long as it is still what they would see."""

from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication.causality import Dot
from kvsd.replication.record import Record, Row
from kvsd.replication.requests import Found
from kvsd.replication.shown import MAX_SHOWN, MAX_VALUE_BYTES, Shown
from kvsd.replication.token import EMPTY, Token

WRITER = b"w" * 8
KEY = (0, "key")
STABLE = Token(epoch=3, hlc=50)
UNSTABLE = Token(epoch=3, hlc=50, dependencies={"s0": {WRITER: 1}})


def row(value: bytes | None = b"1", key: str = "key") -> Row:
    """A row that was stamped at 50."""
    return Row(WRITER, 1, Record(0, key, value, 50, Dot("s0", WRITER, 1), {}, 3, "", True, 0))


class ShownTests(SynchronousTestCase):
    """One row that was shown in epoch 3, after 7 reports."""

    def setUp(self) -> None:
        self.row = row()
        self.shown = Shown()

    def keep(self, seen: Token = STABLE, by: Token = EMPTY) -> Found:
        """Show the row, with the token that goes with it, to a reader with a token."""
        found = Found("s0", seen, b"1")
        self.shown.keep(KEY, self.row, by, found, 7)
        return found

    def again(self, token: Token = EMPTY, epoch: int = 3, reports: int = 7) -> Found | None:
        """What is shown to the next one."""
        return self.shown.again(KEY, self.row, token, epoch, reports)

    def test_the_same_again(self) -> None:
        """A reader who has seen nothing newer is shown the very same, whatever was reported meanwhile."""
        found = self.keep()
        for token in (EMPTY, Token(2, 49), Token(3, 50)):
            self.assertIs(found, self.again(token, reports=8))

    def test_another_row(self) -> None:
        """What was shown of a row is not shown of the one that took its place, though that is equal."""
        self.keep()
        self.assertIsNone(self.shown.again(KEY, replace(self.row), EMPTY, 3, 7))
        self.assertIsNone(self.shown.again((1, "key"), self.row, EMPTY, 3, 7))

    def test_who_has_seen_more(self) -> None:
        """The token of a reader only grows: one with a later stamp, or with dependencies, needs an answer of its own."""
        self.keep()
        self.assertIsNone(self.again(Token(3, 51)))
        self.assertIsNone(self.again(Token(3, 50, {"s1": {WRITER: 1}})))

    def test_answers_to_such_readers_are_not_kept(self) -> None:
        """Nobody is given what another one has seen."""
        self.keep(by=Token(3, 51))
        self.assertIsNone(self.again())
        self.keep(by=Token(3, 0, {"s1": {WRITER: 1}}))
        self.assertIsNone(self.again())

    def test_another_epoch(self) -> None:
        """In another epoch the token has to name that."""
        self.keep()
        self.assertIsNone(self.again(epoch=4))

    def test_what_was_not_stable(self) -> None:
        """A token with dependencies is shown until the next reports, by which it may be shorter."""
        found = self.keep(UNSTABLE)
        self.assertIs(found, self.again())
        self.assertIsNone(self.again(reports=8))

    def test_no_more_than_so_many(self) -> None:
        """Of many rows, the last are remembered; shown again, a row is one of the last."""
        self.keep()
        other = row()
        for number in range(MAX_SHOWN):
            other = row(key=str(number))
            self.shown.keep((0, str(number)), other, EMPTY, Found("s0", STABLE, b"1"), 7)
            if number == 0:
                self.keep()
        self.assertIsNotNone(self.again())
        self.assertIsNone(self.shown.again((0, "0"), other, EMPTY, 3, 7))

    def test_large_values_and_tombstones(self) -> None:
        """A large value would take much memory, and a tombstone is seldom asked for."""
        for value in (b"1" * (MAX_VALUE_BYTES + 1), None):
            self.row = row(value)
            self.keep()
            self.assertIsNone(self.again())
