"""Reads that can be answered at once, and those that can't."""

from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication.basis import Basis
from kvsd.replication.lasting import MAX_VALUE_BYTES
from kvsd.replication.messages import Heartbeat, Push
from kvsd.replication.requests import Absent, Found, Get, Outcome, Unmet
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
        site.replica.serving.reader.look()  # as after the event that led to what a test has made
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
        """It is the same while writes come and become stable, and another one where the node may not serve."""
        self.cluster.run(3.0)
        site = self.cluster.sites[self.node].replica
        reader, last = site.serving.reader, site.serving.reader.outlook
        for number in range(5):
            self.cluster.put(self.peer, self.key, str(number))
            self.assertEqual(last, reader.outlook)
            self.cluster.run(1.0)
            self.assertEqual(last, reader.outlook)
        site.state.fenced = "why"
        reader.look()
        self.assertNotEqual(last, reader.outlook)

    def test_reports_that_say_less(self) -> None:
        """Another outlook follows from a report by which something is not stable any more, and from no other."""
        self.cluster.run(3.0)
        site = self.cluster.sites[self.node]
        self.read(self.node, self.key)
        now = self.cluster.now(site)
        beat = self.cluster.sites[self.peer].replica.heartbeats.message(now)
        sender = self.cluster.sender(self.cluster.sites[self.peer])
        outlooks = []
        for said in (beat, beat, replace(beat, vectors={}), replace(beat, vectors={}), beat, replace(beat, epoch=9)):
            site.replica.receive(sender, [said], now)
            outlooks.append(site.replica.serving.reader.outlook - site.replica.state.identity.boot * 2**32)
        first = outlooks[0]
        self.assertEqual([first, first, first + 1, first + 1, first + 1, first + 2], outlooks)

    def test_what_lasts(self) -> None:
        """What is told to others has a basis once its token names nothing, and that says when it was told."""
        replica = self.cluster.sites[self.node].replica
        young = self.read(self.node, self.key)
        assert young is not None
        self.assertIs(young, replica.serving.reader.lasting(young))
        self.cluster.run(1.0)
        for key in (self.key, self.cluster.key_of("s0", "absent")):
            settled = replica.serving.reader.lasting(self.read(self.node, key) or young)
            assert isinstance(settled, Found | Absent)
            basis = Basis(self.node, replica.serving.reader.outlook, replica.state.key_changes.count)
            self.assertEqual(basis, settled.basis)
        unmet = Unmet("s0", [])
        self.assertIs(unmet, replica.serving.reader.lasting(unmet))

    def test_told_again(self) -> None:
        """What lasts is told again without a look at the row, whatever the reader has seen; until the key changes."""
        self.cluster.run(1.0)
        state = self.cluster.sites[self.node].replica.state
        first = self.read(self.node, self.key)
        assert isinstance(first, Found)
        self.patch(state.roles["s0"].store, "get", None)  # nothing looks
        later = Token(first.token.epoch, first.token.hlc + 1)
        state.clock.witness(later.hlc)
        for token in (EMPTY, Token(0, 1), first.token):
            self.assertIs(first, self.read(self.node, self.key, token))
        self.assertEqual(replace(first, token=later), self.read(self.node, self.key, later))
        for token in (Token(first.token.epoch, state.clock.latest + 1), self.written):
            self.assertRaises(TypeError, self.read, self.node, self.key, token)
        self.assertIsNone(self.read(self.node, self.key, Token(first.token.epoch + 1)))
        state.key_changes.note("other")
        self.assertIs(first, self.read(self.node, self.key))
        state.key_changes.note(self.key)
        self.assertRaises(TypeError, self.read, self.node, self.key)

    def test_what_is_told_again(self) -> None:
        """Only what is durable, of ordinary size, and was told to one who had seen nothing later."""
        self.cluster.run(1.0)
        state = self.cluster.sites[self.node].replica.state
        for key, value, token in (
            (self.cluster.key_of("s0", "large"), '"%s"' % ("x" * MAX_VALUE_BYTES), EMPTY),
            (self.cluster.key_of("s0", "later"), "1", Token(1, state.clock.latest + 2**30)),
        ):
            self.cluster.put(self.node, key, value)
            self.cluster.run(1.0)
            state.clock.witness(token.hlc)
            self.assertIsInstance(self.read(self.node, key, token), Found)
            with self.subTest(key):
                get, state.roles["s0"].store.get = state.roles["s0"].store.get, None  # type: ignore[assignment]
                self.assertRaises(TypeError, self.read, self.node, key, token)
                state.roles["s0"].store.get = get

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
