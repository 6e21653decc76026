"""Slow links: what an answer may be on its way over is waited for, and no more is put onto them than they carry."""

from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication.messages import Forward, Message, Pull, PullOps, Push
from kvsd.replication.requests import Put, Written
from kvsd.replication.slow_ways import SlowWay, SlowWays
from kvsd.replication.token import EMPTY
from tests.pure import PureCluster, with_limits

SLOW = SlowWay(100, 500_000.0)
FULL = SlowWay(10_000_000, 500_000.0)


class SlowWaysTests(SynchronousTestCase):
    """What a node knows of slow ways."""

    def test_pages_are_cut_by_what_a_way_carries(self) -> None:
        """A page takes a quarter of a second, but is never tiny, nor larger than on a good link."""
        ways = SlowWays(with_limits(page_bytes=160_000))
        self.assertEqual(ways.page_bytes("peer"), 160_000)
        for rate, page in ((500_000.0, 125_000), (1_000.0, 10_000), (1e9, 160_000)):
            ways.learn({"peer": SlowWay(1, rate)}, 1.0)
            self.assertEqual(ways.page_bytes("peer"), page)
            self.assertEqual(ways.page_bytes("another"), 160_000)

    def test_a_way_is_full_with_a_second_waiting(self) -> None:
        """A way on which more than a second's worth waits is full until it is not slow; a page has room behind less than one."""
        ways = SlowWays(with_limits())
        for backlog, full, room in (
            (125_000, False, True),
            (125_001, False, False),
            (500_000, False, False),
            (500_001, True, False),
            (1, True, True),
        ):
            ways.learn({"peer": SlowWay(backlog, 500_000.0)}, 1.0)
            self.assertEqual(("peer" in ways.full, ways.has_room("peer")), (full, room))
            self.assertTrue(ways.has_room("another"))
        ways.learn({}, 1.0)
        self.assertEqual((ways.full, ways.has_room("peer")), (set(), True))

    def test_moving_ends_with_silence(self) -> None:
        """Something moves where a look or the peer said so within the last second."""
        ways = SlowWays(with_limits())
        self.assertFalse(ways.is_moving("peer", 1.0))
        ways.learn({"peer": SLOW}, 1.0)
        ways.told("other", 2.0)
        ways.learn({}, 2.0)
        self.assertEqual([ways.is_moving("peer", at) for at in (2.0, 2.1)], [True, False])
        self.assertEqual([ways.is_moving("other", at) for at in (3.0, 3.1)], [True, False])


class ReplicationTests(SynchronousTestCase):
    """Replicas of one shard, between which something takes long."""

    def setUp(self) -> None:
        self.cluster = PureCluster(3, 1).founded()
        self.node, self.peer, self.third = self.cluster.members("s0")
        self.cluster.sent.clear()

    def slow(self, way: SlowWay | None, seconds: float, sender: str = "") -> None:
        """Let time pass in which the way from a node to its peer is slow, or not."""
        site = self.cluster.sites[sender or self.node]
        for _ in range(round(seconds * 10)):
            site.replica.state.slow_ways.learn({self.peer: way} if way else {}, self.cluster.time)
            self.cluster.run(0.1)

    def sent(self, kind: type[Message], sender: str, receiver: str) -> int:
        """How many messages of a kind one node sent to another."""
        return sum(isinstance(m, kind) and (s, r) == (sender, receiver) for s, r, m in self.cluster.sent)

    def value(self, address: str, key: str) -> bytes | None:
        """What a node holds under a key."""
        store = self.cluster.sites[address].replica.state.roles["s0"].store
        return next((row.record.value for row in store if row.record.key == key), None)

    def test_what_would_only_wait_is_not_sent(self) -> None:
        """A write is not pushed onto a way that is full, and is pulled once it is not."""
        self.slow(FULL, 0.1)
        self.cluster.put(self.node, "key", "value")
        self.assertEqual([self.sent(Push, self.node, to) for to in (self.peer, self.third)], [0, 1])
        self.cluster.cut = lambda sender, receiver, _: {sender, receiver} == {self.third, self.peer}
        self.slow(FULL, 1.0)
        self.assertEqual(self.value(self.peer, "key"), None)
        self.slow(None, 1.0)
        self.assertEqual(self.value(self.peer, "key"), b"value")

    def test_what_is_on_its_way_is_not_asked_for_again(self) -> None:
        """A pull is not given up while its answer may be crossing a slow link; it is, soon after nothing moves."""
        self.cluster.cut = lambda sender, receiver, message: (
            receiver == self.peer and (isinstance(message, Push | PullOps) or sender == self.third)
        )
        self.cluster.put(self.node, "key", "value")
        self.slow(SLOW, 10.0)
        self.assertEqual(self.sent(Pull, self.peer, self.node), 1)
        self.slow(None, 2.5)
        self.assertEqual(self.sent(Pull, self.peer, self.node), 2)

    def test_a_slow_link_is_not_waited_for_for_ever(self) -> None:
        """What did not come in half a minute is asked for again, as it may have been lost."""
        self.cluster.cut = lambda sender, receiver, message: (
            receiver == self.peer and (isinstance(message, Push | PullOps) or sender == self.third)
        )
        self.cluster.put(self.node, "key", "value")
        self.slow(SLOW, 40.0)
        self.assertEqual(self.sent(Pull, self.peer, self.node), 2)


class ForwardingTests(SynchronousTestCase):
    """Requests that are forwarded over a slow link."""

    def test_an_answer_that_may_be_coming_is_waited_for(self) -> None:
        """The next member is not asked while the first may be answering, and is once nothing moves any more."""
        cluster = PureCluster().founded()
        key, edge = cluster.key_of("s0"), cluster.members("s1")[0]
        cluster.cut = lambda sender, receiver, message: isinstance(message, Forward) and len(asked()) == 1

        def asked() -> list[str]:
            return [receiver for _, receiver, message in cluster.sent if isinstance(message, Forward)]

        ticket = cluster.submit(edge, Put(key, b"1", EMPTY))
        (first,) = asked()
        site = cluster.sites[edge]
        for _ in range(100):
            site.replica.state.slow_ways.learn({first: SLOW}, cluster.time)
            cluster.run(0.1)
        self.assertEqual(asked(), [first])
        site.replica.state.slow_ways.learn({}, cluster.time)
        cluster.run(1.3)
        self.assertEqual(len(asked()), 2)
        self.assertIsInstance(site.outcomes[ticket], Written)
