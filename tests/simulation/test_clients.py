"""Simulated clients: they follow their scripts, carry tokens, give up, try again, and write down what they saw."""

from twisted.trial.unittest import SynchronousTestCase

from kvsd.simulate.clients import MAX_TOKENS, RETRY_SECONDS, WATCH_SECONDS
from kvsd.simulate.plan import Step
from tests.simulation.small_cluster import SmallCluster

READ, WRITE = "read", "write"


class ClientTests(SynchronousTestCase):
    """Clients of a cluster of three nodes."""

    def setUp(self) -> None:
        self.small = SmallCluster()
        self.machines = self.small.machines
        self.history = self.small.scribe.history

    def down(self, number: int) -> None:
        """Keep a node down."""
        self.machines[number].kept_down = 1
        self.machines[number].crash()

    def up(self, number: int) -> None:
        """Let a node come back, and wait until it serves."""
        self.machines[number].mend()
        self.small.later(4)


class OperationTests(ClientTests):
    """What a client asks for and hears becomes the history."""

    def test_reads_and_writes(self) -> None:
        """Operations are written down with what they saw and when; a write that created a key saw that it was absent."""
        client = self.small.client(
            "c",
            Step(0.5, "put", 0, "a"),
            Step(0.5, "get", 0, "a"),
            Step(0.5, "delete", 0, "a"),
            Step(0.5, "get", 0, "a"),
        )
        self.small.later(4)
        self.assertEqual(
            [
                (WRITE, "a", "c.1.1", True),
                (READ, "a", None, True),
                (READ, "a", "c.1.1", True),
                (WRITE, "a", None, True),
                (READ, "a", None, True),
            ],
            self.small.seen("c"),
        )
        self.assertFalse(client.busy)
        self.assertTrue(all(op.answered and 0 < op.answered - op.asked < 0.1 for op in self.history))
        self.assertEqual(4, self.small.scribe.count())

    def test_concerns(self) -> None:
        """A write that is to be at all replicas is answered once it is, or else once its time is up: it is written."""
        client = self.small.client("c", Step(0.5, "put", 0, "a", w="all"), Step(0.0, "delete", 0, "a", w="majority"))
        self.small.later(1)
        self.down(2)
        self.assertFalse(client.busy)
        self.small.client("d", Step(0.0, "put", 0, "a", 1.0, w="all"), Step(0.0, "get", 1, "a"))
        self.small.later(3)
        self.assertEqual({"written": 2, "unconfirmed": 1, "found": 1}, dict(self.small.scribe.answers))
        self.assertEqual((WRITE, "a", "d.1.1", True), self.small.seen("d")[0])
        self.assertEqual((READ, "a", "d.1.1", True), self.small.seen("d")[-1])

    def test_steps_take_their_time(self) -> None:
        """A step comes so long after the one before it was done."""
        self.small.client("c", Step(0.5, "get", 0, "a"), Step(0.25, "get", 0, "a"))
        self.small.later(2)
        first, second = self.history
        self.assertEqual(2.5, first.asked)
        self.assertAlmostEqual(0.25, second.asked - (first.answered or 0.0))

    def test_deleting_what_is_not_there(self) -> None:
        """A deletion that finds nothing has seen that; whether an earlier try of it did something is left open."""
        self.small.client("c", Step(0.0, "delete", 0, "a"))
        self.small.later(1)
        self.assertEqual([(WRITE, "a", None, False), (READ, "a", None, True)], self.small.seen("c"))

    def test_tokens_go_from_reply_to_request(self) -> None:
        """Every request carries the token of the answer before it."""
        self.small.client("c", *[Step(0.1, "put", number, "a") for number in range(3)])
        self.small.later(2)
        written = [operation for operation in self.history if operation.kind == WRITE]
        before = [operation.number for operation in written]
        self.assertEqual([(), (before[0],), (before[1],)], [operation.after for operation in written])

    def test_known(self) -> None:
        """What a client knows without a token comes before all it does."""
        client = self.small.client("c", Step(0.1, "get", 0, "a"))
        client.known = (7,)
        self.small.later(1)
        self.assertEqual((7,), self.history[0].after)

    def test_wrong(self) -> None:
        """A client that is told that its request is wrong says so: none should be."""
        client = self.small.client("c", Step(0.1, "get", 0, "a"))
        client.carried = {0: "nonsense"}
        self.small.later(1)
        self.assertEqual(1, len(self.small.scribe.wrong))
        self.assertEqual([], self.history)
        self.assertFalse(client.busy)


class FailureTests(ClientTests):
    """What becomes of a client whose node does not answer."""

    def test_nobody_listens(self) -> None:
        """A client that is refused has tried in vain; a read that came to nothing is no operation."""
        self.down(0)
        client = self.small.client("c", Step(0.1, "get", 0, "a"), Step(0.1, "put", 0, "b"))
        self.small.later(1)
        self.assertEqual(
            ["c.1 (get a) failed: nobody listens there", "c.2 (put b) failed: nobody listens there"], client.failures
        )
        self.assertEqual([(WRITE, "b", "c.2.1", False)], self.small.seen("c"))
        self.assertEqual(0, self.small.scribe.count())

    def test_broken_connection(self) -> None:
        """A client whose node ends meanwhile does not know what became of its write."""
        self.machines[0].disk.health.stuck = True
        client = self.small.client("c", Step(0.0, "put", 0, "a"))
        self.small.later(0.1)
        self.machines[0].crash()
        self.small.later(0.1)
        self.assertEqual(["c.1 (put a) failed: the connection broke"], client.failures)
        self.assertEqual([(WRITE, "a", "c.1.1", False)], self.small.seen("c"))

    def test_patience(self) -> None:
        """A client hangs up once its patience has ended, hears nothing more of it, and goes on."""
        self.machines[0].disk.health.stuck = True
        client = self.small.client("c", Step(0.0, "put", 0, "a", patience=0.5), Step(0.0, "get", 1, "b"))
        self.small.later(0.4)
        self.assertEqual([], client.failures)
        self.small.later(0.2)
        self.assertEqual(["c.1 (put a) failed: no answer within 0.5 s"], client.failures)
        self.machines[0].mend()
        self.small.later(2)
        self.assertEqual([(WRITE, "a", "c.1.1", False), (READ, "b", None, True)], self.small.seen("c"))

    def test_finish(self) -> None:
        """A client that is to finish begins nothing new; what it has begun it ends."""
        idle = self.small.client("idle", Step(5.0, "get", 0, "a"))
        self.machines[0].disk.health.sync = 0.5
        busy = self.small.client("busy", Step(0.0, "put", 0, "a"), Step(0.0, "put", 0, "b"))
        self.small.later(0.1)
        idle.finish()
        busy.finish()
        self.assertEqual((False, True), (idle.busy, busy.busy))
        self.small.later(20)
        self.assertFalse(busy.busy)
        self.assertEqual([], self.small.seen("idle"))
        self.assertEqual({"a"}, {key for _, key, _, _ in self.small.seen("busy")})


class RetryTests(ClientTests):
    """Clients try again."""

    def test_named(self) -> None:
        """Tries of a write with an id are one write, with one value, that is carried out once."""
        self.machines[0].mute = 1.0
        self.small.client("c", Step(0.0, "put", 0, "a", patience=0.3, tries=4, named=True))
        self.small.later(0.4)
        self.machines[0].mute = 0.0
        self.small.later(2)
        self.assertEqual([(WRITE, "a", "c.1.1", True), (READ, "a", None, True)], self.small.seen("c"))
        self.assertEqual({"c.1": 0}, self.small.scribe.by_request)
        self.assertEqual({"c.1": 1}, {name: len(stamps) for name, stamps in self.small.cluster.rows.by_request.items()})

    def test_unnamed(self) -> None:
        """Every try of a write without an id is a write of its own, with another value."""
        self.machines[0].mute = 1.0
        self.small.client("c", Step(0.0, "put", 0, "a", patience=0.3, tries=2))
        self.small.later(0.4)
        self.machines[0].mute = 0.0
        self.small.later(2)
        self.assertEqual([(WRITE, "a", "c.1.1", False), (WRITE, "a", "c.1.2", True)], self.small.seen("c"))
        self.assertEqual({"c.1.1", "c.1.2"}, set(self.small.cluster.rows.by_value))

    def test_reads(self) -> None:
        """A read is tried again, too."""
        self.down(0)
        self.small.client("c", Step(0.0, "get", 0, "a", tries=2))
        self.small.later(RETRY_SECONDS / 2)
        self.machines[0].kept_down = 0
        self.machines[0].start()
        self.small.later(2)
        self.assertEqual([(READ, "a", None, True)], self.small.seen("c"))

    def test_other_nodes(self) -> None:
        """After two tries in vain a client asks the other nodes, one after another."""
        self.down(0)
        self.small.client("c", Step(0.0, "get", 0, "a", tries=3))
        self.small.later(RETRY_SECONDS * 1.5)
        self.assertEqual([], self.small.seen("c"))
        self.small.later(RETRY_SECONDS)
        self.assertEqual([(READ, "a", None, True)], self.small.seen("c"))

    def test_in_vain(self) -> None:
        """After all its tries a client gives up; the last reason is known."""
        for number in range(3):
            self.down(number)
        client = self.small.client("c", Step(0.0, "put", 0, "a", tries=5))
        self.small.later(5)
        self.assertEqual(["c.1 (put a) failed: nobody listens there"], client.failures)
        self.assertEqual(5, len(self.history))
        self.assertFalse(client.busy)


class TakeTests(ClientTests):
    """Clients give each other their tokens."""

    def setUp(self) -> None:
        super().setUp()
        self.anna = self.small.client("anna", Step(0.0, "put", 0, "a"))
        self.small.later(1)

    def take(self, instead: bool) -> tuple[int, ...]:
        """Bert writes, takes Anna's token and reads: what that comes after."""
        steps = [Step(0.0, "put", 1, "b"), Step(0.0, "take", other=1, instead=instead), Step(0.0, "get", 2, "a")]
        bert = self.small.client("bert", *steps)
        bert.others = [bert, self.anna]
        self.small.later(2)
        read = self.history[-1]
        self.assertEqual(("bert", "anna.1.1"), (read.client, read.value))
        return read.after

    def written(self, client: str) -> int:
        """The number of a client's write."""
        return next(op.number for op in self.history if (op.client, op.kind) == (client, WRITE))

    def test_beside(self) -> None:
        """A client may carry the token of another beside its own."""
        after = self.take(instead=False)
        self.assertEqual((self.written("anna"), self.written("bert")), after)

    def test_instead(self) -> None:
        """A client may go on with the token of another alone."""
        after = self.take(instead=True)
        self.assertEqual((self.written("anna"),), after)

    def test_not_too_many(self) -> None:
        """A client that takes token after token keeps the latest ones."""
        others = [self.small.client(f"other{number}", Step(0.1 * number, "put", 0, "a")) for number in range(6)]
        self.small.later(2)
        taker = self.small.client("taker", *[Step(0.0, "take", other=number) for number in range(6)])
        taker.others = others
        self.small.later(1)
        latest = sorted(number for other in others for number in other.carried)
        self.assertEqual(latest[-MAX_TOKENS:], sorted(taker.carried))
        self.assertFalse(taker.busy)

    def test_of_nobody(self) -> None:
        """Whoever takes the token of a client that has none carries none."""
        nobody = self.small.client("nobody")
        taker = self.small.client("taker", Step(0.0, "put", 0, "b"), Step(0.0, "take", other=0, instead=True))
        taker.others = [nobody]
        self.small.later(1)
        self.assertEqual({}, taker.carried)


class WatchTests(ClientTests):
    """Clients that wait for a value to change."""

    def test_watch(self) -> None:
        """A watcher reads until it sees something new, each time with the token of the last answer."""
        self.small.client("writer", Step(1.0, "put", 0, "a"))
        watcher = self.small.client("watcher", Step(0.0, "watch", 1, "a", tries=30))
        self.small.later(3)
        self.assertFalse(watcher.busy)
        reads = [operation for operation in self.history if operation.client == "watcher"]
        self.assertEqual("writer.1.1", reads[-1].value)
        self.assertTrue(all(read.value is None for read in reads[:-1]))
        self.assertEqual([(), *((read.number,) for read in reads[:-1])], [read.after for read in reads])
        self.assertTrue(1.0 / WATCH_SECONDS - 1 < len(reads) < 1.0 / WATCH_SECONDS + 3)

    def test_watch_what_was_seen(self) -> None:
        """What a watcher saw last is nothing new to it."""
        self.small.client("writer", Step(0.0, "put", 0, "a"), Step(1.0, "put", 0, "a"))
        self.small.client("watcher", Step(0.5, "get", 0, "a"), Step(0.0, "watch", 0, "a", tries=9))
        self.small.later(4)
        values = [value for _, _, value, _ in self.small.seen("watcher")]
        self.assertEqual({"writer.1.1", "writer.2.1"}, set(values))
        self.assertEqual("writer.2.1", values[-1])
        self.assertEqual(1, values.count("writer.2.1"))

    def test_watch_in_vain(self) -> None:
        """A watcher that sees nothing new gives up after its tries."""
        watcher = self.small.client("watcher", Step(0.0, "watch", 0, "a", tries=3))
        self.small.later(3)
        self.assertEqual(3, len(self.history))
        self.assertEqual(["watcher.1 (watch a) failed: nothing new"], watcher.failures)
