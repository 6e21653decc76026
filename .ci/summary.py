"""
Closes a test run: reads what trial printed and prints one line, ``N passed, N failed`` (``, N skipped``).

Usage: ``python3 .ci/summary.py FILE``.  The exit status is 0 only where tests ran, none failed, and what trial
says of their number agrees with what it says of their results.
"""

import re
import sys
from pathlib import Path
from typing import NamedTuple

COUNT = re.compile(r"^Ran (\d+) tests? in [\d.]+s$")
RESULT = re.compile(r"^(PASSED|FAILED)(?: \(([^)]*)\))?$")
PASSED = {"successes", "expectedFailures"}
FAILED = {"failures", "errors", "unexpectedSuccesses"}
SKIPPED = {"skips"}


class Unreadable(Exception):
    """The text holds no result of trial that makes sense."""


class Totals(NamedTuple):
    """How a run ended."""

    passed: int
    failed: int
    skipped: int

    def __str__(self) -> str:
        """One line a person or a program can read."""
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.passed} passed, {self.failed} failed{skipped}"


def counts(text: str) -> dict[str, int]:
    """Read ``skips=1, successes=8``; raises Unreadable for anything else."""
    found = dict(re.findall(r"(\w+)=(\d+)", text))
    if unknown := found.keys() - PASSED - FAILED - SKIPPED:
        raise Unreadable(f"trial counts something unknown: {', '.join(sorted(unknown))}")
    if text != ", ".join(f"{name}={number}" for name, number in found.items()):
        raise Unreadable(f"trial's counts can't be read: {text}")
    return {name: int(number) for name, number in found.items()}


def read(text: str) -> Totals:
    """
    Find the last result in what trial printed; a test may have printed the like before it.

    Raises Unreadable where there is none, where it says that no test ran, and where it contradicts itself.
    """
    lines = [line.rstrip() for line in text.splitlines()]
    ran = next((index for index in reversed(range(len(lines))) if COUNT.match(lines[index])), None)
    if ran is None:
        raise Unreadable("trial gave no result: it did not run to its end")
    number = int(lines[ran].split()[1])
    result = next((match for match in map(RESULT.match, lines[ran:]) if match), None)
    if result is None:
        raise Unreadable("trial did not say whether the tests passed")
    by_name = counts(result[2] or "")
    totals = Totals(*(sum(by_name.get(name, 0) for name in names) for names in (PASSED, FAILED, SKIPPED)))
    if number == 0 or sum(totals) == 0:
        raise Unreadable("no test ran")
    # One test can end in several errors, so there may be more results than tests; there are never fewer.
    if sum(totals) < number:
        raise Unreadable(f"trial ran {number} tests and tells the results of {sum(totals)}")
    good, bad = result[1] == "PASSED", by_name.get("failures", 0) + by_name.get("errors", 0)
    if (good and bad) or not (good or totals.failed):
        raise Unreadable(f"trial contradicts itself: {result[0]}")
    return totals


def main(path: str) -> int:
    """Print the closing line for the output kept at path; returns the exit status."""
    try:
        totals = read(Path(path).read_text("utf-8", errors="replace"))
    except (OSError, Unreadable) as error:
        print(f"No result of the tests: {error}", file=sys.stderr)
        totals = Totals(0, 1, 0)
    print(totals)
    return 1 if totals.failed or not totals.passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
