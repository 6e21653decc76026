"""
``python -m tests.simulation.mutants``: whether the simulator catches every planted defect, and after how many schedules.
"""

import os
import sys
from collections.abc import Sequence
from functools import partial

import click

from kvsd.simulate.sweep import over_all
from tests.simulation.mutants.hunting import Catch, hunt
from tests.simulation.mutants.registry import MUTANTS

ENOUGH = 0.95
"""The share of defects that have to be caught."""


@click.command()
@click.option("--first-seed", type=click.IntRange(min=0), default=1, show_default=True, help="Where to begin.")
@click.option(
    "--schedules", type=click.IntRange(min=1), default=60, show_default=True, help="At most so many for a defect."
)
@click.option("--jobs", type=click.IntRange(min=1), default=os.cpu_count(), show_default=True, help="Processes.")
@click.option("--only", type=click.Choice(list(MUTANTS)), multiple=True, help="These defects only.")
@click.option("--why", is_flag=True, help="Say what was broken, too.")
def main(first_seed: int, schedules: int, jobs: int, only: Sequence[str], why: bool) -> None:
    """Plant defects in kvsd, one after another, and look whether simulated schedules find them."""
    names = list(only or MUTANTS)
    catches: list[Catch] = []
    for catch in over_all(partial(hunt, first_seed=first_seed, schedules=schedules), names, jobs, chunk=1):
        catches.append(catch)
        print(line(catch), flush=True)
        if why:
            print("\n".join([f"    rule: {MUTANTS[catch.name].rule}", *(f"    {v}" for v in catch.violations[:3])]))
    print(summary(catches))
    sys.exit(sum(bool(catch.violations) for catch in catches) < ENOUGH * len(catches))


def line(catch: Catch) -> str:
    """What became of a defect."""
    if not catch.violations:
        return f"{catch.name:36} NOT CAUGHT in {catch.schedules} schedules"
    if not catch.schedules:
        return f"{catch.name:36} {', '.join(catch.rules)}"
    schedules = "schedule" if catch.schedules == 1 else "schedules"
    return f"{catch.name:36} {catch.schedules:3} {schedules}, seed {catch.seed}: {', '.join(catch.rules)}"


def summary(catches: Sequence[Catch]) -> str:
    """How many defects were caught, and which were not."""
    missed = [catch.name for catch in catches if not catch.violations]
    caught = len(catches) - len(missed)
    share = f"{len(catches)} mutants: {caught} caught ({100 * caught / len(catches):.1f} %)"
    return f"{share}, not caught: {', '.join(missed)}" if missed else share


if __name__ == "__main__":
    main()
