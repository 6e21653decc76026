"""A process may be killed at any step of a change: it is completed or given up, and nothing is lost."""

from twisted.trial.unittest import SynchronousTestCase

from tests.simulation.every_step import CHANGES, failures, moments

TRIED = 12
"""At how many of the moments of a change a node is killed here."""


class EveryStepTests(SynchronousTestCase):
    """Each change, and some of its moments, spread over all of it."""

    def test_killed_at_some_steps(self) -> None:
        """The cluster comes to rest within 30 simulated seconds, without help, and keeps all promises."""
        for name, plan in CHANGES.items():
            every = moments(plan)
            self.assertGreater(len(every), 100, name)
            self.assertEqual([], failures(plan, every[:: len(every) // TRIED]), name)
