"""
Killing a process at any step of a change: at every message and every sync, at every node, one run each.

A run of a plan without faults tells when anything happened at which node while the cluster changed.  Each of these
moments then becomes a plan of its own, in which that node is killed just then; up to that moment it is the same run.

``python -m tests.simulation.every_step`` goes through all of them, the tests through some.
"""

import sys
from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from kvsd.simulate.plan import Fault, Order, Plan, Step
from kvsd.simulate.run import Simulation
from kvsd.simulate.sweep import quietly

BEGIN, END = 3.0, 10.0
JUST_AFTER = 1e-6
DOWN_SECONDS = (0.0, 8.0)
"""A killed node is started again at once, or after so long."""

Moment = tuple[float, int]
"""A time (simulated seconds) and the number of a node."""


def change(*orders: Order, nodes: int = 4, shards: int = 2, spares: int = 1) -> Plan:
    """A plan in which clients write all the time, and an operator asks for changes."""
    writes = [[Step(0.1, "put", number, key) for _ in range(80) for key in ("a", "b", "c", "d")] for number in range(2)]
    return Plan(1, nodes, shards, END, {}, [], writes, spares=spares, orders=list(orders))


CHANGES = {
    "a node is added to a shard": change(Order(BEGIN, "member", 1, 4, 0)),
    "two shards become one": change(Order(BEGIN, "reshard", 0, count=1), spares=0),
    "one shard becomes two": change(Order(BEGIN, "reshard", 1, count=2), shards=1, spares=0),
    "two shards become three": change(Order(BEGIN, "reshard", 2, count=3), nodes=5),
}
"""The changes that are tried, by what they do."""


def moments(plan: Plan) -> list[Moment]:
    """When something happened at which node, from the first order on until all was at rest."""
    simulation = Simulation(plan)
    simulation.run([plan])
    assert not simulation.verdict.violations, simulation.verdict.violations
    numbers = {address: number for number, address in enumerate(simulation.cluster.machines)}
    found = {
        (event.seconds, numbers[place])
        for event in simulation.trace.recent
        for place in event.places
        if place in numbers and BEGIN <= event.seconds < END
    }
    return sorted(found)


def killed_at(plan: Plan, moment: Moment, down_seconds: float) -> Plan:
    """The plan, with a node killed at a moment."""
    seconds, number = moment
    kind = "crash" if down_seconds else "restart"
    other = (number + 1) % (plan.nodes + plan.spares)
    return replace(plan, faults=[Fault(kind, seconds + JUST_AFTER, down_seconds or 1.0, (number, other))])


def failures(plan: Plan, chosen: Iterable[Moment]) -> list[str]:
    """What goes wrong where a node is killed at these moments, in words."""
    found = []
    for number, moment in enumerate(chosen):
        candidate = killed_at(plan, moment, DOWN_SECONDS[number % len(DOWN_SECONDS)])
        simulation = Simulation(candidate)
        simulation.run([candidate])
        found += [f"{candidate.faults}: {violation}" for violation in simulation.verdict.violations]
    return found


def main(names: Sequence[str]) -> int:
    """Go through all moments of all changes; says what was found."""
    quietly()
    status = 0
    for name, plan in CHANGES.items():
        if names and name not in names:
            continue
        every = moments(plan)
        found = failures(plan, every)
        print(f"{name}: {len(every)} moments, {len(found)} violations", flush=True)
        for text in found:
            print(f"  {text}")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
