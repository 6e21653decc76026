"""How much is told of a run in which everything is wrong."""

from collections.abc import Iterable
from itertools import islice

from kvsd.simulate.history import Violation

AT_MOST = 3
"""How many violations of a kind are told."""


def few(violations: Iterable[Violation]) -> list[Violation]:
    """The first few of the violations of a kind; the others are not even looked for."""
    return list(islice(violations, AT_MOST))
