"""All checkers together: silent about a store that keeps its promises, not about one that breaks them."""

from twisted.trial.unittest import SynchronousTestCase

from kvsd.simulate.checkers.judge import judge
from tests.simulation.reference_store import Fault, ReferenceStore
from tests.simulation.tale import Tale

GOOD_SEEDS = 100
BAD_SEEDS = 25

STALE = {
    "WriteCORead",
    "WriteCOInitRead",
    "read your writes",
    "monotonic reads",
    "monotonic writes",
    "writes follow reads",
}
DISAGREEING = {"CyclicCF", "monotonic reads", "convergence"}


class SoundnessTests(SynchronousTestCase):
    """Nobody is accused who did nothing wrong."""

    def test_correct_store(self) -> None:
        """Random runs of a store that keeps its promises are right, whether stamps and the end are known or not."""
        for seed in range(GOOD_SEEDS):
            store = ReferenceStore(seed)
            self.assertEqual([], judge(store.history, store.finals, store.stamps), f"seed {seed}")
            half = {number: stamp for number, stamp in store.stamps.items() if number % 3}
            self.assertEqual([], judge(store.history, [], half), f"seed {seed}")

    def test_long_run(self) -> None:
        """So is a long one."""
        store = ReferenceStore(0, operations=1500)
        self.assertEqual([], judge(store.history, store.finals, store.stamps))


class PowerTests(SynchronousTestCase):
    """A store that breaks a promise is found out."""

    def found(self, fault: Fault) -> list[set[str]]:
        """What is broken in random runs of a store with a fault."""
        stores = [ReferenceStore(seed, faults={fault}) for seed in range(BAD_SEEDS)]
        return [{found.rule for found in judge(store.history, store.finals, store.stamps)} for store in stores]

    def assert_mostly(self, expected: set[str], found: list[set[str]], share: float) -> None:
        """At least one of the rules is broken in a share of the runs."""
        self.assertGreaterEqual(sum(bool(expected & rules) for rules in found), share * len(found), found)

    def test_no_waiting_for_causes(self) -> None:
        """A replica that serves a token before it has what that names shows old versions."""
        found = self.found("no waiting for causes")
        self.assert_mostly(STALE | {"last writer wins"}, found, 0.9)
        self.assert_mostly(STALE, found, 0.5)

    def test_last_to_arrive_wins(self) -> None:
        """Replicas that keep what came last disagree on the winner."""
        found = self.found("last to arrive wins")
        self.assert_mostly(DISAGREEING | {"last writer wins"}, found, 0.9)
        self.assert_mostly(DISAGREEING, found, 0.7)

    def test_stamps_at_random(self) -> None:
        """Stamps that don't extend causality are seen, and undo writes that came later."""
        found = self.found("stamps at random")
        self.assert_mostly({"last writer wins"}, found, 0.9)
        self.assert_mostly({"lost write", "deleted value back"}, found, 0.7)

    def test_deletions_do_not_last(self) -> None:
        """Deleted values that stay at one replica are seen, by their readers and in the end."""
        found = self.found("deletions do not last")
        self.assert_mostly(STALE, found, 0.3)
        self.assert_mostly({"deleted value back", "lost write", "convergence"}, found, 0.7)

    def test_missed_writes(self) -> None:
        """A replica that never gets some writes differs in the end."""
        self.assert_mostly({"convergence"}, self.found("a replica misses writes"), 0.9)

    def test_reads_that_bring_no_causes(self) -> None:
        """Tokens that are not raised by a read let the next one go back."""
        self.assert_mostly(STALE | DISAGREEING | {"last writer wins"}, self.found("reads bring no causes"), 0.4)

    def test_everything_is_judged(self) -> None:
        """A history may break promises of several kinds; each is told in a line."""
        tale = Tale()
        tale.write("A", "x", "1")
        tale.read("A", "x", None)
        self.assertEqual(["WriteCOInitRead", "read your writes"], [found.rule for found in judge(tale.history, [], {})])
        for found in judge(tale.history, [], {}):
            self.assertTrue(str(found).startswith(f"{found.rule}: #1 A reads x as (absent) (2.000-3.000"))
