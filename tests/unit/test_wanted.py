"""What is known to be missing, and since when."""

from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication.wanted import Wanted
from tests.builders import A, B


class WantedTests(SynchronousTestCase):
    """Times are those at which the writes were first known to be missing."""

    def test_nothing_is_missing(self) -> None:
        """Where nothing was noted, nothing is missing."""
        self.assertIsNone(Wanted().oldest({}))

    def test_a_write_is_missing_since_it_was_first_noted(self) -> None:
        """Hearing of the same write again does not make it younger, nor does hearing of a later one."""
        wanted = Wanted()
        self.assertEqual([1.0, 1.0, 1.0], [wanted.note({}, A, n, now) for n, now in ((3, 1.0), (3, 2.0), (4, 3.0))])
        self.assertEqual(1.0, wanted.oldest({A: 2}))
        self.assertEqual(1.0, wanted.oldest({A: 3}))

    def test_what_came_is_not_missing_any_more(self) -> None:
        """Once the furthest write is here nothing is missing, and the next one starts anew."""
        wanted = Wanted()
        wanted.note({}, A, 3, 1.0)
        self.assertIsNone(wanted.oldest({A: 3}))
        self.assertEqual(9.0, wanted.note({A: 3}, A, 4, 9.0))

    def test_time_starts_anew_without_a_look_in_between(self) -> None:
        """A write that came and a later one that is missing now are told apart even if nobody asked meanwhile."""
        wanted = Wanted()
        wanted.note({}, A, 3, 1.0)
        self.assertEqual(9.0, wanted.note({A: 3}, A, 4, 9.0))
        self.assertEqual(9.0, wanted.oldest({A: 3}))

    def test_an_older_write_does_not_hide_a_later_one(self) -> None:
        """Hearing of an older write after a later one changes nothing."""
        wanted = Wanted()
        wanted.note({}, A, 5, 1.0)
        wanted.note({}, A, 2, 2.0)
        self.assertEqual(1.0, wanted.oldest({A: 4}))
        self.assertIsNone(wanted.oldest({A: 5}))

    def test_the_oldest_of_several_writers(self) -> None:
        """Of several writers the one that has been missing for longest counts."""
        wanted = Wanted()
        wanted.note({}, A, 1, 5.0)
        wanted.note({}, B, 1, 3.0)
        self.assertEqual(3.0, wanted.oldest({}))
        self.assertEqual(5.0, wanted.oldest({B: 1}))
