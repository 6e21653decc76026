"""The scenes that are played by hand: each shows its defect, and nothing where there is none."""

from twisted.trial.unittest import SynchronousTestCase

from tests.simulation.mutants.hunting import played
from tests.simulation.mutants.registry import MUTANTS
from tests.simulation.mutants.scenes import SCENES


class ScenesTests(SynchronousTestCase):
    """Defects that random schedules hardly ever show."""

    def test_right_code(self) -> None:
        """With the code as it is, nothing is wrong in any scene."""
        for scene in set(SCENES.values()):
            self.assertEqual([], scene(), scene.__name__)

    def test_defects(self) -> None:
        """Every scene is about a defect, and shows it."""
        for name in SCENES:
            self.assertIn(name, MUTANTS)
            self.assertTrue(played(name), name)
