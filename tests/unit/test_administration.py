"""What becomes of changes that clients ask for, and what they are answered."""

from kvsd.replication.administration import MAX_ASKED
from kvsd.replication.configuration import NOT_ENOUGH_NODES
from kvsd.replication.limits import Limits
from kvsd.replication.messages import Heartbeat, Message, Prepare, Push, TellConfiguration
from kvsd.replication.requests import (
    AbortReshard,
    AddMember,
    AddNode,
    Begun,
    Changed,
    ForgetNode,
    Overloaded,
    Refused,
    RemoveNode,
    Request,
    Reshard,
    Unknown,
)
from kvsd.replication.state import nodes_in_view
from kvsd.replication.wishes import NO_SUCH_NODE, NO_SUCH_SHARD
from tests.pure import ADDRESSES, PureCluster, with_limits
from tests.pure_case import PureCase
from tests.unit.test_membership import NEW, newcomer

ONE, TWO, THREE, FOUR = ADDRESSES[:4]
OTHER = "10.0.0.8:8090"
SOON = with_limits(change_seconds=2.0, reshard_seconds=2.0)
DOWN = Limits().down_seconds + 0.5
"""Who was killed so many seconds ago is down, as everybody sees it."""


class AdministrationCase(PureCase):
    """Four nodes with two shards."""

    def setUp(self) -> None:
        self.found()

    def found(self, limits: Limits | None = None) -> None:
        """Found the cluster."""
        self.cluster = PureCluster(4, 2, limits).founded()


class AnsweredTests(AdministrationCase):
    """Changes that are made, are there already, or can't be."""

    def test_add(self) -> None:
        """A node is added; one that is there already is not, unless it was out of the view."""
        self.assertEqual(Changed(), self.outcome(AddNode(NEW)))
        self.assertEqual(2, self.configuration().epoch)
        self.assertEqual(Changed(), self.outcome(AddNode(NEW), TWO))
        self.assertEqual(Changed(anew=False), self.outcome(AddNode(THREE)))
        self.assertEqual(2, self.configuration().epoch)

    def test_remove(self) -> None:
        """A node of the view is removed; of one that is not in it nothing is known; a shard keeps a live member."""
        self.assertEqual(Unknown(NO_SUCH_NODE), self.outcome(RemoveNode(NEW)))
        self.assertEqual(Changed(), self.outcome(RemoveNode(FOUR)))
        self.assertEqual(Unknown(NO_SUCH_NODE), self.outcome(RemoveNode(FOUR), TWO))
        self.assertEqual(Refused(f"s1 would have no live member without {TWO}"), self.outcome(RemoveNode(TWO), TWO))

    def test_remove_what_is_down(self) -> None:
        """A node that is down is not in the view, and is forgotten rather than removed."""
        self.crash(FOUR, seconds=DOWN)
        self.assertEqual(Unknown(NO_SUCH_NODE), self.outcome(RemoveNode(FOUR)))
        self.assertIn(FOUR, self.configuration().nodes)

    def test_forget(self) -> None:
        """Only a node that is down is forgotten, and only once."""
        text = f"{FOUR} is up: remove it instead, which loses nothing"
        self.assertEqual(Refused(text), self.outcome(ForgetNode(FOUR)))
        self.assertEqual(Unknown(NO_SUCH_NODE), self.outcome(ForgetNode(NEW)))
        self.crash(FOUR, seconds=DOWN)
        self.assertEqual(Changed(), self.outcome(ForgetNode(FOUR)))
        self.assertEqual(["s1"], [loss.shard for loss in self.configuration().lost.values()])
        self.assertEqual(Unknown(NO_SUCH_NODE), self.outcome(ForgetNode(FOUR)))

    def test_forget_oneself(self) -> None:
        """A node that can be asked is up."""
        self.assertIsInstance(self.outcome(ForgetNode(ONE)), Refused)

    def test_forget_who_was_removed(self) -> None:
        """A node that was removed, and is down before its writes were fetched, can be forgotten."""
        self.cluster.cut = lambda sender, receiver, message: sender == FOUR and isinstance(message, Push | Heartbeat)
        self.cluster.put(FOUR, self.cluster.key_of("s1"), "1")
        ticket = self.cluster.submit(ONE, RemoveNode(FOUR))
        self.cluster.crash(FOUR)
        self.cluster.run(5.0)
        self.assertEqual(Changed(), self.cluster.sites[ONE].outcomes[ticket])
        self.assertEqual([FOUR], [member.node for member in self.configuration().shards["s1"].departed])
        self.assertEqual(Changed(), self.outcome(ForgetNode(FOUR)))
        self.assertEqual((), self.configuration().shards["s1"].departed)

    def test_add_member(self) -> None:
        """A spare gets a place; what there is not, or has one, does not."""
        newcomer(self.cluster)
        self.cluster.run(2.0)
        self.assertEqual(Unknown(NO_SUCH_SHARD), self.outcome(AddMember("s2", NEW)))
        self.assertEqual(Unknown(NO_SUCH_NODE), self.outcome(AddMember("s0", OTHER)))
        self.assertEqual(Changed(anew=False), self.outcome(AddMember("s0", THREE)))
        self.assertEqual(Refused(f"{TWO} has a place in s1 already"), self.outcome(AddMember("s0", TWO)))
        self.assertEqual(Changed(), self.outcome(AddMember("s0", NEW)))
        self.assertIn(NEW, self.configuration().assigned("s0"))

    def test_add_and_give_a_place_at_once(self) -> None:
        """A place may be asked for before the node was heard of: it gets it as soon as it was."""
        self.outcome(AddNode(NEW), seconds=0.1)
        ticket = self.cluster.submit(TWO, AddMember("s0", NEW))
        self.cluster.run(0.5)
        self.assertNotIn(ticket, self.cluster.sites[TWO].outcomes)
        newcomer(self.cluster)
        self.cluster.run(5.0)
        self.assertEqual(Changed(), self.cluster.sites[TWO].outcomes[ticket])

    def test_reshard(self) -> None:
        """A number of shards is there already, can't be, or is brought about."""
        self.assertEqual(Changed(anew=False), self.outcome(Reshard(2)))
        for count in (3, 4096, 10**9):
            self.assertEqual(Refused(NOT_ENOUGH_NODES), self.outcome(Reshard(count), seconds=0.5))
        self.assertEqual(Begun(), self.outcome(Reshard(1, wait=False), seconds=0.5))
        self.cluster.run(5.0)
        self.assertEqual(["s0"], self.configuration().shard_ids())
        self.assertEqual(Changed(), self.outcome(Reshard(2), seconds=8.0))

    def test_reshard_of_nodes_that_are_not_heard(self) -> None:
        """Where the view lists enough nodes, and one can't be heard, that one is named; later the view lists too few."""
        self.cluster.crash(FOUR)
        self.cluster.run(1.7)
        reason = f"There are enough nodes in the view, but these can't be heard: {FOUR}; try again later"
        self.assertIn(FOUR, nodes_in_view(self.cluster.sites[ONE].replica.state))
        self.assertEqual(Overloaded(reason), self.outcome(Reshard(2), seconds=0.2))
        self.assertEqual(Refused(NOT_ENOUGH_NODES), self.outcome(Reshard(3), seconds=0.2))
        self.cluster.run(DOWN)
        self.assertEqual(Refused(NOT_ENOUGH_NODES), self.outcome(Reshard(2), seconds=0.5))

    def test_abort_nothing(self) -> None:
        """Where no reshard is under way there is nothing to give up."""
        self.assertEqual(Unknown("No reshard is under way"), self.outcome(AbortReshard()))


class RivalsTests(AdministrationCase):
    """Several clients ask at once."""

    def test_different_changes(self) -> None:
        """Changes that different nodes are asked for at once are all made, one after the other."""
        cluster = self.cluster
        requests: dict[str, Request] = {ONE: AddNode(NEW), TWO: AddNode(OTHER), THREE: RemoveNode(FOUR)}
        cluster.cut = lambda sender, receiver, message: isinstance(
            message, Prepare
        )  # all of them are outvoted at first
        tickets = {address: cluster.submit(address, request) for address, request in requests.items()}
        cluster.run(0.2)
        cluster.heal()
        cluster.run(8.0)
        for address, ticket in tickets.items():
            self.assertEqual(Changed(), cluster.sites[address].outcomes[ticket])
        self.assertEqual({ONE, TWO, THREE, NEW, OTHER}, set(self.configuration().nodes))

    def test_the_same_change(self) -> None:
        """The same change, asked of all nodes at once, is made once and answered by all of them."""
        cluster = self.cluster
        tickets = {address: cluster.submit(address, AddNode(NEW)) for address in ADDRESSES[:4]}
        cluster.run(5.0)
        for address, ticket in tickets.items():
            self.assertIsInstance(cluster.sites[address].outcomes[ticket], Changed)
        self.assertEqual(2, self.configuration().epoch)

    def test_too_many(self) -> None:
        """Whoever comes when too many wait is told to try again."""
        self.cluster.isolate(ONE)
        tickets = [self.cluster.submit(ONE, AddNode(NEW)) for _ in range(MAX_ASKED + 1)]
        outcomes = self.cluster.sites[ONE].outcomes
        self.assertEqual(tickets[-1:], [ticket for ticket in tickets if ticket in outcomes])
        self.assertEqual(Overloaded("Too many changes are waited for here; try again later"), outcomes[tickets[-1]])
        self.assertEqual(MAX_ASKED, len(self.cluster.sites[ONE].replica.administration))


class TimeTests(AdministrationCase):
    """Changes that take long."""

    def test_no_majority(self) -> None:
        """What is not decided in time is answered, with who has to be up for it; nothing of it comes later."""
        self.found(SOON)
        self.cluster.isolate(ONE)
        outcome = self.outcome(AddNode(NEW), seconds=1.5)
        self.assertIsNone(outcome)
        outcome = self.outcome(AddNode(NEW), seconds=3.0)
        text = f"a majority of the voters ({ONE}, {TWO}, {THREE}, {FOUR}) has to be up; try again later"
        text += ", or have those forgotten by force that are gone for good"
        self.assertEqual(Overloaded(f"The change was not decided in time: {text}"), outcome)
        self.assertEqual(0, len(self.cluster.sites[ONE].replica.administration))
        self.cluster.heal()
        self.cluster.run(5.0)
        self.assertEqual(Changed(), self.outcome(AddNode(NEW)))

    def test_forming(self) -> None:
        """While not all founding nodes were heard of, nothing can be changed."""
        self.cluster = PureCluster(4, 2, SOON)
        self.cluster.crash(FOUR)
        self.cluster.run(1.5)
        outcome = self.outcome(AddNode(NEW), seconds=3.0)
        assert isinstance(outcome, Overloaded)
        self.assertIn("the cluster is forming", outcome.reason)
        self.cluster.restart(FOUR)
        self.cluster.run(1.5)
        self.assertEqual(Changed(), self.outcome(AddNode(NEW)))

    def test_answered_once_all_know(self) -> None:
        """The answer comes when all nodes that are up go by the change, or after a while."""
        self.cluster.cut = lambda sender, receiver, message: receiver == FOUR and isinstance(message, TellConfiguration)
        ticket = self.cluster.submit(ONE, AddNode(NEW))
        self.cluster.run(self.cluster.limits.calm_seconds - 0.5)
        self.assertEqual(2, self.configuration().epoch)
        self.assertNotIn(ticket, self.cluster.sites[ONE].outcomes)
        self.cluster.run(1.0)
        self.assertEqual(Changed(), self.cluster.sites[ONE].outcomes[ticket])

    def test_not_before_it_is_durable_here(self) -> None:
        """Nor does it come before this node's own disk knows the change."""
        self.cluster.sites[ONE].holding = True
        outcome = self.outcome(AddNode(NEW), seconds=0.5)
        self.assertIsNone(outcome)
        self.cluster.sites[ONE].holding = False
        self.cluster.run(3.0)
        self.assertEqual([Changed()], list(self.cluster.sites[ONE].outcomes.values()))

    def test_not_before_it_is_durable_however_long_that_takes(self) -> None:
        """While the disk of a cluster of one node is stuck nobody hears of a change: a crash now takes the change back."""
        self.cluster = PureCluster(1, 1).founded()
        site = self.cluster.sites[ONE]
        site.holding = True
        tickets = [self.cluster.submit(ONE, change) for change in (AddNode(NEW), AddNode(NEW))]
        self.cluster.run(self.cluster.limits.calm_seconds + 1.0)
        self.assertIn(NEW, self.configuration().nodes)
        self.assertEqual({}, site.outcomes)
        site.holding = False
        self.cluster.run(0.5)
        self.assertEqual([Changed(), Changed(anew=False)], [site.outcomes[ticket] for ticket in tickets])

    def test_what_speaks_of_no_configuration_is_said_at_once(self) -> None:
        """A node whose disk is stuck still says that it is about to end."""
        self.found()
        self.cluster.isolate(ONE)
        site = self.cluster.sites[ONE]
        site.holding = True
        ticket = self.cluster.submit(ONE, AddNode(NEW))
        self.cluster.perform(site, site.replica.stop(self.cluster.now(site)))
        self.assertEqual({ticket: Overloaded("This node is shutting down; ask another one")}, site.outcomes)

    def test_cancel(self) -> None:
        """Where nobody waits any more, nobody is answered; what was begun goes on."""
        cluster, site = self.cluster, self.cluster.sites[ONE]
        ticket = cluster.submit(ONE, AddNode(NEW))
        cluster.perform(site, site.replica.cancel(ticket))
        cluster.run(3.0)
        self.assertNotIn(ticket, site.outcomes)
        self.assertIn(NEW, self.configuration().nodes)

    def test_stop(self) -> None:
        """A node that ends answers everybody who waits."""
        cluster, site = self.cluster, self.cluster.sites[ONE]
        cluster.isolate(ONE)
        tickets = [cluster.submit(ONE, change) for change in (AddNode(NEW), Reshard(1))]
        cluster.perform(site, site.replica.stop(cluster.now(site)))
        ended = Overloaded("This node is shutting down; ask another one")
        self.assertEqual([ended, ended], [site.outcomes[ticket] for ticket in tickets])
        self.assertEqual(0, len(site.replica.administration))

    def test_lost_answers(self) -> None:
        """However many messages of the voters are lost, a change is made in the end."""
        lost = 0

        def cut(sender: str, receiver: str, message: Message) -> bool:
            nonlocal lost
            lost += 1
            return type(message).__name__ in ("Prepare", "Promised", "Accept", "Accepted", "Outvoted") and lost % 6 == 0

        self.cluster.cut = cut
        self.assertEqual(Changed(), self.outcome(AddNode(NEW), seconds=12.0))
