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
        return self.shown.keep(KEY, self.row, by, found, 7)

    def again(self, token: Token = EMPTY, epoch: int = 3, reports: int = 7) -> Found | None:
        """What is shown to the next one."""
        return self.shown.again(KEY, self.row, token, epoch, reports)

    def test_the_same_again(self) -> None:
        """A reader who has seen nothing newer is shown the very same."""
        found = self.keep()
        for token in (EMPTY, Token(2, 49), Token(3, 50)):
            self.assertIs(found, self.again(token))

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

    def test_other_reports(self) -> None:
        """By other reports it is made anew, as more may be stable, or less; it is the one before where it is equal."""
        for before, after in ((UNSTABLE, STABLE), (STABLE, UNSTABLE), (STABLE, STABLE)):
            found = self.keep(before)
            self.assertIsNone(self.again(reports=8))
            kept = self.shown.keep(KEY, self.row, EMPTY, Found("s0", after, b"1"), 8)
            self.assertEqual(kept is found, before is after)
            self.assertIs(self.again(reports=8), kept)

    def test_many_dependencies(self) -> None:
        """A token of many writes takes memory, and is soon out of date."""
        self.keep(Token(3, 50, {"s0": {bytes((number,)) * 8: 1 for number in range(17)}}))
        self.assertIsNone(self.again())

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

    def test_large_values(self) -> None:
        """A large value would take much memory."""
        value = b"1" * (MAX_VALUE_BYTES + 1)
        self.shown.keep(KEY, self.row, EMPTY, Found("s0", STABLE, value), 7)
        self.assertIsNone(self.again())
