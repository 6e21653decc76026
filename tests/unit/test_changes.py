"""Changes of nodes, members and lost disks: what follows, and what is refused and why."""

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication import changes
from kvsd.replication.changes import (
    ChangeRefused,
    add_learner,
    add_node,
    bind_node,
    drain_departed,
    lose,
    promote,
    remove_node,
    settle,
)
from kvsd.replication.configuration import Configuration, Loss, Member, founding_configuration
from kvsd.replication.resharding import begin_reshard
from tests.configurations import NODES, check, down, founded, instance_of, member_of

N1, N2, N3, N4, N5, N6 = NODES[:6]


def learning(configuration: Configuration, shard: str) -> list[str]:
    """The addresses of a shard's learners."""
    return [member.node for member in configuration.shards[shard].learners]


def departed(configuration: Configuration, shard: str) -> list[str]:
    """The addresses of those that departed from a shard."""
    return [member.node for member in configuration.shards[shard].departed]


class ChangesCase(SynchronousTestCase):
    """A test of changes."""

    def refused(self, text: str, change: Callable[..., object], *arguments: object) -> None:
        """Check that a change is refused, and what the operator is told."""
        self.assertEqual(text, str(self.assertRaises(ChangeRefused, change, *arguments)))


class NodesTests(ChangesCase):
    """Nodes come and go."""

    def test_add(self) -> None:
        """A node that is added is a spare: it has no place."""
        configuration = check(add_node(founded(4, 2), N5, instance_of(N5)))
        self.assertEqual((2, instance_of(N5)), (configuration.epoch, configuration.nodes[N5]))
        self.assertIsNone(configuration.member(N5))
        self.refused(f"{N5} is a node of the cluster already", add_node, configuration, N5, instance_of(N5))
        self.refused(f"{N5} is a node of the cluster already", add_node, configuration, N5, instance_of(N5, 2))

    def test_bind(self) -> None:
        """A node may be added before its instance is known, and is given a place once it is."""
        added = add_node(founded(4, 2), N5)
        self.refused(f"{N5} is a node of the cluster already", add_node, added, N5)
        self.refused(f"{N5} is no node of the cluster whose instance is known", add_learner, added, "s0", N5)
        bound = add_node(added, N5, instance_of(N5))
        self.assertEqual(bound, bind_node(added, N5, instance_of(N5)))
        self.assertEqual([N5], learning(check(add_learner(bound, "s0", N5)), "s0"))
        text = f"{N5} is no node of the cluster whose instance is still to be found out"
        self.refused(text, bind_node, bound, N5, instance_of(N5))

    def test_bind_a_founding_node(self) -> None:
        """A founding node that was not heard of when the first change was made is a member by name until it is."""
        others = {node: instance_of(node) for node in (N1, N2, N3)}
        configuration = add_node(founding_configuration(NODES[:4], 2).bound(others), N5, instance_of(N5))
        self.assertFalse(configuration.is_bound())
        bound = check(bind_node(configuration, N4, instance_of(N4)))
        self.assertEqual(Member(N4, "s1", 1, instance_of(N4)), bound.member(N4))
        self.assertTrue(bound.is_bound())
        text = "the instances of some nodes are still to be found out"
        self.refused(text, begin_reshard, configuration, 1, NODES)

    def test_remove_a_founding_node_that_never_came(self) -> None:
        """There is nothing to be fetched from a node whose instance nobody ever knew."""
        others = {node: instance_of(node) for node in (N1, N2, N3)}
        configuration = remove_node(founding_configuration(NODES[:4], 2).bound(others), N4, NODES)
        self.assertEqual(([N2], []), (configuration.members("s1"), departed(configuration, "s1")))
        self.assertTrue(configuration.is_bound())

    def test_remove(self) -> None:
        """A node that is removed departs: what only it has can still be fetched."""
        configuration = check(remove_node(founded(4, 2), N4, NODES))
        self.assertEqual(([N2], [N4]), (configuration.members("s1"), departed(configuration, "s1")))
        self.assertNotIn(N4, configuration.nodes)
        self.refused(f"{N4} is no node of the cluster", remove_node, configuration, N4, NODES)

    def test_remove_the_last_live_member(self) -> None:
        """A node stays while its shard has no other live member; whether it is live itself does not matter."""
        configuration = founded(4, 2)
        self.refused(f"s1 would have no live member without {N2}", remove_node, configuration, N2, down(4))
        self.refused(f"s1 would have no live member without {N2}", remove_node, configuration, N2, down(2, 4))
        self.assertEqual([N4], check(remove_node(configuration, N2, down(2))).members("s1"))

    def test_remove_a_learner(self) -> None:
        """A learner has written nothing: it is dropped."""
        configuration = add_learner(add_node(founded(4, 2), N5, instance_of(N5)), "s0", N5)
        removed = check(remove_node(configuration, N5, NODES))
        self.assertEqual(founded(4, 2).shards, removed.shards)


class MembersTests(ChangesCase):
    """Learners become members, and those who departed are drained."""

    def test_learn_and_be_promoted(self) -> None:
        """A learner is no member until it is promoted, and keeps its name then."""
        configuration = add_node(founded(4, 2), N5, instance_of(N5))
        learns = check(add_learner(configuration, "s0", N5))
        member = Member(N5, "s0", learns.epoch, instance_of(N5))
        self.assertEqual(([N1, N3], [N5]), (learns.members("s0"), learning(learns, "s0")))
        promoted = check(promote(learns, member))
        self.assertEqual(([N1, N3, N5], []), (promoted.members("s0"), learning(promoted, "s0")))
        self.assertEqual(member, promoted.member(N5))
        self.refused(f"{N5} is not learning s0", promote, promoted, member)

    def test_one_place_for_each_node(self) -> None:
        """A node that has a place is given no other, and nobody a place in a shard without slots."""
        configuration = founded(4, 2)
        self.refused(f"{N1} has a place in s0 already", add_learner, configuration, "s1", N1)
        self.refused(f"{N1} has a place in s0 already", add_learner, configuration, "s0", N1)
        self.refused("there is no shard s2 that owns slots", add_learner, configuration, "s2", N1)
        self.refused(f"{N5} is no node of the cluster whose instance is known", add_learner, configuration, "s0", N5)

    def test_leave_and_come_back(self) -> None:
        """Who comes back before it was drained goes on under its name, and can be asked for its writes all the while."""
        old = founded(4, 2).member(N4)
        configuration = add_node(remove_node(founded(4, 2), N4, NODES), N4, instance_of(N4))
        back = check(add_learner(configuration, "s1", N4))
        self.assertEqual((old, [N4], [N4]), (back.member(N4), learning(back, "s1"), departed(back, "s1")))
        self.assertIn(old, back.shards["s1"].holders())
        promoted = check(promote(back, member_of(back, "s1", N4)))
        self.assertEqual(founded(4, 2).shards, promoted.shards)
        self.assertEqual([N4], departed(check(remove_node(back, N4, NODES)), "s1"))

    def test_come_back_after_being_drained(self) -> None:
        """Who was drained in the meantime comes back under a new name."""
        configuration = remove_node(founded(4, 2), N4, NODES)
        drained = check(drain_departed(configuration, member_of(configuration, "s1", N4)))
        self.assertEqual([], departed(drained, "s1"))
        back = check(add_learner(add_node(drained, N4, instance_of(N4)), "s1", N4))
        self.assertEqual(Member(N4, "s1", back.epoch, instance_of(N4)), back.member(N4))

    def test_drained_while_it_learns(self) -> None:
        """Who came back and is drained as a departed member then is a learner like any other."""
        old = member_of(founded(4, 2), "s1", N4)
        configuration = add_node(remove_node(founded(4, 2), N4, NODES), N4, instance_of(N4))
        drained = check(drain_departed(add_learner(configuration, "s1", N4), old))
        self.assertEqual((old, []), (drained.member(N4), departed(drained, "s1")))
        self.refused(f"{N4} did not depart from s1", drain_departed, drained, old)

    def test_come_back_with_another_disk(self) -> None:
        """Another instance at the same address is another writer, and does not stand for the one that departed."""
        configuration = add_node(remove_node(founded(4, 2), N4, NODES), N4, instance_of(N4, 2))
        back = check(add_learner(configuration, "s1", N4))
        self.assertEqual(Member(N4, "s1", back.epoch, instance_of(N4, 2)), back.member(N4))
        lost = check(lose(back, N4, instance_of(N4, 2), {}))
        self.assertEqual(([N4], []), (learning(lost, "s1"), departed(lost, "s1")))


class LostDisksTests(ChangesCase):
    """Disks are lost, and writes with them."""

    def test_another_disk(self) -> None:
        """A node with another disk learns its shard anew, and its old name is a lost writer."""
        writer = member_of(founded(4, 2), "s1", N4).writer
        configuration = check(lose(founded(4, 2), N4, instance_of(N4, 2), {writer: 7}))
        self.assertEqual(([N2], [N4]), (configuration.members("s1"), learning(configuration, "s1")))
        self.assertEqual({writer: Loss("s1", N4, 7)}, configuration.lost)
        self.assertEqual(instance_of(N4, 2), configuration.nodes[N4])
        self.refused(f"nothing of {N4} is lost", lose, configuration, N4, instance_of(N4, 2), {})
        self.refused(f"nothing of {N5} is lost", lose, configuration, N5, instance_of(N5), {})

    def test_the_only_disk(self) -> None:
        """Where nobody else has the shard, the node with another disk is a member at once, of an empty shard."""
        configuration = check(lose(founded(1, 1), N1, instance_of(N1, 2), {}))
        self.assertEqual([Member(N1, "s0", 2, instance_of(N1, 2))], list(configuration.shards["s0"].members))
        self.assertEqual([0], [loss.known for loss in configuration.lost.values()])

    def test_forget(self) -> None:
        """A node that is forgotten is gone with all that only it had, unless it is the only member of a shard."""
        configuration = check(lose(founded(4, 2), N4, None, {}))
        self.assertNotIn(N4, configuration.nodes)
        self.assertEqual(([N2], 1), (configuration.assigned("s1"), len(configuration.lost)))
        self.refused(f"s1 would have no member without {N2}", lose, configuration, N2, None, {})
        self.refused(f"nothing of {N4} is lost", lose, configuration, N4, None, {})

    def test_forget_one_that_departed(self) -> None:
        """A node that was removed and never comes back can be forgotten, too; so can one whose place was a learner's."""
        configuration = remove_node(founded(4, 2), N4, NODES)
        forgotten = check(lose(configuration, N4, None, {}))
        self.assertEqual(([], 1), (departed(forgotten, "s1"), len(forgotten.lost)))
        learns = add_learner(add_node(founded(4, 2), N5, instance_of(N5)), "s1", N5)
        self.assertEqual({}, check(lose(learns, N5, None, {})).lost)

    def test_one_that_came_back_loses_its_disk(self) -> None:
        """A learner that departed before has written, so that its loss counts."""
        configuration = add_node(remove_node(founded(4, 2), N4, NODES), N4, instance_of(N4))
        lost = check(lose(add_learner(configuration, "s1", N4), N4, instance_of(N4, 2), {}))
        self.assertEqual(([N4], []), (learning(lost, "s1"), departed(lost, "s1")))
        self.assertEqual({member_of(founded(4, 2), "s1", N4).writer}, set(lost.lost))

    def test_settle(self) -> None:
        """What is left of a lost writer is put down once."""
        configuration = lose(founded(4, 2), N4, instance_of(N4, 2), {})
        writer = next(iter(configuration.lost))
        settled = check(settle(configuration, writer, 5))
        self.assertEqual(Loss("s1", N4, 0, 5), settled.lost[writer])
        text = "there is no such lost writer, or what is left of it is known already"
        self.refused(text, settle, settled, writer, 6)
        self.refused(text, settle, settled, b"nobody", 6)

    def test_a_disk_before_its_node_is_known(self) -> None:
        """A node whose instance is not known has lost nothing: it is bound."""
        text = f"the instance of {N5} is still to be found out"
        self.refused(text, lose, add_node(founded(4, 2), N5), N5, instance_of(N5), {})
        self.assertEqual(founded(4, 2).nodes, changes.lose(add_node(founded(4, 2), N5), N5, None, {}).nodes)
