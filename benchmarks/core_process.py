"""
``python -m benchmarks.core_process``: one process of :mod:`benchmarks.core`, run by pyperf.
"""

from collections.abc import Callable
from typing import Any

import pyperf

from benchmarks.core_cases import CASES
from benchmarks.core_scale import SCALE
from benchmarks.watched import Case


def main() -> None:
    """Run the case that is named, in the way that pyperf wants."""

    def pass_on(command: list[str], arguments: Any) -> None:
        command.append(arguments.case)

    runner = pyperf.Runner(program_args=("-m", "benchmarks.core_process"), add_cmdline_args=pass_on)
    runner.argparser.add_argument("case", choices=[*CASES, *SCALE])
    name = runner.parse_args().case
    runner.bench_time_func(name, _once_set_up({**CASES, **SCALE}[name]))


def _once_set_up(set_up: Callable[[], Case]) -> Case:
    """The case, set up only in processes that measure it."""
    case: Case | None = None

    def carry_out(loops: int) -> float:
        nonlocal case
        if case is None:
            case = set_up()
        return case(loops)

    return carry_out


if __name__ == "__main__":
    main()
