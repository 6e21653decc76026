"""
All planted defects, by name.
"""

import inspect
from collections.abc import Iterable

from tests.simulation.mutants import (
    changes,
    clocks,
    concern,
    consensus,
    copies,
    delivery,
    durability,
    forks,
    invitations,
    links,
    occupants,
    readers,
    repair,
    reshards,
    restarts,
    retries,
    rows,
    stability,
    tokens,
    winners,
)
from tests.simulation.mutants.planting import (
    KINDS,
    KINDS_WITH_CHANGES,
    KINDS_WITH_DOUBLES,
    KINDS_WITH_OLD_DISKS,
    Mutant,
    Plant,
)

QUIET = (
    invitations,
    tokens,
    delivery,
    durability,
    restarts,
    winners,
    stability,
    repair,
    retries,
    links,
    concern,
    rows,
    readers,
    clocks,
)
RESTLESS = (changes, reshards, copies, consensus, forks)
"""Those of rules for a cluster that changes."""
THEMES = (*QUIET, *RESTLESS)


def _named(plants: Iterable[Plant], kinds: tuple[str, ...], *, restless: bool = False) -> dict[str, Mutant]:
    return {
        plant.__name__.replace("_", "-"): Mutant(inspect.getdoc(plant) or "", plant, kinds, restless)
        for plant in plants
    }


MUTANTS: dict[str, Mutant] = {
    **_named((plant for theme in QUIET for plant in theme.DEFECTS), KINDS),
    **_named((plant for theme in RESTLESS for plant in theme.DEFECTS), KINDS_WITH_CHANGES, restless=True),
    **_named(concern.AMONG_CHANGES, KINDS_WITH_CHANGES, restless=True),
    **_named(restarts.AMONG_CHANGES, KINDS_WITH_CHANGES, restless=True),
    **_named(restarts.ON_OLD_DISKS, KINDS_WITH_OLD_DISKS),
    **_named(occupants.DEFECTS, KINDS_WITH_DOUBLES),
}
"""The defects, by the names of the functions that plant them; the docstring of each is the rule that it breaks."""
