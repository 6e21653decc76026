"""
Making a plan smaller while it still fails: fewer faults, fewer clients, fewer steps.

This is delta debugging (Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", IEEE TSE 2002)
on each list in turn, until none of them gets any shorter, or so many plans were tried that it is good enough.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from msgspec.structs import replace

from kvsd.simulate.plan import Plan, Step

T = TypeVar("T")

TRIES = 400
"""How many plans are run to find a smaller one."""

Fails = Callable[[Plan], bool]


def shrink(plan: Plan, fails: Fails, tries: int = TRIES) -> Plan:
    """The smallest plan that was found to fail still in so many tries; ``fails`` says it of one, and must of this."""
    left = tries

    def still_fails(candidate: Plan) -> bool:
        nonlocal left
        left -= 1
        return left >= 0 and fails(candidate)

    while True:
        smaller = _once(plan, still_fails)
        if _size(smaller) == _size(plan):
            return plan
        plan = smaller


def _once(plan: Plan, fails: Fails) -> Plan:
    plan = replace(plan, faults=_fewest(plan.faults, lambda faults: fails(replace(plan, faults=faults))))
    plan = replace(plan, orders=_fewest(plan.orders, lambda orders: fails(replace(plan, orders=orders))))
    for number in range(len(plan.scripts)):
        plan = _shorter_script(plan, number, fails)
    return plan


def _shorter_script(plan: Plan, number: int, fails: Fails) -> Plan:
    """The steps of one client that it takes; what is left of them happens when it happened before."""

    def with_steps(steps: Sequence[tuple[float, Step]]) -> Plan:
        scripts = list(plan.scripts)
        scripts[number] = _script(steps)
        return replace(plan, scripts=scripts)

    timed = list(_times(plan.scripts[number]))
    return with_steps(_fewest(timed, lambda steps: fails(with_steps(steps))))


def _times(script: Sequence[Step]) -> Iterator[tuple[float, Step]]:
    """The steps of a script with the times before them, all added up."""
    now = 0.0
    for step in script:
        now += step.after
        yield now, step


def _script(steps: Sequence[tuple[float, Step]]) -> list[Step]:
    script: list[Step] = []
    last = 0.0
    for now, step in steps:
        script.append(replace(step, after=round(now - last, 6)))
        last = now
    return script


def _fewest(items: Sequence[T], fails: Callable[[list[T]], bool]) -> list[T]:
    """A part of a list that fails, from which no single item can be left out."""
    kept = list(items)
    chunk = len(kept)
    while chunk and kept:
        start = 0
        while start < len(kept):
            rest = kept[:start] + kept[start + chunk :]
            if fails(rest):
                kept = rest
            else:
                start += chunk
        chunk //= 2
    return kept


def _size(plan: Plan) -> int:
    return len(plan.faults) + len(plan.orders) + sum(len(script) for script in plan.scripts)
