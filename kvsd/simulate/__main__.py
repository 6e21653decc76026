"""
``python -m kvsd.simulate``: one simulated run told as a story, or many runs and how they ended.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import fields
from functools import partial
from math import ceil
from pathlib import Path
from time import perf_counter

import click
import msgspec

from kvsd.replication.limits import Limits
from kvsd.simulate.faults.catalogue import KINDS
from kvsd.simulate.plan import Plan, draw_plan
from kvsd.simulate.run import Verdict, simulate
from kvsd.simulate.shrink import shrink
from kvsd.simulate.story import cluster_lines, evidence_lines, story_lines, verdict_lines
from kvsd.simulate.sweep import Tally, over_all, quietly

EPISODE_SECONDS = 30.0
MAX_EXPLAINED = 5
KEPT_IN = Path("smaller-plan.json")


class Setting(msgspec.Struct, frozen=True):
    """What kind of runs: nodes and shards (None: drawn from the seed), minutes of faults, and kinds of faults."""

    shape: tuple[int, int] | None
    minutes: float
    kinds: tuple[str, ...]

    def plans(self, seed: int) -> list[Plan]:
        """The episodes of the run of a seed."""
        count = ceil(self.minutes * 60 / EPISODE_SECONDS)
        seconds = self.minutes * 60 / count
        first = draw_plan(seed, self.kinds, self.shape, seconds)
        shape = (first.nodes, first.shards)
        return [first] + [draw_plan(seed, self.kinds, shape, seconds, episode) for episode in range(1, count)]

    def options(self) -> str:
        """The options of the command that make it."""
        shape = f" --nodes {self.shape[0]} --shards {self.shape[1]}" if self.shape else ""
        kinds = "all" if self.kinds == tuple(KINDS) else ",".join(self.kinds) or "none"
        minutes = str(self.minutes).removesuffix(".0")  # all digits: any other number of minutes is another run
        return f"{shape} --minutes {minutes} --faults {kinds}"


class FaultKinds(click.ParamType):  # type: ignore[type-arg]
    """Kinds of faults: all, none, or their names with commas between."""

    name = "all|none|KIND,..."

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """The kinds that are meant."""
        if value in {"all", "none"}:
            return tuple(KINDS) if value == "all" else ()
        kinds = tuple(kind.strip() for kind in value.split(","))
        unknown = [kind for kind in kinds if kind not in KINDS]
        if unknown:
            self.fail(f"there is no fault {unknown[0]!r}; there are: {', '.join(KINDS)}", param, ctx)
        return kinds


@click.command()
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="What decides the run.")
@click.option("--seeds", type=click.IntRange(min=1), help="Do so many runs, from --seed on, and sum them up.")
@click.option("--nodes", type=click.IntRange(2, 50), help="How many nodes; left out: drawn from the seed.")
@click.option(
    "--shards", type=click.IntRange(1, 25), default=1, show_default=True, help="How many shards, with --nodes."
)
@click.option("--minutes", type=click.FloatRange(0.05, 1440), default=0.5, show_default=True, help="How long.")
@click.option("--faults", type=FaultKinds(), default="all", show_default=True, help="What may go wrong.")
@click.option("--jobs", type=click.IntRange(min=1), default=os.cpu_count(), show_default=True, help="Processes.")
@click.option("--plan", "file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Run a kept plan.")
@click.option("--shrink", "smaller", is_flag=True, help=f"Keep the smallest plan that fails too in {KEPT_IN}.")
def main(
    seed: int,
    seeds: int | None,
    nodes: int | None,
    shards: int,
    minutes: float,
    faults: tuple[str, ...],
    jobs: int,
    file: Path | None,
    smaller: bool,
) -> None:
    """Simulate a cluster in which much goes wrong, and judge what its clients saw.  One seed is one run for ever."""
    if nodes is not None and nodes < 2 * shards:
        raise click.UsageError(f"{shards} shards need at least {2 * shards} nodes")
    if seeds and (file or smaller):
        raise click.UsageError("--plan and --shrink are for one run, --seeds is for many")
    setting = Setting(None if nodes is None else (nodes, shards), minutes, faults)
    if seeds:
        sys.exit(sweep(range(seed, seed + seeds), setting, jobs))
    quietly()
    plans = [kept_plan(file)] if file else setting.plans(seed)
    replay = f"--plan {file}" if file else f"--seed {seed}{setting.options()}"
    sys.exit(tell(plans, replay, smaller=smaller))


def kept_plan(file: Path) -> Plan:
    """The plan in a file.  Raises UsageError where it holds none, or one that can't be run."""
    try:
        plan = msgspec.json.decode(file.read_bytes(), type=Plan)
    except msgspec.MsgspecError as error:
        raise click.UsageError(f"{file} is no plan: {error}") from None
    if not 0 < 2 * plan.shards <= plan.nodes:
        raise click.UsageError(f"{file} has {plan.shards} shards on {plan.nodes} nodes, each needs at least 2")
    numbers = {number for fault in plan.faults for number in fault.nodes}
    numbers |= {step.node for script in plan.scripts for step in script}
    if not numbers <= set(range(plan.nodes)):
        raise click.UsageError(f"{file} speaks of nodes beyond the {plan.nodes} that it has")
    if beyond := plan.limits.keys() - {field.name for field in fields(Limits)}:
        raise click.UsageError(f"{file} sets limits that there are not: {', '.join(sorted(beyond))}")
    if unknown := [fault.kind for fault in plan.faults if fault.kind not in KINDS]:
        raise click.UsageError(f"{file} has a fault of a kind that there is not: {unknown[0]}")
    return plan


# One run


def tell(plans: Sequence[Plan], replay: str, *, smaller: bool) -> int:
    """Tell a run and its verdict; returns the exit status."""
    simulation = simulate(plans)
    for line in (*cluster_lines(simulation), "", *story_lines(simulation), "", *verdict_lines(simulation)):
        print(line)
    violations = simulation.verdict.violations
    if not violations:
        return 0
    print()
    print("\n".join(evidence_lines(simulation, violations)))
    if smaller:
        keep_smaller(plans, violations[0].rule)
    print(f"\nSeed {plans[0].seed} failed. To see it again: python -m kvsd.simulate {replay}")
    return 1


def keep_smaller(plans: Sequence[Plan], rule: str) -> None:
    """Find a smaller plan that breaks the same promise, and keep it."""

    def fails(plan: Plan) -> bool:
        return any(violation.rule == rule for violation in simulate([plan]).verdict.violations)

    plan = next((plan for plan in reversed(plans) if fails(plan)), None)
    if plan is None:
        print("\nNo episode of the run fails by itself, so there is nothing to shrink.")
        return
    found = shrink(plan, fails)
    KEPT_IN.write_bytes(msgspec.json.format(msgspec.json.encode(found)))
    steps = sum(len(script) for script in found.scripts)
    print(
        f"\n{len(found.faults)} faults and {steps} steps of clients are enough: python -m kvsd.simulate --plan {KEPT_IN}"
    )


# Many runs


def sweep(seeds: range, setting: Setting, processes: int) -> int:
    """Do many runs and sum them up; returns the exit status."""
    tally = Tally()
    started = perf_counter()
    for verdict in over_all(partial(verdict_of, setting), seeds, processes):
        tally.add(verdict)
        if verdict.violations:
            lines = failure_lines(verdict, setting, evidence=len(tally.failed) <= MAX_EXPLAINED)
            print("\n".join(lines), flush=True)
        if tally.schedules % 500 == 0:
            print(f"  {tally.schedules:,} schedules", flush=True)
    seconds = perf_counter() - started
    print("Faults: " + ", ".join(f"{kind} {count:,}" for kind, count in sorted(tally.faults.items())))
    if tally.orders:
        print("Orders: " + ", ".join(f"{what} {count:,}" for what, count in sorted(tally.orders.items())))
    print(f"Speed: {tally.speed(seconds, processes)}; at rest {tally.settled:.1f} s after all was mended at the latest")
    failed = ", ".join(str(verdict.seed) for verdict in tally.failed[:MAX_EXPLAINED])
    judgement = f"{len(tally.failed)} FAILED, seeds {failed}" if tally.failed else "no violation"
    print(f"{tally.figures()}: {judgement}")
    return 1 if tally.failed else 0


def verdict_of(setting: Setting, seed: int) -> Verdict:
    """The verdict on the run of a seed, with the last events where it failed."""
    simulation = simulate(setting.plans(seed))
    verdict = simulation.verdict
    if verdict.violations:
        verdict.evidence = list(evidence_lines(simulation, verdict.violations))
    return verdict


def failure_lines(verdict: Verdict, setting: Setting, *, evidence: bool) -> Iterator[str]:
    """What is said of a run that failed, with the last events of its nodes or without."""
    yield f"Seed {verdict.seed} failed: python -m kvsd.simulate --seed {verdict.seed}{setting.options()}"
    for violation in verdict.violations[:MAX_EXPLAINED]:
        yield f"  {violation}"
    if evidence:
        yield from (f"  {line}" for line in verdict.evidence)


if __name__ == "__main__":
    main()
