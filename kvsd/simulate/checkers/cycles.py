"""The shortest way round."""

from collections import deque
from collections.abc import Callable, Iterable

from kvsd.simulate.history import Number

Successors = Callable[[Number], Iterable[Number]]


def shortest_cycle(starts: Iterable[Number], successors: Successors) -> list[Number]:
    """A shortest one of the cycles through one of some operations, from there on; empty if there is none."""
    shortest: list[Number] = []
    for start in starts:
        shortest = cycle_through(start, successors, len(shortest) - 1 if shortest else None) or shortest
    return shortest


def cycle_through(start: Number, successors: Successors, at_most: int | None = None) -> list[Number]:
    """A shortest cycle through an operation, beginning with it; empty if there is none of at most that length."""
    came_from: dict[Number, Number] = {}
    distance = {start: 1}
    queue = deque([start])
    while queue and (at_most is None or distance[queue[0]] <= at_most):
        number = queue.popleft()
        for successor in successors(number):
            if successor == start:
                return _way(number, start, came_from)
            if successor not in came_from:
                came_from[successor] = number
                distance[successor] = distance[number] + 1
                queue.append(successor)
    return []


def from_lowest(cycle: list[Number]) -> list[Number]:
    """The same cycle, from its lowest number on."""
    first = cycle.index(min(cycle)) if cycle else 0
    return cycle[first:] + cycle[:first]


def _way(number: Number, start: Number, came_from: dict[Number, Number]) -> list[Number]:
    """The way to an operation, from the start."""
    way = [number]
    while way[-1] != start:
        way.append(came_from[way[-1]])
    return way[::-1]
