"""
Defects of identity: a second process takes the place of a node that is well, or goes on beside it.
"""

from kvsd.replication.occupancy import Occupancy
from tests.simulation.mutants.planting import Plant, Planting


def incumbent_displaced(planting: Planting) -> None:
    """The process that speaks for an address stays as long as it is heard."""
    planting.rewrite(Occupancy, "_is_free_for", ("if not incumbent.instance or", "if True or"))


def copy_goes_on(planting: Planting) -> None:
    """A process that runs on a copy of another one's disk stops once it is told that the other one is heard."""
    planting.rewrite(Occupancy, "_contested", ("if same and", "if False and"))


DEFECTS: list[Plant] = [incumbent_displaced, copy_goes_on]
"""All defects of this kind."""
