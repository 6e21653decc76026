"""Causal stability: tokens shrink, logs end and tombstones go, but never too early."""

from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication.messages import Heartbeat, Push
from kvsd.replication.requests import Absent, Found, Unmet
from kvsd.replication.role import Role
from kvsd.replication.token import EMPTY
from tests.pure import PureCluster, with_limits


class StabilityTests(SynchronousTestCase):
    """One shard of three replicas."""

    def setUp(self) -> None:
        """Found the cluster."""
        self.cluster = PureCluster(3, 1).founded()
        self.node, self.peer, self.third = self.cluster.members("s0")

    def role(self, address: str) -> Role:
        """The role of a node."""
        return self.cluster.sites[address].replica.state.roles["s0"]

    def test_tokens_of_a_quiet_cluster_are_empty(self) -> None:
        """What every replica has need not stand in a token."""
        token = self.cluster.put(self.node, "key", "1")
        self.assertNotEqual({}, token.dependencies)
        self.cluster.run(1.0)
        seen = self.cluster.get(self.peer, "key", token)
        assert isinstance(seen, Found)
        self.assertEqual({}, seen.token.dependencies)

    def test_tokens_keep_what_one_replica_lacks(self) -> None:
        """As long as one member may lack a write, tokens name it."""
        self.cluster.cut = lambda sender, receiver, message: receiver == self.third
        token = self.cluster.put(self.node, "key", "1")
        self.cluster.run(5.0)
        seen = self.cluster.get(self.peer, "key", token)
        assert isinstance(seen, Found)
        self.assertEqual(token.dependencies, seen.token.dependencies)

    def test_a_node_that_was_just_started_prunes_nothing(self) -> None:
        """Without reports of all members nothing counts as stable."""
        token = self.cluster.put(self.node, "key", "1")
        self.cluster.run(1.0)
        self.cluster.crash(self.node)
        self.cluster.isolate(self.node)
        self.cluster.restart(self.node)
        self.cluster.run(3.1)
        seen = self.cluster.get(self.node, "key", token)
        assert isinstance(seen, Found)
        self.assertEqual(token.dependencies, seen.token.dependencies)

    def test_own_writes_count_as_stable_only_once_they_are_on_disk(self) -> None:
        """What others have and this node's disk has not may be lost here: tokens must still name it."""
        site = self.cluster.sites[self.node]
        site.holding = True
        token = self.cluster.put(self.peer, "key", "1")
        self.cluster.run(2.0)
        self.assertEqual({}, site.replica.stability.unstable({}))
        self.assertEqual(token.dependencies, site.replica.stability.unstable(token.dependencies))

    def test_log_ends_where_all_have_it(self) -> None:
        """Ops that every member has leave the log, on disk too."""
        for number in range(20):
            self.cluster.put(self.node, f"key{number}", "1")
        self.cluster.run(2.5)
        for site in self.cluster.live():
            self.assertEqual(0, len(self.role(site.address).log))
            self.assertEqual([], [key for table, key in site.disk if table == "ops"])

    def test_log_ends_as_fast_as_it_grows(self) -> None:
        """Where more is to be dropped than is done at a time, the rest does not wait until the next upkeep."""
        cluster = PureCluster(3, 1, with_limits(log_drops=5)).founded()
        for number in range(40):
            cluster.put(self.node, f"key{number}", "1")
        cluster.run(2.5)
        self.assertEqual([0, 0, 0], [len(site.replica.state.roles["s0"].log) for site in cluster.live()])

    def test_log_never_outgrows_its_bytes(self) -> None:
        """However many ops that is, what does not fit leaves at the next tick, though a member lacks it."""
        cluster = PureCluster(3, 1, with_limits(log_drops=5, log_bytes=2000)).founded()
        node, _, third = cluster.members("s0")
        cluster.isolate(third)
        for number in range(100):
            cluster.put(node, f"key{number}", "1")
        cluster.run(0.2)
        log = cluster.sites[node].replica.state.roles["s0"].log
        self.assertTrue(1000 < log.size <= 2000)

    def test_log_is_kept_for_a_member_that_is_away(self) -> None:
        """A member that is away finds everything in the log when it returns."""
        self.cluster.isolate(self.third)
        self.cluster.run(1.5)
        for number in range(20):
            self.cluster.put(self.node, f"key{number}", "1")
        self.cluster.run(10.0)
        self.assertEqual(20, len(self.role(self.node).log))

    def test_tombstone_goes_once_everybody_has_it(self) -> None:
        """A deleted key leaves nothing behind, in memory and on disk."""
        self.cluster.put(self.node, "key", "1")
        self.cluster.put(self.node, "key", None)
        self.cluster.run(4.0)
        for site in self.cluster.live():
            self.assertEqual(0, len(self.role(site.address).store))
            self.assertEqual([], [key for table, key in site.disk if table == "rows"])
            self.assertIsInstance(self.cluster.get(site.address, "key"), Absent)

    def test_tombstone_stays_while_an_older_write_may_still_come(self) -> None:
        """A write that was concurrent with a deletion and comes late does not bring the key back where it lost."""
        behind = self.cluster.sites[self.third]
        behind.wall_offset_ms = -10_000
        self.cluster.cut = lambda sender, receiver, message: self.third in (sender, receiver)
        self.cluster.run(1.5)
        self.cluster.put(self.node, "key", "1")
        self.cluster.put(self.third, "key", '"late"')
        self.cluster.put(self.node, "key", None)
        self.cluster.cut = lambda sender, receiver, message: (
            self.third in (sender, receiver) and not isinstance(message, Heartbeat)
        )
        self.cluster.run(5.0)
        self.assertEqual(1, len(self.role(self.node).store))
        self.cluster.heal()
        self.cluster.run(5.0)
        for site in self.cluster.live():
            self.assertEqual(0, len(self.role(site.address).store))

    def test_tombstone_stays_while_its_causes_are_not_everywhere(self) -> None:
        """Who finds a key deleted depends on what the deletion depended on, for as long as some replica lacks that."""
        cluster = PureCluster(4, 2).founded()
        (first, _), (near, far) = cluster.members("s0"), cluster.members("s1")
        key, cause = cluster.key_of("s0"), cluster.key_of("s1")
        before = cluster.put(first, key, "1")
        cluster.run(1.0)
        cluster.cut = lambda sender, receiver, message: {sender, receiver} == {near, far}
        cluster.run(1.5)
        cluster.put(first, key, None, cluster.put(near, cause, "2", before))
        cluster.run(10.0)
        seen = cluster.get(first, key, before)
        assert isinstance(seen, Absent)
        self.assertIsInstance(cluster.get(far, cause, seen.token), Unmet)
        cluster.heal()
        cluster.run(6.0)
        self.assertEqual(0, len(cluster.sites[first].replica.state.roles["s0"].store))

    def test_tombstone_stays_while_a_member_is_away(self) -> None:
        """A member that missed a deletion must still find it when it returns."""
        token = self.cluster.put(self.node, "key", "1")
        self.cluster.run(1.0)
        self.cluster.isolate(self.third)
        self.cluster.run(1.5)
        self.cluster.put(self.node, "key", None, token)
        self.cluster.run(10.0)
        self.assertEqual(1, len(self.role(self.node).store))
        self.cluster.heal()
        self.cluster.run(6.0)
        self.assertIsInstance(self.cluster.get(self.third, "key"), Absent)
        self.assertEqual(0, len(self.role(self.third).store))

    def test_deletion_that_was_held_back_is_not_collected_before_its_causes(self) -> None:
        """Collecting waits for everything that members wrote before they had the deletion."""
        self.cluster.cut = lambda sender, receiver, message: isinstance(message, Push)
        first = self.cluster.put(self.third, "key", "1")
        self.cluster.run(1.0)
        self.cluster.put(self.node, "key", None, first)
        self.cluster.run(4.0)
        self.assertEqual([0, 0, 0], [len(self.role(address).store) for address in self.cluster.members("s0")])

    def test_single_node_forgets_what_it_need_not_keep(self) -> None:
        """A cluster of one node prunes, truncates and collects all by itself."""
        lone = PureCluster(1, 1).founded()
        [address] = lone.members("s0")
        lone.put(address, "key", "1")
        lone.put(address, "key", None)
        lone.run(3.0)
        role = lone.sites[address].replica.state.roles["s0"]
        self.assertEqual((0, 0), (len(role.store), len(role.log)))
        self.assertEqual({}, lone.put(address, "other", "1", EMPTY).dependencies.get("s1", {}))
