"""The log of recent ops: what it reaches back to, what it hands out, and how it ends."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication.causality import VersionVector
from kvsd.replication.invariant import InvariantBroken
from kvsd.replication.oplog import OpLog, op_bytes
from kvsd.replication.record import Op
from tests.builders import A, B, C, make_op, modest, vectors


def log_of(writers: list[bytes]) -> tuple[OpLog, list[Op], VersionVector]:
    """A log to which these writers appended in this order, its ops, and the vector they make."""
    log, ops, seen = OpLog(), [], dict[bytes, int]()
    for writer in writers:
        seen[writer] = seen.get(writer, 0) + 1
        ops.append(make_op(writer, seen[writer]))
        log.append(ops[-1])
    return log, ops, seen


orders = st.lists(st.sampled_from((A, B, C)), max_size=12)


class OpLogTests(SynchronousTestCase):
    """Ops are handed out in the order in which they were applied."""

    @modest
    @given(orders, vectors)
    def test_since(self, order: list[bytes], vector: VersionVector) -> None:
        """Who names a vector gets all ops beyond it, in their order; a whole log reaches back to anybody."""
        log, ops, seen = log_of(order)
        lacking = [op for op in ops if op.counter > vector.get(op.writer, 0)]
        self.assertEqual((lacking, False), log.since(vector, 10**9))
        self.assertTrue(log.reaches_back_to(vector, seen))

    @modest
    @given(orders, vectors, st.integers(1, 500))
    def test_pulling_piece_by_piece(self, order: list[bytes], vector: VersionVector, max_bytes: int) -> None:
        """Pieces of any size add up to everything, and each piece makes progress."""
        log, ops, _ = log_of(order)
        lacking = [op for op in ops if op.counter > vector.get(op.writer, 0)]
        got: list[Op] = []
        more = True
        while more:
            piece, more = log.since(vector, max_bytes)
            self.assertTrue(piece or not more)
            self.assertTrue(len(piece) <= 1 or sum(map(op_bytes, piece[:-1])) < max_bytes)
            got += piece
            vector = {**vector, **{op.writer: op.counter for op in piece}}
        self.assertEqual(lacking, got)

    @modest
    @given(orders, vectors, vectors)
    def test_truncation(self, order: list[bytes], stable: VersionVector, vector: VersionVector) -> None:
        """Stable ops leave from the front; whoever has them can still be served, and nobody is served with gaps."""
        log, ops, seen = log_of(order)
        dropped = log.truncate(stable, 10**9, 5)
        kept = list(log)
        self.assertEqual(ops, ops[: len(dropped)] + kept)
        self.assertTrue(all(op.counter <= stable.get(op.writer, 0) for op in ops[: len(dropped)]))
        self.assertTrue(len(dropped) == 5 or not kept or kept[0].counter > stable.get(kept[0].writer, 0))
        self.assertTrue(log.reaches_back_to(stable, seen))
        lacking = [op for op in ops if op.counter > vector.get(op.writer, 0)]
        self.assertEqual(set(map(id, lacking)) <= set(map(id, kept)), log.reaches_back_to(vector, seen))

    def test_size_bounds_the_log(self) -> None:
        """Ops that nobody is known to have leave too, once the log is too large."""
        log, ops, _ = log_of([A, B] * 5)
        self.assertEqual(sum(map(op_bytes, ops)), log.size)
        self.assertEqual([1, 2, 3, 4], log.truncate({}, 6 * op_bytes(ops[0]), 100))
        self.assertEqual((6, 6 * op_bytes(ops[0])), (len(log), log.size))
        self.assertEqual([5], log.truncate({}, 0, 1))

    def test_clearing(self) -> None:
        """After its rows jumped ahead a log begins anew, with numbers of arrival that were not used before."""
        log, _, seen = log_of([A, A, B])
        self.assertEqual([1, 2, 3], log.clear())
        self.assertEqual((0, 0), (len(log), log.size))
        self.assertFalse(log.reaches_back_to({A: 1, B: 1}, seen))
        self.assertTrue(log.reaches_back_to(seen, seen))
        self.assertEqual(4, log.append(make_op(A, 7)))
        self.assertTrue(log.reaches_back_to({A: 6, B: 1}, {A: 7, B: 1}))
        self.assertFalse(log.reaches_back_to({A: 5, B: 1}, {A: 7, B: 1}))

    def test_restoring(self) -> None:
        """A log that was kept on disk goes on with the next number of arrival."""
        log = OpLog([(7, make_op(A, 3)), (9, make_op(B, 1)), (12, make_op(A, 4))])
        self.assertEqual((12, 3), (log.arrival, len(log)))
        self.assertEqual(13, log.append(make_op(A, 5)))
        self.assertEqual([7, 9, 12, 13], log.truncate({A: 5, B: 1}, 0, 9))

    def test_gap_is_an_error(self) -> None:
        """A log with a gap would hand out effects without causes: it can't come about."""
        log, _, _ = log_of([A])
        self.assertRaises(InvariantBroken, log.append, make_op(A, 3))
