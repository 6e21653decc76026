"""The planted defects: each goes in and comes out again, and the simulator finds those that are easy to find."""

from twisted.trial.unittest import SynchronousTestCase

from kvsd.simulate.history import Violation
from tests.simulation.mutants import concern, hunting, occupants, registry, restarts
from tests.simulation.mutants.__main__ import line, summary
from tests.simulation.mutants.hunting import Catch, hunt, violations_of
from tests.simulation.mutants.planting import KINDS, Mutant, Planting, planted
from tests.simulation.mutants.registry import MUTANTS

FIRST_SEED = 1
FEW = 3
"""So many schedules are enough for a defect that is easy to find."""


class PlantingTests(SynchronousTestCase):
    """Defects in functions, for a while."""

    def test_all(self) -> None:
        """Every defect changes something, and leaves nothing behind."""
        for name, mutant in MUTANTS.items():
            with planted(mutant) as plant:
                replaced = list(plant.replaced)
                self.assertTrue(replaced, name)
                for owner, attribute, original in replaced:
                    self.assertIsNot(original, vars(owner)[attribute], f"{name} leaves {attribute} as it is")
            for owner, attribute, original in replaced:
                self.assertIs(original, vars(owner)[attribute], f"{name} stays in {attribute}")

    def test_rules(self) -> None:
        """There are many defects, and each has a rule of its own, in a sentence."""
        self.assertGreaterEqual(len(MUTANTS), 34)
        self.assertEqual(len(MUTANTS), len({mutant.rule for mutant in MUTANTS.values()}))
        for name, mutant in MUTANTS.items():
            self.assertTrue(mutant.rule.endswith("."), name)

    def test_names(self) -> None:
        """No two themes have a defect of the same name."""
        defects = [plant for theme in registry.THEMES for plant in theme.DEFECTS]
        defects += [*concern.AMONG_CHANGES, *restarts.AMONG_CHANGES, *restarts.ON_OLD_DISKS, *occupants.DEFECTS]
        self.assertEqual(len(defects), len(MUTANTS))

    def test_undone_after_an_error(self) -> None:
        """A defect is gone also where planting it raised an error."""
        original = vars(Catch)["rules"]

        def plant(planting: Planting) -> None:
            planting.swap(Catch, "rules", None)
            raise ZeroDivisionError

        with self.assertRaises(ZeroDivisionError):
            planted(Mutant("", plant)).__enter__()
        self.assertIs(original, vars(Catch)["rules"])

    def test_words_that_are_not_there(self) -> None:
        """A defect whose words are not in the function, or are there twice, can't be planted."""
        for words in ("no such words", "self"):
            with self.assertRaises(ValueError):
                Planting().rewrite(Planting, "undo", (words, "pass"))

    def test_other_functions(self) -> None:
        """Functions of a module can be changed, and properties, like methods."""
        planting = Planting()
        self.addCleanup(planting.undo)
        planting.rewrite(hunting, "violations_of", ("simulate([plan]).verdict.violations", "[]"))
        planting.rewrite(Catch, "rules", ("violation.rule for", "violation.text for"))
        self.assertEqual([], hunting.violations_of(KINDS, 1))
        self.assertEqual(["text"], Catch("", 1, 1, [Violation("rule", "text")]).rules)


class HuntTests(SynchronousTestCase):
    """Defects that the first schedules show."""

    def test_right_code(self) -> None:
        """Without a defect these schedules break nothing."""
        for seed in range(FIRST_SEED, FIRST_SEED + FEW):
            self.assertEqual([], violations_of(KINDS, seed))

    def test_caught(self) -> None:
        """Some defects are caught at once, by the rule that they break."""
        for name, rule in (
            ("hold-back-skipped", "delivery-order"),
            ("written-before-sync", "durable-first"),
            ("joined-instead-of-met", "stable"),
        ):
            self.assertIn(rule, hunt(name, FIRST_SEED, FEW).rules, name)


class ReportTests(SynchronousTestCase):
    """What is said of defects."""

    CAUGHT = Catch("a", 2, 12, [Violation("rule", "text"), Violation("other", "text"), Violation("rule", "text")])
    MISSED = Catch("b", 60, 70, [])

    def test_lines(self) -> None:
        """A line says after how many schedules a defect was caught, at which seed and by which rules, or that it was not."""
        self.assertRegex(line(self.CAUGHT), r"^a +2 schedules, seed 12: rule, other$")
        self.assertRegex(line(self.MISSED), r"^b +NOT CAUGHT in 60 schedules$")

    def test_summary(self) -> None:
        """The last line counts, and names what was not caught."""
        self.assertEqual("2 mutants: 1 caught (50.0 %), not caught: b", summary([self.CAUGHT, self.MISSED]))
        self.assertEqual("1 mutants: 1 caught (100.0 %)", summary([self.CAUGHT]))
