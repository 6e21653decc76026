"""Operators who add nodes that are never there, and the invariant that watches what these are told."""

from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication.effects import Send, SetConfiguration, Write
from kvsd.replication.messages import Announce, AskConfiguration, Message
from kvsd.replication.requests import AddNode
from kvsd.simulate.monitor import Monitor
from tests.simulation.small_cluster import SmallCluster

PHANTOM = "10.0.9.1:8090"


class InvitedTests(SynchronousTestCase):
    """A cluster in which a node was invited that is not there."""

    def setUp(self) -> None:
        self.small = SmallCluster()
        self.small.machines[1].ask(AddNode(PHANTOM), lambda _: None)
        self.small.later(6)
        run = self.small.machines[1].run
        assert run is not None
        self.replica = run.replica
        self.monitor: Monitor = self.small.cluster.monitor

    def send(self, message: Message) -> list[str]:
        """Show that a message is sent to the node; returns what is wrong with that."""
        self.monitor.sees(self.replica, [Send(0, PHANTOM, message)])
        return self.small.complaints()

    def test_nothing_is_wrong(self) -> None:
        """A cluster that has invited a node keeps to what it may do."""
        self.assertEqual([], self.small.complaints())
        configuration = self.replica.state.configuration
        assert configuration is not None
        self.assertEqual({PHANTOM}, configuration.invited())

    def test_told_something(self) -> None:
        """To say anything to who was never heard but to ask is noticed."""
        self.assertIn("sends Announce", self.send(Announce())[0])

    def test_asked_too_often(self) -> None:
        """To ask again within five seconds is noticed."""
        self.assertEqual([], self.send(AskConfiguration(2)))
        self.assertIn("again after 0.000 s", self.send(AskConfiguration(2))[0])

    def test_counted_on(self) -> None:
        """A configuration in which who was never heard is to be given a place is noticed."""
        configuration = self.replica.state.configuration
        assert configuration is not None
        following = replace(configuration, absent=(PHANTOM,))
        self.monitor.sees(self.replica, [Write(10_000, [SetConfiguration(following)])])
        self.assertTrue(any("counts on" in complaint for complaint in self.small.complaints()))
