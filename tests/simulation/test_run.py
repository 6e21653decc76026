"""A whole run: storm, quiet and judgement."""

from collections import Counter

from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication.broadcast import Broadcast
from kvsd.replication.requests import StorageFull
from kvsd.replication.serving import Serving
from kvsd.simulate.plan import Fault, Plan, Step, draw_plan
from kvsd.simulate.run import BEFORE, Simulation, simulate


def plan(*faults: Fault, seconds: float = 4.0, scripts: list[list[Step]] | None = None, episode: int = 0) -> Plan:
    """A plan for three nodes."""
    return Plan(1, 3, 1, seconds, {}, list(faults), scripts or [], episode)


class RunTests(SynchronousTestCase):
    """Runs and what they come to."""

    def rules(self, simulation: Simulation) -> set[str]:
        """The rules that a run broke."""
        return {violation.rule for violation in simulation.verdict.violations}

    def story(self, simulation: Simulation) -> list[str]:
        """All that happened."""
        return [event.what for event in simulation.trace.story]

    def test_verdict(self) -> None:
        """The verdict on a run says how much happened, and that it was right."""
        verdict = simulate([draw_plan(3, ("loss", "crash", "doubling"), (3, 1), 6.0)]).verdict
        self.assertEqual((3, []), (verdict.seed, verdict.violations))
        self.assertGreater(verdict.operations, 50)
        self.assertTrue(verdict.faults and set(verdict.faults) <= {"loss", "crash", "doubling"})
        self.assertTrue(0 < verdict.settled <= 10)
        self.assertTrue(8 < verdict.seconds < 20)

    def test_nothing_to_break(self) -> None:
        """A fault that found nothing to break is not counted."""
        down = Fault("crash", 2.5, 1.0, (0, 1), 0.5)
        verdict = simulate([plan(down, Fault("pause", 3.0, 0.2, (0, 1), 0.5))]).verdict
        self.assertEqual(Counter({"crash": 1}), verdict.faults)

    def test_faults_end_before_all_is_mended(self) -> None:
        """A fault that lasts to the end of an episode, of a later one too, ends before the quiet begins."""
        for number in range(8):
            at = 2.3 + number * 0.137
            crash = Fault("crash", at, 4.0 - at, (0, 1), 0.5)
            simulation = simulate([plan(), plan(crash, episode=1)])
            told = self.story(simulation)
            mended = len(told) - told[::-1].index("all is mended")
            self.assertEqual([], [what for what in told[mended:] if what == "starts"], at)
            self.assertEqual(set(), self.rules(simulation))

    def test_everything_is_mended(self) -> None:
        """Whatever goes wrong to the end is right in the quiet."""
        kinds = ["crash", "pause", "stuck-disk", "full-disk", "partition", "loss", "clock-a-day-behind", "mute"]
        faults = [Fault(kind, 2.5 + 0.1 * number, 60.0, (number % 3, 1), 0.3) for number, kind in enumerate(kinds)]
        self.assertEqual(set(), self.rules(simulate([plan(*faults)])))

    def test_what_is_raised(self) -> None:
        """Whatever is raised, by the simulator too, is a violation with its traceback."""
        simulation = simulate([plan(Fault("no such fault", 2.5, 1.0, (0, 1), 0.5))])
        self.assertEqual({"no-exception"}, self.rules(simulation))
        self.assertIn("KeyError", simulation.verdict.violations[0].text)

    def test_episodes(self) -> None:
        """What an episode left behind is there in the next one, and everybody knows of it."""
        writes = [[Step(2.5, "put", 0, "a")]]
        reads = [[Step(2.5, "get", 1, "a")]]
        first = simulate([plan(scripts=writes)])
        simulation = simulate([plan(scripts=writes), plan(scripts=reads, episode=1)])
        self.assertEqual(set(), self.rules(simulation))
        before = [operation for operation in simulation.history if operation.client == BEFORE]
        self.assertIn("a", {operation.key for operation in before})
        read = next(operation for operation in simulation.history if operation.client == "e1c0")
        self.assertEqual(tuple(operation.number for operation in before), read.after)
        self.assertGreater(simulation.verdict.seconds, first.verdict.seconds)
        self.assertGreater(simulation.verdict.operations, first.verdict.operations)

    def test_first_broken_episode(self) -> None:
        """A run ends with the first episode that breaks a promise."""
        self.patch(Broadcast, "deliver", lambda *_: [])
        simulation = simulate([plan(), plan(episode=1), plan(episode=2)])
        self.assertIn("liveness", self.rules(simulation))
        self.assertEqual(1, self.story(simulation).count("all is mended"))

    def test_clients_that_are_refused_in_the_end(self) -> None:
        """After all was mended, every node serves everybody."""
        self.patch(Serving, "_unwritable", lambda *_: StorageFull())
        self.assertIn("availability", self.rules(simulate([plan()])))

    def test_what_clients_saw(self) -> None:
        """What clients saw is judged: a deletion that is answered and not carried out does not pass."""
        scripts = [[Step(2.5, "put", 0, "a"), Step(0.1, "delete", 0, "a"), Step(0.1, "get", 0, "a")]]
        self.assertEqual(set(), self.rules(simulate([plan(scripts=scripts)])))
        write = Serving._write

        def forgetful(serving: Serving, role, tenure, request, now):  # type: ignore[no-untyped-def]
            return write(serving, role, tenure, request if request.value else replace(request, value=b'"left"'), now)

        self.patch(Serving, "_write", forgetful)
        self.assertTrue(self.rules(simulate([plan(scripts=scripts)])))
