"""A reshard from its beginning to its end: what follows, and what is refused and why."""

from msgspec.structs import replace

from kvsd.replication.changes import add_learner, add_node, drain_departed, lose, promote, remove_node
from kvsd.replication.configuration import Configuration, Member, Tenancy
from kvsd.replication.resharding import abort, begin_reshard, drain_source, hand_off
from tests.configurations import NODES, all_promoted, check, down, founded, instance_of, member_of, slots_owned
from tests.unit.test_changes import ChangesCase, departed, learning

N1, N2, N3, N4, N5, N6, N7 = NODES[:7]


def begun(configuration: Configuration, shard_count: int, *missing: int) -> Configuration:
    """The beginning of a reshard while some nodes, given by number, are down."""
    following = begin_reshard(configuration, shard_count, down(*missing))
    assert following is not None
    return check(following)


def resharded(configuration: Configuration, shard_count: int, *missing: int) -> Configuration:
    """The end of a reshard during which some nodes, given by number, are down."""
    return check(hand_off(all_promoted(begun(configuration, shard_count, *missing)), down(*missing)))


def drained(configuration: Configuration) -> Configuration:
    """What follows when there is nobody any more who has what others lack."""
    for tenure, tenancy in configuration.tenures.items():
        for source in tenancy.sources:
            configuration = check(drain_source(configuration, tenure, source))
    for member in [member for shard in configuration.shards.values() for member in shard.departed]:
        configuration = check(drain_departed(configuration, member))
    return configuration


class ReshardTests(ChangesCase):
    """Seven nodes go from two shards to three and back."""

    def test_begin(self) -> None:
        """The new shard has members at once; who they are leaves the old shards later; slots stay where they are."""
        before = founded(7, 2)
        after = begun(before, 3)
        assert after.pending
        self.assertEqual(before.slots, after.slots)
        self.assertEqual([N6, N7], after.members("s2"))
        self.assertEqual(
            (Member(N7, "s0", 1, instance_of(N7)), Member(N6, "s1", 1, instance_of(N6))), after.pending.leave
        )
        self.assertEqual((2, 3, ()), (after.pending.started, after.pending.shard_count, after.pending.join))
        moves = [(move.tenure, move.source, move.target, len(move.slots), move.lineage) for move in after.pending.moves]
        self.assertEqual([(2, "s0", "s2", 682, (0,)), (3, "s1", "s2", 683, (1,))], moves)
        self.assertEqual((3, 4), (after.next_shard, after.next_tenure))
        self.refused("a reshard is under way: wait for it or abort it first", begin_reshard, after, 2, NODES)

    def test_hand_off(self) -> None:
        """The slots change hands, their old owners are sources, and nobody has two places any more."""
        after = resharded(founded(7, 2), 3)
        self.assertEqual([N1, N3, N5, N2, N4, N6, N7], [n for s in ("s0", "s1", "s2") for n in after.members(s)])
        self.assertEqual({"s0": 1366, "s1": 1365, "s2": 1365}, dict(slots_owned(after)))
        self.assertEqual(Tenancy("s2", {"s0": 3}, (0,)), after.tenures[2])
        self.assertEqual(([N7], [N6], ()), (departed(after, "s0"), departed(after, "s1"), after.absent))
        self.refused("no reshard is under way", hand_off, after, NODES)
        self.refused("no reshard is under way", abort, after)

    def test_back_again(self) -> None:
        """A shard that gave all its slots away is over when nobody lacks any of its writes."""
        three = drained(resharded(founded(7, 2), 3))
        two = resharded(three, 2)
        self.assertEqual((["s0", "s1"], [N6, N7]), (two.shard_ids(), departed(two, "s2")))
        text = "others may still lack writes of s2"
        self.refused(text, drain_departed, two, member_of(two, "s2", N6))
        two = drained(two)
        self.assertEqual(({"s0", "s1"}, 3), (set(two.shards), two.next_shard))
        self.assertEqual([2048, 2048], list(slots_owned(two).values()))
        self.assertEqual(list(NODES[:7]), sorted(two.members("s0") + two.members("s1")))

    def test_back_before_it_is_drained(self) -> None:
        """Slots that move on take along who may still have writes for them, be it the shard that gets them."""
        two = resharded(resharded(founded(7, 2), 3), 2)
        found = [(tenancy.shard, set(tenancy.sources), tenancy.lineage) for tenancy in two.tenures.values()]
        self.assertIn(("s0", {"s0", "s1", "s2"}, (0, 1, 2, 3)), found)
        self.assertIn(("s1", {"s0", "s1", "s2"}, (0, 1, 2, 3)), found)

    def test_back_after_it_is_drained(self) -> None:
        """Where nobody lacks anything any more, what was before the last move is of no interest."""
        three = drained(resharded(founded(7, 2), 3))
        two = resharded(three, 2)
        found = [(tenancy.shard, set(tenancy.sources), tenancy.lineage) for tenancy in two.tenures.values()]
        self.assertIn(("s0", {"s2"}, (2, 3)), found)
        self.assertEqual({0, 1, 2, 3}, two.kept_tenures() - {tenure for tenure in two.tenures if tenure > 3})

    def test_abort(self) -> None:
        """All is as it was, except that the names that were given are not given again."""
        before = founded(7, 2)
        after = check(abort(begun(before, 3)))
        self.assertEqual(replace(before, epoch=3, next_shard=3, next_tenure=4), after)

    def test_nothing_to_do(self) -> None:
        """A cluster that is even stays as it is, also if a node is down: it may come back."""
        self.assertIsNone(begin_reshard(founded(7, 2), 2, NODES))
        self.assertIsNone(begin_reshard(founded(7, 2), 2, down(1)))

    def test_only_nodes_move(self) -> None:
        """Where only nodes move, they learn their shard, and the reshard has no moves."""
        uneven = add_node(add_node(founded(4, 2), N5, instance_of(N5)), N6, instance_of(N6))
        after = begun(uneven, 2)
        assert after.pending
        self.assertEqual(((), [N5], [N6]), (after.pending.moves, learning(after, "s0"), learning(after, "s1")))
        self.assertEqual({N5, N6}, {member.node for member in after.pending.join})
        self.assertEqual(uneven.shards, check(abort(after)).shards)
        self.assertEqual([N5], learning(check(hand_off(after, NODES)), "s0"))


class DeadNodesTests(ChangesCase):
    """Nodes go down before a reshard and while it is under way."""

    def test_down_before(self) -> None:
        """A node that is down loses its place, is remembered, and comes back under its name."""
        after = resharded(founded(7, 2), 3, 1)
        self.assertEqual(([N1, N7], (N1,)), (departed(after, "s0"), after.absent))
        self.assertEqual(((), ()), (lose(after, N1, None, {}).absent, remove_node(after, N1, NODES).absent))
        self.assertEqual((N1,), lose(after, N1, instance_of(N1, 2), {}).absent)
        back = check(add_learner(after, "s0", N1))
        self.assertEqual((member_of(founded(7, 2), "s0", N1), ()), (back.member(N1), back.absent))

    def test_down_before_and_back_too_soon(self) -> None:
        """A node that was dealt no place, as it was down, is remembered although it is back before the hand-off."""
        after = check(hand_off(begun(founded(7, 2), 3, 1), NODES))
        self.assertEqual((N1,), after.absent)

    def test_absent_until_the_hand_off(self) -> None:
        """A node that was remembered is so again if the reshard that gave it a place is aborted."""
        absent = resharded(founded(7, 2), 3, 1)
        after = begun(absent, 2)
        self.assertEqual((N1,), abort(after).absent)
        self.assertEqual((), check(hand_off(after, NODES)).absent)
        self.refused(f"{N1} has a place in s1 already", add_learner, after, "s0", N1)

    def test_the_last_live_member_stays(self) -> None:
        """A member that is to leave stays where the others went down meanwhile, and gives up its new place."""
        after = check(hand_off(begun(founded(7, 2), 3), down(1, 3, 5)))
        self.assertEqual(([N1, N3, N5, N7], [N6]), (after.members("s0"), after.members("s2")))
        self.assertEqual([N7], departed(after, "s2"))

    def test_the_only_member_stays(self) -> None:
        """A node that would be the only member of two shards can't leave either."""
        configuration = begun(founded(4, 1), 2)
        for node in (N1, N2):
            configuration = check(lose(configuration, node, None, {}))
        self.assertEqual([N3, N4], configuration.members("s0"))
        stays = check(hand_off(configuration, NODES))
        self.assertEqual(([N4], [N3]), (stays.members("s0"), stays.members("s1")))
        alone = check(lose(configuration, N4, None, {}))
        self.refused(f"{N3} would be the only member of both s0 and s1", hand_off, alone, NODES)
        self.assertEqual([N3], check(abort(alone)).members("s0"))

    def test_remove_while_under_way(self) -> None:
        """A node may be removed meanwhile, and is not expected any more; but not the last of a shard in the making."""
        configuration = begun(founded(7, 2), 3)
        after = check(remove_node(configuration, N6, NODES))
        assert after.pending
        self.assertEqual([N7], [member.node for member in after.pending.leave])
        self.assertEqual(([N7], [N6]), (after.members("s2"), departed(after, "s2")))
        text = f"{N7} is the only member of s2, which is being made: abort the reshard first"
        self.refused(text, remove_node, after, N7, NODES)
        self.refused(f"s2 would have no member without {N7}", lose, after, N7, None, {})
        self.assertNotIn("s2", check(abort(after)).shards)

    def test_lose_a_disk_while_under_way(self) -> None:
        """A node with another disk starts anew wherever it was, and leaves what it was to leave."""
        lost = check(lose(begun(founded(7, 2), 3), N7, instance_of(N7, 2), {}))
        self.assertEqual(([N7], [N7], 2), (learning(lost, "s0"), learning(lost, "s2"), len(lost.lost)))
        self.assertEqual(([], [N7]), (learning(after := check(hand_off(lost, NODES)), "s0"), learning(after, "s2")))
        aborted = check(abort(lost))
        self.assertEqual(([N7], 1), (learning(aborted, "s0"), len(aborted.lost)))

    def test_abort_after_promotion(self) -> None:
        """A node that was promoted already goes back to where it was; one that was a spare stays."""
        configuration = founded(7, 2)
        for node in (N5, N7):
            configuration = remove_node(configuration, node, NODES)
        configuration = begun(add_node(configuration, N5, instance_of(N5)), 2)
        self.assertEqual([N5], learning(configuration, "s0"))
        configuration = replace(configuration, absent=(N5,))
        undone = check(abort(all_promoted(configuration)))
        self.assertEqual(([N1, N3, N5], ()), (undone.members("s0"), undone.absent))
        shrunk = begun(founded(6, 3), 2)
        undone = check(abort(all_promoted(shrunk)))
        self.assertEqual(([N1, N4], [N3, N6]), (undone.members("s0"), undone.members("s2")))
        self.assertEqual([N3], departed(undone, "s0"))


class DrainTests(ChangesCase):
    """Sources are struck out one by one."""

    def test_source(self) -> None:
        """A source is struck out once, and not while the slots are on their way to yet another shard."""
        after = resharded(founded(7, 2), 3)
        self.refused("s2 is no source of tenure 2", drain_source, after, 2, "s2")
        self.refused("s0 is no source of tenure 9", drain_source, after, 9, "s0")
        text = "slots of tenure 2 are on their way to another shard"
        self.refused(text, drain_source, begun(after, 2), 2, "s0")
        self.assertEqual({}, check(drain_source(after, 2, "s0")).tenures[2].sources)

    def test_promote_while_under_way(self) -> None:
        """Learners may be promoted while a reshard is under way, and keep what they promised to leave."""
        configuration = add_learner(add_node(founded(4, 2), N5, instance_of(N5)), "s0", N5)
        configuration = begun(add_node(configuration, N6, instance_of(N6)), 3)
        promoted = check(promote(configuration, member_of(configuration, "s0", N5)))
        self.assertEqual([N1, N3], check(hand_off(promoted, NODES)).members("s0"))
