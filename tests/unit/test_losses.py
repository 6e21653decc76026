"""
Losses: what a writer wrote whose disk is gone is not given up while anybody may turn up with it.

In each test a write was acknowledged by its writer alone, and somebody else has it whom it is easy to forget.
"""

from kvsd.replication.configuration import Move
from kvsd.replication.messages import Imported, Message, PullOps, PullRows
from kvsd.replication.placement import slot_of
from kvsd.replication.requests import AddMember, Found, Get, Outcome, Put, RemoveNode, Unmet, Written
from kvsd.replication.token import EMPTY, Token
from tests.unit.test_learners import FIRST, SECOND, THIRD, LearnersCase
from tests.unit.test_reshard import FIVE, FOUR, ONE, SIX, THREE, TWO, ReshardCase

ANOTHER = b"another instance"
VALUE = b'"precious"'


class LateWriteTests(ReshardCase):
    """A late write of a source that one member of the target has, and of whose writer the disk is lost."""

    def prepare(self, *, unaware: bool = False, removed: bool = False) -> None:
        """The other member of the source lacks the write, or never knew of its role; who has it is down, or even removed."""
        self.found()
        self.away: set[object] = {FIVE} if unaware else set()
        self.cluster.cut = self._cut
        self.reshard(3)
        self.run_until(lambda: "s2" in self.configuration().shard_ids(), writes=0)
        self.cluster.run(2.0)
        self.away.add(FIVE)
        self.reshard(2)
        self.run_until(self.is_copied, writes=0)
        self.away.add(SIX)
        self.run_until(lambda: "s2" not in self.configuration().shard_ids(), writes=0)
        written = self.cluster.ask(SIX, Put(self.key, VALUE, EMPTY))
        assert isinstance(written, Written)
        self.token = written.token
        self.away = {FIVE, frozenset((ONE, THREE)), frozenset((THREE, SIX))}
        self.run_until(lambda: isinstance(self.cluster.get(ONE, self.key), Found), writes=0)
        if removed:
            self.cluster.submit(TWO, RemoveNode(ONE))
            self.run_until(lambda: ONE not in self.configuration(TWO).nodes, writes=0)
        self.cluster.crash(ONE)
        self.cluster.crash(SIX)
        self.away = set()
        self.cluster.boot(SIX, ANOTHER)
        self.cluster.run(10.0)

    def _cut(self, sender: str, receiver: str, message: Message) -> bool:
        return bool(self.away & {sender, receiver, frozenset((sender, receiver))})

    def is_copied(self) -> bool:
        """Whether the first copies are there; by then it is known which key goes back to s0, of ONE and THREE."""
        pending, reports = self.configuration().pending, self.cluster.sites[ONE].replica.duties.reports
        if pending is None:
            return False
        slots = {slot for move in pending.moves if move.target == "s0" for slot in move.slots}
        self.key = next(key for key in (f"zz{n}" for n in range(10_000)) if slot_of(key) in slots)
        replicas = [(move, at) for move in pending.moves for at in self.configuration().members(move.target)]
        return all(move.tenure in reports.marks(at, move.target).ready for move, at in replicas)

    def read(self) -> Outcome | None:
        """What the client of the write is told at the other member."""
        ticket = self.cluster.submit(THREE, Get(self.key, self.token, 1.0))
        self.cluster.run(3.0)
        return self.cluster.sites[THREE].outcomes.get(ticket)

    def is_waited_for(self) -> None:
        """Nothing is settled without the one that has the write; it is served once that is back."""
        self.assertIsInstance(self.read(), Unmet)
        self.assertEqual([None], [loss.kept for loss in self.configuration(TWO).lost.values() if loss.shard == "s2"])
        self.assertIn("has not said what s0 has of s2", self.cluster.sites[TWO].replica.duties.log["settle"].blocked)
        self.cluster.restart(ONE)
        self.cluster.run(8.0)
        seen = self.read()
        assert isinstance(seen, Found)
        self.assertEqual(VALUE, seen.value)
        self.assertNotIn(None, [loss.kept for loss in self.configuration(TWO).lost.values()])

    def test_only_who_never_knew_is_left(self) -> None:
        """Where nobody is left to ask in the source, those who took over its writes tell each other first."""
        self.prepare(unaware=True)
        self.is_waited_for()

    def test_who_lacks_it_is_left(self) -> None:
        """Nor is it settled by who is left there and has less."""
        self.prepare()
        self.is_waited_for()

    def test_who_has_it_was_removed(self) -> None:
        """It is waited for also where it is no member of the target any more."""
        self.prepare(removed=True)
        self.is_waited_for()


class LearnerTests(LearnersCase):
    """A learner of the writer's shard has the write."""

    def test_learner_has_it(self) -> None:
        """It is no member yet, and its part counts all the same."""
        self.found()
        self.cluster.submit(SECOND, AddMember("s0", self.site.address))
        for _ in range(30):
            if "s0" in self.site.replica.state.roles and self.site.replica.state.roles["s0"].vector:
                break
            self.cluster.run(0.1)
        self.cluster.cut = lambda sender, receiver, message: {sender, receiver} == {THIRD, FIRST}
        written = self.cluster.ask(THIRD, Put(self.keys[0], VALUE, EMPTY))
        assert isinstance(written, Written)
        self.assertEqual([self.site.address], self.learners())
        self.cluster.crash(THIRD)
        self.cluster.outlive(THIRD)
        self.cluster.boot(THIRD, ANOTHER)
        self.cluster.heal()
        seen = []
        for _ in range(20):
            self.cluster.run(0.1)
            seen.append(self.cluster.get(FIRST, self.keys[0], written.token))
        self.assertEqual({VALUE}, {outcome.value for outcome in seen if isinstance(outcome, Found)})
        self.assertEqual({Found, Unmet}, {type(outcome) for outcome in seen})
        self.assertEqual([1], [loss.kept for loss in self.configuration().lost.values()])


class ChainTests(ReshardCase):
    """A shard that had taken the write over was merged away before it could hand it on."""

    def is_copied(self) -> bool:
        """Whether the first copies are there, wherever a node can be reached."""
        pending, reports = self.configuration().pending, self.cluster.sites[ONE].replica.duties.reports
        replicas = [(m, at) for m in pending.moves for at in self.configuration().members(m.target)] if pending else []
        return bool(replicas) and all(m.tenure in reports.marks(at, m.target).ready for m, at in replicas if at != SIX)

    def _cut(self, sender: str, receiver: str, message: Message) -> bool:
        given = isinstance(message, Imported) and receiver in self.given_nothing
        pulled = isinstance(message, PullOps | PullRows) and receiver in self.pulls_nothing
        alone = sender != receiver and SIX in (sender, receiver) and not {sender, receiver} <= self.reached
        return given or pulled or alone

    def test_who_was_to_hand_it_on(self) -> None:
        """What the merged shard was shown beyond what its heir was is waited for."""
        self.found(shards=3)
        self.given_nothing, self.pulls_nothing, self.reached = set[str](), set[str](), set(self.cluster.sites)
        self.cluster.cut = self._cut
        self.reshard(2)
        self.run_until(self.is_copied, writes=0)
        slots = {slot for move in self.moves() if move.target == "s1" for slot in move.slots}
        key = next(key for key in (f"zz{n}" for n in range(10_000)) if slot_of(key) in slots)
        self.reached = set()
        self.run_until(lambda: self.configuration().shard_ids() == ["s0", "s1"], writes=0)
        written = self.cluster.ask(SIX, Put(key, VALUE, EMPTY))
        assert isinstance(written, Written)
        self.cluster.run(2.0)
        self.pulls_nothing = {TWO, FIVE}
        self.reshard(1)
        self.run_until(self.is_copied, writes=0)
        self.given_nothing, self.reached = set(self.cluster.sites) - {TWO}, {TWO, SIX}
        self.run_until(lambda: isinstance(self.cluster.get(TWO, key), Found), writes=0)
        self.pulls_nothing = set()
        self.run_until(lambda: self.configuration().shard_ids() == ["s0"], writes=0)
        self.cluster.crash(SIX)
        self.reached = set(self.cluster.sites)
        self.cluster.boot(SIX, ANOTHER)
        self.cluster.run(6.0)
        blocked = self.cluster.sites[ONE].replica.duties.log["settle"].blocked
        self.assertEqual("s0 has not yet all that s1 has of s2", blocked)
        self.assertIsInstance(self.read(key, written.token), Unmet)
        self.given_nothing = set()
        self.run_until(self.is_quiet, writes=0)
        self.assertEqual(VALUE, getattr(self.read(key, written.token), "value", None))

    def moves(self) -> tuple[Move, ...]:
        """What is on its way."""
        pending = self.configuration().pending
        return pending.moves if pending else ()

    def read(self, key: str, token: Token) -> Outcome | None:
        """What the client of the write is told."""
        ticket = self.cluster.submit(ONE, Get(key, token, 1.0))
        self.cluster.run(2.0)
        return self.cluster.sites[ONE].outcomes.get(ticket)


class PendingTests(ReshardCase):
    """A shard in the making has the write, and does not serve it yet."""

    def test_who_does_not_serve_yet(self) -> None:
        """Until the hand-off a token that names it is not met by those who serve, who have less."""
        self.found()
        away = set[frozenset[str]]()
        held = {"s0"}
        self.cluster.cut = lambda sender, receiver, message: (
            frozenset((sender, receiver)) in away or (isinstance(message, Imported) and message.shard in held)
        )
        self.reshard(3)
        roles = self.cluster.sites[FIVE].replica.state.roles
        self.run_until(lambda: "s2" in roles and bool(roles["s2"].marks.ready), writes=0)
        pending = self.configuration().pending
        assert pending is not None
        (move,) = (move for move in pending.moves if move.source == "s1")
        key = next(key for key in (f"zz{n}" for n in range(10_000)) if slot_of(key) in move.slots)
        away |= {frozenset((FOUR, other)) for other in (ONE, TWO, SIX)}
        written = self.cluster.ask(FOUR, Put(key, VALUE, EMPTY))
        assert isinstance(written, Written)
        self.run_until(lambda: roles["s2"].store.get(move.tenure, key) is not None, writes=0)
        self.cluster.crash(FOUR)
        self.cluster.outlive(FOUR)
        self.cluster.boot(FOUR, ANOTHER)
        away.clear()
        self.cluster.run(1.0)
        self.assertIn("does not serve it yet", self.cluster.sites[ONE].replica.duties.log["settle"].blocked)
        self.assertIsInstance(self.cluster.get(TWO, key, written.token), Unmet)
        held.clear()
        self.run_until(self.is_quiet, writes=0)
        self.assertEqual(VALUE, getattr(self.cluster.get(TWO, key, written.token), "value", None))
        self.assertNotIn(None, [loss.kept for loss in self.configuration().lost.values()])
