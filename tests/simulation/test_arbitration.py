"""The last writer wins, by stamps that extend causality."""

from twisted.trial.unittest import SynchronousTestCase

from kvsd.simulate.checkers.arbitration import last_writer_wins
from kvsd.simulate.checkers.causal_order import CausalOrder
from kvsd.simulate.history import Number
from tests.simulation.tale import Tale


class ArbitrationTests(SynchronousTestCase):
    """A history is told, and judged under various stamps."""

    def setUp(self) -> None:
        """A history with nothing in it."""
        self.tale = Tale()

    def assert_found(self, stamps: dict[Number, int], *expected: tuple[Number, ...]) -> None:
        """Under these stamps the last writer does not win, as these operations show."""
        found = last_writer_wins(CausalOrder(self.tale.history), stamps)
        self.assertEqual(list(expected), [violation.witness for violation in found])
        self.assertEqual({"last writer wins"} if expected else set(), {violation.rule for violation in found})

    def test_stamps_follow_causality(self) -> None:
        """One who has seen a write writes under a larger stamp, also by way of another client and key."""
        first = self.tale.write("A", "x", "1")
        self.tale.write("A", "y", "1")
        self.tale.read("B", "y", "1")
        second = self.tale.write("B", "x", "2")
        self.assert_found({first: 5, second: 6})
        self.assert_found({first: 5, second: 5}, (first, second))
        self.assert_found({first: 5, second: 4}, (first, second))

    def test_unknown_stamps(self) -> None:
        """Between writes of one key whose stamps are known there may be others."""
        first, second, third = [self.tale.write("A", "x", value) for value in "123"]
        self.assert_found({first: 5, third: 4}, (first, third))
        self.assert_found({second: 4})

    def test_other_keys_and_concurrent_writes(self) -> None:
        """Stamps of different keys, and of writes that know nothing of each other, may be in any order."""
        first, second, third = (
            self.tale.write("A", "x", "1"),
            self.tale.write("A", "y", "1"),
            self.tale.write("B", "x", "2"),
        )
        self.assert_found({first: 5, second: 4, third: 3})

    def test_read_of_a_loser(self) -> None:
        """One who knows a write sees no concurrent one of a smaller stamp."""
        first, second = self.tale.write("A", "x", "1"), self.tale.write("B", "x", "2")
        read = self.tale.read("A", "x", "2")
        self.assert_found({first: 5, second: 6})
        self.assert_found({first: 5, second: 4}, (first, read))
        self.assert_found({first: 5})
        self.assert_found({second: 4})

    def test_nothing_there(self) -> None:
        """One who knows a write finds nothing only if a deletion has a larger stamp, or one that is not known."""
        write, first, second = self.tale.write("A", "x", "1"), self.tale.delete("B", "x"), self.tale.delete("C", "x")
        read = self.tale.read("A", "x", None)
        self.assert_found({write: 5, first: 4, second: 6})
        self.assert_found({write: 5, first: 4})
        self.assert_found({write: 5, first: 4, second: 3}, (write, read))
