"""Nodes that were put into the cluster and not heard yet: what they are told, and what is counted on them."""

from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication import changes
from kvsd.replication.changes import ChangeRefused, add_node, bind_node
from kvsd.replication.configuration import MAX_INVITED, MAX_NODES, Configuration
from kvsd.replication.invitations import Invitations
from kvsd.replication.limits import Limits
from kvsd.replication.messages import AskConfiguration, Heartbeat, Message, Sender, TellConfiguration
from kvsd.replication.requests import (
    AddMember,
    AddNode,
    Changed,
    ForgetNode,
    GiveUp,
    Refused,
    RemoveNode,
    Reshard,
    Unknown,
)
from kvsd.replication.saved import Saved
from tests.configurations import founded
from tests.pure import ADDRESSES, PureCluster, Site
from tests.pure_case import PureCase

ONE, TWO, LAST = ADDRESSES[0], ADDRESSES[1], ADDRESSES[5]
PHANTOM = "10.0.0.9:8090"
OLD_NAME = "[fe80::1%eth0]:80"
NEWCOMER = b"a fresh instance"
LIMITS = Limits(invited_seconds=20.0)


class InvitationsCase(PureCase):
    """A cluster that invites nodes; dropping them takes less time than as a rule."""

    def setUp(self) -> None:
        self.cluster = PureCluster(limits=LIMITS).founded()

    def invite(self, *addresses: str) -> None:
        """Put addresses into the cluster at which nobody is."""
        for address in addresses:
            self.assertEqual(Changed(), self.outcome(AddNode(address), seconds=1.0))

    def told(self, address: str = PHANTOM) -> Sequence[Message]:
        """What was sent to an address since the test began to look."""
        return [message for _, receiver, message in self.cluster.sent if receiver == address]

    def view(self, at: str = ONE) -> Sequence[str]:
        """The view of a node."""
        state = self.cluster.sites[at].replica.state
        now = self.cluster.time
        return [*state.liveness.view(now), *state.invitations.view(now)]

    def newcomer(self, seeds: Sequence[str], address: str = PHANTOM) -> Site:
        """Start a node at an address that was invited, without any memory."""
        site = self.cluster.start(address, NEWCOMER)
        self.cluster.perform(site, site.replica.start(Saved(), None, seeds, self.cluster.now(site)))
        return site


class SilentTests(InvitationsCase):
    """Nobody speaks from the address."""

    def test_asked_seldom_and_told_nothing(self) -> None:
        """An invited node is asked for a sign of life every five seconds, by one node, and is told nothing else."""
        self.cluster.sent.clear()
        self.invite(PHANTOM)
        self.cluster.run(13.5)
        self.assertEqual([AskConfiguration(2)] * 3, self.told())

    def test_no_more_is_said_when_the_configuration_changes(self) -> None:
        """What is decided after an invitation is not told to the invited."""
        self.cluster.sent.clear()
        self.invite(PHANTOM, "10.0.0.10:8090")
        self.assertEqual(Changed(), self.outcome(Reshard(3), seconds=10.0))
        self.assertEqual({AskConfiguration}, {type(message) for message in self.told()})

    def test_view(self) -> None:
        """An invited node stands in all views for a moment, as any does that is added; asked for again, it is new again."""
        self.invite(PHANTOM)
        self.assertEqual([True] * 6, [PHANTOM in self.view(at) for at in ADDRESSES])
        self.assertEqual(Changed(anew=False), self.outcome(AddNode(PHANTOM), seconds=1.0))
        self.cluster.run(5.0)
        self.assertEqual([False] * 6, [PHANTOM in self.view(at) for at in ADDRESSES])
        self.assertEqual(Changed(), self.outcome(AddNode(PHANTOM)))

    def test_removed(self) -> None:
        """An invitation can be taken back at any time."""
        self.invite(PHANTOM)
        self.assertEqual(Changed(), self.outcome(RemoveNode(PHANTOM)))
        self.invite(PHANTOM)
        self.cluster.run(5.0)
        self.assertEqual(Changed(), self.outcome(RemoveNode(PHANTOM)))
        self.assertEqual(Unknown("View has no such replica"), self.outcome(RemoveNode(PHANTOM)))

    def test_forgotten(self) -> None:
        """An invited node can be forgotten, also at once."""
        self.invite(PHANTOM)
        self.assertEqual(Changed(), self.outcome(ForgetNode(PHANTOM)))
        self.assertNotIn(PHANTOM, self.configuration().nodes)

    def test_dropped(self) -> None:
        """Who stays silent is taken out of the cluster after a while, and not before."""
        self.invite(PHANTOM)
        self.cluster.run(LIMITS.invited_seconds - 2.0)
        self.assertIn(PHANTOM, self.configuration().nodes)
        self.cluster.run(3.0)
        self.assertEqual([False] * 6, [PHANTOM in self.configuration(at).nodes for at in ADDRESSES])
        self.assertEqual(
            f"took out {PHANTOM}, which was never heard", self.cluster.sites[ONE].replica.duties.log["dismiss"].last
        )

    def test_ten_minutes(self) -> None:
        """As a rule a node has ten minutes."""
        self.assertEqual((600.0, 5.0), (Limits().invited_seconds, Limits().invite_seconds))

    def test_in_no_plan(self) -> None:
        """An invited node is no member and no voter, gets no place by a reshard, and is asked for by name in vain."""
        self.invite(PHANTOM)
        self.assertEqual(Unknown("View has no such replica"), self.outcome(AddMember("s0", PHANTOM), seconds=12.0))
        self.assertEqual(Changed(), self.outcome(Reshard(3), seconds=10.0))
        self.assertIsInstance(self.outcome(Reshard(4)), Refused)
        configuration = self.configuration()
        self.assertNotIn(PHANTOM, [member.node for member in configuration.everyone()])
        self.assertNotIn(PHANTOM, configuration.voters())

    def test_started_again(self) -> None:
        """A node that is started again does not wait for an invited one before it serves."""
        self.invite(PHANTOM)
        self.cluster.crash(TWO)
        self.cluster.run(1.0)
        site = self.cluster.restart(TWO)
        self.cluster.run(1.0)
        self.assertEqual("", site.replica.routing.assignment.lacking())

    def test_force(self) -> None:
        """An invited node need not be named where nodes are given up by force, and can't be."""
        self.invite(PHANTOM)
        gone = ADDRESSES[2:]
        self.crash(*gone)
        self.assertIsInstance(self.outcome(GiveUp((*gone, PHANTOM))), Refused)
        self.assertEqual(Changed(), self.outcome(GiveUp(gone)))


class OneNodeTests(PureCase):
    """A cluster of one node."""

    def test_invited_node_is_not_counted(self) -> None:
        """The one node of a cluster is still alone, and can be dealt anew."""
        self.cluster = PureCluster(1, 1, LIMITS).founded()
        self.assertEqual(Changed(), self.outcome(AddNode(PHANTOM)))
        self.assertIsInstance(self.outcome(Reshard(1)), Changed)


class ArrivingTests(InvitationsCase):
    """A node speaks from the address."""

    def test_started_after_it_was_added(self) -> None:
        """A node that is added before it is started stands in all views within five seconds of its start."""
        self.invite(PHANTOM)
        self.cluster.run(10.0)
        self.newcomer(ADDRESSES)
        self.cluster.run(2.0)
        self.assertEqual([NEWCOMER] * 7, [self.configuration(at).nodes[PHANTOM] for at in self.cluster.sites])
        self.assertEqual([True] * 7, [PHANTOM in self.view(at) for at in self.cluster.sites])
        self.assertEqual(Changed(), self.outcome(AddMember("s1", PHANTOM)))

    def test_node_that_knows_nobody(self) -> None:
        """A node that can reach nobody that it knows is asked for a sign of life, and asks who asks."""
        self.invite(PHANTOM)
        self.newcomer(["10.0.0.77:8090"])
        self.cluster.run(8.0)
        self.assertEqual([NEWCOMER] * 7, [self.configuration(at).nodes[PHANTOM] for at in self.cluster.sites])

    def test_is_a_peer_once_heard(self) -> None:
        """A node that has spoken gets heartbeats at once, not when its name is settled."""
        self.invite(PHANTOM)
        self.newcomer(ADDRESSES)
        self.cluster.sent.clear()
        self.cluster.run(1.0)
        self.assertIn(Heartbeat, {type(message) for message in self.told()})

    def test_two_at_once(self) -> None:
        """Two invited nodes come to know each other."""
        other = "10.0.0.10:8090"
        self.invite(PHANTOM, other)
        self.newcomer(ADDRESSES)
        site = self.cluster.start(other, b"another instance")
        self.cluster.perform(site, site.replica.start(Saved(), None, ADDRESSES, self.cluster.now(site)))
        self.cluster.run(3.0)
        self.assertEqual([True, True], [PHANTOM in self.view(other), other in self.view(PHANTOM)])


class OldNameTests(InvitationsCase):
    """A cluster that has a name that is refused today."""

    def test_cluster_gets_rid_of_it(self) -> None:
        """Nodes start and serve with an old name in their configuration, which can be taken out, and not put in again."""
        self.invite(PHANTOM)
        base = self.configuration()
        following = changes.successor(base, nodes={**base.nodes, OLD_NAME: b""})
        for site in self.cluster.live():
            sender = Sender(PHANTOM, NEWCOMER, base.cluster, following.epoch)
            told = site.replica.receive(sender, [TellConfiguration(following)], self.cluster.now(site))
            self.cluster.perform(site, told)
        for address in ADDRESSES:
            self.cluster.crash(address)
        for address in ADDRESSES:
            self.cluster.restart(address)
        self.cluster.founded()
        self.assertIn(OLD_NAME, self.configuration().nodes)
        self.assertEqual(Changed(), self.outcome(RemoveNode(OLD_NAME)))
        self.assertNotIn(OLD_NAME, self.configuration().nodes)
        self.assertIsInstance(self.outcome(AddNode(OLD_NAME)), Refused)


class BoundsTests(SynchronousTestCase):
    """How many nodes there can be."""

    def filled(self, count: int, instance: bytes) -> Configuration:
        """A configuration with so many more nodes."""
        configuration = add_node(founded(4, 2), "10.9.0.1:80", b"an instance")
        nodes = {f"10.1.{n // 250}.{n % 250}:80": instance for n in range(count)}
        return changes.successor(configuration, nodes={**configuration.nodes, **nodes})

    def test_invited(self) -> None:
        """So many nodes can be invited, and no more, until one of them is heard or taken out."""
        full = self.filled(MAX_INVITED, b"")
        with self.assertRaisesRegex(ChangeRefused, "64 nodes are in the cluster that were never heard of"):
            add_node(full, PHANTOM)
        self.assertIn(PHANTOM, add_node(full, PHANTOM, NEWCOMER).nodes)
        self.assertIn(PHANTOM, add_node(bind_node(full, "10.1.0.0:80", NEWCOMER), PHANTOM).nodes)
        self.assertIn(PHANTOM, add_node(changes.remove_node(full, "10.1.0.0:80", ()), PHANTOM).nodes)

    def test_nodes(self) -> None:
        """There is a bound for all nodes, too, whoever wants to be let in."""
        full = self.filled(MAX_NODES - 5, b"an instance")
        self.assertEqual(MAX_NODES, len(full.nodes))
        for instance in (b"", NEWCOMER):
            with self.assertRaisesRegex(ChangeRefused, "The cluster has 4,096 nodes, and there can be no more"):
                add_node(full, PHANTOM, instance)

    def test_first_configuration(self) -> None:
        """Founding nodes are not invited, though their instances are not known at first."""
        self.assertEqual(set(), founded(4, 2).invited())


class DueTests(SynchronousTestCase):
    """When invited nodes are asked."""

    def test_intervals(self) -> None:
        """A node is due every five seconds, whoever asks it, and no longer once it has spoken."""
        invitations = Invitations(ONE, Limits())
        self.assertEqual({PHANTOM}, invitations.follow({PHANTOM, ONE}, 0.0, new=True))
        self.assertEqual([[PHANTOM], [], [PHANTOM], []], [invitations.due(now) for now in (1.0, 5.9, 6.0, 10.9)])
        self.assertEqual((True, False), (invitations.meet(PHANTOM), invitations.meet(PHANTOM)))
        self.assertEqual(([], False), (invitations.due(99.0), bool(invitations)))
        self.assertEqual(set(), invitations.follow({PHANTOM}, 99.0, new=False))
        self.assertEqual(set(), invitations.follow(set(), 99.0, new=False))
        self.assertEqual({PHANTOM}, invitations.follow({PHANTOM}, 100.0, new=False))

    def test_invited_again(self) -> None:
        """A node that is taken out and invited again is not asked any sooner for that."""
        invitations = Invitations(ONE, Limits())
        invitations.follow({PHANTOM}, 0.0, new=True)
        self.assertEqual([PHANTOM], invitations.due(1.0))
        invitations.follow(set(), 2.0, new=True)
        self.assertEqual([], invitations.due(2.5))
        invitations.follow({PHANTOM}, 3.0, new=True)
        self.assertEqual([[], [PHANTOM]], [invitations.due(now) for now in (3.0, 6.0)])
