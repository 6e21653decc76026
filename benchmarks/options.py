"""
The options that all programs with rounds have.
"""

import shutil
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from benchmarks.answers import RefusedError
from benchmarks.load import LoadError
from benchmarks.processes import ServerError
from kvsd.local.cluster import ClusterError, end_on_signals


def measured(name: str, *, rounds: int, seconds: float) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """
    ``--rounds``, ``--seconds``, ``--markdown``, ``--page`` and ``--plot``, with these defaults.

    Where a server can't be started or does not answer as it has to, the program ends with that and status 1.
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

    def add(main: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(main)
        def run(**values: Any) -> Any:
            end_on_signals()
            try:
                return main(**values)
            except (ClusterError, LoadError, RefusedError, ServerError) as error:
                raise click.ClickException(f"BROKEN: {error}") from error

        for option in reversed(options):
            run = option(run)
        return run

    return add


def need(program: str) -> None:
    """End with one line where a program that all depends on is not there."""
    if shutil.which(program) is None:
        raise click.ClickException(f"there is no program {program}: the package of that name has it")
