"""What is taken to be in the past of what."""

from twisted.trial.unittest import SynchronousTestCase

from kvsd.simulate.checkers.bits import members
from kvsd.simulate.checkers.causal_order import CausalOrder
from kvsd.simulate.history import Number
from tests.simulation.tale import Tale


def past(tale: Tale, number: Number) -> list[Number]:
    """The numbers of the operations before an operation."""
    return sorted(members(CausalOrder(tale.history).past[number]))


class TokenTests(SynchronousTestCase):
    """Operations come after those whose token they carried, and after the writes that they show."""

    def test_session(self) -> None:
        """A client's operations come one after another."""
        tale = Tale()
        first, second, third = tale.write("A", "x", "1"), tale.write("A", "y", "1"), tale.write("A", "z", "1")
        self.assertEqual([first, second], past(tale, third))

    def test_strangers(self) -> None:
        """What comes later in time, but carries no token, comes after nothing."""
        tale = Tale()
        tale.write("A", "x", "1")
        self.assertEqual([], past(tale, tale.write("B", "x", "2")))

    def test_token_handed_over(self) -> None:
        """A client that carries another one's token comes after that one's operations, not after its own."""
        tale = Tale()
        given = tale.write("A", "x", "1")
        tale.write("B", "y", "1")
        self.assertEqual([given], past(tale, tale.write("B", "z", "1", after=(given,))))

    def test_older_token(self) -> None:
        """A client that goes back to an older token forgets what came after that."""
        tale = Tale()
        old = tale.write("A", "x", "1")
        tale.write("A", "y", "1")
        self.assertEqual([old], past(tale, tale.read("A", "x", "1", after=(old,))))

    def test_several_tokens(self) -> None:
        """A read that carries several tokens comes after everything that one of them names."""
        tale = Tale()
        tale.write("A", "x", "1")
        a, b = tale.write("A", "x", "2"), tale.write("B", "y", "1")
        self.assertEqual([0, a, b], past(tale, tale.read("end", "x", "2", after=(a, b))))

    def test_request_without_answer(self) -> None:
        """A write that got no answer gives no token: its client's next operation does not come after it."""
        tale = Tale()
        first = tale.write("A", "x", "1")
        tale.write("A", "x", "2", lost=True)
        self.assertEqual([first], past(tale, tale.read("A", "x", "1")))

    def test_read(self) -> None:
        """A read comes after the write that it shows, answered or not, and after what that came after."""
        tale = Tale()
        cause = tale.write("A", "y", "1")
        write = tale.write("A", "x", "1", lost=True)
        self.assertEqual([cause, write], past(tale, tale.read("B", "x", "1")))

    def test_write_that_is_asked_while_the_read_is_under_way(self) -> None:
        """A slow read may show a write that is asked after it, also one that has still to be told of."""
        tale = Tale()
        read = tale.read("B", "x", "1", asked=0, answered=9)
        cause, write = tale.write("A", "y", "1"), tale.write("A", "x", "1")
        self.assertEqual([cause, write], past(tale, read))

    def test_cycle(self) -> None:
        """An operation may turn out to be in its own past."""
        tale = Tale()
        read = tale.read("A", "x", "1")
        write = tale.write("A", "x", "1")
        self.assertEqual([read, write], past(tale, read))


class AbsenceTests(SynchronousTestCase):
    """What a read that finds nothing must have seen."""

    def test_initial_state(self) -> None:
        """One who knows of no write of the key may have seen the initial state, even if the key was deleted once."""
        tale = Tale()
        tale.write("A", "x", "1")
        tale.delete("A", "x")
        self.assertEqual([], past(tale, tale.read("B", "x", None)))

    def test_only_deletion(self) -> None:
        """One who knows of a write of the key has seen the deletion, if there is only one, and its past."""
        tale = Tale()
        write = tale.write("A", "x", "1")
        cause = tale.write("B", "y", "1")
        deletion = tale.delete("B", "x")
        read = tale.read("A", "x", None)
        self.assertEqual([write, cause, deletion], past(tale, read))
        self.assertEqual(deletion, CausalOrder(tale.history).source(tale.history[read]))

    def test_deletion_without_answer(self) -> None:
        """A deletion that got no answer may be the one that was seen."""
        tale = Tale()
        write = tale.write("A", "x", "1")
        deletion = tale.delete("B", "x", lost=True)
        self.assertEqual([write, deletion], past(tale, tale.read("A", "x", None)))

    def test_several_deletions(self) -> None:
        """Of several possible deletions it is only known what all of them have in their past."""
        tale = Tale()
        write, cause = tale.write("A", "x", "1"), tale.write("B", "y", "1")
        tale.delete("B", "x")
        tale.delete("C", "x", after=(cause,))
        read = tale.read("A", "x", None)
        self.assertEqual([write, cause], past(tale, read))
        self.assertIsNone(CausalOrder(tale.history).source(tale.history[read]))

    def test_deletion_that_was_overwritten(self) -> None:
        """A deletion that was overwritten in the reader's past can't be the one."""
        tale = Tale()
        tale.delete("A", "x")
        tale.write("A", "x", "1")
        deletion = tale.delete("B", "x")
        self.assertIn(deletion, past(tale, tale.read("A", "x", None)))

    def test_deletion_after_the_read(self) -> None:
        """A deletion by one who had seen the read can't be the one, nor can one that was asked too late."""
        tale = Tale()
        tale.write("A", "x", "1")
        read = tale.read("A", "x", None)
        tale.write("A", "x", None, asked=3)
        tale.delete("B", "x")
        self.assertEqual({read: 0}, CausalOrder(tale.history).explained_by)

    def test_deletion_while_the_read_is_under_way(self) -> None:
        """A deletion that is asked before the read is answered can be the one."""
        tale = Tale()
        tale.write("A", "x", "1")
        read = tale.read("A", "x", None, asked=2, answered=9)
        deletion = tale.delete("B", "x")
        self.assertIn(deletion, past(tale, read))

    def test_one_inference_leads_to_the_next(self) -> None:
        """What a read that found nothing brings into a past decides what the next one must have seen."""
        tale = Tale()
        tale.write("A", "x", "1")
        tale.write("A", "y", "1")
        early = tale.delete("B", "y")
        tale.write("B", "y", "2")
        tale.delete("B", "x")
        late = tale.delete("C", "y")
        self.assertNotIn(late, past(tale, tale.read("A", "y", None, after=(1,))))
        tale.read("A", "x", None, after=(1,))
        self.assertIn(late, past(tale, read := tale.read("A", "y", None)))
        self.assertEqual(1 << late, CausalOrder(tale.history).explained_by[read])
        self.assertIn(early, past(tale, read))
