"""Learners: nodes on their way to become members of a shard that others serve."""

from kvsd.replication.limits import Limits
from kvsd.replication.messages import Forward, Forwarded, PullOps, PullRows, Push
from kvsd.replication.requests import (
    AddMember,
    AddNode,
    Changed,
    Found,
    Get,
    RemoveNode,
    Reshard,
    Unassigned,
)
from kvsd.replication.token import EMPTY, Token
from tests.pure import ADDRESSES, PureCluster, Site, with_limits
from tests.pure_case import PureCase
from tests.unit.test_membership import NEW, newcomer, without

FIRST, SECOND, THIRD, FOURTH = ADDRESSES[:4]
NO_LOG = with_limits(page_rows=8, log_bytes=1, upkeep_seconds=0.2)


class LearnersCase(PureCase):
    """Four nodes with two shards and thirty keys, and a fifth node that has no place."""

    def found(self, limits: Limits | None = None) -> None:
        """Found the cluster, write the keys, and let the fifth node in."""
        self.cluster = cluster = PureCluster(4, 2, limits).founded()
        self.keys = [key for key in (f"key{n}" for n in range(60)) if self.shard_of(key) == "s0"]
        self.tokens: dict[str, Token] = {key: cluster.put(FIRST, key, "1") for key in self.keys}
        self.site: Site = newcomer(cluster)
        cluster.run(2.0)

    def shard_of(self, key: str) -> str:
        """The shard of a key."""
        return self.cluster.sites[FIRST].replica.state.shard_of(key)[1]

    def learners(self, shard: str = "s0") -> list[str]:
        """Who is learning a shard."""
        return [member.node for member in self.configuration().shards[shard].learners]


class LearningTests(LearnersCase):
    """A node is added to a shard."""

    def test_serves_nothing_before_it_is_whole(self) -> None:
        """A learner forwards what it is asked, and refuses what is forwarded to it; it counts as no member."""
        self.found()
        cluster = self.cluster
        cluster.cut = without(PullOps, PullRows, to=NEW)
        self.assertEqual(Changed(), self.outcome(AddMember("s0", NEW)))
        self.assertEqual(([NEW], [FIRST, THIRD]), (self.learners(), self.configuration().members("s0")))
        self.assertIsNone(self.site.replica.state.serving("s0"))
        found = cluster.ask(NEW, Get(self.keys[0], EMPTY))
        self.assertEqual(b"1", getattr(found, "value", found))
        sender = cluster.sender(cluster.sites[FIRST])
        cluster.sent.clear()
        forward = Forward(99, Get(self.keys[0], EMPTY))
        cluster.perform(self.site, self.site.replica.receive(sender, [forward], cluster.now(self.site)))
        refusal = Forwarded(99, Unassigned("not a member of s0, or not ready"))
        self.assertIn((NEW, FIRST, refusal), cluster.sent)

    def test_takes_no_write_before_it_is_promoted(self) -> None:
        """What a client writes at a learner is written by a member."""
        self.found()
        self.cluster.cut = without(PullOps, PullRows, to=NEW)
        self.outcome(AddMember("s0", NEW))
        token = self.cluster.put(NEW, self.keys[0], "2", self.tokens[self.keys[0]])
        role = self.site.replica.state.roles["s0"]
        self.assertNotIn(role.writer, token.dependencies["s0"])
        self.assertNotIn(role.writer, role.vector)

    def test_is_promoted_once_it_is_whole(self) -> None:
        """With all that a member had it becomes one, serves, and writes under its own name."""
        self.found()
        self.cluster.cut = without(PullOps, PullRows, to=NEW)
        self.outcome(AddMember("s0", NEW))
        log = self.cluster.sites[FIRST].replica.duties.log
        self.assertEqual(f"{NEW} has not yet all of s0", log["promote"].blocked)
        self.cluster.heal()
        self.cluster.run(2.0)
        self.assertEqual(([], True), (self.learners(), NEW in self.configuration().members("s0")))
        self.assertEqual(("", f"made {NEW} a member of s0"), (log["promote"].blocked, log["promote"].last))
        role = self.site.replica.state.serving("s0")
        assert role is not None
        self.assertEqual(len(self.keys), role.store.live_keys)
        token = self.cluster.put(NEW, self.keys[0], "2", self.tokens[self.keys[0]])
        self.assertIn(role.writer, token.dependencies["s0"])

    def test_what_is_not_durable_does_not_count(self) -> None:
        """While the disk of a learner has not kept what it fetched, it is not promoted."""
        self.found()
        ticket = self.cluster.submit(FIRST, AddMember("s0", NEW))
        self.cluster.sites[NEW].holding = True
        self.cluster.run(0.9)  # not so long that it falls silent
        self.assertEqual([NEW], self.learners())
        self.cluster.sites[NEW].holding = False
        self.cluster.run(5.0)
        self.assertEqual([], self.learners())
        self.assertEqual(Changed(), self.cluster.sites[FIRST].outcomes[ticket])

    def test_writes_go_on(self) -> None:
        """Writes while it learns reach it, too, and tokens of them are good at it."""
        self.found(NO_LOG)
        self.cluster.submit(FIRST, AddMember("s0", NEW))
        for number in range(30):
            key = self.keys[number % len(self.keys)]
            self.tokens[key] = self.cluster.put(FIRST if number % 2 else THIRD, key, str(number), self.tokens[key])
            self.cluster.run(0.1)
        self.cluster.run(1.0)
        self.assertIn(NEW, self.configuration().members("s0"))
        for key, token in self.tokens.items():
            seen = [self.cluster.get(at, key, token) for at in (FIRST, NEW)]
            self.assertIsInstance(seen[0], Found)
            self.assertEqual(getattr(seen[0], "value", 0), getattr(seen[1], "value", 1))

    def test_dies_while_it_learns(self) -> None:
        """A learner that dies goes on where it was when it is back."""
        self.found(NO_LOG)
        self.cluster.cut = without(PullOps, PullRows, to=NEW)
        self.outcome(AddMember("s0", NEW))
        self.cluster.crash(NEW)
        self.cluster.heal()
        self.cluster.run(2.0)
        self.cluster.restart(NEW)
        self.assertFalse(self.cluster.sites[NEW].replica.state.roles["s0"].whole)
        self.cluster.run(5.0)
        self.assertIn(NEW, self.configuration().members("s0"))
        self.assertEqual(len(self.keys), self.cluster.sites[NEW].replica.state.roles["s0"].store.live_keys)

    def test_is_removed_while_it_learns(self) -> None:
        """A learner that is removed loses its place, and what it had is forgotten."""
        self.found()
        self.cluster.cut = without(Push, PullOps, PullRows, to=NEW)
        self.outcome(AddMember("s0", NEW))
        self.assertEqual(Changed(), self.outcome(RemoveNode(NEW)))
        state = self.site.replica.state
        self.assertEqual(([], {}, []), (self.learners(), state.roles, state.dissolving))
        self.assertEqual(Changed(), self.outcome(AddNode(NEW)))


class MarksTests(LearnersCase):
    """A copy brings along what the shard was shown of others."""

    def test_copy_with_marks(self) -> None:
        """A learner of a shard that took slots over judges tokens of before as the members do."""
        self.found(NO_LOG)
        cluster = self.cluster
        cluster.submit(FIRST, AddMember("s1", NEW))
        cluster.run(3.0)
        self.assertEqual(Changed(), self.outcome(Reshard(1), seconds=10.0))
        sixth = newcomer(cluster, "10.0.0.8:8090")
        cluster.run(2.0)
        self.assertEqual(["s0"], self.configuration().shard_ids())
        self.assertEqual(Changed(), self.outcome(AddMember("s0", sixth.address), seconds=8.0))
        member, learner = (site.replica.state.roles["s0"] for site in (cluster.sites[FIRST], sixth))
        self.assertIn(sixth.address, self.configuration().members("s0"))
        self.assertNotEqual((), member.marks.ready)
        self.assertEqual(set(member.marks.ready), set(learner.marks.ready))
        self.assertEqual((member.marks.cover, set(member.marks.final)), (learner.marks.cover, set(learner.marks.final)))
        cluster.sent.clear()
        for key, token in self.tokens.items():
            found = cluster.get(sixth.address, key, token)
            self.assertEqual(b"1", getattr(found, "value", found))
        self.assertEqual([], [m for a, _, m in cluster.sent if a == sixth.address and isinstance(m, Forward)])
