"""The trace of a run: a hash of everything, the last events, and the story."""

from twisted.trial.unittest import SynchronousTestCase

from kvsd.simulate.clock import Clock
from kvsd.simulate.trace import RECENT, Trace


class TraceTests(SynchronousTestCase):
    """What is noted and told."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.trace = Trace(self.clock)

    def digest(self, seconds: float, places: tuple[str, ...], what: str, body: bytes) -> str:
        """The hash of a run in which one thing happened."""
        clock = Clock()
        trace = Trace(clock)
        clock.run(seconds)
        trace.note(places, what, body)
        return trace.digest()

    def test_digest(self) -> None:
        """Runs have the same hash where the same happened at the same time and place, with the same bytes."""
        one = self.digest(1.0, ("n1", "n2"), "arrives", b"body")
        self.assertEqual(one, self.digest(1.0, ("n1", "n2"), "arrives", b"body"))
        others = {
            self.digest(1.0000001, ("n1", "n2"), "arrives", b"body"),
            self.digest(1.0, ("n2", "n1"), "arrives", b"body"),
            self.digest(1.0, ("n1", "n2"), "answers", b"body"),
            self.digest(1.0, ("n1", "n2"), "arrives", b"bodz"),
        }
        self.assertEqual(4, len(others - {one}))

    def test_order(self) -> None:
        """What happened first makes a difference."""
        other = Trace(self.clock)
        for trace, order in ((self.trace, "ab"), (other, "ba")):
            for what in order:
                trace.note((), what)
        self.assertNotEqual(self.trace.digest(), other.digest())

    def test_story(self) -> None:
        """What is told is in the story, in its order, or before what it led to; what is noted only is not."""
        self.trace.tell((), "first")
        self.trace.note((), "a detail")
        begun = len(self.trace.story)
        self.trace.tell((), "effect")
        self.trace.tell((), "cause", begun)
        self.assertEqual(["first", "cause", "effect"], [event.what for event in self.trace.story])
        self.assertEqual(["first", "a detail", "effect", "cause"], [event.what for event in self.trace.recent])

    def test_last_events(self) -> None:
        """The last events of some places are those in which one of them took part."""
        for number, place in enumerate("abcabc"):
            self.clock.run(number)
            self.trace.note((place, "x"), f"{place}{number}")
        self.assertEqual(["b1", "a3", "b4"], [event.what for event in self.trace.last("ab", 3)])
        self.assertEqual([3.0, 4.0], [event.seconds for event in self.trace.last("ab", 2)])
        self.assertEqual(6, len(self.trace.last("x", 100)))

    def test_long_run(self) -> None:
        """Of a long run only the last events are at hand, but the hash and the story are of all of it."""
        self.trace.tell((), "begin")
        for number in range(RECENT + 5):
            self.trace.note((), f"{number}")
        self.assertEqual(RECENT, len(self.trace.recent))
        self.assertEqual("5", self.trace.recent[0].what)
        self.assertEqual("begin", self.trace.story[0].what)
