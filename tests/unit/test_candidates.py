"""Whom a request is put to: reads to one member, all else for a moment to the same one and in the long run to each."""

from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication.candidates import TURN_SECONDS, Candidates
from kvsd.replication.requests import CountKeys, Get, Put, Question
from kvsd.replication.token import EMPTY
from tests.pure import PureCluster


class CandidatesTests(SynchronousTestCase):
    """A cluster of two shards, seen from a member of the other one."""

    def setUp(self) -> None:
        self.cluster = PureCluster().founded()
        self.key, self.members = self.cluster.key_of("s0"), self.cluster.members("s0")
        self.askers = self.cluster.members("s1")
        states = [self.cluster.sites[asker].replica.state for asker in self.askers]
        self.candidates = [Candidates(state) for state in states]

    def firsts(self, request: Question) -> list[str]:
        """Whom each node asks first, in a row of moments."""
        firsts: list[str] = []
        for _ in range(30):
            self.cluster.run(TURN_SECONDS)
            for candidates in self.candidates:
                now = {candidates.in_order("s0", request)[0] for _ in range(5)}
                self.assertEqual(len(now), 1)
                firsts += now
        return firsts

    def test_reads(self) -> None:
        """A node puts reads to one member, and each node of a shard to another one; where that is down, to the next."""
        firsts = self.firsts(Get(self.key, EMPTY))[: len(self.askers)]
        self.assertEqual(set(firsts), set(self.members))
        self.assertEqual(firsts, self.firsts(Get(self.key, EMPTY))[-len(self.askers) :])
        self.cluster.isolate(firsts[0])
        self.cluster.run(3.0)
        seconds = self.firsts(Get(self.key, EMPTY))
        self.assertNotIn(firsts[0], seconds)

    def test_turns(self) -> None:
        """In one moment a node asks the same member again and again; after some time it has asked all of them alike."""
        firsts = self.firsts(CountKeys("s0"))
        for number in range(len(self.askers)):
            mine = firsts[number :: len(self.askers)]
            for member in self.members:
                self.assertGreater(mine.count(member), 5)

    def test_at_regular_intervals(self) -> None:
        """Who asks once in a while, however regularly, does not always meet the same member."""
        for every in (2, 3, 4, 6):
            firsts = set()
            for _ in range(6):
                self.cluster.run(every * TURN_SECONDS)
                firsts.add(self.candidates[0].in_order("s0", CountKeys("s0"))[0])
            self.assertEqual(firsts, set(self.members))

    def test_others_ask_others(self) -> None:
        """Not all nodes begin with the same member."""
        for candidates in self.candidates:
            candidates.in_order("s0", CountKeys("s0"))
        self.assertGreater(len({c.in_order("s0", CountKeys("s0"))[0] for c in self.candidates}), 1)

    def test_retries(self) -> None:
        """All tries of a request with an id go to the same member, whoever sends them."""
        self.assertEqual(len(set(self.firsts(Put(self.key, b"1", EMPTY, request="r1")))), 1)
