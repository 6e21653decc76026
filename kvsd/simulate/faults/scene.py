"""
Where faults happen, and what a fault is: a function that makes it happen and returns what ends it.

``degree``, between 0 and 1, says how bad it is.  Faults may overlap.  Cuts, and wishes that a node be down, are counted:
what ends one leaves the others be.  Of all else the end of one fault is the end of all of its kind.
"""

from collections.abc import Callable
from dataclasses import dataclass

from kvsd.simulate.clock import Clock
from kvsd.simulate.machine import Machine
from kvsd.simulate.network import Network, Weather
from kvsd.simulate.plan import Fault


@dataclass
class Scene:
    """Where faults happen."""

    clock: Clock
    network: Network
    machines: list[Machine]
    distrust: Callable[[], None]
    """Called when disks may no longer hold what they once held."""
    calm_until: float = 0.0
    """Until when no other fault is to happen (simulated seconds)."""

    right_since: float = 0.0
    """Since when no clock has been wrong by years (simulated seconds)."""

    def is_calm(self) -> bool:
        """Whether nothing is wrong with the network."""
        return self.network.weather == Weather()

    def keep_calm(self, seconds: float) -> None:
        """Let no other fault happen for a while."""
        self.calm_until = max(self.calm_until, self.clock.seconds() + seconds)

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
