"""Dots and version vectors obey the laws that the protocol relies on."""

from hypothesis import given
from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication.causality import (
    VersionVector,
    copied,
    dominates,
    join,
    join_dependencies,
    meet,
    missing,
    writer_id,
)
from tests.builders import A, B, modest, vectors


def joined(*all_vectors: VersionVector) -> VersionVector:
    """The join as a function of its arguments."""
    result: VersionVector = {}
    for vector in all_vectors:
        join(result, vector)
    return result


class VectorTests(SynchronousTestCase):
    """Version vectors form a lattice."""

    @modest
    @given(vectors, vectors, vectors)
    def test_join(self, x: VersionVector, y: VersionVector, z: VersionVector) -> None:
        """What was seen adds up to the same in any order and however often it is added."""
        self.assertEqual(joined(joined(x, y), z), joined(x, joined(y, z)))
        self.assertEqual(joined(x, y), joined(y, x))
        self.assertEqual(x, joined(x, x))

    @modest
    @given(vectors, vectors, vectors)
    def test_join_is_the_least_that_dominates_both(self, x: VersionVector, y: VersionVector, z: VersionVector) -> None:
        """A join has seen what either has, and nothing more than that."""
        both = joined(x, y)
        self.assertTrue(dominates(both, x) and dominates(both, y))
        if dominates(z, x) and dominates(z, y):
            self.assertTrue(dominates(z, both))

    @modest
    @given(vectors, vectors, vectors)
    def test_dominance_is_a_partial_order(self, x: VersionVector, y: VersionVector, z: VersionVector) -> None:
        """Having seen everything of another is reflexive, antisymmetric and transitive."""
        self.assertTrue(dominates(x, x))
        self.assertTrue(dominates(x, {}))
        if dominates(x, y) and dominates(y, x):
            self.assertEqual(x, y)
        if dominates(x, y) and dominates(y, z):
            self.assertTrue(dominates(x, z))

    @modest
    @given(vectors, vectors, vectors)
    def test_meet_is_the_greatest_lower_bound(self, x: VersionVector, y: VersionVector, z: VersionVector) -> None:
        """What all have seen is below each of them, and nothing above it is."""
        low = meet([x, y])
        self.assertTrue(dominates(x, low) and dominates(y, low))
        if dominates(x, z) and dominates(y, z):
            self.assertTrue(dominates(low, z))
        self.assertEqual(meet([x, y, z]), meet([meet([z, y]), x]))

    def test_meet_of_none_and_of_one(self) -> None:
        """Where there is nobody, nothing is known to have been seen by everybody."""
        self.assertEqual({}, meet([]))
        self.assertEqual({A: 1}, meet([{A: 1}]))

    @modest
    @given(vectors, vectors)
    def test_missing_agrees_with_dominance(self, x: VersionVector, y: VersionVector) -> None:
        """Something is missing exactly where a vector does not dominate, and having it mends that."""
        lacking = missing(x, y)
        self.assertEqual(dominates(x, y), not lacking)
        self.assertEqual(joined(x, y), joined(x, lacking))
        self.assertTrue(all(x.get(writer, 0) < counter == y[writer] for writer, counter in lacking.items()))

    @modest
    @given(vectors, vectors)
    def test_functions_leave_their_arguments_alone(self, x: VersionVector, y: VersionVector) -> None:
        """Only the first argument of a join ever changes."""
        before = dict(x), dict(y)
        dominates(x, y), missing(x, y), meet([x, y])
        join(dict(x), y)
        self.assertEqual(before, (x, y))


class DependencyTests(SynchronousTestCase):
    """Dependencies are one vector a shard."""

    def test_join(self) -> None:
        """Dependencies add up shard by shard."""
        dependencies = {"s0": {A: 1, B: 5}}
        join_dependencies(dependencies, {"s0": {A: 2, B: 1}, "s1": {A: 7}})
        self.assertEqual({"s0": {A: 2, B: 5}, "s1": {A: 7}}, dependencies)

    def test_copy_shares_nothing(self) -> None:
        """A copy may be raised without raising the original."""
        original = {"s0": {A: 1}}
        join_dependencies(copied(original), {"s0": {A: 9}})
        self.assertEqual({"s0": {A: 1}}, original)


class WriterTests(SynchronousTestCase):
    """A writer is one stay of one instance of a node in one shard."""

    def test_each_stay_is_a_writer_of_its_own(self) -> None:
        """Another node, data directory, shard or epoch makes another writer; the same four the same one."""
        stays = [
            (node, instance, shard, epoch)
            for node in ("10.0.0.1:1", "10.0.0.1:11")
            for instance in (bytes(16), b"i" * 16)
            for shard in ("s1", "s11")
            for epoch in (1, 11)
        ]
        self.assertEqual(16, len({writer_id(*stay) for stay in stays}))
        self.assertEqual(writer_id(*stays[0]), writer_id(*stays[0]))
        self.assertEqual({6}, {len(writer_id(*stay)) for stay in stays})
