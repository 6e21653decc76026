"""Causal cuts: what a replica shows to readers without tokens has its causes beside it, also while slots are taken over."""

from collections.abc import Iterable

from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication.effects import Effect, Write
from kvsd.simulate.clock import Clock
from kvsd.simulate.invariants.cuts import CausalCuts
from kvsd.simulate.monitor import Monitor
from kvsd.simulate.trace import Trace
from tests.pure import PureCluster, Site
from tests.simulation.mutants.late_writes import shown_before_its_cause
from tests.simulation.mutants.planting import planted
from tests.simulation.mutants.registry import MUTANTS


class WatchedCluster(PureCluster):
    """Five replicas in two shards whose writes are shown to the invariant."""

    def __init__(self) -> None:
        self.monitor = Monitor(Trace(Clock()), lambda _: {})
        self.cuts = CausalCuts(self.monitor)
        super().__init__(5, 2)

    def perform(self, site: Site, effects: Iterable[Effect]) -> None:
        """Do what a replica wants; the invariant is shown what it writes."""
        done = list(effects)
        for effect in done:
            if isinstance(effect, Write):
                self.cuts.wrote(site.replica, effect.position, effect.changes)
        super().perform(site, done)


class CausalCutsTests(SynchronousTestCase):
    """A scene in which a client writes at one replica what it has read there, of a shard whose slots were taken over."""

    def rules(self) -> list[str]:
        """The rules that the scene breaks."""
        cluster = WatchedCluster()
        shown_before_its_cause(cluster)
        return [violation.rule for violation in cluster.monitor.violations]

    def test_right_code(self) -> None:
        """An effect is shown after its cause."""
        self.assertEqual([], self.rules())

    def test_own_part_of_the_token_only(self) -> None:
        """Where a write depends on its own shard's part of the token alone, another replica shows it without its cause."""
        with planted(MUTANTS["own-part-of-the-token-only"]):
            self.assertEqual(["causal-cut"], self.rules())
