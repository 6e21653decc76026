"""
``python -m benchmarks.core``: what the pure core costs, in microseconds of CPU an operation.

With ``--against`` a commit, that commit is measured in the same run, case by case in turns, so that the ratio holds on a
noisy machine too.  Rates and latencies are no matter of this program: it opens no socket and no file.
"""

import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import click
import pyperf
from rich.console import Console
from rich.table import Column, Table

from benchmarks.core_cases import CASES
from benchmarks.core_scale import SCALE

ROOT = Path(__file__).resolve().parent.parent
GOALS_US = {
    "GET, no token": 8.0,
    "PUT, token of the last reply": 25.0,
    "PUT, the same, one of 32 in a turn": 25.0,
    "token of 3 entries to text, read here": 5.0,
}
"""What some cases should cost at the most, in microseconds."""
SHOWN_OF_COMMIT = 12
WIDTH = 110


@contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """A directory with the sources of a commit, for as long as they are needed."""
    with tempfile.TemporaryDirectory() as directory:
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", directory, commit], cwd=ROOT, check=True)
        try:
            yield Path(directory)
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", directory], cwd=ROOT, check=True)


def commit_of(tree: Path) -> str:
    """The commit of a directory with sources, and whether they were changed since."""
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty", f"--abbrev={SHOWN_OF_COMMIT}", "--exclude=*"],
        cwd=tree,
        check=True,
        capture_output=True,
        text=True,
    )
    return found.stdout.strip()


def measure(case: str, tree: Path, values: int) -> list[float]:
    """The microseconds that a case took in one process, with the cases of this program and the kvsd of a tree."""
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "benchmarks").symlink_to(ROOT / "benchmarks")
        result = Path(directory) / "result.json"
        options = ["--quiet", "--processes=1", "--warmups=1", f"--values={values}", "--output", str(result)]
        subprocess.run(
            [sys.executable, "-m", "benchmarks.core_process", *options, case],
            cwd=directory,
            env={**os.environ, "PYTHONPATH": str(tree)},
            check=True,
            stdout=subprocess.DEVNULL,
        )
        return [1e6 * float(value) for value in pyperf.Benchmark.load(str(result)).get_values()]


def row(case: str, now: Sequence[float], before: Sequence[float] | None) -> Iterator[str]:
    """The cells of the table."""
    yield case
    if before is not None:
        yield f"{median(before):.1f}"
    yield f"{median(now):.1f}"
    if before is not None:
        yield f"{median(now) / median(before):.2f}"
    yield f"{min(now):.1f}"
    goal = GOALS_US.get(case)
    yield "" if goal is None else f"{goal:g}: {'reached' if median(now) <= goal else 'MISSED'}"


@click.command()
@click.argument("words", nargs=-1)
@click.option("--against", metavar="COMMIT", help="Measure that commit too, in turns with the code that is here.")
@click.option("--scale", is_flag=True, help="Measure what should not grow with keys, replicas and what is held back.")
@click.option("--processes", default=3, show_default=True, type=click.IntRange(min=1), help="Processes a case.")
@click.option("--values", default=3, show_default=True, type=click.IntRange(min=1), help="Measurements a process.")
def main(words: tuple[str, ...], against: str | None, scale: bool, processes: int, values: int) -> None:
    """Measure what the pure core costs: all cases, or those whose names contain one of WORDS."""
    cases = [case for case in (SCALE if scale else CASES) if not words or any(word in case for word in words)]
    if not cases:
        raise click.UsageError(f"no case is called like that; there are: {'; '.join([*CASES, *SCALE])}")
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    if against is None:
        report(console, cases, None, processes, values)
    else:
        with checked_out(against) as other:
            report(console, cases, other, processes, values)


def report(console: Console, cases: Sequence[str], other: Path | None, processes: int, values: int) -> None:
    """Measure the cases and print the table."""
    compared = f", against {commit_of(other)}" if other else ""
    console.print(f"commit {commit_of(ROOT)}{compared}; Python {platform.python_version()}; {platform.machine()}")
    columns = ["before", "now", "ratio", "least"] if other else ["median", "least"]
    right = [Column(name, justify="right") for name in columns]
    table = Table("microseconds of CPU", *right, "goal", title=f"{processes} processes, {values} values of each")
    for case in cases:
        now: list[float] = []
        before: list[float] = []
        for _ in range(processes):
            before += measure(case, other, values) if other else []
            now += measure(case, ROOT, values)
        table.add_row(*row(case, now, before if other else None))
    console.print(table)


if __name__ == "__main__":
    main()
