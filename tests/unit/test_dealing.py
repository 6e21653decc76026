"""Which slots and which nodes move in a reshard."""

from collections.abc import Sequence
from itertools import combinations
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication.changes import add_node
from kvsd.replication.configuration import NOT_ENOUGH_NODES, Configuration, ConfigurationError, Tenancy
from kvsd.replication.dealing import Layout, deal
from kvsd.replication.placement import SLOTS
from tests.configurations import NODES, down, founded, instance_of, slots_owned
from tests.examples import examples


def named(*numbers: int) -> tuple[str, ...]:
    """The addresses of nodes that are given by number, from 1."""
    return tuple(NODES[number - 1] for number in numbers)


def least_by_trial(owned: Sequence[int], shard_count: int) -> int:
    """The least number of slots that must move, found by trying which shards stay and which have one slot more."""
    base, extra = divmod(SLOTS, shard_count)
    having = [*owned, *[0] * shard_count]
    return min(
        SLOTS - sum(min(having[shard], base + (shard in richer)) for shard in stay)
        for stay in set(combinations(range(len(having)), shard_count))
        for richer in combinations(stay, extra)
    )


class ExampleTests(SynchronousTestCase):
    """Plans an operator can check by hand."""

    def check(self, layout: Layout, shards: dict[str, tuple[str, ...]]) -> None:
        """Check which nodes each shard is to have."""
        self.assertEqual((list(shards), shards), (list(layout.shards), layout.shards))

    def test_a_third_shard(self) -> None:
        """The last nodes of both shards make the new one; each gives a third of its slots, the highest ones."""
        layout = deal(founded(7, 2), 3, NODES)
        self.check(layout, {"s0": named(1, 3, 5), "s1": named(2, 4), "s2": named(6, 7)})
        self.assertEqual((named(6, 7), ()), (layout.nodes_to_move, layout.nodes_to_join))
        self.assertEqual((1365, 1365), (layout.slots_to_move, layout.least))
        self.assertEqual([1366, 1365, 1365], [layout.owners.count(shard) for shard in layout.shards])
        self.assertEqual(("s0", "s1") * 1365, layout.owners[:2730])
        self.assertEqual(("s0", *["s2"] * 1365), layout.owners[2730:])

    def test_back_to_two(self) -> None:
        """The shard with the fewest slots, and of those the last, gives its nodes and slots to the others."""
        layout = deal(founded(7, 3), 2, NODES)
        self.check(layout, {"s0": named(1, 3, 4, 7), "s1": named(2, 5, 6)})
        self.assertEqual((named(3, 6), 1365, 1365), (layout.nodes_to_move, layout.slots_to_move, layout.least))

    def test_nothing_to_do(self) -> None:
        """A cluster that is even already stays as it is."""
        configuration = founded(7, 2)
        layout = deal(configuration, 2, NODES)
        self.check(layout, {shard: tuple(configuration.members(shard)) for shard in ("s0", "s1")})
        self.assertEqual(tuple(configuration.owner(slot)[1] for slot in range(SLOTS)), layout.owners)
        self.assertEqual((0, 0, (), ()), layout[2:])

    def test_a_dead_node(self) -> None:
        """A node that is down gets no place, and one of the other shard may fill the gap."""
        layout = deal(founded(6, 2), 2, down(1, 3))
        self.check(layout, {"s0": named(5, 6), "s1": named(2, 4)})
        self.assertEqual((named(6), 0), (layout.nodes_to_move, layout.slots_to_move))

    def test_spares(self) -> None:
        """Spares join the shards that are short; one whose instance is not known gets no place."""
        configuration = founded(5, 2)
        for node in named(6, 7):
            configuration = add_node(configuration, node, instance_of(node))
        layout = deal(add_node(configuration, NODES[7]), 2, NODES)
        self.check(layout, {"s0": named(1, 3, 5, 6), "s1": named(2, 4, 7)})
        self.assertEqual(((), named(6, 7)), (layout.nodes_to_move, layout.nodes_to_join))

    def test_a_shard_that_is_down_is_given_up_first(self) -> None:
        """Where there are to be fewer shards, the one none of whose nodes is live goes, whatever its number."""
        layout = deal(founded(9, 3), 2, down(1, 4, 7))
        self.assertEqual(["s1", "s2"], list(layout.shards))
        self.assertEqual((1366, 1365), (layout.slots_to_move, layout.least))

    def test_a_new_shard_has_a_new_name(self) -> None:
        """The name of a shard that is gone is not used again."""
        layout = deal(replace(founded(6, 2), next_shard=7), 3, NODES)
        self.assertEqual(["s0", "s1", "s7"], list(layout.shards))


class NotEnoughNodesTests(SynchronousTestCase):
    """A shard has at least two live nodes."""

    def check(self, configuration: Configuration, shard_count: int, live: Sequence[str]) -> None:
        """Check that it can't be done."""
        error = self.assertRaises(ConfigurationError, deal, configuration, shard_count, live)
        self.assertEqual(NOT_ENOUGH_NODES, str(error))

    def test_too_many_shards(self) -> None:
        """There must be twice as many live nodes as shards, and at least one shard; strangers do not count."""
        self.check(founded(7, 2), 4, NODES)
        self.check(founded(6, 2), 3, NODES[:5])
        self.check(founded(6, 2), 0, NODES)
        self.check(founded(6, 2), -1, NODES)
        self.check(founded(2, 1), 1, NODES[:1])

    def test_one_node_alone(self) -> None:
        """The only node of a cluster may keep its only shard."""
        self.assertEqual(0, deal(founded(1, 1), 1, NODES).slots_to_move)
        self.check(founded(1, 1), 1, [])
        self.check(founded(1, 1), 2, NODES)


class LawsOfDealing(SynchronousTestCase):
    """Slots and nodes are dealt evenly, and as few of them move as possible."""

    @examples(60)
    @given(st.sampled_from([1, 2, 3, 4]), st.sampled_from([3, 2, 5, 1]), st.integers(0, 999))
    def test_slots(self, before: int, after: int, seed: int) -> None:
        """However slots are spread before, they are even afterwards, and no fewer could have moved."""
        random = Random(seed)
        weights = [random.random() for _ in range(before)]
        slots = tuple(range(before)) + tuple(random.choices(range(before), weights, k=SLOTS - before))
        tenures = {number: Tenancy(f"s{number}") for number in range(before)}
        configuration = replace(founded(12, before), slots=slots, tenures=tenures)
        layout = deal(configuration, after, NODES)
        shares = [layout.owners.count(shard) for shard in layout.shards]
        self.assertEqual((after, SLOTS), (len(shares), sum(shares)))
        self.assertTrue(max(shares) - min(shares) <= 1)
        least = least_by_trial(list(slots_owned(configuration).values()), after)
        self.assertEqual((least, least), (layout.slots_to_move, layout.least))
        self.check_lowest_stay(configuration, layout)

    def check_lowest_stay(self, configuration: Configuration, layout: Layout) -> None:
        """Check that the slots that a shard keeps are its lowest ones."""
        for shard in layout.shards:
            mine = [slot for slot in range(SLOTS) if configuration.owner(slot)[1] == shard]
            stay = [slot for slot in mine if layout.owners[slot] == shard]
            self.assertEqual(mine[: len(stay)], stay)

    @examples(100)
    @given(
        st.sampled_from([(7, 3), (9, 4), (8, 2), (4, 2), (3, 1)]),
        st.sampled_from([2, 3, 1, 4]),
        st.sets(st.sampled_from(NODES), max_size=6),
        st.integers(0, 3),
    )
    def test_nodes(self, cluster: tuple[int, int], after: int, missing: set[str], spares: int) -> None:
        """Every live node has one place afterwards; shards are even; and no fewer nodes could have moved."""
        nodes, _ = cluster
        configuration = founded(*cluster)
        for node in NODES[nodes : nodes + spares]:
            configuration = add_node(configuration, node, instance_of(node))
        live = configuration.nodes.keys() - missing
        try:
            layout = deal(configuration, after, live)
        except ConfigurationError:
            self.assertTrue(len(live) // after < 2)
            return
        dealt = [node for members in layout.shards.values() for node in members]
        self.assertEqual(sorted(live), sorted(dealt))
        sizes = [len(members) for members in layout.shards.values()]
        self.assertTrue(max(sizes) - min(sizes) <= 1)
        self.assertEqual(live - set(NODES[:nodes]), set(layout.nodes_to_join))
        self.check_moved(configuration, layout, live)

    def check_moved(self, configuration: Configuration, layout: Layout, live: set[str]) -> None:
        """Check that nodes move for one of the reasons: their shard goes, or has more than its share."""
        base, extra = divmod(len(live), len(layout.shards))
        at_home = [sum(node in live for node in configuration.members(shard)) for shard in layout.shards]
        stay = max(
            sum(min(have, base + (shard in richer)) for shard, have in enumerate(at_home))
            for richer in combinations(range(len(at_home)), extra)
        )
        placed = [node for node in live if configuration.member(node)]
        self.assertEqual(len(placed) - stay, len(layout.nodes_to_move))
        for shard, members in layout.shards.items():
            before = set(configuration.members(shard)) & live
            self.assertTrue(not before or before & set(members), "a shard loses its only live member")
