"""
Where faults happen, and what a fault is: a function that makes it happen and returns what ends it.

``degree``, between 0 and 1, says how bad it is.  Faults of one kind may overlap; what ends one leaves the others be.
"""

from collections.abc import Callable
from typing import NamedTuple

from kvsd.simulate.clock import Clock
from kvsd.simulate.machine import Machine
from kvsd.simulate.network import Network
from kvsd.simulate.plan import Fault


class Scene(NamedTuple):
    """Where faults happen."""

    clock: Clock
    network: Network
    machines: list[Machine]
    distrust: Callable[[], None]
    """Called when disks may no longer hold what they once held."""

    def one(self, fault: Fault) -> Machine:
        """The machine that a fault is about."""
        return self.machines[fault.nodes[0]]

    def addresses(self, fault: Fault) -> list[str]:
        """The addresses that a fault is about."""
        return [self.machines[number].address for number in fault.nodes]


End = Callable[[], object]
"""What makes a fault end."""
Apply = Callable[[Scene, Fault], End | None]
"""Makes a fault happen; None: it found nothing to break."""


def nothing() -> None:
    """For faults that are over at once."""
