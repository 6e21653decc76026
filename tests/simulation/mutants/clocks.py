"""
Defects of how clocks are judged: right ones are taken for wrong, and wrong ones are believed.
"""

from kvsd.replication.clocks import Clocks
from kvsd.replication.stamps import Stamps
from tests.simulation.mutants.planting import Plant, Planting


def own_clock_not_counted(planting: Planting) -> None:
    """A node whose clock a majority agrees with, its own voice among it, goes on writing."""
    planting.rewrite(
        Clocks, "ahead_ms", ("[0, *self._ahead(self._counting())]", "self._ahead(self._counting()) or [0]")
    )
    planting.rewrite(Clocks, "is_ahead", (" and not self._is_agreed(0)", ""))


def jump_believed(planting: Planting) -> None:
    """A clock that has jumped is not believed before it is compared with others."""
    planting.rewrite(Stamps, "_wall_ms", (" if 0 <= now.wall_ms - steady_ms <= self._bound_ms else steady_ms", ""))


DEFECTS: list[Plant] = [own_clock_not_counted, jump_believed]
