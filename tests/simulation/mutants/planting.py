"""
Planting defects in the code of kvsd while it runs, and pulling them out again.

A defect is mostly a change of a few words in the text of one function: the words that are there, and what stands in
their place.  Where those words are there no more, planting fails, so that no defect is ever planted in vain.
"""

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from textwrap import dedent
from types import ModuleType
from typing import Any, NamedTuple

from kvsd.simulate.faults.catalogue import KINDS as ALL_KINDS

KINDS = tuple(kind for kind in ALL_KINDS if kind != "stale-disk")
"""The kinds of faults under which defects are looked for."""
KINDS_WITH_OLD_DISKS = ("stale-disk", "restart", "crash", "cut-link", "loss")
"""Those for defects that show only where disks are put back in time; other faults would mostly stand in the way."""
KINDS_WITH_DOUBLES = ("second-process", "copied-disk", "restart", "crash")
"""Those for defects that show only where a second process runs under an address."""
KINDS_WITH_CHANGES = (
    "partition",
    "cut-link",
    "one-way",
    "pause",
    "crash",
    "restart",
    "slow-disk",
    "loss",
    "wiped-disk",
)
"""Those for defects that show where a cluster changes: some nodes learn of it later than others."""


class Planting:
    """Attributes of classes and modules that were replaced, and what they were before."""

    def __init__(self) -> None:
        self.replaced: list[tuple[type | ModuleType, str, object]] = []
        """What was replaced: where, under which name, and the original."""

    def swap(self, owner: type | ModuleType, name: str, new: object) -> None:
        """Put something else in the place of an attribute that a class or module has itself."""
        self.replaced.append((owner, name, vars(owner)[name]))
        setattr(owner, name, new)

    def rewrite(self, owner: type | ModuleType, name: str, *changes: tuple[str, str]) -> None:
        """Replace words in the text of a function; each must stand there exactly once."""
        original: Any = vars(owner)[name]
        function = inspect.unwrap(getattr(original, "fget", None) or getattr(original, "__func__", original))
        text = dedent(inspect.getsource(function))
        for old, new in changes:
            if text.count(old) != 1:
                raise ValueError(f"{owner.__name__}.{name} has {old!r} {text.count(old)} times")
            text = text.replace(old, new)
        module = owner if isinstance(owner, ModuleType) else sys.modules[owner.__module__]
        namespace: dict[str, object] = {}
        exec(compile(text, f"<{module.__name__}: {name} with a defect>", "exec"), vars(module), namespace)
        self.swap(owner, name, namespace[name])

    def undo(self) -> None:
        """Put everything back."""
        while self.replaced:
            owner, name, original = self.replaced.pop()
            setattr(owner, name, original)


Plant = Callable[[Planting], None]


class Mutant(NamedTuple):
    """A defect: the rule that it breaks, in a sentence, what plants it, and the kinds of faults that it shows under."""

    rule: str
    plant: Plant
    kinds: tuple[str, ...] = KINDS
    restless: bool = False
    """Whether it is looked for in clusters that change all the time."""


@contextmanager
def planted(mutant: Mutant) -> Iterator[Planting]:
    """Have a defect for a while."""
    planting = Planting()
    try:
        mutant.plant(planting)
        yield planting
    finally:
        planting.undo()
