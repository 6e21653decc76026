"""
Defects of how clocks are judged: right ones are taken for wrong, and wrong ones are believed.
"""

from kvsd.replication.broadcast import Broadcast
from kvsd.replication.clocks import Clocks
from kvsd.replication.hlc import COUNTER_BITS
from kvsd.replication.stamps import Stamps
from tests.pure import ADDRESSES, START_WALL_MS, PureCluster
from tests.simulation.mutants.planting import Plant, Planting

TEN_YEARS_MS = 10 * 365 * 86_400_000


def own_clock_not_counted(planting: Planting) -> None:
    """A node whose clock a majority agrees with, its own voice among it, goes on writing."""
    planting.rewrite(
        Clocks, "ahead_ms", ("[0, *self._ahead(self._counting())]", "self._ahead(self._counting()) or [0]")
    )
    planting.rewrite(Clocks, "is_ahead", (" and not self._is_agreed(0)", ""))


def jump_believed(planting: Planting) -> None:
    """A clock that has jumped is not believed before it is compared with others."""
    planting.rewrite(Stamps, "_wall_ms", (" if 0 <= now.wall_ms - steady_ms <= self._bound_ms else steady_ms", ""))


def any_stamp_taken_in(planting: Planting) -> None:
    """A peer's write with a stamp that is years ahead moves no clock."""
    planting.swap(Broadcast, "_is_credible", lambda *_: True)


def stamp_of_years_ahead() -> list[str]:
    """A node that nobody stops writes with a clock that is ten years ahead."""
    cluster = PureCluster(3, 1).founded()
    wrong, *others = [cluster.sites[address].replica.state for address in ADDRESSES[:3]]
    stamp = (START_WALL_MS + TEN_YEARS_MS) << COUNTER_BITS
    wrong.clock.witness(stamp)
    cluster.put(wrong.identity.address, "key", "1")
    cluster.run(2.0)
    moved = [state.identity.address for state in others if state.clock.latest >= stamp]
    return [f"{', '.join(moved)} went ten years ahead"] if moved else []


DEFECTS: list[Plant] = [own_clock_not_counted, jump_believed, any_stamp_taken_in]
