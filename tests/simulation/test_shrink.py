"""Making a failing plan smaller."""

from collections.abc import Callable

from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication.vetting import Vetting
from kvsd.simulate.history import Violation
from kvsd.simulate.plan import Fault, Plan, Step, draw_plan
from kvsd.simulate.run import simulate
from kvsd.simulate.shrink import shrink

KINDS = ("loss", "crash", "pause", "cut-link")


def steps_of(plan: Plan) -> int:
    """How many steps all clients do."""
    return sum(len(script) for script in plan.scripts)


def times(script: list[Step]) -> list[float]:
    """When the steps of a script come, if each took no time."""
    return [round(sum(step.after for step in script[: number + 1]), 4) for number in range(len(script))]


class ArtificialTests(SynchronousTestCase):
    """Plans that fail by a simple rule."""

    def setUp(self) -> None:
        self.plan = draw_plan(1, KINDS, (3, 1), 10.0)
        self.asked = 0

    def shrunk(self, fails: Callable[[Plan], bool]) -> Plan:
        """The smallest plan that was found to fail."""

        def counted(plan: Plan) -> bool:
            self.asked += 1
            return fails(plan)

        found = shrink(self.plan, counted)
        self.assertTrue(fails(found))
        return found

    def test_nothing_is_needed(self) -> None:
        """A plan that fails whatever happens becomes an empty one, with a few questions."""
        found = self.shrunk(lambda _: True)
        self.assertEqual((0, 0), (len(found.faults), steps_of(found)))
        self.assertLess(self.asked, 50)

    def test_everything_is_needed(self) -> None:
        """A plan of which no part fails stays as it is."""
        whole = replace(self.plan, scripts=[script[:3] for script in self.plan.scripts])
        self.plan = whole
        size = len(whole.faults), steps_of(whole)
        found = self.shrunk(lambda plan: (len(plan.faults), steps_of(plan)) == size)
        self.assertEqual(whole.faults, found.faults)
        self.assertEqual([times(script) for script in whole.scripts], [times(script) for script in found.scripts])

    def test_one_fault(self) -> None:
        """One fault that it takes is all that is left."""
        needed = self.plan.faults[len(self.plan.faults) // 2]
        found = self.shrunk(lambda plan: needed in plan.faults)
        self.assertEqual(([needed], 0), (found.faults, steps_of(found)))

    def test_two_steps_of_two_clients(self) -> None:
        """Steps of several clients that are only needed together are all that is left."""
        keys = ("first needed", "second needed")
        scripts = [list(script) for script in self.plan.scripts]
        scripts[1][4], scripts[6][2] = Step(0.5, "put", 0, keys[0]), Step(0.25, "get", 1, keys[1])
        self.plan = replace(self.plan, scripts=scripts)
        found = self.shrunk(lambda plan: {step.key for script in plan.scripts for step in script} >= set(keys))
        self.assertEqual([0, 1, 0, 0, 0, 0, 1, 0], [len(script) for script in found.scripts[:8]])
        self.assertEqual(2, steps_of(found))

    def test_either_fault(self) -> None:
        """Where any of several faults would do, one is left."""
        kinds = {fault.kind for fault in self.plan.faults}
        self.assertGreater(len(kinds), 1)
        found = self.shrunk(lambda plan: bool(plan.faults))
        self.assertEqual(1, len(found.faults))

    def test_steps_keep_their_times(self) -> None:
        """What is left of a script happens when it happened before."""
        script = max(self.plan.scripts, key=lambda script: [step.deed for step in script].count("put"))
        place = self.plan.scripts.index(script)
        self.assertNotEqual({"put"}, {step.deed for step in script})
        kept = [step for step in script if step.deed == "put"]
        before = [time for time, step in zip(times(script), script, strict=True) if step.deed == "put"]
        plan = self.shrunk(lambda plan: [s.deed for s in plan.scripts[place]].count("put") == len(kept))
        found = plan.scripts[place]
        for old, new in zip(before, times(found), strict=True):
            self.assertAlmostEqual(old, new, places=3)
        self.assertEqual([replace(step, after=0.0) for step in kept], [replace(step, after=0.0) for step in found])

    def test_faults_depend_on_steps(self) -> None:
        """What is needed only as long as something else is there goes in the end."""
        found = self.shrunk(lambda plan: len(plan.faults) >= min(2, steps_of(plan)))
        self.assertEqual((0, 0), (len(found.faults), steps_of(found)))


class DefectTests(SynchronousTestCase):
    """A plan that shows a defect of kvsd: a node serves what it has, whatever the client has seen."""

    def setUp(self) -> None:
        self.patch(Vetting, "_unmet", lambda *_: None)
        cut = Fault("cut-link", 2.2, 3.0, (0, 1), 0.5)
        noise = [Fault("slow-disk", 2.5, 1.0, (2, 0), 0.1), Fault("clock-a-bit-wrong", 2.5, 1.0, (2, 1), 0.5)]
        shows = [Step(2.5, "put", 0, "a"), Step(0.1, "get", 1, "a")]
        other = [Step(2.3, "put", 2, "b"), Step(0.2, "get", 2, "b"), Step(0.2, "delete", 2, "b")]
        self.plan = Plan(1, 3, 1, 5.5, {}, [noise[0], cut, noise[1]], [other, [*shows, *other], other])

    def broken(self, plan: Plan) -> list[Violation]:
        """What a plan breaks."""
        return simulate([plan]).verdict.violations

    def test_defect(self) -> None:
        """A plan that shows a defect is cut down to what it takes to show it."""
        rule = "read your writes"
        self.assertIn(rule, [violation.rule for violation in self.broken(self.plan)])
        found = shrink(self.plan, lambda plan: rule in [violation.rule for violation in self.broken(plan)])
        self.assertEqual(["cut-link"], [fault.kind for fault in found.faults])
        self.assertEqual([0, 2, 0], [len(script) for script in found.scripts])
        self.assertIn(rule, [violation.rule for violation in self.broken(found)])
