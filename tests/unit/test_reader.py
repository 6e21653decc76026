"""Reads that can be answered at once, and those that can't."""

from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication.messages import Heartbeat, Push
from kvsd.replication.requests import Absent, Found, Get, Outcome
from kvsd.replication.token import EMPTY, Token
from tests.pure import PureCluster


class AtOnceTests(SynchronousTestCase):
    """A cluster of two shards with one key."""

    def setUp(self) -> None:
        self.cluster = PureCluster().founded()
        self.key, self.other_key = self.cluster.key_of("s0"), self.cluster.key_of("s1")
        self.node, self.peer, _ = self.cluster.members("s0")
        self.written = self.cluster.put(self.node, self.key, "1")

    def read(self, node: str, key: str, token: Token = EMPTY) -> Outcome | None:
        """What a node can say at once, with nothing that follows from it."""
        site = self.cluster.sites[node]
        before = site.replica.state.out.written
        outcome = site.replica.serving.reader.at_once(Get(key, token), self.cluster.now(site))
        self.assertTrue(site.replica.state.out.is_empty())
        self.assertEqual(before, site.replica.state.out.written)
        return outcome

    def test_at_once(self) -> None:
        """A member tells what it has, or that it has nothing, as it would be answered by way of an event."""
        self.cluster.run(1.0)
        for node in (self.node, self.peer):
            for token in (EMPTY, self.written):
                self.assertEqual(self.cluster.get(node, self.key, token), self.read(node, self.key, token))
                self.assertIsInstance(self.read(node, self.key, token), Found)
        self.assertIsInstance(self.read(self.node, self.cluster.key_of("s0", "absent")), Absent)

    def test_same_outcome(self) -> None:
        """One outcome is made for all reads of a row, until there is another row."""
        self.cluster.run(1.0)
        first = self.read(self.node, self.key)
        assert isinstance(first, Found)
        self.assertIs(first, self.read(self.node, self.key))
        self.assertIs(first, self.read(self.node, self.key, first.token))
        self.cluster.put(self.node, self.key, "2")
        self.cluster.run(1.0)
        second = self.read(self.node, self.key)
        assert isinstance(second, Found)
        self.assertEqual(b"2", second.value)

    def test_token_grows_where_reports_say_less(self) -> None:
        """While a node that was started again has not reported, its writes and all others are in tokens again."""
        self.cluster.run(1.0)
        settled = self.read(self.node, self.key)
        assert isinstance(settled, Found)
        self.assertEqual({}, settled.token.dependencies)
        reader = self.cluster.sites[self.node].replica
        reader.state.liveness.peers[self.peer].report(None)
        reader.stability.refresh()
        again = self.read(self.node, self.key)
        assert isinstance(again, Found)
        self.assertEqual({"s0"}, set(again.token.dependencies))

    def test_outlook(self) -> None:
        """It is the same object while nothing changes: not after a write, other reports, or when the node may not serve."""
        self.cluster.run(3.0)
        site = self.cluster.sites[self.node].replica
        outlook, last = site.serving.reader.outlook, site.serving.reader.outlook()
        for _ in range(5):  # heartbeats that say what was said before, messages that arrived, time
            self.cluster.run(0.1)
            self.assertEqual(last[0], outlook()[0])
            self.assertEqual(last[2:], outlook()[2:])
        last = outlook()
        self.assertIs(last, outlook())
        self.cluster.put(self.peer, self.key, "2")
        self.assertNotEqual(last, outlook())
        last = outlook()
        site.state.fenced = "why"
        self.assertNotEqual(last, outlook())

    def test_heartbeat_that_says_the_same(self) -> None:
        """Heartbeats change the outlook only where they say something else than the last one."""
        self.cluster.run(3.0)
        site = self.cluster.sites[self.node]
        now = self.cluster.now(site)
        beat = self.cluster.sites[self.peer].replica.heartbeats.message(now)
        sender = self.cluster.sender(self.cluster.sites[self.peer])
        site.replica.receive(sender, [beat], now)
        last = site.replica.serving.reader.outlook()
        site.replica.receive(sender, [beat], now)
        self.assertIs(last, site.replica.serving.reader.outlook())
        for other in (replace(beat, vectors={}), replace(beat, epoch=9)):
            site.replica.receive(sender, [other], now)
            before, last = last, site.replica.serving.reader.outlook()
            self.assertIsNot(before, last)

    def test_other_shard(self) -> None:
        """A key of another shard takes another node."""
        self.assertIsNone(self.read(self.node, self.other_key))

    def test_unmet(self) -> None:
        """What has to be waited for is not there at once, and not even noted."""
        self.cluster.cut = lambda sender, receiver, message: isinstance(message, Push | Heartbeat)
        token = self.cluster.put(self.node, self.key, "2")
        self.assertIsNone(self.read(self.peer, self.key, token))
        role = self.cluster.sites[self.peer].replica.state.roles["s0"]
        self.assertIsNone(role.asked.oldest(role.vector))
        self.assertIsNone(self.read(self.peer, self.key, Token(epoch=9)))

    def test_no_place(self) -> None:
        """A node that may not serve says nothing at once."""
        self.cluster.run(1.0)
        state = self.cluster.sites[self.node].replica.state
        for place in ("fenced", "contested"):
            setattr(state, place, "why")
            self.assertIsNone(self.read(self.node, self.key))
            setattr(state, place, "")
        state.restored = state.now.monotonic
        state.liveness.peers[self.peer].instance = b""
        self.assertIsNone(self.read(self.node, self.key))
