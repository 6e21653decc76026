"""Links that carry little, in the simulator."""

from twisted.trial.unittest import SynchronousTestCase

from kvsd.simulate.clock import Clock
from kvsd.simulate.pipes import Load, Pipe
from kvsd.simulate.plan import Fault, Plan, Step
from kvsd.simulate.run import simulate


class PipeTests(SynchronousTestCase):
    """A direction that carries a thousand bytes a second."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.rate: float | None = 1000.0
        self.pipe = Pipe(self.clock, lambda: self.rate)
        self.done: list[tuple[str, float]] = []
        self.unwanted: set[str] = set()

    def carry(self, name: str, size: int) -> None:
        """Have something carried."""
        done = lambda: self.done.append((name, round(self.clock.seconds(), 2)))  # noqa: E731
        self.pipe.carry(Load(size, lambda: None, done, lambda: name not in self.unwanted))

    def test_small_passes_large(self) -> None:
        """What is small does not wait for what is large; together they take as long as one after the other."""
        self.carry("large", 2000)
        self.carry("small", 100)
        self.assertEqual(self.pipe.waiting, 2100)
        self.clock.run(3.0)
        self.assertEqual(self.done, [("small", 0.2), ("large", 2.1)])
        self.assertEqual((self.pipe.carried, self.pipe.waiting), (2100, 0))

    def test_what_nobody_wants_goes_no_further(self) -> None:
        """What is given up makes room for the rest."""
        self.carry("large", 2000)
        self.carry("other", 1000)
        self.clock.run(0.5)
        self.unwanted.add("large")
        self.clock.run(3.0)
        self.assertEqual(self.done, [("other", 1.3)])

    def test_cut_and_widened(self) -> None:
        """While nothing passes, nothing arrives; once the way is not narrow any more, the rest arrives at once."""
        self.carry("large", 2000)
        self.rate = 0.0
        self.clock.run(5.0)
        self.assertEqual(self.done, [])
        self.rate = None
        self.clock.run(6.0)
        self.assertEqual([name for name, _ in self.done], ["large"])


class NarrowRunTests(SynchronousTestCase):
    """Runs in which a link carries little."""

    def plan(self) -> Plan:
        """Two nodes; clients write large values, and read them at the other end while the link is narrow."""
        writes = [Step(1.0, "put", 0, "abcdef"[number % 6], named=True) for number in range(24)]
        reads = [Step(0.5, "get", 1, "abcdef"[number % 6]) for number in range(50)]
        return Plan(1, 2, 1, 30.0, {}, [Fault("narrow-link", 3.0, 26.0, (0, 1), 0.2)], [writes, reads])

    def test_nobody_is_avoided(self) -> None:
        """Large values cross a link that is merely slow, and neither end avoids the other; the same plan, the same run."""
        first, second = simulate([self.plan()]), simulate([self.plan()])
        self.assertEqual([], first.verdict.violations)
        self.assertEqual([], [event.what for event in first.trace.story if "suspected" in event.what])
        large = {operation.value for operation in first.history if operation.value and operation.value.endswith("....")}
        seen = {operation.value for operation in first.history if operation.kind == "read"}
        self.assertTrue(large and large <= seen)
        self.assertEqual(first.verdict.digest, second.verdict.digest)
