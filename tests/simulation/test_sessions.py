"""The four session guarantees: each of them broken in every way that it can be."""

from twisted.trial.unittest import SynchronousTestCase

from kvsd.simulate.checkers.bad_patterns import bad_patterns
from kvsd.simulate.checkers.causal_order import CausalOrder
from kvsd.simulate.checkers.sessions import session_guarantees
from kvsd.simulate.checkers.telling import AT_MOST
from kvsd.simulate.history import Number
from tests.simulation.tale import Tale


class SessionTests(SynchronousTestCase):
    """A history is told, and what is broken in it is asserted."""

    def setUp(self) -> None:
        """A history with nothing in it."""
        self.tale = Tale()

    def assert_broken(self, *expected: tuple[str, tuple[Number, ...]]) -> None:
        """These guarantees are broken, and the sentence cites the operations."""
        violations = session_guarantees(self.tale.history)
        self.assertEqual(list(expected), [(violation.rule, violation.witness) for violation in violations])
        for violation in violations:
            for number in violation.witness:
                self.assertIn(str(self.tale.history[number]), violation.text)

    def assert_kept(self) -> None:
        """All guarantees are kept."""
        self.assert_broken()


class ReadYourWritesTests(SessionTests):
    """A session sees what it has written, or something newer."""

    def test_nothing_there(self) -> None:
        """What was written is not there."""
        write, read = self.tale.write("A", "x", "1"), self.tale.read("A", "x", None)
        self.assert_broken(("read your writes", (write, read)))

    def test_version_before(self) -> None:
        """The version that the session knew before its write is back."""
        other = self.tale.write("B", "x", "1")
        seen, write = self.tale.read("A", "x", "1"), self.tale.write("A", "x", "2")
        read = self.tale.read("A", "x", "1")
        self.assert_broken(("read your writes", (seen, write, read)))
        self.tale.read("B", "x", "1", after=(other,))
        self.assert_broken(("read your writes", (seen, write, read)))

    def test_deleted_version(self) -> None:
        """What the session has deleted is back."""
        write, deletion = self.tale.write("A", "x", "1"), self.tale.delete("A", "x")
        read = self.tale.read("A", "x", "1")
        self.assert_broken(("read your writes", (write, deletion, read)))

    def test_token_handed_over(self) -> None:
        """A token obliges whoever carries it."""
        write = self.tale.write("A", "x", "1")
        read = self.tale.read("B", "x", None, after=(write,))
        self.assert_broken(("read your writes", (write, read)))

    def test_deletion_that_the_write_came_after(self) -> None:
        """A deletion before the write, or one after the read, does not explain that nothing is there."""
        self.tale.delete("A", "x")
        write = self.tale.write("A", "x", "1", asked=2, answered=4)
        read = self.tale.read("A", "x", None, asked=4, answered=6)
        self.tale.write("A", "x", None, asked=6)
        self.assert_broken(("read your writes", (write, read)))

    def test_concurrent_write_wins(self) -> None:
        """A version that nobody is known to have replaced may be newer."""
        self.tale.write("A", "x", "1")
        self.tale.write("B", "x", "2")
        self.tale.read("A", "x", "2")
        self.assert_kept()

    def test_concurrent_deletion_wins(self) -> None:
        """Someone else may have deleted it; an unanswered deletion is enough."""
        self.tale.write("A", "x", "1")
        self.tale.delete("B", "x", lost=True)
        self.tale.read("A", "x", None)
        self.assert_kept()

    def test_without_token(self) -> None:
        """Without a token there is no session."""
        self.tale.write("A", "x", "1")
        self.tale.read("A", "x", None, after=())
        self.assert_kept()


class MonotonicReadsTests(SessionTests):
    """A session does not go back behind what it has read."""

    def test_nothing_there(self) -> None:
        """What was read is not there any more, and nobody has deleted it."""
        self.tale.write("A", "x", "1")
        first, second = self.tale.read("B", "x", "1"), self.tale.read("B", "x", None)
        self.assert_broken(("monotonic reads", (first, second)))

    def test_replaced_version(self) -> None:
        """The version that another one was written over is read after that one."""
        self.tale.write("A", "x", "1")
        read = self.tale.read("A", "x", "1")
        write = self.tale.write("A", "x", "2")
        new, old = self.tale.read("B", "x", "2"), self.tale.read("B", "x", "1")
        self.assert_broken(("monotonic reads", (read, write, new, old)))

    def test_concurrent_versions(self) -> None:
        """Of two concurrent versions the one is read, then the other, and then the one again."""
        self.tale.write("A", "x", "1")
        self.tale.write("B", "x", "2")
        reads = [self.tale.read("C", "x", value) for value in "121"]
        self.assert_broken(("monotonic reads", tuple(reads)))

    def test_own_write_beaten(self) -> None:
        """A session sees its own write replaced by another one, and then its own again."""
        self.tale.write("B", "x", "2")
        write = self.tale.write("A", "x", "1")
        new, old = self.tale.read("A", "x", "2"), self.tale.read("A", "x", "1")
        self.assert_broken(("monotonic reads", (write, new, old)))

    def test_absent_in_between(self) -> None:
        """A version, nothing, and the same version again."""
        self.tale.write("A", "x", "1")
        self.tale.delete("B", "x")
        reads = [self.tale.read("C", "x", value) for value in ("1", None, "1")]
        self.assert_broken(("monotonic reads", tuple(reads)))

    def test_deletion_that_was_beaten(self) -> None:
        """A session sees its own deletion beaten by a concurrent write: then it can't be what it sees later on."""
        self.tale.write("A", "x", "1")
        self.tale.delete("B", "x")
        present, absent = self.tale.read("B", "x", "1"), self.tale.read("B", "x", None)
        self.assert_broken(("monotonic reads", (present, absent)))

    def test_two_branches(self) -> None:
        """Two branches of a session that saw different versions oblige to neither of them."""
        self.tale.write("A", "x", "1")
        self.tale.write("B", "x", "2")
        branches = (self.tale.read("C", "x", "1", after=()), self.tale.read("C", "x", "2", after=()))
        self.tale.read("C", "x", "1", after=branches)
        self.assert_kept()

    def test_newer_versions(self) -> None:
        """Versions that follow each other are read one after another, also twice."""
        for value in "123":
            self.tale.write("A", "x", value)
            self.tale.read("B", "x", value)
            self.tale.read("B", "x", value)
        self.assert_kept()

    def test_several_deletions(self) -> None:
        """Nothing, a value, and nothing again: the second of two deletions explains it, whichever that is."""
        self.tale.write("A", "x", "1")
        self.tale.delete("A", "x")
        self.tale.write("B", "x", "2")
        self.tale.delete("C", "x")
        for value in ("1", None, "2", None):
            self.tale.read("D", "x", value)
        self.assert_kept()


class MonotonicWritesTests(SessionTests):
    """Who has seen a write sees those that its session wrote before it."""

    def test_nothing_there(self) -> None:
        """The later write is seen, of the earlier one nothing."""
        first, second = self.tale.write("A", "x", "1"), self.tale.write("A", "y", "1")
        new, old = self.tale.read("B", "y", "1"), self.tale.read("B", "x", None)
        self.assert_broken(("monotonic writes", (first, second, new, old)))

    def test_version_before(self) -> None:
        """The later write is seen, and then what the earlier one had replaced."""
        writes = [self.tale.write("A", key, value) for key, value in [("x", "0"), ("x", "1"), ("y", "1")]]
        new, old = self.tale.read("B", "y", "1"), self.tale.read("B", "x", "0")
        self.assert_broken(("monotonic writes", (*writes, new, old)))

    def test_deleted_version(self) -> None:
        """The later write is seen, and then what its session had deleted before."""
        write, deletion = self.tale.write("A", "x", "1"), self.tale.delete("A", "x")
        second = self.tale.write("A", "y", "1")
        new, old = self.tale.read("B", "y", "1"), self.tale.read("B", "x", "1")
        self.assert_broken(("monotonic writes", (write, deletion, second, new, old)))

    def test_order_kept(self) -> None:
        """The earlier write is seen without the later one, or after it."""
        self.tale.write("A", "x", "1")
        self.tale.write("A", "y", "1")
        for client, keys in [("B", "xy"), ("C", "yx")]:
            for key in keys:
                self.tale.read(client, key, "1")
        self.tale.read("D", "x", "1")
        self.tale.read("D", "y", None)
        self.assert_kept()


class WritesFollowReadsTests(SessionTests):
    """Who has seen a write sees what its session had read before it."""

    def test_nothing_there(self) -> None:
        """The answer is there, but not the question."""
        self.tale.write("A", "question", "1")
        read, write = self.tale.read("B", "question", "1"), self.tale.write("B", "answer", "1")
        new, old = self.tale.read("C", "answer", "1"), self.tale.read("C", "question", None)
        self.assert_broken(("writes follow reads", (read, write, new, old)))

    def test_version_before(self) -> None:
        """The answer is there, but the question is the one before that which was answered."""
        old_question, new_question = self.tale.write("A", "question", "1"), self.tale.write("A", "question", "2")
        read, write = self.tale.read("B", "question", "2"), self.tale.write("B", "answer", "1")
        new, old = self.tale.read("C", "answer", "1"), self.tale.read("C", "question", "1")
        self.assert_broken(("writes follow reads", (old_question, new_question, read, write, new, old)))

    def test_concurrent_versions(self) -> None:
        """The session of the answer saw one question replaced by another: so it is for all who see the answer."""
        self.tale.write("A", "question", "1")
        self.tale.write("B", "question", "2")
        first, second = self.tale.read("C", "question", "1"), self.tale.read("C", "question", "2")
        write = self.tale.write("C", "answer", "1")
        new, old = self.tale.read("D", "answer", "1"), self.tale.read("D", "question", "1")
        self.assert_broken(("writes follow reads", (first, second, write, new, old)))

    def test_question_before_the_answer(self) -> None:
        """The question is seen without the answer, or after it, or is deleted at last."""
        self.tale.write("A", "question", "1")
        self.tale.read("B", "question", "1")
        self.tale.write("B", "answer", "1")
        self.tale.read("C", "question", "1")
        self.tale.read("C", "answer", None)
        self.tale.read("D", "answer", "1")
        self.tale.read("D", "question", "1")
        self.tale.delete("A", "question")
        self.tale.read("E", "answer", "1")
        self.tale.read("E", "question", None)
        self.assert_kept()


class LimitTests(SessionTests):
    """What is told, and what is not."""

    def test_at_most_a_few(self) -> None:
        """A session in which everything is wrong is told of a few times."""
        for number in range(10):
            self.tale.write("A", f"k{number}", f"{number}")
            self.tale.read("A", f"k{number}", None)
        self.assertEqual(AT_MOST, len(session_guarantees(self.tale.history)))

    def test_causes_through_several_sessions(self) -> None:
        """A cause that comes through more than one other session breaks no session guarantee, but causality."""
        self.tale.write("A", "x", "1")
        for client, seen, key in [("A", "x", "y"), ("B", "y", "z")]:
            self.tale.read(client, seen, "1")
            self.tale.write(client, key, "1")
        self.tale.read("C", "z", "1")
        self.tale.read("C", "x", None)
        self.assert_kept()
        self.assertEqual(["WriteCOInitRead"], [found.rule for found in bad_patterns(CausalOrder(self.tale.history))])
