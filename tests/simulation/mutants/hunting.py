"""
Looking for a defect: schedules are run with it until one breaks a promise.
"""

from functools import lru_cache
from typing import NamedTuple

from kvsd.simulate.history import Violation
from kvsd.simulate.plan import draw_plan
from kvsd.simulate.run import simulate
from tests.simulation.mutants.planting import Mutant, planted
from tests.simulation.mutants.registry import MUTANTS
from tests.simulation.mutants.scenes import SCENES
from tests.simulation.mutants.schedules import restless_plan

BY_HAND = "a scene played by hand"


class Catch(NamedTuple):
    """What came of looking for a defect: how many schedules were run, and what the last one broke at which seed."""

    name: str
    schedules: int
    seed: int
    violations: list[Violation]

    @property
    def rules(self) -> list[str]:
        """The rules that were broken, in the order in which that was noticed; none if the defect was not caught."""
        return list(dict.fromkeys(violation.rule for violation in self.violations))


def hunt(name: str, first_seed: int, schedules: int) -> Catch:
    """
    Play the scene that was made for a defect, or else run schedules, at most so many, until one breaks a promise.
    """
    mutant = MUTANTS[name]
    if name in SCENES and (complaints := played(name)):
        return Catch(name, 0, first_seed, [Violation(BY_HAND, text) for text in complaints])
    for seed in range(first_seed, first_seed + schedules):
        violations = judged(mutant, seed)
        if violations and _says_something(mutant.kinds, seed, mutant.restless):
            return Catch(name, seed - first_seed + 1, seed, violations)
    return Catch(name, schedules, first_seed + schedules - 1, [])


def played(name: str) -> list[str]:
    """What is wrong in a defect's scene."""
    with planted(MUTANTS[name]):
        return SCENES[name]()


def judged(mutant: Mutant, seed: int) -> list[Violation]:
    """What the schedule of a seed breaks with a defect."""
    with planted(mutant):
        return violations_of(mutant.kinds, seed, mutant.restless)


def violations_of(kinds: tuple[str, ...], seed: int, restless: bool = False) -> list[Violation]:
    """What the schedule of a seed breaks with the code as it is now."""
    plan = restless_plan(seed, kinds) if restless else draw_plan(seed, kinds)
    return simulate([plan]).verdict.violations


@lru_cache
def _says_something(kinds: tuple[str, ...], seed: int, restless: bool) -> bool:
    """Whether the code is right without the defect; a schedule in which it is not shows nothing."""
    return not violations_of(kinds, seed, restless)
