"""What is forgotten little by little: rows that nobody needs, and roles that are over."""

from itertools import pairwise

from kvsd.replication.messages import Imported
from kvsd.replication.requests import AbortReshard, RemoveNode, Reshard
from tests.pure import ADDRESSES, PureCluster, Site, with_limits
from tests.pure_case import PureCase
from tests.unit.test_membership import without

ONE, TWO, THREE, FOUR = ADDRESSES[:4]
SLOW = with_limits(sweep_rows=3)


class UpkeepTests(PureCase):
    """Four nodes with two shards and eighty keys, that look at three rows in a tick."""

    def setUp(self) -> None:
        self.cluster = PureCluster(4, 2, SLOW).founded()
        for number in range(80):
            self.cluster.put(ADDRESSES[number % 4], f"key{number}", "1")
        self.cluster.run(1.0)

    @staticmethod
    def rows(site: Site) -> int:
        """How many rows a node has on its disk."""
        return sum(table == "rows" for table, _ in site.disk)

    def test_nothing_to_forget(self) -> None:
        """What is needed stays."""
        before = {address: self.rows(site) for address, site in self.cluster.sites.items()}
        self.cluster.run(10.0)
        self.assertEqual(before, {address: self.rows(site) for address, site in self.cluster.sites.items()})
        self.assertEqual(160, sum(before.values()))

    def test_role_that_is_over(self) -> None:
        """A node that was removed forgets what it had, a few rows in a tick, and in the end the role itself."""
        site = self.cluster.sites[FOUR]
        self.cluster.submit(ONE, RemoveNode(FOUR))
        seen = []
        for _ in range(40):
            self.cluster.run(SLOW.tick_seconds)
            seen.append(self.rows(site))
        self.assertTrue(all(0 <= before - after <= SLOW.sweep_rows for before, after in pairwise(seen)))
        self.assertEqual(0, seen[-1])
        self.assertEqual(({}, []), (site.replica.state.roles, site.replica.state.dissolving))
        self.assertEqual(set(), {table for table, _ in site.disk} - {"meta"})

    def test_goes_on_after_a_restart(self) -> None:
        """A role that was half forgotten when its node died is forgotten to the end after that, and serves nothing."""
        self.cluster.submit(ONE, RemoveNode(FOUR))
        while not self.cluster.sites[FOUR].replica.state.dissolving:
            self.cluster.run(SLOW.tick_seconds)
        self.cluster.run(0.3)
        self.cluster.crash(FOUR)
        left = self.rows(self.cluster.sites[FOUR])
        self.assertGreater(left, 0)
        site = self.cluster.restart(FOUR)
        self.assertEqual(({}, 1), (site.replica.state.roles, len(site.replica.state.dissolving)))
        self.cluster.run(5.0)
        self.assertEqual((0, []), (self.rows(site), site.replica.state.dissolving))

    def test_rows_that_are_not_needed(self) -> None:
        """The old rows of slots that moved are forgotten where they were, when nobody takes over from there any more."""
        self.cluster.submit(ONE, Reshard(1))
        self.cluster.run(20.0)
        configuration = self.configuration()
        self.assertEqual({"s0"}, set(configuration.shards))
        for site in self.cluster.live():
            state = site.replica.state
            (role,) = state.roles.values()
            self.assertEqual((80, 80), (len(role.store), self.rows(site)))
            self.assertLessEqual({row.record.tenure for row in role.store}, set(configuration.tenures))

    def test_rows_of_a_reshard_that_was_given_up(self) -> None:
        """Rows that were copied for a reshard that was given up are forgotten, and no others."""
        self.cluster.cut = lambda sender, receiver, message: isinstance(message, Imported) and sender == TWO
        self.cluster.submit(ONE, Reshard(1))
        self.cluster.run(1.0)
        self.cluster.cut = without(Imported)
        self.cluster.submit(ONE, AbortReshard())
        self.cluster.run(20.0)
        self.assertEqual(160, sum(self.rows(site) for site in self.cluster.live()))
        for site in self.cluster.live():
            self.assertEqual((1, []), (len(site.replica.state.roles), site.replica.state.dissolving))
