"""The copy by which a learner comes to what a shard has: page by page, aside, and taken over as a whole."""

from twisted.trial.unittest import SynchronousTestCase

from kvsd.entries import saved
from kvsd.replication.hlc import HybridClock
from kvsd.replication.messages import Message, Pull, PullRows, Push
from kvsd.replication.requests import AbortReshard, AddMember, Changed, Found, RemoveNode, Reshard
from kvsd.replication.role import Role
from kvsd.replication.token import Token
from tests.pure import ADDRESSES, PureCluster, Site, with_limits
from tests.unit.test_membership import NEW, newcomer

FIRST, SECOND, THIRD, FOURTH = ADDRESSES[:4]
SHORT_LOG = with_limits(page_rows=8, log_bytes=1, upkeep_seconds=0.2, sweep_rows=5)


class CopyTests(SynchronousTestCase):
    """Four nodes with two shards whose logs are short, and a fifth node that is to learn the first one."""

    def setUp(self) -> None:
        self.cluster = cluster = PureCluster(4, 2, SHORT_LOG).founded()
        state = cluster.sites[FIRST].replica.state
        self.keys = [key for key in (f"key{n}" for n in range(90)) if state.shard_of(key)[1] == "s0"]
        self.tokens: dict[str, Token] = {key: cluster.put(FIRST, key, "1") for key in self.keys}
        newcomer(cluster)
        cluster.run(2.0)
        self.pages = 0

    @property
    def site(self) -> Site:
        """The fifth node."""
        return self.cluster.sites[NEW]

    @property
    def role(self) -> Role:
        """What it is learning."""
        return self.site.replica.state.roles["s0"]

    def learn(self, pages: int, seconds: float = 1.0) -> None:
        """Have it learn, and lose what comes after so many pages."""
        self.lose_after(pages)
        self.cluster.submit(FIRST, AddMember("s0", NEW))
        self.cluster.run(seconds)

    def lose_after(self, pages: int) -> None:
        """Lose all pages after so many."""
        self.pages = 0

        def cut(sender: str, receiver: str, message: Message) -> bool:
            self.pages += isinstance(message, PullRows)
            return isinstance(message, PullRows) and self.pages > pages

        self.cluster.cut = cut

    def rows_on_disk(self) -> int:
        """How many rows its disk has, wherever."""
        return sum(table == "rows" for table, _ in self.site.disk)

    def assert_learned(self) -> None:
        """It is a member with all that the others have, and nothing else is on its disk."""
        there = self.cluster.sites[FIRST].replica.state.roles["s0"]
        self.assertIn(NEW, self.cluster.sites[FIRST].replica.state.members("s0"))
        self.assertEqual({row.record.key: row for row in there.store}, {row.record.key: row for row in self.role.store})
        self.assertEqual((there.vector, []), (self.role.vector, self.site.replica.state.dissolving))
        meta, ops = (
            [(key, value) for (table, key), value in sorted(self.site.disk.items()) if table == name]
            for name in ("meta", "ops")
        )
        roles = saved(meta, ops)[1].roles
        self.assertEqual([self.role.writer], list(roles))
        self.assertEqual(len(self.role.store), sum(count.rows for count in roles[self.role.writer].counts.values()))
        self.assertEqual(len(self.role.store), self.rows_on_disk())

    def test_page_by_page(self) -> None:
        """Every page is on disk before the next one is asked for; the last one makes it a replica."""
        self.site.notes.clear()
        self.learn(100, 5.0)
        self.assertGreater(self.pages, 4)
        self.assert_learned()
        self.assertEqual(["copy-taken-over"], [n.event for n in self.site.notes if n.event.startswith("copy")])

    def test_nothing_is_seen_before_the_last_page(self) -> None:
        """Rows are on disk, but the replica has nothing, reports nothing and gives nothing, and is not the place of them."""
        self.learn(3)
        self.assertEqual(
            (24, 0, {}, {}), (self.rows_on_disk(), len(self.role.store), self.role.vector, self.role.durable)
        )
        self.assertFalse(any(name == b"r" + self.role.writer for _, name in self.site.disk))
        heard = self.cluster.sites[FIRST].replica.state.liveness.peers[NEW]
        self.assertEqual(({"s0": {}}, {"s0"}), (heard.vectors, set(heard.partial)))

    def test_disk_that_is_slow(self) -> None:
        """While a page is on its way to the disk no other one is asked for."""

        def cut(sender: str, receiver: str, message: Message) -> bool:
            self.pages += isinstance(message, PullRows)
            self.site.holding = self.site.holding or isinstance(message, PullRows)
            return False

        self.cluster.cut = cut
        self.cluster.submit(FIRST, AddMember("s0", NEW))
        self.cluster.run(1.2)
        self.assertEqual((1, 0), (self.pages, self.rows_on_disk()))
        self.cluster.heal()
        self.site.holding = False
        self.cluster.run(5.0)
        self.assert_learned()

    def test_begun_anew_at_another_donor(self) -> None:
        """What came of a donor that fell silent is forgotten, little by little, and the copy of the other one is whole."""
        self.learn(3)
        peer = next(pulling.peer for pulling in self.site.replica.antientropy._pulling.values())
        self.cluster.crash(peer)
        self.lose_after(1)
        self.cluster.run(2.0)
        self.assertEqual(8, self.rows_on_disk(), "three pages are gone, one of another donor is there")
        self.cluster.heal()
        self.cluster.restart(peer)
        self.cluster.run(10.0)
        self.assert_learned()

    def test_crash_in_the_middle(self) -> None:
        """After a start the rows of half a copy are nobody's, and are forgotten; the learner begins anew."""
        self.learn(3)
        self.cluster.crash(NEW)
        self.cluster.run(2.0)
        self.cluster.restart(NEW)
        self.assertEqual((0, {}), (len(self.role.store), self.role.vector))
        self.assertEqual(24, sum(len(role.store) for role in self.site.replica.state.dissolving))
        self.cluster.heal()
        self.cluster.run(8.0)
        self.assert_learned()

    def test_crash_after_the_last_page(self) -> None:
        """The replica has the rows in their new place after a start, too, and the next copy takes another place."""
        self.learn(100, 5.0)
        before = {row.record.key: row for row in self.role.store}
        self.cluster.crash(NEW)
        self.cluster.restart(NEW)
        self.assertNotEqual(self.role.place, self.role.writer)
        self.assertEqual(before, {row.record.key: row for row in self.role.store})
        self.cluster.run(3.0)
        self.assert_learned()

    def test_removed_in_the_middle(self) -> None:
        """With the place of the learner its copy is forgotten."""
        self.learn(3)
        ticket = self.cluster.submit(FIRST, RemoveNode(NEW))
        self.cluster.run(5.0)
        self.assertEqual(Changed(), self.cluster.sites[FIRST].outcomes[ticket])
        self.assertEqual(({}, []), (self.site.replica.state.roles, self.site.replica.state.dissolving))
        self.assertEqual(0, self.rows_on_disk())
        self.assertEqual(set(), {key for table, key in self.site.disk if key.startswith(b"role/")})

    def test_reshard_in_the_middle(self) -> None:
        """A reshard that is begun and aborted changes nothing for a copy on its way."""
        self.learn(3)
        self.cluster.submit(FIRST, Reshard(1))
        self.cluster.run(0.5)
        self.cluster.submit(FIRST, AbortReshard())
        self.cluster.run(1.0)
        self.cluster.heal()
        self.cluster.run(10.0)
        self.assert_learned()

    def test_full_disk(self) -> None:
        """A learner whose disk is full goes on with no copy, and begins anew once there is room."""
        self.learn(3)
        self.cluster.heal()
        self.site.replica.storage_full(True)
        self.cluster.run(5.0)
        self.assertEqual((0, None), (len(self.role.store), self.role.copy))
        self.site.replica.storage_full(False)
        self.cluster.run(8.0)
        self.assert_learned()

    def test_writes_wait_for_the_copy(self) -> None:
        """An op that a learner could apply while a copy is on its way waits for it, as the copy may not have it."""
        self.learn(3)
        writer = self.role.writer
        [second] = [role for role in [self.cluster.sites[THIRD].replica.state.roles["s0"]] if role.writer != writer]
        self.assertNotIn(second.writer, second.vector, "it has not written so far")
        token = self.cluster.put(THIRD, self.keys[0], "2")
        self.cluster.run(0.5)
        self.assertEqual(({}, 1), (self.role.vector, self.role.holdback.count))
        self.cluster.heal()
        self.cluster.run(8.0)
        self.assert_learned()
        found = self.cluster.get(NEW, self.keys[0], token)
        assert isinstance(found, Found)
        self.assertEqual((b"2", 0), (found.value, self.role.holdback.count))

    def test_learner_that_has_something(self) -> None:
        """Where logs don't reach back to what a learner has, it asks for a copy of all, and has no less than before."""
        self.cluster.cut = lambda sender, receiver, message: isinstance(message, Pull) and sender == NEW
        self.cluster.submit(FIRST, AddMember("s0", NEW))
        self.cluster.run(0.5)
        self.cluster.put(THIRD, self.keys[0], "2")
        self.assertEqual([1], list(self.role.vector.values()))
        self.cluster.sent.clear()
        self.cluster.heal()
        self.cluster.run(5.0)
        asked = [m for a, _, m in self.cluster.sent if a == NEW and isinstance(m, Pull)]
        self.assertEqual([True, False], [bool(pull.vector) for pull in asked[:2]])
        self.assertEqual({False}, {bool(pull.vector) for pull in asked[1:] if pull.cursor})
        self.assert_learned()

    def test_copy_that_lacks_what_is_here(self) -> None:
        """A copy of a donor that lacks what the learner has is not taken over."""
        self.cluster.cut = lambda sender, receiver, message: (
            (isinstance(message, Pull) and sender == NEW) or (isinstance(message, Push) and receiver == FIRST)
        )
        self.cluster.submit(FIRST, AddMember("s0", NEW))
        self.cluster.run(0.5)
        self.cluster.put(THIRD, self.keys[0], "2")
        had = dict(self.role.vector)
        message = PullRows(1, "s0", 1, 0, [], 0, {}, [])
        antientropy = self.site.replica.antientropy
        antientropy._ask(self.role, FIRST, {}, self.cluster.time)
        [pulling] = antientropy._pulling.values()
        page = PullRows(pulling.id, *[getattr(message, name) for name in message.__struct_fields__[1:]])
        self.assertIsNone(antientropy.pulled_rows(FIRST, page, self.cluster.time))
        self.assertEqual((had, 1, None), (self.role.vector, len(self.role.store), self.role.copy))
        self.cluster.heal()
        self.cluster.run(8.0)
        self.assert_learned()


class ExchangeTests(SynchronousTestCase):
    """A role and a copy."""

    def test_names_of_places(self) -> None:
        """Rows are kept under the name of their place, all else under that of the replica."""
        role = Role("s0", b"myself", HybridClock(), with_limits(), b"place1")
        copy = Role("", b"place2", HybridClock(), with_limits())
        places = [change.place for change in role.exchange(copy, 1)]  # type: ignore[union-attr]
        self.assertEqual(([b"place1"], b"place2", b"place1"), (places, role.place, copy.place))
        self.assertEqual(b"place2", next(iter(role.changes(2))).place)  # type: ignore[union-attr]
