"""
``python -m benchmarks.start``: how long a node with many keys takes to start, what memory it wants, and what requests cost.

A node alone, without sockets: its data is written straight to its disk, then processes open it, one after another.  With
``--against`` a commit, that one is measured in the same run, in turns.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

import click
from rich.console import Console
from rich.table import Column, Table

from benchmarks.core import ROOT, checked_out, commit_of

KEYS = (1_000, 100_000, 1_000_000)
MOST_SECONDS = 3.0
MOST_BYTES_A_KEY = 150.0
WIDTH = 150
FIGURES = {
    "seconds": "s until it serves",
    "cpu_seconds": "CPU s",
    "bytes_a_key": "bytes a key, started",
    "bytes_a_key_used": "bytes a key, used",
    "get_uniform_us": "GET uniform",
    "get_zipf_us": "GET Zipf",
    "put_uniform_us": "PUT uniform",
    "put_zipf_us": "PUT Zipf",
}
"""What is shown of what a process finds; the last four in microseconds of CPU."""

Found = dict[str, float]


def process(tree: Path, what: str, directory: Path, keys: int) -> Found:
    """What one process finds, with the cases of this program and the kvsd of a tree."""
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "benchmarks").symlink_to(ROOT / "benchmarks")
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.start_process", what, str(directory), str(keys)],
            cwd=place,
            env={**os.environ, "PYTHONPATH": str(tree)},
            check=True,
            stdout=subprocess.PIPE,
        )
        found: Found = json.loads(done.stdout.splitlines()[-1])
        return found


def medians(found: Sequence[Found]) -> Found:
    """The median of each figure."""
    return {name: median(each[name] for each in found) for name in found[0]}


def row(name: str, keys: int, found: Found) -> Iterator[str]:
    """The cells of the table."""
    yield name
    yield f"{keys:,}"
    for figure in FIGURES:
        yield f"{found[figure]:.2f}" if "seconds" in figure else f"{found[figure]:,.0f}"


def above_cache(found: Found) -> float:
    """The memory of a key that is not a cached block."""
    return found["bytes_a_key_used"] - found["cached_bytes_a_key"]


@click.command()
@click.option("--against", metavar="COMMIT", help="Measure that commit too, in turns with the code that is here.")
@click.option(
    "--keys", multiple=True, type=click.IntRange(min=1), help="With so many keys; may be given several times."
)
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(min=1), help="Starts, of which the median.")
def main(against: str | None, keys: tuple[int, ...], rounds: int) -> None:
    """Measure how a node starts; the exit status is 1 where it takes too long, or wants too much memory a key."""
    if against is None:
        sys.exit(report([ROOT], keys or KEYS, rounds))
    with checked_out(against) as other:
        sys.exit(report([ROOT, other], keys or KEYS, rounds))


def report(trees: Sequence[Path], counts: Sequence[int], rounds: int) -> int:
    """Measure and print the table; returns the exit status."""
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    names = [commit_of(tree) for tree in trees]
    console.print(f"commit {', against '.join(names)}; Python {platform.python_version()}; {platform.machine()}")
    right = [Column(title, justify="right") for title in ("keys", *FIGURES.values())]
    table = Table("commit", *right, title=f"medians of {rounds} starts; requests in microseconds of CPU")
    broken = []
    for keys in counts:
        found = measured(trees, keys, rounds)
        for name, each in zip(names, found, strict=True):
            table.add_row(*row(name, keys, each))
        if found[0]["seconds"] > MOST_SECONDS:
            broken.append(f"BROKEN: with {keys:,} keys it serves after {found[0]['seconds']:.1f} s")
        if keys >= max(KEYS) and above_cache(found[0]) > MOST_BYTES_A_KEY:
            broken.append(f"BROKEN: with {keys:,} keys each takes {above_cache(found[0]):.0f} bytes of memory")
    console.print(table)
    console.print("\n".join(broken))
    return bool(broken)


def measured(trees: Sequence[Path], keys: int, rounds: int) -> list[Found]:
    """For each tree the medians of so many starts, in turns."""
    found: list[list[Found]] = [[] for _ in trees]
    with tempfile.TemporaryDirectory() as place:
        directories = [Path(place) / str(number) for number in range(len(trees))]
        for tree, directory in zip(trees, directories, strict=True):
            process(tree, "fill", directory, keys)
        for _ in range(rounds):
            for number, tree in enumerate(trees):
                found[number].append(process(tree, "open", directories[number], keys))
    return [medians(each) for each in found]


if __name__ == "__main__":
    main()
