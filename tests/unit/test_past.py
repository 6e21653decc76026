"""What of a token's past a replica has to have for a key, before, while and after the key's slot moves."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication.causality import Dependencies, dominates
from kvsd.replication.changes import lose, settle
from kvsd.replication.configuration import Configuration
from kvsd.replication.limits import Limits
from kvsd.replication.marks import NO_MARKS, Final, Marks
from kvsd.replication.past import Past
from kvsd.replication.resharding import begin_reshard, drain_source, hand_off
from kvsd.replication.role import Role
from kvsd.replication.state import Identity, State
from kvsd.replication.token import EMPTY, Token
from tests.builders import A, B, any_dependencies, modest
from tests.configurations import NODES, founded, instance_of, member_of

ME, OTHER = NODES[5], NODES[6]
"""The members of s2 once there are three shards."""
FROM_S0 = 2
"""The tenure of the slots that s2 took over from s0."""


def handed_off() -> Configuration:
    """Seven nodes whose two shards have become three; all sources may still have writes."""
    pending = begin_reshard(founded(7, 2), 3, NODES)
    assert pending is not None
    return hand_off(pending, NODES)


def token(dependencies: Dependencies) -> Token:
    """A token with these dependencies."""
    return Token(1, 1, dependencies)


class PastTests(SynchronousTestCase):
    """A member of s2, which took slots over from s0 and s1."""

    def setUp(self) -> None:
        self.adopt(handed_off())

    def adopt(self, configuration: Configuration) -> None:
        """Have the member go by a configuration."""
        self.configuration = configuration
        self.state = State(Identity(ME, instance_of(ME), 1), Limits())
        self.state.adopt(configuration)
        self.past = Past(self.state)

    @property
    def role(self) -> Role:
        """Its role."""
        return self.state.roles["s2"]

    def lacking(self, dependencies: Dependencies) -> Dependencies:
        """What is lacking for slots that came from s0."""
        return self.past.lacking(self.role, FROM_S0, token(dependencies))

    def test_needed(self) -> None:
        """Needed are the writes of the own shard and of the slots' sources; no others have any bearing on the key."""
        dependencies = {"s0": {A: 1}, "s1": {A: 2}, "s2": {A: 3}, "s7": {A: 4}}
        needed = self.past.needed(FROM_S0, token(dependencies))
        self.assertEqual({"s0": {A: 1}, "s2": {A: 3}}, needed)
        self.assertEqual({}, self.past.needed(FROM_S0, EMPTY))

    def test_drained_source(self) -> None:
        """A source that is struck out of the configuration has no bearing any more either."""
        self.adopt(drain_source(self.configuration, FROM_S0, "s0"))
        self.assertEqual({}, self.past.needed(FROM_S0, token({"s0": {A: 1}})))
        self.assertEqual({}, self.lacking({"s0": {A: 9}}))

    def test_lost_writes_are_not_needed(self) -> None:
        """What was lost with a disk is not waited for, once it is known what was; until then it is."""
        writer = member_of(founded(7, 2), "s0", NODES[0]).writer
        lost = lose(self.configuration, NODES[0], instance_of(NODES[0], 2), {writer: 5})
        self.adopt(lost)
        self.assertEqual({"s0": {writer: 5}}, self.past.needed(FROM_S0, token({"s0": {writer: 5}})))
        for kept, needed in ((3, {"s0": {writer: 3, A: 1}}), (0, {"s0": {A: 1}}), (7, {"s0": {writer: 5, A: 1}})):
            self.adopt(settle(lost, writer, kept))
            self.assertEqual(needed, self.past.needed(FROM_S0, token({"s0": {writer: 5, A: 1}})))

    def test_own_shard(self) -> None:
        """Of the own shard the vector decides."""
        self.role.vector = {A: 2}
        self.assertEqual({}, self.lacking({"s2": {A: 2}}))
        self.assertEqual({"s2": {A: 3, B: 1}}, self.lacking({"s2": {A: 3, B: 1}}))

    def test_sources(self) -> None:
        """Of a source the cover decides, that of the tenure alone, until the source is done with."""
        self.role.marks = Marks({FROM_S0: {"s0": {A: 2}}, 3: {"s0": {A: 9}}})
        self.assertEqual({}, self.lacking({"s0": {A: 2}}))
        self.assertEqual({"s0": {A: 3}}, self.lacking({"s0": {A: 3}}))
        since = self.configuration.tenures[FROM_S0].sources["s0"]
        self.role.marks = Marks(final=(Final(FROM_S0, "s0", since - 1), Final(3, "s0", since)))
        self.assertEqual({"s0": {A: 3}}, self.lacking({"s0": {A: 3}}))
        self.role.marks = Marks(final=(Final(FROM_S0, "s0", since),))
        self.assertEqual({}, self.lacking({"s0": {A: 3}}))

    def test_own_shard_is_a_source(self) -> None:
        """Slots that came back: what the shard itself wrote before has to have been taken over like all else."""
        tenancy = self.configuration.tenures[FROM_S0]
        tenures = {**self.configuration.tenures, FROM_S0: replace(tenancy, sources={"s2": 3})}
        self.adopt(replace(self.configuration, tenures=tenures))
        self.role.vector = {A: 5}
        self.assertEqual({"s2": {A: 5}}, self.lacking({"s2": {A: 5}}))
        self.role.marks = Marks({FROM_S0: {"s2": {A: 5}}})
        self.assertEqual({}, self.lacking({"s2": {A: 5}}))
        self.assertEqual({"s2": {A: 6}}, self.lacking({"s2": {A: 6}}))

    @modest
    @given(any_dependencies, st.dictionaries(st.sampled_from((A, B)), st.integers(1, 9)))
    def test_law_of_what_is_lacking(self, dependencies: Dependencies, vector: dict[bytes, int]) -> None:
        """What is lacking is needed; with that, nothing is."""
        self.role.vector, self.role.marks = dict(vector), NO_MARKS
        needed, lacking = self.past.needed(FROM_S0, token(dependencies)), self.lacking(dependencies)
        for shard, entries in lacking.items():
            self.assertTrue(dominates(needed[shard], entries))
        self.role.vector.update(lacking.get("s2", {}))
        self.role.marks = Marks({FROM_S0: {"s0": lacking.get("s0", {})}})
        self.assertEqual({}, self.lacking(dependencies))

    def report(self, vector: dict[bytes, int], marks: Marks = NO_MARKS) -> None:
        """The other member says what it has."""
        peer = self.state.liveness.peers[OTHER]
        peer.epoch, peer.vectors, peer.marks = self.state.epoch, {"s2": vector}, {"s2": marks}

    def test_holds(self) -> None:
        """A member has what it reported, and what it wrote itself."""
        own = member_of(self.configuration, "s2", OTHER).writer
        self.assertTrue(self.past.holds(OTHER, FROM_S0, EMPTY))
        self.assertTrue(self.past.holds(OTHER, FROM_S0, token({"s2": {own: 7}})))
        wanted = token({"s0": {A: 2}, "s1": {B: 9}, "s2": {B: 3, own: 7}})
        self.assertFalse(self.past.holds(OTHER, FROM_S0, wanted))
        self.report({B: 3})
        self.assertFalse(self.past.holds(OTHER, FROM_S0, wanted))
        self.report({B: 3}, Marks({FROM_S0: {"s0": {A: 2}}}))
        self.assertTrue(self.past.holds(OTHER, FROM_S0, wanted))
        self.state.liveness.peers[OTHER].epoch -= 1
        self.assertFalse(self.past.holds(OTHER, FROM_S0, wanted))

    def test_is_ready(self) -> None:
        """A tenure that was taken over is served once its copy is complete; one of the founding always."""
        self.assertTrue(self.past.is_ready(NO_MARKS, 0))
        self.assertFalse(self.past.is_ready(Marks(ready=(3,)), FROM_S0))
        self.assertTrue(self.past.is_ready(Marks(ready=(3, FROM_S0)), FROM_S0))
