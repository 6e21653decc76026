"""How nodes found a cluster, and how one that is not what it was is told apart."""

from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication.configuration import founding_configuration
from kvsd.replication.messages import Prepare
from kvsd.replication.requests import Counted, CountKeys, Found, Put, Unassigned, Unavailable, Written
from kvsd.replication.role import Role
from kvsd.replication.saved import Saved
from kvsd.replication.token import EMPTY
from tests.pure import ADDRESSES, PureCluster


class FoundingTests(SynchronousTestCase):
    """Six nodes that start with the same view and number of shards."""

    def test_all_serve_soon_after_they_met(self) -> None:
        """Every node serves, and stands in every view, within a second."""
        cluster = PureCluster()
        cluster.run(1.0)
        for site in cluster.live():
            self.assertEqual(list(ADDRESSES), site.replica.state.liveness.view(cluster.time))
            self.assertEqual("", site.replica.routing.assignment.lacking())

    def test_minority_does_not_serve(self) -> None:
        """Without a majority of the view no node serves: it might be one that lost its disk."""
        cluster = PureCluster()
        for address in ADDRESSES[3:]:
            cluster.crash(address)
        cluster.run(5.0)
        outcome = cluster.ask(ADDRESSES[0], Put("key", b"1", EMPTY))
        assert isinstance(outcome, Unassigned)
        self.assertIn("forming", outcome.reason)

    def test_majority_serves_and_latecomers_join(self) -> None:
        """A majority is enough to begin; the others take their places when they come up."""
        cluster = PureCluster()
        for address in ADDRESSES[4:]:
            cluster.crash(address)
        cluster.run(2.0)
        self.assertIsInstance(cluster.ask(ADDRESSES[0], Put("key", b"1", EMPTY)), Written)
        for address in ADDRESSES[4:]:
            cluster.restart(address)
        cluster.run(5.0)
        for address in ADDRESSES:
            self.assertEqual(1, cluster.sites[address].replica.state.founded)
        self.assertEqual({1}, {role.store.live_keys for role in self.roles(cluster, "key")})

    @staticmethod
    def roles(cluster: PureCluster, key: str) -> list[Role]:
        """The roles that hold a key."""
        shard = cluster.sites[ADDRESSES[0]].replica.state.shard_of(key)[1]
        return [cluster.sites[address].replica.state.roles[shard] for address in cluster.members(shard)]

    def test_restart_needs_no_majority(self) -> None:
        """A node that was founded once serves again by itself after a restart, when it has waited for the others in vain."""
        cluster = PureCluster().founded()
        for address in ADDRESSES:
            cluster.crash(address)
        cluster.restart(ADDRESSES[0])
        key = cluster.key_of("s0")
        self.assertIsInstance(cluster.ask(ADDRESSES[0], Put(key, b"1", EMPTY)), Unavailable)
        cluster.run(cluster.limits.down_seconds)
        self.assertIsInstance(cluster.ask(ADDRESSES[0], Put(key, b"1", EMPTY)), Written)

    def test_node_that_lost_its_disk_does_not_pass_for_the_one_it_was(self) -> None:
        """A node that comes back with an empty disk serves nothing by itself: the others remember another instance."""
        cluster = PureCluster().founded()
        cluster.cut = lambda sender, receiver, message: isinstance(message, Prepare)  # nothing can be decided
        cluster.put(ADDRESSES[0], cluster.key_of("s0"), "1")
        cluster.run(1.0)
        cluster.crash(ADDRESSES[0])
        cluster.boot(ADDRESSES[0], b"another instance")
        cluster.run(5.0)
        outcome = cluster.ask(ADDRESSES[0], Put(cluster.key_of("s0"), b"2", EMPTY))
        assert isinstance(outcome, Unassigned)
        self.assertIn("another data directory", outcome.reason)
        self.assertIn("address-taken", [note.event for note in cluster.sites[ADDRESSES[0]].notes])

    def test_node_that_lost_its_disk_is_taken_in_as_another(self) -> None:
        """It gets its place back under another name, once that was decided; what it had acknowledged is not lost."""
        cluster = PureCluster().founded()
        lost = cluster.sites[ADDRESSES[0]].replica.state.roles["s0"].writer
        cluster.put(ADDRESSES[0], key := cluster.key_of("s0"), "1")
        cluster.run(1.0)
        cluster.crash(ADDRESSES[0])
        cluster.boot(ADDRESSES[0], b"another instance")
        cluster.run(5.0)
        state, other = (cluster.sites[address].replica.state for address in (ADDRESSES[0], ADDRESSES[2]))
        assert state.configuration is not None
        self.assertEqual(state.configuration, other.configuration)
        self.assertEqual(b"another instance", state.configuration.nodes[ADDRESSES[0]])
        self.assertEqual(1, state.configuration.lost[lost].kept)
        self.assertNotEqual(lost, state.roles["s0"].writer)
        self.assertNotIn(lost, state.writers)
        self.assertIn(ADDRESSES[0], state.members("s0"))
        seen = cluster.get(ADDRESSES[0], key)
        assert isinstance(seen, Found)
        self.assertEqual(b"1", seen.value)

    def test_node_that_lost_its_disk_can_not_found_itself_anew(self) -> None:
        """Nor can it find a majority among nodes that came later: its own vote was lost with its disk."""
        cluster = PureCluster(3, 1)
        first, second, third = cluster.configuration.nodes
        cluster.crash(third)
        cluster.run(2.0)
        cluster.crash(second)
        cluster.restart(third)
        cluster.boot(first, b"another instance")
        cluster.run(5.0)
        self.assertNotEqual("", cluster.sites[first].replica.routing.assignment.lacking())

    def test_nothing_of_a_wiped_node_reaches_the_others(self) -> None:
        """What a wiped node reports is not taken for the reports of the one that it was."""
        cluster = PureCluster().founded()
        cluster.cut = lambda sender, receiver, message: isinstance(message, Prepare)  # nothing can be decided
        cluster.boot(ADDRESSES[0], b"another instance")
        cluster.run(1.0)
        self.assertFalse(cluster.sites[ADDRESSES[2]].replica.state.usable(ADDRESSES[0]))

    def test_node_without_a_shard_count_learns_the_configuration(self) -> None:
        """A node that founds nothing asks the others, is let in without a place in a shard, and serves no key."""
        cluster = PureCluster().founded()
        address = "10.0.0.9:8090"
        site = cluster.start(address)
        cluster.perform(site, site.replica.start(Saved(), None, [address, *ADDRESSES], cluster.now(site)))
        cluster.run(2.0)
        told = site.replica.state.configuration
        assert told is not None
        founded = cluster.configuration.bound(cluster.sites[ADDRESSES[0]].replica.state.instances)
        self.assertEqual(cluster.sites[ADDRESSES[0]].replica.state.configuration, told)
        self.assertEqual({**founded.nodes, address: b"a fresh instance"}, told.nodes)
        self.assertEqual((founded.cluster, founded.shards, founded.slots), (told.cluster, told.shards, told.slots))
        self.assertEqual((None, {}), (told.member(address), site.replica.state.roles))
        self.assertEqual(sorted([*ADDRESSES, address]), sorted(site.replica.state.liveness.view(cluster.time)))
        outcome = cluster.ask(address, Put("key", b"1", EMPTY))
        assert isinstance(outcome, Unassigned)
        self.assertIn("not added", outcome.reason)
        cluster.put(ADDRESSES[0], cluster.key_of("s0"), "1")
        counted = cluster.ask(address, CountKeys("s0"))
        assert isinstance(counted, Counted)
        self.assertEqual(1, counted.count)

    def test_founders_that_disagree_are_noticed_and_serve_nothing(self) -> None:
        """Nodes started with another number of shards do not found the cluster together."""
        cluster = PureCluster()
        other = cluster.start(ADDRESSES[0])
        cluster.perform(
            other, other.replica.start(Saved(), founding_configuration(ADDRESSES, 3), (), cluster.now(other))
        )
        for address in ADDRESSES[3:]:
            cluster.crash(address)
        cluster.run(2.0)
        for lone in cluster.live():
            self.assertNotEqual("", lone.replica.routing.assignment.lacking())
        self.assertIn("other-cluster", [note.event for note in cluster.sites[ADDRESSES[1]].notes])
