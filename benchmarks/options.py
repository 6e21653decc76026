"""
What all programs with rounds have: their options, and how they begin and end.
"""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import click

from benchmarks.answers import RefusedError
from benchmarks.load import LoadError
from benchmarks.processes import ServerError
from benchmarks.report import Report, end
from kvsd.local.cluster import ClusterError, end_on_signals

Plot = Callable[[Path], object]
"""Draws what was measured into a file."""


def measured(
    name: str, *, rounds: int, seconds: float, needs: Sequence[str] = ("wrk",)
) -> Callable[[Callable[..., Plot]], Callable[..., None]]:
    """
    A program of this name, with ``--rounds``, ``--seconds``, ``--markdown``, ``--page`` and ``--plot``.

    What is decorated gets the report to fill, an empty directory that is removed when it returns, the rounds, the
    seconds and the values of its own options; it returns what draws the plot.  Where a program that it needs is not
    there, or a server can't be started or does not answer as it has to, all ends with that and status 1.
    """
    default = Path(__file__).with_name(f"{name}.png")
    options = [
        click.option(
            "--rounds", "count", default=rounds, show_default=True, help="Rounds, of which the median counts."
        ),
        click.option("--seconds", default=seconds, show_default=True, help="Seconds of load of each in each round."),
        click.option("--markdown", is_flag=True, help="Print the tables as Markdown."),
        click.option("--page", is_flag=True, help="Put the tables into README.md beside this program."),
        click.option("--plot", "path", default=default, type=click.Path(path_type=Path), help="Where the plot goes."),
    ]

    def add(main: Callable[..., Plot]) -> Callable[..., None]:
        @wraps(main)
        def run(*, markdown: bool, page: bool, path: Path, **values: Any) -> None:
            end_on_signals()
            for program in needs:
                need(program)
            report = Report(name, markdown=markdown, page=page)
            try:
                with tempfile.TemporaryDirectory(prefix=f"kvsd-{name}-") as directory:
                    plot = main(report, Path(directory), **values)
            except (ClusterError, LoadError, RefusedError, ServerError) as error:
                raise click.ClickException(f"BROKEN: {error}") from error
            end(report, plot, path)

        for option in reversed(options):
            run = option(run)
        return run

    return add


def need(program: str) -> None:
    """End with one line where a program that all depends on is not there."""
    if shutil.which(program) is None:
        raise click.ClickException(f"there is no program {program}: the package of that name has it")
