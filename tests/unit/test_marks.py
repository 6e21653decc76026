"""The laws of marks: whatever comes in whatever order, a replica has marked all of it."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication.causality import dominates
from kvsd.replication.marks import NO_MARKS, Final, Marks
from tests.builders import A, B, modest
from tests.strategies import any_writers, built, counts, several

tenures = st.integers(0, 3)
shards = st.sampled_from(("s0", "s1", "s2"))
vectors = st.dictionaries(st.sampled_from((A, B)) | any_writers, st.integers(1, 9), min_size=1, max_size=2)
some_marks = built(
    Marks,
    cover=st.dictionaries(tenures, st.dictionaries(shards, vectors, min_size=1, max_size=2), max_size=3),
    ready=several(tenures).map(lambda found: tuple(dict.fromkeys(found))),
    final=several(built(Final, tenure=tenures, shard=shards, since=st.integers(2, 4))).map(
        lambda found: tuple(dict.fromkeys(found))
    ),
    forgotten=counts,
)


def meant(marks: Marks) -> object:
    """What marks mean, whatever the order of their parts."""
    return marks.cover, set(marks.ready), set(marks.final), marks.forgotten


class MarksTests(SynchronousTestCase):
    """Marks are merged, and those that are of no use any more are left out."""

    @modest
    @given(some_marks, some_marks, some_marks)
    def test_merging_is_a_join(self, one: Marks, other: Marks, third: Marks) -> None:
        """Order, repetition and grouping make no difference."""
        self.assertEqual(meant(one.merged(other)), meant(other.merged(one)))
        self.assertEqual(meant(one.merged(other).merged(third)), meant(one.merged(other.merged(third))))
        self.assertEqual(meant(one), meant(one.merged(one)))
        self.assertEqual(meant(one), meant(one.merged(NO_MARKS)))
        self.assertEqual(meant(one), meant(NO_MARKS.merged(one)))

    @modest
    @given(some_marks, some_marks)
    def test_nothing_is_lost(self, one: Marks, other: Marks) -> None:
        """All that either has marked is marked, and nothing is marked twice."""
        merged = one.merged(other)
        for marks in (one, other):
            for tenure, covered in marks.cover.items():
                for shard, vector in covered.items():
                    self.assertTrue(dominates(merged.covered(tenure, shard), vector))
            self.assertLessEqual(set(marks.ready), set(merged.ready))
            self.assertLessEqual(set(marks.final), set(merged.final))
            self.assertLessEqual(marks.forgotten, merged.forgotten)
        self.assertEqual(len(set(merged.ready)), len(merged.ready))
        self.assertEqual(len(set(merged.final)), len(merged.final))

    @modest
    @given(some_marks, some_marks)
    def test_merging_changes_neither(self, one: Marks, other: Marks) -> None:
        """What was merged is as it was: marks that are on their way to the disk never change."""
        before = repr(one), repr(other)
        merged = one.merged(other)
        for covered in merged.cover.values():
            for vector in covered.values():
                vector[A] = 99
        if other:
            self.assertEqual(before, (repr(one), repr(other)))

    @modest
    @given(some_marks, some_marks, st.sets(tenures))
    def test_only(self, one: Marks, other: Marks, kept: set[int]) -> None:
        """Leaving out what is of no use is the same before and after merging; what was forgotten stays so."""
        only = one.only(kept)
        self.assertLessEqual({*only.cover, *only.ready, *(final.tenure for final in only.final)}, kept)
        self.assertEqual(meant(one.merged(other).only(kept)), meant(only.merged(other.only(kept))))
        self.assertEqual(one.forgotten, only.forgotten)
        self.assertEqual({t: v for t, v in one.cover.items() if t in kept}, only.cover)

    def test_covered(self) -> None:
        """Of what was never marked nothing is covered."""
        marks = Marks({2: {"s0": {A: 3}}})
        self.assertEqual(({A: 3}, {}, {}), (marks.covered(2, "s0"), marks.covered(2, "s1"), marks.covered(3, "s0")))

    def test_nothing(self) -> None:
        """Marks are nothing only where there is none of any kind."""
        self.assertFalse(NO_MARKS)
        for marks in (
            Marks({2: {"s0": {A: 1}}}),
            Marks(ready=(2,)),
            Marks(final=(Final(2, "s0", 3),)),
            Marks(forgotten=1),
        ):
            self.assertTrue(marks)
