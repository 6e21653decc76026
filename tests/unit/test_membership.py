"""Which configuration a node goes by: how it learns of another one, and how nodes are let in."""

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication.effects import Note, Send
from kvsd.replication.forks import MAX_MET
from kvsd.replication.founding import Founding
from kvsd.replication.limits import Limits
from kvsd.replication.membership import MAX_ANNOUNCED, Membership
from kvsd.replication.messages import (
    Announce,
    AskConfiguration,
    Heartbeat,
    Message,
    Pull,
    Push,
    Sender,
    TellConfiguration,
)
from kvsd.replication.requests import AddMember, AddNode, Changed, Get, RemoveNode, Unassigned
from kvsd.replication.saved import Saved
from kvsd.replication.state import Identity, State
from kvsd.replication.token import EMPTY
from tests.configurations import NODES, founded, instance_of
from tests.pure import ADDRESSES, PureCluster, Site
from tests.pure_case import PureCase
from tests.unit.test_consensus import wish

FIRST, LAST = ADDRESSES[0], ADDRESSES[5]
NEW = "10.0.0.9:8090"
LIMITS = Limits()


def without(*kinds: type[Message], to: str = "", of: str = "") -> Callable[[str, str, Message], bool]:
    """Loses messages of some types, to a node or from one."""

    def cut(sender: str, receiver: str, message: Message) -> bool:
        return isinstance(message, kinds) and to in ("", receiver) and of in ("", sender)

    return cut


def newcomer(cluster: PureCluster, address: str = NEW) -> Site:
    """Start a node that founds nothing and asks the others."""
    site = cluster.start(address)
    cluster.perform(site, site.replica.start(Saved(), None, ADDRESSES, cluster.now(site)))
    return site


class Bench:
    """The membership of one node, in a configuration that follows the founding."""

    def __init__(self, epochs: int = 1) -> None:
        self.base = wish(1, founded(4, 2))
        self.state = State(Identity(NODES[0], instance_of(NODES[0]), 1), LIMITS)
        self.state.adopt(self.base)
        self.membership = Membership(self.state, Founding(self.state))
        self.state.out.take()

    def sender(self, epoch: int, cluster: str = "", address: str = NODES[1]) -> Sender:
        """Another node, that goes by the configuration of an epoch."""
        return Sender(address, instance_of(address), cluster or self.base.cluster, epoch)

    def sent(self) -> list[Message]:
        """What was sent since the last call."""
        return [effect.message for effect in self.state.out.take() if isinstance(effect, Send)]


class AdmitTests(SynchronousTestCase):
    """Whom to hear."""

    def setUp(self) -> None:
        self.bench = Bench()
        self.membership = self.bench.membership

    def admit(self, sender: Sender, at: float = 0.0, *messages: Message) -> bool:
        """Whether a node is heard."""
        return self.membership.admit(sender, messages, at, silent=False)

    def test_the_same_epoch(self) -> None:
        """Who goes by the same configuration is heard, and is told nothing."""
        self.assertTrue(self.admit(self.bench.sender(2)))
        self.assertEqual([], self.bench.sent())

    def test_an_older_node_is_told(self) -> None:
        """Who goes by an older one is heard and told, but not more often than heartbeats go."""
        told = 0
        for tenth in range(31):
            self.assertTrue(self.admit(self.bench.sender(1), tenth * 0.1 + 1e-6 * tenth))
            told += self.bench.sent().count(TellConfiguration(self.bench.base))
        self.assertEqual(11, told)

    def test_an_older_node_is_told_of_each(self) -> None:
        """A configuration that is news to an older node is told at once, whenever the last one was."""
        self.admit(self.bench.sender(1))
        following = wish(2, self.bench.base)
        self.bench.state.adopt(following)
        self.bench.sent()
        self.admit(self.bench.sender(1), 0.01)
        self.assertEqual([TellConfiguration(following)], self.bench.sent())

    def test_a_later_node_is_asked(self) -> None:
        """Who knows more is not heard, and is asked for it, once a tick at the most."""
        for hundredth in range(11):
            self.assertFalse(self.admit(self.bench.sender(3), hundredth / 100))
        self.assertEqual([AskConfiguration(2)] * 2, self.bench.sent())

    def test_what_a_later_node_said_is_kept(self) -> None:
        """It is given back, in order, when that configuration is known, and only once."""
        early, late = self.bench.sender(3), self.bench.sender(4)
        self.admit(early, 0.0, Announce())
        self.admit(late, 0.0, Push([]))
        self.admit(early, 0.0)
        self.admit(early, 0.0, Push([]), Announce())
        self.assertEqual([], self.membership.release())
        self.bench.state.adopt(three := wish(2, self.bench.base))
        self.assertEqual([(early, (Announce(),)), (early, (Push([]), Announce()))], self.membership.release())
        self.assertEqual([], self.membership.release())
        self.bench.state.adopt(wish(3, three))
        self.assertEqual([(late, (Push([]),))], self.membership.release())

    def test_what_is_kept_is_bounded(self) -> None:
        """Of too many messages the latest are kept."""
        for number in range(LIMITS.held_envelopes + 5):
            self.admit(self.bench.sender(3), 0.0, AskConfiguration(number))
        self.bench.state.adopt(wish(2, self.bench.base))
        kept = [messages for _, messages in self.membership.release()]
        self.assertEqual((LIMITS.held_envelopes, (AskConfiguration(5),)), (len(kept), kept[0]))

    def test_nothing_is_kept_of_strangers(self) -> None:
        """Of nodes of which this one does not know nothing is kept, however many envelopes come, but who wants to be let in."""
        for number in range(500):
            address = f"10.1.{number // 250}.{number % 250}:80"
            self.admit(self.bench.sender(1, address=address))
            self.admit(self.bench.sender(3, address=address), 0.0, Push([]))
            self.admit(Sender(address, b"i", self.bench.base.cluster, 1, number.to_bytes(16, "big")))
            self.membership.announce(self.bench.sender(2, address=address), 0.0)
        self.assertEqual(({}, MAX_ANNOUNCED), (self.membership._told, len(self.membership.announced)))
        self.assertEqual(MAX_MET, len(self.membership._forks._met))
        self.bench.state.adopt(wish(2, self.bench.base))
        self.assertEqual([], self.membership.release())

    def test_another_cluster(self) -> None:
        """Nodes of another cluster are not heard, whatever their epoch; the operator is told once."""
        for epoch in (1, 2, 3):
            self.assertFalse(self.admit(self.bench.sender(epoch, "another"), 0.0, Push([])))
        notes = [effect for effect in self.bench.state.out.take() if isinstance(effect, Note)]
        self.assertEqual(["other-cluster"], [note.event for note in notes])
        self.bench.state.adopt(wish(2, self.bench.base))
        self.assertEqual([], self.membership.release())

    def test_told_only_what_is_newer(self) -> None:
        """Configurations that are older, or of another cluster, change nothing."""
        other = wish(7, wish(8, founded(3, 1)))
        for told in (founded(4, 2), self.bench.base, other):
            self.membership.told(self.bench.sender(2), TellConfiguration(told))
            self.assertEqual(self.bench.base, self.bench.state.configuration)
        self.membership.told(self.bench.sender(4), TellConfiguration(later := wish(3, wish(2, self.bench.base))))
        self.assertEqual(later, self.bench.state.configuration)

    def test_asked_by_who_knows_as_much(self) -> None:
        """Who asks and knows as much, or more, is told nothing."""
        for epoch in (2, 3):
            self.membership.asked(self.bench.sender(epoch), AskConfiguration(epoch))
        self.assertEqual([], self.bench.sent())


class LaterTests(PureCase):
    """A node that does not hear of a configuration for a while."""

    def setUp(self) -> None:
        self.cluster = PureCluster().founded()
        self.site = self.cluster.sites[LAST]

    def test_waits_and_is_heard(self) -> None:
        """A write of a later configuration waits, and is there as soon as that is known, without being fetched."""
        cluster, key = self.cluster, self.cluster.key_of("s1")
        cluster.cut = without(TellConfiguration, Pull, to=LAST)
        self.assertEqual(Changed(), self.outcome(AddNode(NEW)))
        cluster.put(ADDRESSES[1], key, "1")
        cluster.run(1.0)
        role = self.site.replica.state.roles["s1"]
        self.assertEqual((1, 0), (self.site.replica.state.epoch, role.store.live_keys))
        cluster.cut = without(Pull)
        cluster.run(0.5)
        self.assertEqual((2, 1), (self.site.replica.state.epoch, role.store.live_keys))

    def test_is_told_by_heartbeats(self) -> None:
        """A node that lags behind is told by everybody whom it greets, no more often than it does that."""
        cluster = self.cluster
        cluster.cut = without(TellConfiguration, to=LAST)
        self.outcome(AddNode(NEW))
        cluster.sent.clear()
        cluster.run(3.0)
        kinds = [type(m) for _, to, m in cluster.sent if to == LAST]
        asked = sum(isinstance(m, AskConfiguration) for a, _, m in cluster.sent if a == LAST)
        told, beats = kinds.count(TellConfiguration), kinds.count(Heartbeat)
        self.assertGreater(told, 0)
        self.assertLessEqual(told - asked, beats + len(ADDRESSES))

    def test_removed(self) -> None:
        """A node that was removed does not ask to be let in again, until it is started anew."""
        cluster = self.cluster
        self.assertEqual(Changed(), self.outcome(RemoveNode(LAST)))
        cluster.sent.clear()
        cluster.run(5.0)
        self.assertEqual([], [m for a, _, m in cluster.sent if a == LAST and isinstance(m, Announce)])
        self.assertIsInstance(cluster.get(LAST, "key"), Unassigned)
        cluster.crash(LAST)
        cluster.restart(LAST)
        cluster.run(5.0)
        configuration = self.configuration(LAST)
        self.assertIn(LAST, configuration.nodes)
        self.assertIsNone(configuration.member(LAST))


class NewcomerTests(SynchronousTestCase):
    """Nodes that are in no configuration."""

    def setUp(self) -> None:
        self.cluster = PureCluster(4, 2).founded()

    def test_announces_itself(self) -> None:
        """A node that is started without a shard count asks to be let in until it is; then it asks no more."""
        cluster = self.cluster
        cluster.cut = lambda sender, receiver, message: isinstance(message, Announce)
        site = newcomer(cluster)
        cluster.run(2.0)
        announced = [to for a, to, m in cluster.sent if a == NEW and isinstance(m, Announce)]
        self.assertEqual(set(ADDRESSES[:4]), set(announced))
        self.assertNotIn(NEW, cluster.sites[FIRST].replica.state.configuration.nodes)  # type: ignore[union-attr]
        cluster.heal()
        cluster.run(1.0)
        assert site.replica.state.configuration is not None
        self.assertEqual(b"a fresh instance", site.replica.state.configuration.nodes[NEW])
        cluster.sent.clear()
        cluster.run(2.0)
        self.assertEqual([], [m for _, _, m in cluster.sent if isinstance(m, Announce)])

    def test_announcement_is_forgotten(self) -> None:
        """Who announced itself and fell silent before it was let in is let in no more."""
        cluster = self.cluster
        cluster.crash(ADDRESSES[1])
        cluster.crash(ADDRESSES[2])
        newcomer(cluster)
        cluster.run(2.0)
        self.assertEqual([NEW], list(cluster.sites[FIRST].replica.membership.announced))
        cluster.crash(NEW)
        cluster.run(cluster.limits.down_seconds + 0.5)
        self.assertEqual({}, cluster.sites[FIRST].replica.membership.announced)
        cluster.restart(ADDRESSES[1])
        cluster.restart(ADDRESSES[2])
        cluster.run(5.0)
        self.assertEqual(1, cluster.sites[FIRST].replica.state.epoch)

    def test_a_spare_serves_by_way_of_others_only_once_it_has_a_place(self) -> None:
        """A node that was let in and has no place refuses keys and says why; with a place it serves."""
        cluster, key = self.cluster, self.cluster.key_of("s0")
        newcomer(cluster)
        cluster.run(2.0)
        self.assertEqual(Unassigned("this node was not added to a shard"), cluster.get(NEW, key))
        ticket = cluster.submit(FIRST, AddMember("s0", NEW))
        cluster.run(5.0)
        self.assertEqual(Changed(), cluster.sites[FIRST].outcomes[ticket])
        self.assertNotIsInstance(cluster.ask(NEW, Get(key, EMPTY)), Unassigned)
