"""The bad patterns: none in a history that is right, each found with the operations that show it."""

from twisted.trial.unittest import SynchronousTestCase

from kvsd.simulate.checkers.bad_patterns import bad_patterns
from kvsd.simulate.checkers.causal_order import CausalOrder
from kvsd.simulate.checkers.sessions import session_guarantees
from kvsd.simulate.checkers.telling import AT_MOST
from kvsd.simulate.history import Number
from tests.simulation.tale import Tale

Found = list[tuple[str, tuple[Number, ...]]]


def patterns(tale: Tale) -> Found:
    """The bad patterns of a history and their witnesses."""
    return [(violation.rule, violation.witness) for violation in bad_patterns(CausalOrder(tale.history))]


class GoodHistoryTests(SynchronousTestCase):
    """Histories of a store that keeps its promises; the session guarantees hold in them, too."""

    def assert_good(self, tale: Tale) -> None:
        """Nothing is found."""
        self.assertEqual([], bad_patterns(CausalOrder(tale.history)))
        self.assertEqual([], session_guarantees(tale.history))

    def test_empty(self) -> None:
        """Nothing happened."""
        self.assert_good(Tale())

    def test_concurrent_writes_in_different_orders(self) -> None:
        """Without a token one may see concurrent writes in any order, and older ones after newer ones."""
        tale = Tale()
        tale.write("A", "x", "1")
        tale.write("A", "x", "2")
        tale.write("B", "x", "3")
        for client, values in [("C", "1323"), ("D", "3212")]:
            for value in values:
                tale.read(client, "x", value, after=())
        self.assert_good(tale)

    def test_winner_of_concurrent_writes(self) -> None:
        """One may see the loser and then the winner, and the author of the loser sees the winner."""
        tale = Tale()
        tale.write("A", "x", "1")
        tale.write("B", "x", "2")
        for client, value in [("C", "1"), ("C", "2"), ("D", "2"), ("A", "2"), ("D", "2")]:
            tale.read(client, "x", value)
        self.assert_good(tale)

    def test_deletion(self) -> None:
        """After a deletion nothing is there, also for one who gets the token of it, until something is written."""
        tale = Tale()
        tale.read("A", "x", None)
        tale.write("A", "x", "1")
        deletion = tale.delete("A", "x")
        tale.read("A", "x", None)
        tale.read("B", "x", None, after=(deletion,))
        tale.write("B", "x", "2")
        tale.read("A", "x", "2")
        self.assert_good(tale)

    def test_deleted_again_and_again(self) -> None:
        """Values and their absence may take turns, as long as there are enough deletions."""
        tale = Tale()
        tale.read("B", "x", None)
        for value in ("1", "2"):
            tale.write("A", "x", value)
            tale.read("B", "x", value)
            tale.delete("A", "x")
            tale.read("B", "x", None)
        self.assert_good(tale)

    def test_concurrent_deletion(self) -> None:
        """A write and a deletion that know nothing of each other: either may win, here the deletion does."""
        tale = Tale()
        tale.write("A", "x", "1")
        tale.write("A", "x", "2")
        tale.delete("B", "x", after=(0,))
        tale.read("A", "x", "2")
        tale.read("A", "x", None)
        tale.read("C", "x", "1")
        tale.read("C", "x", None)
        self.assert_good(tale)

    def test_absent_before_a_concurrent_write(self) -> None:
        """One who knows nothing of a write need not see it, however long ago it was."""
        tale = Tale()
        tale.write("A", "x", "1")
        tale.read("B", "x", None)
        tale.read("B", "x", "1")
        self.assert_good(tale)

    def test_token_handed_over(self) -> None:
        """One who is given a token sees what it names; its old token does not oblige it any more."""
        tale = Tale()
        tale.write("B", "y", "1")
        given = tale.write("A", "x", "1")
        tale.read("B", "x", "1", after=(given,))
        tale.read("B", "y", None)
        self.assert_good(tale)

    def test_write_that_takes_effect_late(self) -> None:
        """A write without an answer is not there, and then it is; a deletion likewise; or they never happen."""
        tale = Tale()
        tale.write("A", "x", "1")
        tale.write("B", "x", "2", lost=True)
        tale.write("B", "x", "3", lost=True)
        tale.read("A", "x", "1")
        tale.read("A", "x", "2")
        tale.delete("C", "x", lost=True)
        tale.read("A", "x", "2")
        tale.read("A", "x", None)
        self.assert_good(tale)

    def test_write_that_is_carried_out_twice(self) -> None:
        """Of tries of the same write each may take effect: the value comes back after it was overwritten or deleted."""
        tale = Tale()
        tale.write("A", "x", "1", lost=True)
        tale.write("A", "x", "1")
        tale.write("A", "x", "2")
        tale.delete("A", "x")
        tale.read("A", "x", None)
        tale.read("A", "x", "1")
        self.assert_good(tale)

    def test_convergent_but_not_causal_memory(self) -> None:
        """An example of the paper: convergent, though no single order of all writes explains what B sees."""
        tale = Tale()
        for key in ("z", "x", "y"):
            tale.write("A", key, "1")
        tale.write("B", "x", "2")
        for key, value in [("z", None), ("y", "1"), ("x", "2")]:
            tale.read("B", key, value)
        self.assert_good(tale)

    def test_not_sequential(self) -> None:
        """An example of the paper: both work on their own, as in a partition."""
        tale = Tale()
        for client, value in [("A", "1"), ("B", "2")]:
            tale.write(client, "x", value)
            tale.read(client, "y", None)
            tale.write(client, "y", value)
            tale.read(client, "x", value)
        self.assert_good(tale)


class BadPatternTests(SynchronousTestCase):
    """Each pattern is found, with a short witness."""

    def assert_found(self, expected: Found, tale: Tale) -> None:
        """These and no other patterns are found, and the sentence cites the operations."""
        self.assertEqual(expected, patterns(tale))
        for violation in bad_patterns(CausalOrder(tale.history)):
            for number in violation.witness:
                self.assertIn(str(tale.history[number]), violation.text)

    def test_value_that_nobody_wrote(self) -> None:
        """ThinAirRead: a value out of thin air, or one that was written to another key."""
        tale = Tale()
        tale.write("A", "x", "1")
        reads = [tale.read("B", "x", "7"), tale.read("B", "y", "1")]
        self.assert_found([("ThinAirRead", (read,)) for read in reads], tale)

    def test_value_from_the_future(self) -> None:
        """ThinAirRead: a value whose write was asked only after the read had been answered."""
        tale = Tale()
        read = tale.read("B", "x", "1")
        write = tale.write("A", "x", "1")
        self.assert_found([("ThinAirRead", (write, read))], tale)

    def test_cycle(self) -> None:
        """CyclicCO: two writes, each by one who had seen the other; the detour of a client does not matter."""
        tale = Tale()
        tale.read("A", "x", "1", asked=0, answered=9)
        tale.write("A", "y", "1", asked=9)
        tale.write("A", "z", "1", asked=8)
        tale.read("B", "y", "1", asked=9, answered=9)
        tale.write("B", "x", "1", asked=9)
        self.assert_found([("CyclicCO", (0, 1, 3, 4))], tale)

    def test_read_of_own_later_write(self) -> None:
        """A read that shows what its client writes only afterwards is out of thin air and makes a cycle."""
        tale = Tale()
        read, write = tale.read("A", "x", "1"), tale.write("A", "x", "1")
        self.assert_found([("ThinAirRead", (write, read)), ("CyclicCO", (read, write))], tale)

    def test_absent_after_a_write(self) -> None:
        """WriteCOInitRead: nothing is there, though a write is in the past by way of another client and key."""
        tale = Tale()
        write = tale.write("A", "x", "1")
        tale.write("A", "y", "1")
        tale.read("B", "y", "1")
        read = tale.read("B", "x", None)
        self.assert_found([("WriteCOInitRead", (write, read))], tale)

    def test_absent_after_an_undone_deletion(self) -> None:
        """WriteCOInitRead: the only deletion was overwritten, was asked too late or came after the read."""
        tale = Tale()
        tale.write("A", "x", "1")
        tale.delete("A", "x")
        write = tale.write("A", "x", "2")
        read = tale.read("B", "x", None, after=(write,))
        tale.delete("B", "x")
        tale.delete("C", "x")
        self.assert_found([("WriteCOInitRead", (write, read))], tale)

    def test_overwritten_version(self) -> None:
        """WriteCORead, an example of the paper: C sees what was overwritten by what it has seen."""
        tale = Tale()
        old = tale.write("A", "x", "1")
        tale.write("A", "y", "1")
        tale.read("B", "y", "1")
        new = tale.write("B", "x", "2")
        tale.read("C", "x", "2")
        read = tale.read("C", "x", "1")
        self.assert_found([("WriteCORead", (old, new, read))], tale)

    def test_deleted_version(self) -> None:
        """WriteCORead: a deleted value comes back; that it was deleted is known by an absence only."""
        tale = Tale()
        write = tale.write("A", "x", "1")
        tale.read("B", "x", "1")
        deletion = tale.delete("B", "x")
        tale.read("A", "x", None)
        read = tale.read("A", "x", "1")
        self.assert_found([("WriteCORead", (write, deletion, read))], tale)

    def test_different_winners(self) -> None:
        """CyclicCF, an example of the paper: causally consistent, but the two never agree on x."""
        tale = Tale()
        a, b = tale.write("A", "x", "1"), tale.write("B", "x", "2")
        ra, rb = tale.read("A", "x", "2"), tale.read("B", "x", "1")
        self.assert_found([("CyclicCF", (a, ra, b, rb))], tale)
        self.assertEqual([], session_guarantees(tale.history))

    def test_winner_that_changes(self) -> None:
        """CyclicCF, an example of the paper: B sees its own write beaten, and then win."""
        tale = Tale()
        a, b = tale.write("A", "x", "1"), tale.write("B", "x", "2")
        one, two = tale.read("B", "x", "1"), tale.read("B", "x", "2")
        self.assert_found([("CyclicCF", (a, two, b, one))], tale)

    def test_cycle_through_several_keys(self) -> None:
        """CyclicCF: each key alone has an order of its writes, but all keys together have none."""
        tale = Tale()
        x2, y1 = tale.write("B", "x", "2"), tale.write("B", "y", "1")
        y2, x1 = tale.write("D", "y", "2"), tale.write("D", "x", "1")
        tale.read("E", "x", "1")
        ex = tale.read("E", "x", "2")
        tale.read("F", "y", "1")
        fy = tale.read("F", "y", "2")
        self.assert_found([("CyclicCF", (x2, y1, fy, y2, x1, ex))], tale)

    def test_deletion_that_wins_for_some(self) -> None:
        """CyclicCF: one sees a value beaten by a concurrent deletion, another one the deletion beaten by the value."""
        tale = Tale()
        write, deletion = tale.write("A", "x", "1"), tale.delete("B", "x")
        absent, present = tale.read("A", "x", None), tale.read("B", "x", "1")
        self.assert_found([("CyclicCF", (write, absent, deletion, present))], tale)

    def test_long_way_round(self) -> None:
        """CyclicCF: of a long cycle and a short one the short one is told first."""
        tale = Tale()
        for client, value in [("A", "1"), ("B", "2"), ("C", "3")]:
            tale.write(client, "x", value)
        for client, value in [("A", "2"), ("B", "3"), ("C", "1")]:
            tale.read(client, "x", value)
        self.assert_found([("CyclicCF", (0, 3, 1, 4, 2, 5))], tale)
        tale.read("D", "x", "1")
        tale.read("D", "x", "3")
        self.assertEqual(("CyclicCF", (0, 7, 2, 5)), patterns(tale)[0])

    def test_at_most_a_few(self) -> None:
        """Of a history in which everything is wrong only some violations are told."""
        tale = Tale()
        for number in range(10):
            tale.write("A", "x", f"{number}")
            tale.read("A", "x", None)
            tale.read("A", "x", f"no{number}")
        self.assertEqual(
            ["ThinAirRead"] * AT_MOST + ["WriteCOInitRead"] * AT_MOST, [rule for rule, _ in patterns(tale)]
        )
