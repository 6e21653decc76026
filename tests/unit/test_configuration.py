"""The founding configuration, and what no configuration can be."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication.configuration import (
    NOT_ENOUGH_NODES,
    Configuration,
    ConfigurationError,
    Member,
    Shard,
    Tenancy,
    founding_configuration,
)
from kvsd.replication.placement import SLOTS
from kvsd.replication.roster import Roster
from tests.builders import modest

VIEW = [f"10.0.0.{number}:8090" for number in range(1, 13)]


class FoundingTests(SynchronousTestCase):
    """Nodes that were given the same settings compute the same configuration."""

    def test_order_of_the_view_does_not_matter(self) -> None:
        """Whatever order the view is given in, and however often it names a node, the configuration is the same."""
        expected, random = founding_configuration(VIEW, 3), Random(1)
        for _ in range(10):
            view = random.sample(VIEW, len(VIEW))
            self.assertEqual(expected, founding_configuration(view, 3))
            self.assertEqual(expected, founding_configuration([*view, view[0]], 3))

    def test_other_settings_make_another_cluster(self) -> None:
        """Clusters of other nodes or of another number of shards have other names."""
        founded = [founding_configuration(VIEW[:nodes], shards) for nodes in (4, 6, 8) for shards in (1, 2)]
        self.assertEqual(6, len({configuration.cluster for configuration in founded}))

    @modest
    @given(st.integers(1, 12), st.integers(-1, 8))
    def test_at_least_two_replicas_a_shard(self, nodes: int, shards: int) -> None:
        """Every node has one place and every shard two members, or the founding is refused."""
        try:
            configuration = founding_configuration(VIEW[:nodes], shards)
        except ConfigurationError as error:
            self.assertEqual(NOT_ENOUGH_NODES, str(error))
            self.assertTrue(shards < 1 or nodes // shards < 2)
            return
        sizes = [len(configuration.members(shard)) for shard in configuration.shard_ids()]
        self.assertEqual((nodes, shards), (sum(sizes), len(sizes)))
        self.assertTrue(max(sizes) - min(sizes) <= 1)
        self.assertTrue(min(sizes) >= 2 or (nodes, shards) == (1, 1))
        self.assertTrue(all(configuration.member(node) for node in VIEW[:nodes]))

    def test_one_node_alone(self) -> None:
        """One node may found a cluster of one shard for a trial, and of no more."""
        self.assertEqual(["1.1.1.1:1"], founding_configuration(["1.1.1.1:1"], 1).members("s0"))
        self.assertRaises(ConfigurationError, founding_configuration, ["1.1.1.1:1"], 2)
        self.assertRaises(ConfigurationError, founding_configuration, [], 1)

    def test_slots_are_balanced(self) -> None:
        """No shard has more than one slot more than another."""
        for shards in range(1, 7):
            configuration = founding_configuration(VIEW, shards)
            owners = [configuration.owner(slot)[1] for slot in range(SLOTS)]
            counts = [owners.count(shard) for shard in configuration.shard_ids()]
            self.assertTrue(max(counts) - min(counts) <= 1, counts)

    def test_members_are_dealt_in_turns(self) -> None:
        """The sorted view is dealt to the shards one node after another; members are listed by number."""
        view = ["10.0.0.10:1", "10.0.0.9:1", "10.0.0.2:1", "10.0.0.1:1"]
        configuration = founding_configuration(view, 2)
        self.assertEqual(["s0", "s1"], configuration.shard_ids())
        self.assertEqual(["10.0.0.1:1", "10.0.0.9:1"], configuration.members("s0"))
        self.assertEqual(["10.0.0.2:1", "10.0.0.10:1"], configuration.members("s1"))
        self.assertEqual(Member("10.0.0.9:1", "s0", 1), configuration.member("10.0.0.9:1"))
        self.assertEqual(([], None), (configuration.members("s9"), configuration.member("1.1.1.1:1")))


class ConfigurationTests(SynchronousTestCase):
    """What a configuration can't be, and what it tells."""

    def setUp(self) -> None:
        """Compute a configuration of two shards."""
        self.founded = founding_configuration(VIEW[:4], 2)

    def assert_refused(self, **changes: object) -> None:
        """The configuration is refused with these fields changed."""
        self.assertRaises(ConfigurationError, replace, self.founded, **changes)

    def test_what_can_not_be(self) -> None:
        """Slots without a tenure, tenures without a shard, members of another shard or outside the view are refused."""
        self.assert_refused(epoch=0)
        self.assert_refused(slots=self.founded.slots[1:])
        self.assert_refused(slots=(7, *self.founded.slots[1:]))
        self.assert_refused(tenures={0: Tenancy("s0"), 1: Tenancy("s9")})
        self.assert_refused(nodes=dict.fromkeys(VIEW[1:4], b""))
        self.assert_refused(shards={"s0": self.founded.shards["s1"], "s1": self.founded.shards["s0"]})
        self.assert_refused(shards={**self.founded.shards, "": Shard()})
        self.assert_refused(shards={**self.founded.shards, "sx": Shard()})
        self.assert_refused(shards={**self.founded.shards, "s1": Shard()})
        self.assert_refused(shards={**self.founded.shards, "s2": Shard(learners=(Member("1.1.1.1:1", "s2", 1),))})
        self.assert_refused(shards={**self.founded.shards, "s2": Shard(departed=(Member(VIEW[0], "s0", 1),))})

    def test_shards_are_sorted_by_number(self) -> None:
        """s10 comes after s9; one that owns no slots is none of them."""
        numbers = (10, 9, 0, 1, 11)
        configuration: Configuration = replace(
            self.founded,
            shards={f"s{number}": Shard((Member(VIEW[0], f"s{number}", 1),)) for number in (*numbers, 2)},
            tenures={number: Tenancy(f"s{number}") for number in numbers},
            slots=tuple(numbers[slot % 5] for slot in range(SLOTS)),
        )
        self.assertEqual(["s0", "s1", "s9", "s10", "s11"], configuration.shard_ids())

    def test_writers_are_known_of_nodes_whose_instance_is(self) -> None:
        """Each member whose instance is known is a writer of its own; of the others nothing is said."""
        first, second = VIEW[:2]
        bound = self.founded.bound({first: b"i" * 16, second: b"j" * 16, "1.1.1.1:1": b"k" * 16})
        writers = Roster(bound, (first, b"i" * 16)).writers
        self.assertEqual({first, second}, {member.node for member in writers.values()})
        self.assertTrue(all(writer == m.writer != b"" for writer, m in writers.items()))
        self.assertEqual({b""}, {m.writer for m in bound.everyone() if m.node not in (first, second)})
        self.assertEqual((VIEW[:4], b"j" * 16), (list(bound.nodes), bound.nodes[second]))

    def test_only_the_first_configuration_is_bound(self) -> None:
        """In a later one every instance is known, and stays what it is."""
        later: Configuration = replace(self.founded.bound(dict.fromkeys(VIEW[:4], b"i" * 16)), epoch=2)
        self.assertTrue(later.is_bound())
        self.assertEqual(later, later.bound({VIEW[0]: b"j" * 16}))
