"""
The laws of causal delivery: every write, once, after all that it knew of, whatever the network does.

First for the hold-back queue by itself, then for a member of a shard with all that feeds and empties that queue.
"""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication.causality import VersionVector
from kvsd.replication.holdback import HoldBack
from kvsd.replication.limits import Limits
from kvsd.replication.oplog import op_bytes
from kvsd.replication.record import Op
from tests.examples import examples
from tests.histories import (
    WRITES,
    Dots,
    Event,
    History,
    Shard,
    arrivals,
    batches,
    deliveries,
    dot,
    events,
    histories,
    reach,
)
from tests.members import Member

Delivery = tuple[History, list[Op]]


def drain(queue: HoldBack, vector: VersionVector, epoch: int = 1) -> list[Op]:
    """Take out what is due, raising the vector by it."""
    taken = []
    for op in queue.due(vector, epoch):
        vector[op.writer] = op.counter
        taken.append(op)
    return taken


class HoldBackLaws(SynchronousTestCase):
    """The queue by itself."""

    def assert_counts(self, queue: HoldBack, waiting: Dots) -> None:
        """Just these ops wait, and count and bytes are theirs."""
        ops = queue.ops()
        self.assertEqual(waiting, {dot(op) for op in ops})
        self.assertEqual((len(waiting), sum(map(op_bytes, ops))), (queue.count, queue.bytes))
        self.assertEqual(0.0 if waiting else None, queue.oldest())

    @examples(100)
    @given(deliveries)
    def test_every_op_once_after_its_causes(self, delivery: Delivery) -> None:
        """In whatever order ops come, each is handed out as soon as its past is there, and never again."""
        history, arrived = delivery
        queue, vector, taken = HoldBack(100, 10**6), VersionVector(), list[Op]()
        for number, op in enumerate(arrived, 1):
            if op.counter > vector.get(op.writer, 0):
                self.assertTrue(queue.add(op, 0.0))
            taken += drain(queue, vector)
            due = history.closed(arrived[:number])
            self.assertEqual(due, {dot(each) for each in taken})
            self.assert_counts(queue, frozenset(map(dot, arrived[:number])) - due)
        self.assertTrue(history.is_causal(taken))
        self.assertEqual((len(history.ops), 0, 0), (len(taken), queue.count, queue.bytes))

    @examples(40)
    @given(deliveries, st.integers(0, 8))
    def test_later_configuration(self, delivery: Delivery, first: int) -> None:
        """What belongs to a later configuration waits for it, and for its past."""
        history, arrived = delivery
        later = {dot(op) for op in history.ops[first:]}
        queue, vector = HoldBack(100, 10**6), VersionVector()
        for op in arrived:
            queue.add(replace(op, epoch=2) if dot(op) in later else op, 0.0)
        before, after = drain(queue, vector, 1), drain(queue, vector, 2)
        self.assertEqual(later, {dot(op) for op in after})
        self.assertTrue(history.is_causal(before + after))
        self.assert_counts(queue, frozenset())

    @examples(40)
    @given(deliveries, st.integers(0, 2**8 - 1))
    def test_what_came_by_other_means(self, delivery: Delivery, known: int) -> None:
        """What came in a copy of rows is not handed out again; the rest is, once."""
        history, arrived = delivery
        copied = {
            d for bit, op in enumerate(history.ops) if known >> bit & 1 for d in {dot(op), *history.pasts[dot(op)]}
        }
        queue, vector = HoldBack(100, 10**6), reach(copied)
        for op in arrived:
            queue.add(op, 0.0)
        queue.forget(vector)
        self.assert_counts(queue, frozenset(map(dot, history.ops)) - copied)
        copied_first = [op for op in history.ops if dot(op) in copied]
        taken = drain(queue, vector)
        self.assertTrue(history.is_causal([*copied_first, *taken]))
        self.assertEqual(len(history.ops), len(copied_first) + len(taken))
        self.assert_counts(queue, frozenset())

    @examples(60)
    @given(deliveries, st.integers(1, 4), st.integers(100, 600))
    def test_bounds(self, delivery: Delivery, max_ops: int, max_bytes: int) -> None:
        """A full queue leaves ops out and says so, stays within its bounds but for a single op, and counts right."""
        _, arrived = delivery
        queue = HoldBack(max_ops, max_bytes)
        for op in arrived:
            before = set(map(dot, queue.ops()))
            kept, after = queue.add(op, 0.0), set(map(dot, queue.ops()))
            self.assertEqual(kept, dot(op) in after)
            self.assertTrue(after <= before | {dot(op)})
            left_out = before - after
            self.assertTrue(all(writer == op.writer and counter > op.counter for writer, counter in left_out))
            self.assertTrue(queue.count <= max_ops and (queue.bytes <= max_bytes or queue.count == 1))
            self.assert_counts(queue, frozenset(after))


class BroadcastLaws(SynchronousTestCase):
    """A member of the shard that writes nothing itself."""

    def assert_settled(self, member: Member, history: History) -> None:
        """The member has applied the whole history in causal order, and holds nothing back."""
        applied = list(member.role.log)
        self.assertTrue(history.is_causal(applied))
        self.assertEqual(len(history.ops), len(applied))
        self.assertEqual(reach(history.ops), member.role.vector)
        holdback = member.role.holdback
        self.assertEqual((0, 0, None, []), (holdback.count, holdback.bytes, holdback.oldest(), holdback.ops()))

    @examples(50)
    @given(deliveries.flatmap(lambda delivery: st.tuples(st.just(delivery[0]), batches(delivery[1]))))
    def test_every_op_once_after_its_causes(self, delivery: tuple[History, list[list[Op]]]) -> None:
        """However pushes are ordered and doubled, each op is applied as soon as its past is there, and once."""
        history, pushes = delivery
        member, arrived = Member(3), list[Op]()
        for push in pushes:
            member.deliver(push)
            arrived += push
            self.assertEqual(history.closed(arrived), {dot(op) for op in member.role.log})
            self.assertEqual(reach(history.closed(arrived)), member.role.vector)
        self.assert_settled(member, history)
        self.assertEqual(0, member.broadcast.dropped)

    @examples(50)
    @given(deliveries, st.integers(1, 2), st.integers(100, 400))
    def test_small_queue(self, delivery: Delivery, max_ops: int, max_bytes: int) -> None:
        """However small the queue, ops that come again and again are all applied: each round brings one at least."""
        history, arrived = delivery
        member = Member(3, Limits(holdback_ops=max_ops, holdback_bytes=max_bytes))
        for _ in history.ops:
            member.deliver(arrived)
            self.assertTrue(history.is_causal(list(member.role.log)))
        self.assert_settled(member, history)

    @examples(40)
    @given(histories.flatmap(lambda history: st.tuples(st.just(history), arrivals(history), arrivals(history))))
    def test_any_cause_may_be_late(self, drawn: tuple[History, list[Op], list[Op]]) -> None:
        """While the first write is missing, just what does not need it is applied; when it comes, all the rest is."""
        history, some, rest = drawn
        member, late = Member(3), history.ops[0]
        member.deliver(op for op in some if op != late)
        self.assertEqual(history.closed(op for op in history.ops if op != late), {dot(op) for op in member.role.log})
        member.deliver([late])
        self.assert_settled(member, history)
        member.deliver(rest)
        self.assert_settled(member, history)


class ShardLaws(SynchronousTestCase):
    """Three members that write while they hear of each other's writes."""

    @examples(100)
    @given(events(*WRITES), st.data())
    def test_all_members_end_with_the_same(self, happened: list[Event], data: st.DataObject) -> None:
        """Whoever wrote what and whatever came when, each member has all that can be had, and in the end everything."""
        shard = Shard()
        for event in happened:
            shard.happen(event)
            role = shard.members[event.member].role
            self.assertEqual(set(map(dot, shard.known(event.member))), set(map(dot, role.log)))
        for number, member in enumerate(shard.members):
            shard.deliver(number, data.draw(st.permutations(shard.ops)))
            applied, holdback = list(member.role.log), member.role.holdback
            self.assertTrue(shard.history.is_causal(applied))
            self.assertEqual((len(shard.ops), 0, 0), (len(applied), holdback.count, holdback.bytes))
            self.assertEqual(reach(shard.ops), member.role.vector)

    @examples(40)
    @given(events(*WRITES))
    def test_stamps_follow_causality(self, happened: list[Event]) -> None:
        """A write has a larger stamp than all that its author, or the member that took it, knew of; no two are equal."""
        shard = Shard()
        for event in happened:
            shard.happen(event)
        stamps = {dot(op): op.record.stamp for op in shard.ops}
        for name, past in shard.pasts.items():
            self.assertTrue(all(stamps[before][0] < stamps[name][0] for before in past))
        self.assertEqual(len(shard.ops), len(set(stamps.values())))
