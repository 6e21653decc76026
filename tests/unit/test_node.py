"""The node: what a replica decides is done in order, and never before it is durable."""

from collections.abc import Callable, Iterable

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kvsd.node import NO_ROOM, Node
from kvsd.ports import StorageDamaged, StorageError, Transport
from kvsd.replication.configuration import founding_configuration
from kvsd.replication.effects import Effect, Now, Ticket
from kvsd.replication.replica import Replica
from kvsd.replication.requests import CountKeys, Found, Get, Outcome, Overloaded, Put, Request, Written
from kvsd.replication.saved import Saved
from kvsd.replication.state import Identity
from kvsd.replication.token import EMPTY
from kvsd.storage.memory_storage import MemoryStorage
from kvsd.wire import WireError

ANNA, BERT = "10.0.0.1:8090", "10.0.0.2:8090"


class Wire(Transport):
    """Hands every body to the node that it is for; ``bodies`` has who got one."""

    def __init__(self, nodes: dict[str, Node]) -> None:
        self._nodes = nodes
        self.bodies: list[str] = []

    def post(self, address: str, body: bytes) -> Deferred[bytes]:
        """Deliver at once."""
        self.bodies.append(address)
        return succeed(self._nodes[address].receive(body))

    def close(self) -> Deferred[None]:
        """There is nothing to close."""
        return succeed(None)


class Fragile(Replica):
    """A replica that can be told to break."""

    broken = False
    error: Exception = ValueError("a defect")

    def submit(self, asked: Iterable[tuple[int, Request]], now: Now) -> list[Effect]:
        """Raise, once broken."""
        if self.broken:
            raise self.error
        return super().submit(asked, now)


class NodeTests(SynchronousTestCase):
    """Two nodes of one shard; the commits of the first are run by the test."""

    def setUp(self) -> None:
        """Start the nodes and let them find each other, then hold the first one's disk."""
        self.clock = Clock()
        self.clock.advance(1000)
        self.commits: list[Callable[[], None]] = []
        self.holding = False
        self.crashes: list[str] = []
        self.halts: list[str] = []
        self.nodes: dict[str, Node] = {}
        self.wires = {address: Wire(self.nodes) for address in (ANNA, BERT)}
        self.replicas = {
            address: Fragile(Identity(address, address.encode()[:12] + b"0000", 1)) for address in self.wires
        }
        for address, storage in ((ANNA, MemoryStorage(soon=self.soon)), (BERT, MemoryStorage())):
            self.nodes[address] = Node(
                self.replicas[address],
                self.clock,
                lambda: int(self.clock.seconds() * 1000),
                storage,
                self.wires[address],
                b"secret",
                self.crashes.append,
                halt=self.halts.append,
            )
        configuration = founding_configuration([ANNA, BERT], 1)
        for address, node in self.nodes.items():
            node.start(self.replicas[address].start(Saved(), configuration, (), node.now()))
        self.clock.pump([0.05] * 40)
        self.node = self.nodes[ANNA]
        self.answer(self.node.ask(Put("old", b"0", EMPTY)))
        self.holding = True

    def soon(self, commit: Callable[[], None]) -> None:
        """Run a commit now, or keep it while the disk is held."""
        if self.holding:
            self.commits.append(commit)
        else:
            commit()

    def sync(self) -> None:
        """Run all commits, those that follow them too."""
        self.turn()
        while self.commits:
            self.commits.pop(0)()
            self.turn()

    def turn(self) -> None:
        """Let a turn of the reactor pass."""
        self.clock.advance(0)
        self.clock.advance(0)

    def answer(self, asked: Deferred[Outcome]) -> Outcome:
        """The answer to a request, a turn later."""
        self.turn()
        return self.successResultOf(asked)

    def at_bert(self) -> int:
        """How many keys the other node has."""
        return len(self.replicas[BERT].state.roles["s0"].store)

    def test_nothing_of_a_write_leaves_before_its_commit(self) -> None:
        """Neither the client nor a peer hears of a write before it is on disk."""
        asked = self.node.ask(Put("key", b"1", EMPTY))
        self.clock.pump([0.05] * 20)
        self.assertNoResult(asked)
        self.assertEqual(1, self.at_bert())
        self.sync()
        self.assertIsInstance(self.successResultOf(asked), Written)
        self.assertEqual(2, self.at_bert())

    def ask_much(self, key: str, size: int) -> tuple[list[Outcome], Callable[[], None]]:
        """Ask for a write that came with a body of some size; its outcomes, and what to call when its client leaves."""
        outcomes: list[Outcome] = []
        return outcomes, self.node.submit(Put(key, b"x" * size, EMPTY), outcomes.append, size)

    def test_large_bodies_are_counted_until_they_are_on_disk(self) -> None:
        """A request with a large body is counted until its answer; where its client leaves, until the disk has it."""
        _, leave = self.ask_much("a", 5000)
        told, _ = self.ask_much("b", 6000)
        self.ask_much("small", 100)
        self.assertEqual(self.node.budget.used_bytes, 11_000)
        self.turn()
        leave()
        self.assertEqual(self.node.budget.used_bytes, 11_000)
        self.sync()
        self.assertEqual(self.node.budget.used_bytes, 0)
        self.assertIsInstance(told[0], Written)

    def test_no_room_for_large_bodies(self) -> None:
        """What goes beyond the budget is refused at once, and leaves no trace; small requests go on."""
        self.node.budget.take_anyway(self.node.budget.client_bytes - 5000)
        told, _ = self.ask_much("a", 5001)
        self.assertEqual(told, [NO_ROOM])
        told, _ = self.ask_much("b", 5000)
        small, _ = self.ask_much("small", 100)
        self.sync()
        self.assertIsInstance(told[0], Written)
        self.assertIsInstance(small[0], Written)
        self.assertEqual(self.node.budget.used_bytes, self.node.budget.client_bytes - 5000)

    def test_large_bodies_of_a_turn_are_several_commits(self) -> None:
        """What is asked in a turn is carried out in its order, and no commit has more than some megabytes of it."""
        asked = [self.ask_much(f"key{number}", 3 << 20) for number in range(6)]
        self.turn()
        commits = 0
        while self.commits:
            self.commits.pop(0)()
            commits += 1
            self.turn()
        self.assertEqual([type(outcomes[0]) for outcomes, _ in asked], [Written] * 6)
        self.assertGreaterEqual(commits, 2)
        self.assertEqual(self.node.budget.used_bytes, 0)

    def test_large_messages_are_counted_until_they_are_on_disk(self) -> None:
        """What a peer sends is counted until this node's disk has what it brought."""
        bert = self.nodes[BERT]
        bert.submit(Put("key", b"x" * 9000, EMPTY), lambda _: None, 9000)
        self.clock.pump([0.01] * 5)
        self.assertGreater(self.node.budget.used_bytes, 9000)
        self.sync()
        self.assertEqual((self.node.budget.used_bytes, bert.budget.used_bytes), (0, 0))

    def test_reads_of_other_keys_are_answered_meanwhile(self) -> None:
        """A read of the key that is being written waits for the disk, a read of another does not."""
        self.node.ask(Put("key", b"1", EMPTY))
        waits, other = self.node.ask(Get("key", EMPTY)), self.node.ask(Get("old", EMPTY))
        self.assertIsInstance(self.answer(other), Found)
        self.assertNoResult(waits)
        self.sync()
        found = self.successResultOf(waits)
        assert isinstance(found, Found)
        self.assertEqual(b"1", found.value)

    def test_writes_of_one_turn_are_one_commit(self) -> None:
        """What comes in together is made durable together, and so is what comes in meanwhile."""
        first = [self.node.ask(Put(f"a{n}", b"1", EMPTY)) for n in range(10)]
        self.turn()
        second = [self.node.ask(Put(f"b{n}", b"1", EMPTY)) for n in range(10)]
        self.turn()
        self.assertEqual(1, len(self.commits))
        self.commits.pop()()
        self.turn()
        self.assertEqual(([True] * 10, [False] * 10), ([d.called for d in first], [d.called for d in second]))
        self.assertEqual(1, len(self.commits))

    def test_what_is_asked_in_one_turn_is_one_event(self) -> None:
        """Requests of a turn go to the replica together, in their order, before whatever else happens next."""
        events: list[int] = []
        replica = self.replicas[ANNA]
        submit = replica.submit

        def watched(requests: Iterable[tuple[Ticket, Request]], now: Now) -> list[Effect]:
            together = list(requests)
            events.append(len(together))
            return submit(together, now)

        self.patch(replica, "submit", watched)
        asked = [self.node.ask(request) for request in (Put("a", b"1", EMPTY), Put("a", b"2", EMPTY), Get("a", EMPTY))]
        self.assertEqual([], events)
        asked[0].cancel()
        self.failureResultOf(asked[0])
        self.assertEqual([3], events)
        self.sync()
        written, found = [self.successResultOf(answered) for answered in asked[1:]]
        assert isinstance(written, Written) and isinstance(found, Found)
        self.assertEqual((True, b"2"), (written.existed, found.value))

    def test_outlook(self) -> None:
        """It is the same while the node is read and written to and time passes, and none where it stops; writes are noted."""
        self.holding = False
        self.clock.pump([0.05] * 60)
        quiet = self.node.outlook
        assert quiet is not None
        self.assertIsInstance(self.node.read(Get("old", EMPTY)), Found)
        self.clock.pump([0.05] * 60)
        changes = self.node.key_changes.count
        self.node.ask(Put("key", b"1", EMPTY))
        self.turn()
        self.assertEqual((quiet, changes + 1), (self.node.outlook, self.node.key_changes.count))
        self.assertFalse(self.node.key_changes.unchanged("key", changes))
        self.assertTrue(self.node.key_changes.unchanged("old", changes))
        Deferred.fromCoroutine(self.node.stop(1.0))
        self.assertIsNone(self.node.outlook)

    def test_event_that_raises_stops_the_node(self) -> None:
        """After an error in the replica nothing leaves the node any more, and the error is told once, without values."""
        written = self.node.ask(Put("key", b'"secret value"', EMPTY))
        self.replicas[ANNA].broken = True
        self.node.ask(Put("other", b'"secret value"', EMPTY))
        self.node.ask(Put("third", b'"secret value"', EMPTY))
        self.wires[ANNA].bodies.clear()
        self.sync()
        self.clock.pump([0.05] * 20)
        self.assertEqual(["the node stops: a defect"], self.crashes)
        self.assertIsNone(self.node.outlook)
        self.assertNoResult(written)
        self.assertEqual([], self.wires[ANNA].bodies)
        self.assertEqual(1, len(self.flushLoggedErrors(ValueError)))

    def test_what_another_start_can_not_mend_is_told_apart(self) -> None:
        """A node that the replica stops halts: with the same data it would be stopped again. It does not crash."""
        self.replicas[ANNA].state.out.halt("the data is old")
        self.node.ask(Get("old", EMPTY))
        self.turn()
        self.assertEqual((["the data is old"], []), (self.halts, self.crashes))

    def test_damaged_data_is_no_reason_to_start_again(self) -> None:
        """Where what was read is not as it was written the node halts, and else, where the disk fails, it crashes."""
        for error, halts, crashes in (
            (StorageError("the disk failed"), [], ["the node stops: the disk failed"]),
            (StorageDamaged("the data is damaged"), ["the node stops: the data is damaged"], []),
        ):
            self.setUp()
            self.replicas[ANNA].error = error
            self.replicas[ANNA].broken = True
            self.node.ask(Get("old", EMPTY))
            self.turn()
            self.assertEqual((halts, crashes), (self.halts, self.crashes))

    def test_client_that_hangs_up(self) -> None:
        """Cancelling a request lets go of it; a write that was begun still happens."""
        asked = self.node.ask(Put("key", b"1", EMPTY))
        asked.cancel()
        self.failureResultOf(asked)
        self.sync()
        self.assertEqual(2, self.at_bert())
        self.assertEqual(0, len(self.node._askers._asked))

    def test_strangers_are_refused(self) -> None:
        """A POST that no node of the cluster made changes nothing."""
        self.assertRaises(WireError, self.node.receive, b"whatever")
        self.assertEqual([], self.crashes)

    def test_stop(self) -> None:
        """A node that stops answers what it was asked, refuses what is asked then, and leaves nothing unwritten."""
        asked = self.node.ask(Put("key", b"1", EMPTY))
        self.turn()
        stopped = Deferred.fromCoroutine(self.node.stop(10.0))
        self.assertIsInstance(self.answer(self.node.ask(Get("old", EMPTY))), Overloaded)
        self.assertNoResult(stopped)
        self.sync()
        self.assertIsInstance(self.successResultOf(asked), Written)
        self.holding = False
        self.sync()
        self.successResultOf(stopped)
        self.assertEqual([], self.crashes)

    def test_stop_does_not_wait_for_ever(self) -> None:
        """A request that can't be answered does not keep a node from stopping."""
        self.holding = False
        self.nodes[BERT] = None  # type: ignore[assignment]
        self.node._askers.admit(lambda _: None)
        stopped = Deferred.fromCoroutine(self.node.stop(10.0))
        self.assertNoResult(stopped)
        del self.nodes[BERT]
        self.node._ticking.stop()
        self.clock.advance(10.5)
        self.successResultOf(stopped)

    def test_tokens(self) -> None:
        """The token of an answer is text for a client and comes back as what it was."""
        written = self.node.ask(Put("key", b"1", EMPTY))
        self.sync()
        outcome = self.successResultOf(written)
        assert isinstance(outcome, Written)
        text = self.node.tokens.encode(outcome.token)
        self.assertEqual(outcome.token, self.nodes[BERT].tokens.decode(text))

    def test_counting_keys_waits_for_what_is_counted(self) -> None:
        """A count that a write under way has changed is not told before that is durable."""
        self.node.ask(Put("key", b"1", EMPTY))
        counted = self.node.ask(CountKeys("s0"))
        self.turn()
        self.assertNoResult(counted)
        self.sync()
        self.successResultOf(counted)
