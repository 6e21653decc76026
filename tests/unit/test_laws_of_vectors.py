"""
The laws of version vectors, which all that kvsd promises stands on.

Vectors are ordered by dominance.  Two that differ only in writers at 0 say the same; equality is meant that way here.
"""

from collections.abc import Mapping
from itertools import product

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication.causality import (
    Dependencies,
    VersionVector,
    copied,
    dominates,
    join,
    join_dependencies,
    meet,
    missing,
)
from kvsd.replication.token import Token
from tests.builders import A, B, C
from tests.examples import examples

Vector = Mapping[bytes, int]

ENTRIES = [None, 0, 1, 2, 3]
"""What a writer may stand at: few counters, so that vectors are often comparable."""
ALL = [
    {writer: counter for writer, counter in zip((A, B, C), entries, strict=True) if counter is not None}
    for entries in product(ENTRIES, repeat=3)
]
vectors = st.integers(0, len(ALL) - 1).map(lambda index: dict(ALL[index]))
two, three = st.tuples(vectors, vectors), st.tuples(vectors, vectors, vectors)
dependencies = st.fixed_dictionaries({}, optional={"s0": vectors, "s1": vectors})
tokens = st.builds(Token, st.integers(0, 3), st.integers(0, 3), dependencies)
many = examples(100)


def said(vector: Vector) -> dict[bytes, int]:
    """What a vector says: its entries but for the zeros."""
    return {writer: counter for writer, counter in vector.items() if counter}


def all_said(of_shards: Mapping[str, Vector]) -> dict[str, dict[bytes, int]]:
    """What dependencies say."""
    return {shard: entries for shard, vector in of_shards.items() if (entries := said(vector))}


def joined(*given_vectors: Vector) -> VersionVector:
    """The join, as a value."""
    result: VersionVector = {}
    for vector in given_vectors:
        join(result, vector)
    return result


def all_joined(*given_dependencies: Mapping[str, Vector]) -> Dependencies:
    """The join of dependencies, as a value."""
    result: Dependencies = {}
    for of_shards in given_dependencies:
        join_dependencies(result, of_shards)
    return result


def all_dominated(upper: Mapping[str, Vector], lower: Mapping[str, Vector]) -> bool:
    """Whether upper has seen everything that lower has, in every shard."""
    return all(dominates(upper.get(shard, {}), vector) for shard, vector in lower.items())


def merged(token: Token, other: Token) -> Token:
    """What a client that held token holds after it was shown all of other; without zeros."""
    result = token.merged(other.epoch, other.hlc, other.dependencies)
    return Token(result.epoch, result.hlc, all_said(result.dependencies))


class DominanceLaws(SynchronousTestCase):
    """Having seen at least as much is a partial order."""

    @many
    @given(three)
    def test_partial_order(self, xyz: tuple[Vector, Vector, Vector]) -> None:
        """It is reflexive and transitive, and two that have seen as much as each other have seen the same."""
        x, y, z = xyz
        self.assertTrue(dominates(x, x))
        self.assertEqual(dominates(x, y) and dominates(y, x), said(x) == said(y))
        if dominates(x, y) and dominates(y, z):
            self.assertTrue(dominates(x, z))

    @many
    @given(two)
    def test_pointwise(self, xy: tuple[Vector, Vector]) -> None:
        """It holds exactly where it holds for every writer, those that are not named standing at 0."""
        x, y = xy
        self.assertEqual(all(x.get(w, 0) >= y.get(w, 0) for w in {*x, *y}), dominates(x, y))
        self.assertTrue(dominates(x, {}))
        self.assertEqual(not said(x), dominates({}, x))

    @many
    @given(two)
    def test_missing(self, xy: tuple[Vector, Vector]) -> None:
        """Nothing is missing exactly where a vector dominates; adding what is missing, and no less, makes it so."""
        x, y = xy
        lack = missing(x, y)
        self.assertEqual(dominates(x, y), not lack)
        self.assertTrue(dominates(joined(x, lack), y))
        self.assertEqual(joined(x, y), joined(x, lack))
        for writer in lack:
            less = {w: counter for w, counter in lack.items() if w != writer}
            self.assertFalse(dominates(joined(x, less), y))


class JoinLaws(SynchronousTestCase):
    """What was seen adds up."""

    @many
    @given(three)
    def test_semilattice(self, xyz: tuple[Vector, Vector, Vector]) -> None:
        """Neither the order in which things were seen nor how often makes a difference."""
        x, y, z = xyz
        self.assertEqual(joined(joined(x, y), z), joined(x, joined(y, z)))
        self.assertEqual(joined(x, y), joined(y, x))
        self.assertEqual(said(x), joined(x, x))
        self.assertEqual(said(x), joined(x, {}))

    @many
    @given(three)
    def test_least_upper_bound(self, xyz: tuple[Vector, Vector, Vector]) -> None:
        """A join has seen what either has; whoever has seen both has seen the join."""
        x, y, z = xyz
        self.assertTrue(dominates(joined(x, y), x) and dominates(joined(x, y), y))
        self.assertEqual(dominates(z, x) and dominates(z, y), dominates(z, joined(x, y)))
        self.assertEqual(dominates(x, y), joined(x, y) == said(x))

    @many
    @given(two)
    def test_only_the_first_changes(self, xy: tuple[VersionVector, Vector]) -> None:
        """Nothing changes but the vector that a join raises, and that one only upwards."""
        x, y = xy
        before, other = dict(x), dict(y)
        dominates(x, y), missing(x, y), meet([x, y])
        self.assertEqual((before, other), (x, y))
        join(x, y)
        self.assertTrue(dominates(x, before))
        self.assertEqual(other, y)


class MeetLaws(SynchronousTestCase):
    """What all have seen."""

    @many
    @given(three)
    def test_semilattice(self, xyz: tuple[Vector, Vector, Vector]) -> None:
        """Neither the order in which all are asked nor how often makes a difference."""
        x, y, z = xyz
        self.assertEqual(said(meet([x, meet([y, z])])), said(meet([meet([x, y]), z])))
        self.assertEqual(said(meet([x, y, z])), said(meet([meet([x, y]), z])))
        self.assertEqual(said(meet([x, y])), said(meet([y, x])))
        self.assertEqual(said(x), said(meet([x, x])))
        self.assertEqual({}, said(meet([x, {}])))

    @many
    @given(three)
    def test_greatest_lower_bound(self, xyz: tuple[Vector, Vector, Vector]) -> None:
        """Each has seen what all have; whatever each has seen, all have."""
        x, y, z = xyz
        low = meet([x, y])
        self.assertTrue(dominates(x, low) and dominates(y, low))
        self.assertEqual(dominates(x, z) and dominates(y, z), dominates(low, z))
        self.assertEqual(dominates(x, y), said(low) == said(y))

    @many
    @given(three)
    def test_lattice(self, xyz: tuple[Vector, Vector, Vector]) -> None:
        """Join and meet absorb each other and distribute over each other."""
        x, y, z = xyz
        self.assertEqual(said(x), joined(x, meet([x, y])))
        self.assertEqual(said(x), said(meet([x, joined(x, y)])))
        self.assertEqual(said(meet([x, joined(y, z)])), joined(meet([x, y]), meet([x, z])))


class DependencyLaws(SynchronousTestCase):
    """Dependencies are vectors, one a shard, and obey the same laws."""

    @many
    @given(dependencies, dependencies, dependencies)
    def test_join(self, x: Dependencies, y: Dependencies, z: Dependencies) -> None:
        """They add up in any order, however often, to the least that has seen all of it."""
        both = all_joined(x, y)
        self.assertEqual(all_said(all_joined(both, z)), all_said(all_joined(x, all_joined(y, z))))
        self.assertEqual(all_said(both), all_said(all_joined(y, x)))
        self.assertEqual(all_said(x), all_said(all_joined(x, x)))
        self.assertTrue(all_dominated(both, x) and all_dominated(both, y))
        self.assertEqual(all_dominated(z, x) and all_dominated(z, y), all_dominated(z, both))

    @many
    @given(dependencies, dependencies)
    def test_shards_do_not_meet(self, x: Dependencies, y: Dependencies) -> None:
        """Each shard is joined by itself, and nothing is shared with what was joined."""
        both, x_before, y_before = all_joined(x, y), copied(x), copied(y)
        for shard in {*x, *y}:
            self.assertEqual(joined(x.get(shard, {}), y.get(shard, {})), said(both[shard]))
        for vector in (*both.values(), *copied(x).values()):
            vector[b"raised"] = 9
        self.assertEqual((x_before, y_before), (x, y))


class MergeLaws(SynchronousTestCase):
    """A client's token takes up what the client is shown."""

    @many
    @given(tokens, tokens, tokens)
    def test_semilattice(self, x: Token, y: Token, z: Token) -> None:
        """Neither the order in which a client sees things nor how often makes a difference."""
        self.assertEqual(merged(merged(x, y), z), merged(x, merged(y, z)))
        self.assertEqual(merged(x, y), merged(y, x))
        self.assertEqual(merged(x, Token()), merged(x, x))

    @many
    @given(tokens, tokens)
    def test_least_upper_bound(self, x: Token, y: Token) -> None:
        """Of two tokens the merged one has the later epoch and stamp and both pasts; the two stay as they were."""
        before = copied(x.dependencies), copied(y.dependencies)
        both = merged(x, y)
        self.assertEqual((max(x.epoch, y.epoch), max(x.hlc, y.hlc)), (both.epoch, both.hlc))
        self.assertEqual(all_said(all_joined(x.dependencies, y.dependencies)), both.dependencies)
        self.assertEqual(before, (x.dependencies, y.dependencies))
