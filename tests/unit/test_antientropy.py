"""Anti-entropy: what was missed is fetched, as ops or as a copy of rows, and never in parts."""

from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication.hlc import HybridClock
from kvsd.replication.messages import Forward, Message, Pull, PullOps, PullRows, Push
from kvsd.replication.requests import Found, Get, Put, Unmet
from kvsd.replication.role import Role
from kvsd.replication.token import EMPTY
from tests.builders import A, make_op, make_row
from tests.pure import PureCluster, with_limits


class AntiEntropyTests(SynchronousTestCase):
    """Replicas of one shard, some of which miss what others write."""

    def setUp(self) -> None:
        """Found a cluster of one shard with three members, whose log is short and whose pages are small."""
        self.cluster = PureCluster(3, 1, with_limits(page_bytes=1000)).founded()
        self.node, self.peer, self.third = self.cluster.members("s0")

    def role(self, address: str) -> Role:
        """The role of a node."""
        return self.cluster.sites[address].replica.state.roles["s0"]

    def rows(self, address: str) -> dict[str, bytes | None]:
        """What a node holds."""
        return {row.record.key: row.record.value for row in self.role(address).store}

    def sent(self, kind: type[Message]) -> int:
        """How many messages of a kind were sent."""
        return sum(isinstance(message, kind) for _, _, message in self.cluster.sent)

    def fill(self, count: int, address: str = "") -> None:
        """Write some keys, all at one node."""
        for number in range(count):
            self.cluster.put(address or self.node, f"key{number}", str(number))

    def test_lost_pushes_are_pulled(self) -> None:
        """What got lost on the way is fetched as ops, within a second."""
        self.cluster.cut = lambda sender, receiver, message: isinstance(message, Push)
        self.fill(30)
        self.assertEqual({}, self.rows(self.peer))
        self.cluster.run(1.0)
        self.assertEqual(self.rows(self.node), self.rows(self.peer))
        self.assertEqual(0, self.sent(PullRows))

    def test_long_absence_is_made_up_for_by_a_copy(self) -> None:
        """Where the log no longer reaches back, rows are copied page by page and taken over at once."""
        self.short_log()
        self.cluster.isolate(self.peer)
        self.cluster.run(1.5)
        self.fill(50)
        self.cluster.put(self.node, "key7", None)
        self.cluster.run(3.0)
        self.cluster.heal()
        self.cluster.run(4.0)
        self.assertEqual(self.rows(self.node), self.rows(self.peer))
        self.assertEqual(self.role(self.node).vector, self.role(self.peer).vector)
        self.assertGreater(self.sent(PullRows), 3)

    def test_copy_brings_the_requests_along(self) -> None:
        """A replica that caught up by a copy recognises a request whose write was overwritten since."""
        self.short_log()
        self.cluster.isolate(self.peer)
        self.cluster.run(1.5)
        self.cluster.ask(self.node, Put("key", b"1", EMPTY, request="r1"))
        self.cluster.put(self.node, "key", "2")
        self.fill(30)
        self.cluster.run(3.0)
        self.cluster.heal()
        self.cluster.run(4.0)
        self.assertGreater(self.sent(PullRows), 1)
        self.cluster.ask(self.peer, Put("key", b"1", EMPTY, request="r1"))
        self.assertEqual(b"2", self.rows(self.peer)["key"])

    def short_log(self) -> None:
        """Have every node keep almost no log."""
        for site in self.cluster.live():
            site.replica.state.limits = with_limits(page_bytes=1000, log_bytes=500)

    def test_part_of_a_copy_is_never_seen(self) -> None:
        """Until the last page is there, nothing of a copy can be read and no report claims it."""
        self.short_log()
        self.cluster.isolate(self.peer)
        self.cluster.run(1.5)
        self.fill(50)
        self.cluster.run(3.0)
        pages: list[Message] = []

        def cut(sender: str, receiver: str, message: Message) -> bool:
            if isinstance(message, PullRows):
                pages.append(message)
            return isinstance(message, PullRows) and message.cursor == 0

        self.cluster.cut = cut
        self.cluster.run(4.0)
        self.assertGreater(len(pages), 3)
        self.assertEqual({}, self.rows(self.peer))
        self.assertEqual({}, self.role(self.peer).vector)

    def test_last_page_of_an_earlier_copy_is_not_taken_for_a_whole_one(self) -> None:
        """A page that arrives again, later, does not end another copy early."""
        self.short_log()
        self.cluster.isolate(self.peer)
        self.cluster.run(1.5)
        self.fill(50)
        self.cluster.run(3.0)
        pages: list[tuple[str, PullRows]] = []

        def cut(sender: str, receiver: str, message: Message) -> bool:
            if isinstance(message, PullRows):
                pages.append((sender, message))
            return isinstance(message, PullRows) and message.cursor == 0

        self.cluster.cut = cut
        self.cluster.run(2.5)
        donor, last = next((sender, page) for sender, page in pages if page.cursor == 0)
        self.cluster.cut = lambda sender, receiver, message: isinstance(message, PullRows)
        self.cluster.run(4.0)
        site = self.cluster.sites[self.peer]
        sender = self.cluster.sender(self.cluster.sites[donor])
        self.cluster.perform(site, site.replica.receive(sender, [last], self.cluster.now(site)))
        self.assertEqual({}, self.role(self.peer).vector)

    def test_copy_brings_nothing_back_that_was_deleted_meanwhile(self) -> None:
        """A row that came by broadcast too, and was deleted and collected before the copy is taken over, stays away."""
        role = Role("s0", b"myself", HybridClock(), with_limits())
        for op in (make_op(A, 1), make_op(A, 2, value=None)):
            list(role.apply(op, 1))
        tombstone = role.store.get(0, "key")
        assert tombstone is not None
        role.collect(tombstone, 1)
        list(role.absorb([make_row("key", b"1", 1, (A, 1))], PullRows(1, "s0", 1, 0, [], 0, {A: 2}, []), 2))
        self.assertIsNone(role.store.get(0, "key"))

    def test_writes_go_on_during_a_copy(self) -> None:
        """Keys that are written while pages are under way arrive in their newest version."""
        self.short_log()
        self.cluster.isolate(self.peer)
        self.cluster.run(1.5)
        self.fill(50)
        self.cluster.run(3.0)
        written = iter(range(1000, 2000))

        def cut(sender: str, receiver: str, message: Message) -> bool:
            if isinstance(message, PullRows) and message.cursor:
                self.cluster.put(sender, "key3", str(next(written)))
            return isinstance(message, Push) and receiver == self.peer

        self.cluster.cut = cut
        self.cluster.run(5.0)
        self.assertEqual(self.rows(self.node), self.rows(self.peer))

    def test_copy_survives_neither_end_of_the_donor_nor_of_the_puller(self) -> None:
        """A copy that is cut off by a crash starts anew, from another donor if need be."""
        self.short_log()
        self.cluster.isolate(self.peer)
        self.cluster.run(1.5)
        self.fill(50)
        self.cluster.run(3.0)
        self.cluster.cut = lambda sender, receiver, message: isinstance(message, PullRows) and sender == self.node
        self.cluster.run(3.0)
        self.cluster.crash(self.node)
        self.cluster.run(6.0)
        self.assertEqual(self.rows(self.third), self.rows(self.peer))

    def test_reader_that_would_rather_wait_has_it_fetched_at_once(self) -> None:
        """A request that may wait gets what it depends on, even where the replica that has it takes no requests."""
        self.cluster.cut = lambda sender, receiver, message: isinstance(message, Push)
        token = self.cluster.put(self.node, "key", "1")
        self.cluster.cut = lambda sender, receiver, message: isinstance(message, Push | Forward)
        ticket = self.cluster.submit(self.peer, Get("key", token, wait=5.0))
        self.cluster.run(4.3)
        self.assertIsInstance(self.cluster.sites[self.peer].outcomes[ticket], Found)

    def test_full_disk_takes_in_nothing(self) -> None:
        """A replica whose disk is full takes in no ops; once there is room it catches up."""
        site = self.cluster.sites[self.peer]
        site.replica.storage_full(True)
        token = self.cluster.put(self.node, "key", "1")
        self.cluster.run(2.0)
        self.assertEqual({}, self.rows(self.peer))
        site.replica.storage_full(False)
        self.cluster.run(1.0)
        self.assertIsInstance(self.cluster.get(self.peer, "key", token), Found)

    def test_quiet_cluster_pulls_nothing(self) -> None:
        """Replicas that lack nothing ask for nothing."""
        self.fill(5)
        self.cluster.run(2.0)
        self.cluster.sent.clear()
        self.cluster.run(5.0)
        self.assertEqual(0, self.sent(Pull) + self.sent(PullOps))

    def test_dependency_that_never_was_is_not_fetched_for_ever(self) -> None:
        """A token that names a write beyond all that exist keeps no replica busy."""
        writer = self.role(self.node).writer
        bogus = EMPTY.merged(1, 0, {"s0": {writer: 5}})
        ticket = self.cluster.submit(self.peer, Get("key", bogus))
        self.cluster.run(0.2)
        self.assertIsInstance(self.cluster.sites[self.peer].outcomes[ticket], Unmet)
        self.cluster.sent.clear()
        self.cluster.run(3.0)
        self.assertEqual(0, self.sent(Pull))
