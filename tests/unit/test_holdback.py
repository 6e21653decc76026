"""The hold-back queue: effects wait for their causes."""

from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication.causality import VersionVector, dominates
from kvsd.replication.holdback import HoldBack
from kvsd.replication.oplog import op_bytes
from kvsd.replication.record import Op
from tests.builders import A, B, C, make_op, modest


def drain(queue: HoldBack, vector: VersionVector, epoch: int = 1) -> list[Op]:
    """Take out what is due, raising the vector by it as a replica does."""
    taken = []
    for op in queue.due(vector, epoch):
        assert op.counter == vector.get(op.writer, 0) + 1 and dominates(vector, op.dependencies)
        vector[op.writer] = op.counter
        taken.append(op)
    return taken


HISTORY = [
    make_op(A, 1),
    make_op(B, 1, {A: 1}),
    make_op(A, 2, {A: 1}),
    make_op(C, 1, {A: 1, B: 1}),
    make_op(B, 2, {C: 1}),
    make_op(A, 3, {B: 2}),
]


class DeliveryTests(SynchronousTestCase):
    """Ops are handed out in causal order, each of them once."""

    def test_every_order_of_arrival(self) -> None:
        """In whatever order the ops of a history come, they are handed out in causal order, and all of them."""
        for order in permutations(HISTORY):
            queue, vector, taken = HoldBack(100, 10**6), VersionVector(), []
            for op in order:
                queue.add(op, 0.0)
                taken += drain(queue, vector)
            self.assertEqual(len(HISTORY), len(taken))
            self.assertEqual((0, 0, None), (queue.count, queue.bytes, queue.oldest()))

    @modest
    @given(st.lists(st.sampled_from(HISTORY), max_size=20))
    def test_doubled_and_lost_ops(self, arrivals: list[Op]) -> None:
        """An op that comes twice is handed out once; one whose cause never comes, not at all."""
        queue, vector, taken = HoldBack(100, 10**6), VersionVector(), []
        for op in arrivals:
            if op.counter > vector.get(op.writer, 0):
                self.assertTrue(queue.add(op, 0.0))
            taken += drain(queue, vector)
        self.assertEqual(len(taken), len({(op.writer, op.counter) for op in taken}))
        self.assertEqual(sum(map(op_bytes, queue.ops())), queue.bytes)
        self.assertEqual(queue.count, len(queue.ops()))

    def test_later_configuration(self) -> None:
        """An op of a configuration that is not known yet waits until it is."""
        queue, vector = HoldBack(100, 10**6), VersionVector()
        queue.add(make_op(A, 1, epoch=2), 0.0)
        self.assertEqual([], drain(queue, vector, epoch=1))
        self.assertEqual(1, len(drain(queue, vector, epoch=2)))

    def test_forgetting_what_came_otherwise(self) -> None:
        """What a copy of rows has brought need not wait any more."""
        queue = HoldBack(100, 10**6)
        for counter in (2, 3, 5):
            queue.add(make_op(A, counter), 0.0)
        queue.forget({A: 3})
        self.assertEqual([5], [op.counter for op in queue.ops()])
        self.assertEqual((1, op_bytes(make_op(A, 5))), (queue.count, queue.bytes))


class BoundTests(SynchronousTestCase):
    """The queue is bounded by count and by bytes."""

    def test_count(self) -> None:
        """No more ops wait than the bound allows; what does not fit is left out and says so."""
        queue = HoldBack(3, 10**6)
        self.assertEqual([True] * 3 + [False] * 2, [queue.add(make_op(A, n), 0.0) for n in range(2, 7)])
        self.assertEqual(3, queue.count)

    def test_bytes(self) -> None:
        """No more bytes wait than the bound allows."""
        size = op_bytes(make_op(A, 2))
        queue = HoldBack(100, 2 * size)
        self.assertEqual([True, True, False], [queue.add(make_op(A, n), 0.0) for n in (2, 3, 4)])
        self.assertEqual(2 * size, queue.bytes)

    def test_sooner_op_takes_the_place_of_a_later_one(self) -> None:
        """In a full queue an op that is due sooner takes the place of its writer's newest, of nobody else's."""
        queue = HoldBack(3, 10**6)
        for op in (make_op(A, 5), make_op(A, 7), make_op(B, 9)):
            queue.add(op, 0.0)
        self.assertTrue(queue.add(make_op(A, 6), 0.0))
        self.assertFalse(queue.add(make_op(A, 8), 0.0))
        self.assertEqual({(A, 5), (A, 6), (B, 9)}, {(op.writer, op.counter) for op in queue.ops()})

    def test_op_that_is_there_already_always_has_room(self) -> None:
        """An op that waits in a full queue and comes again is no loss."""
        queue = HoldBack(1, 10**6)
        self.assertEqual([True, True], [queue.add(make_op(A, 2), 0.0) for _ in range(2)])
        self.assertEqual(1, queue.count)

    def test_age(self) -> None:
        """The queue tells since when its oldest op has been waiting, also after that came once more."""
        queue = HoldBack(10, 10**6)
        for op, now in ((make_op(A, 2), 5.0), (make_op(B, 2), 6.0), (make_op(A, 2), 7.0)):
            queue.add(op, now)
        self.assertEqual(5.0, queue.oldest())
