"""Write concern: an acknowledgement waits for as many replicas as were asked for, and says how many have the write."""

from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication.concern import needed
from kvsd.replication.messages import Acknowledged, Forward, Heartbeat, Prepare, PullOps, PullRows, Push
from kvsd.replication.requests import (
    NO_CONCERN,
    Absent,
    AddMember,
    Concern,
    Outcome,
    Overloaded,
    Put,
    Refused,
    RemoveNode,
    Reshard,
    Unconfirmed,
    Written,
    read_concern,
)
from kvsd.replication.token import EMPTY, Token
from tests.pure import PureCluster, Site, with_limits
from tests.unit.test_learners import FIRST, FOURTH, SECOND, THIRD, LearnersCase
from tests.unit.test_membership import NEW, without


class ConcernTests(SynchronousTestCase):
    """Three replicas of one shard."""

    def setUp(self) -> None:
        """Found the cluster."""
        self.cluster = PureCluster(3, 1, with_limits(concerns=3)).founded()
        self.first, self.second, self.third = self.cluster.members("s0")
        self.cluster.sent.clear()

    def site(self, address: str) -> Site:
        """A node."""
        return self.cluster.sites[address]

    def hold(self, *addresses: str) -> None:
        """Have the disks of nodes sync nothing until they are told to."""
        for address in addresses:
            self.site(address).holding = True

    def sync(self, address: str) -> None:
        """A node's disk is done with all that it was given."""
        self.cluster.sync(self.site(address))

    def write(
        self, concern: Concern, key: str = "k", *, request: str = "", within: float | None = None, token: Token = EMPTY
    ) -> int:
        """The first node is asked to write; returns the ticket."""
        put = Put(key, b"1", token, 0, request, concern=concern, within=within)
        return self.cluster.submit(self.first, put)

    def outcome(self, ticket: int) -> Outcome | None:
        """What the first node has answered."""
        return self.site(self.first).outcomes.get(ticket)

    def assert_written(self, ticket: int, replicas: int, of: int = 3) -> None:
        """A write was answered, and so many replicas have it."""
        outcome = self.outcome(ticket)
        assert isinstance(outcome, Written), outcome
        self.assertEqual((replicas, of), (outcome.replicas, outcome.of))

    def assert_unconfirmed(self, ticket: int, replicas: int, of: int = 3) -> None:
        """A write was answered for want of time, and so many replicas are known to have it."""
        outcome = self.outcome(ticket)
        assert isinstance(outcome, Unconfirmed), outcome
        self.assertEqual((replicas, of), (outcome.replicas, outcome.of))
        self.assertTrue(outcome.token.hlc)

    def messages(self, kind: type) -> list[tuple[str, str]]:
        """Who sent messages of a kind to whom."""
        return [(sender, receiver) for sender, receiver, message in self.cluster.sent if isinstance(message, kind)]

    def lose(self, kind: type, receiver: str) -> None:
        """Have all messages of a kind to a node get lost."""
        self.cluster.cut = lambda _, to, message: isinstance(message, kind) and to == receiver


class AcknowledgementTests(ConcernTests):
    """When an acknowledgement is given."""

    def test_one_is_answered_at_once_and_costs_nothing(self) -> None:
        """Without a concern nobody is waited for, and nobody sends anything more."""
        self.hold(self.second, self.third)
        self.assert_written(self.write(1), 0, of=0)
        self.sync(self.second)
        self.assertEqual([], self.messages(Acknowledged))
        self.assertEqual(2, len(self.messages(Push)))

    def test_majority_waits_for_another_disk(self) -> None:
        """Two of three have it once a second disk has it; that it was received is not enough."""
        self.hold(self.second, self.third)
        ticket = self.write("majority")
        self.assertIsNone(self.outcome(ticket))
        self.sync(self.third)
        self.assert_written(ticket, 2)

    def test_all_waits_for_every_disk(self) -> None:
        """Who asks for all waits for the last one, and nobody counts twice."""
        self.hold(self.second, self.third)
        ticket = self.write("all")
        self.sync(self.second)
        self.cluster.run(1.0)
        self.assertIsNone(self.outcome(ticket))
        self.sync(self.third)
        self.assert_written(ticket, 3)

    def test_a_number(self) -> None:
        """A number is as good as a word."""
        self.hold(self.third)
        self.assert_written(self.write(2), 2)
        ticket = self.write(3)
        self.assertIsNone(self.outcome(ticket))
        self.sync(self.third)
        self.assert_written(ticket, 3)

    def test_own_disk_counts_like_any_other(self) -> None:
        """Nothing is said before the write is on the disk of the node that was asked."""
        self.hold(self.first)
        ticket = self.write(2)
        self.cluster.run(0.5)
        self.assertIsNone(self.outcome(ticket))
        self.sync(self.first)
        self.assert_written(ticket, 2)

    def test_one_message_for_all_of_a_commit(self) -> None:
        """Writes that a disk syncs at once are acknowledged by one message; later ones do not wait for it."""
        self.hold(self.second)
        self.site(self.third).up = False
        tickets = [self.write("majority", f"k{number}") for number in range(3)]
        site = self.site(self.second)
        position = site.unsynced[-1].position
        self.cluster.perform(site, site.replica.synced(position, self.cluster.now(site)))
        self.assertEqual([(self.second, self.first)], self.messages(Acknowledged))
        for ticket in tickets:
            self.assert_written(ticket, 2)

    def test_deletion(self) -> None:
        """A deletion is a write; what was not there need not be anywhere."""
        self.write(1)
        self.hold(self.second, self.third)
        ticket = self.cluster.submit(self.first, Put("k", None, EMPTY, concern=2))
        self.assertIsNone(self.outcome(ticket))
        self.sync(self.second)
        self.assert_written(ticket, 2)
        ticket = self.cluster.submit(self.first, Put("other", None, EMPTY, concern=3))
        self.assertIsInstance(self.outcome(ticket), Absent)

    def test_held_back(self) -> None:
        """What a replica holds back, as a cause is missing, it has not acknowledged."""
        self.lose(Push, self.third)
        cause = self.cluster.put(self.second, "cause", "1")
        self.cluster.cut = lambda sender, to, message: isinstance(message, Heartbeat | PullOps)
        ticket = self.write("all", token=cause)
        self.assertEqual(1, self.site(self.third).replica.state.roles["s0"].holdback.count)
        self.assertEqual([(self.second, self.first)], self.messages(Acknowledged))
        self.cluster.heal()
        self.cluster.run(0.7)
        self.assert_written(ticket, 3)


class RepairTests(ConcernTests):
    """What happens when messages get lost."""

    def test_lost_push(self) -> None:
        """A write whose push was lost is fetched, and then counts."""
        self.lose(Push, self.second)
        ticket = self.write("all")
        self.cluster.run(1.5)
        self.assert_written(ticket, 3)

    def test_lost_acknowledgement(self) -> None:
        """What a replica reports counts as well."""
        self.lose(Acknowledged, self.first)
        ticket = self.write("all")
        self.assertIsNone(self.outcome(ticket))
        self.cluster.run(0.5)
        self.assert_written(ticket, 3)

    def test_time_is_up(self) -> None:
        """After some seconds the client is told how far its write came; it stays written, and is on its way."""
        self.cluster.isolate(self.first)
        ticket = self.write("majority")
        self.cluster.run(self.cluster.limits.concern_seconds - 0.2)
        self.assertIsNone(self.outcome(ticket))
        self.cluster.run(0.3)
        self.assert_unconfirmed(ticket, 1)
        self.cluster.heal()
        self.cluster.run(4.0)
        role = self.site(self.third).replica.state.roles["s0"]
        self.assertEqual(1, role.store.live_keys)

    def test_time_that_the_client_gives(self) -> None:
        """A client may give it more time or less, or none."""
        self.cluster.isolate(self.first, self.second)
        short, long, none = self.write("all", within=1), self.write("all", within=7), self.write("all", within=0)
        self.cluster.run(0.1)
        self.assert_unconfirmed(none, 2)
        self.cluster.run(1.0)
        self.assert_unconfirmed(short, 2)
        self.cluster.run(5.0)
        self.assertIsNone(self.outcome(long))
        self.cluster.run(1.0)
        self.assert_unconfirmed(long, 2)

    def test_client_gone(self) -> None:
        """Who has hung up is forgotten, and those after it are answered."""
        self.hold(self.second, self.third)
        gone, there = self.write("majority"), self.write("majority")
        site = self.site(self.first)
        self.cluster.perform(site, site.replica.cancel(gone))
        self.assertEqual(1, len(site.replica.concerns))
        self.sync(self.second)
        self.assertIsNone(self.outcome(gone))
        self.assert_written(there, 2)

    def test_stop(self) -> None:
        """A node that ends tells everybody how far their writes came."""
        self.hold(self.second, self.third)
        ticket = self.write("majority")
        site = self.site(self.first)
        self.cluster.perform(site, site.replica.stop(self.cluster.now(site)))
        self.assert_unconfirmed(ticket, 1)


class RefusalTests(ConcernTests):
    """What is not carried out."""

    def test_more_than_there_are(self) -> None:
        """More replicas than the shard has members are refused, and nothing is written."""
        outcome = self.outcome(self.write(4))
        self.assertEqual(Refused("w=4 asks for more replicas than shard s0 has members (3)"), outcome)
        self.assertEqual(0, self.site(self.first).replica.state.roles["s0"].store.live_keys)

    def test_more_than_there_are_by_default(self) -> None:
        """Where the node's settings ask for more than there are, and not the client, all of them are meant, as long as it lasts."""
        self.hold(self.third)
        put = Put("k", b"1", EMPTY, concern=4, capped=True)
        ticket = self.cluster.submit(self.first, put)
        self.assertIsNone(self.outcome(ticket))
        self.sync(self.third)
        self.assert_written(ticket, 3)
        elsewhere = self.cluster.submit(self.second, Put("k", b"2", EMPTY, concern=2, capped=True))
        outcome = self.site(self.second).outcomes[elsewhere]
        assert isinstance(outcome, Written)
        self.assertEqual(2, outcome.replicas)

    def test_more_than_are_left_by_default(self) -> None:
        """Where a member leaves while a write waits for it, all that are left are enough."""
        self.hold(self.third)
        ticket = self.cluster.submit(self.first, Put("k", b"1", EMPTY, concern=3, within=60.0, capped=True))
        explicit = self.write(3, "other", within=60.0)
        self.cluster.submit(self.first, RemoveNode(self.third))
        self.cluster.run(3.0)
        self.assert_written(ticket, 2, of=2)
        self.assertIsNone(self.outcome(explicit))

    def test_too_many(self) -> None:
        """Only so many writes wait; one more is refused before it is carried out."""
        self.hold(self.second, self.third)
        tickets = [self.write("all", f"k{number}") for number in range(4)]
        self.assertIsInstance(self.outcome(tickets[3]), Overloaded)
        self.assertEqual(3, self.site(self.first).replica.state.roles["s0"].store.live_keys)
        self.assertIsInstance(self.outcome(self.write(1)), Written)

    def test_texts(self) -> None:
        """A concern is a number from 1, or a word."""
        self.assertEqual([1, 12, "majority", "all"], [read_concern(text) for text in ("1", "12", "majority", "all")])
        for wrong in ("0", "-1", "", "most", "1.5", "٣", "9" * 10, "1,2", "Majority"):
            with self.assertRaises(ValueError) as caught:
                read_concern(wrong)
            self.assertEqual(NO_CONCERN, str(caught.exception))

    def test_needed(self) -> None:
        """A majority is more than half."""
        self.assertEqual([1, 2, 2, 3, 3], [needed("majority", members) for members in range(1, 6)])
        self.assertEqual((4, 2), (needed("all", 4), needed(2, 4)))


class RepeatTests(ConcernTests):
    """Writes that were carried out before."""

    def test_repeat_waits_for_the_same(self) -> None:
        """A write that is tried again waits until its first try is on enough disks."""
        self.hold(self.second, self.third)
        self.write(1, request="r")
        again = self.write("majority", request="r")
        self.assertIsNone(self.outcome(again))
        self.sync(self.second)
        self.cluster.run(0.5)
        self.assert_written(again, 2)

    def test_repeat_at_another_node(self) -> None:
        """One that is tried again elsewhere waits there."""
        self.hold(self.second)
        self.write(1, request="r")
        put = Put("k", b"1", EMPTY, 0, "r", concern="all")
        ticket = self.cluster.submit(self.third, put)
        self.cluster.run(1.0)
        self.assertNotIn(ticket, self.site(self.third).outcomes)
        self.sync(self.second)
        self.cluster.run(0.5)
        outcome = self.site(self.third).outcomes[ticket]
        self.assertEqual((3, 3), (outcome.replicas, outcome.of))  # type: ignore[union-attr]

    def test_repeat_of_what_was_overwritten(self) -> None:
        """One that was overwritten meanwhile waits until that is on enough disks."""
        self.write("all", request="r")
        self.hold(self.second, self.third)
        self.cluster.submit(self.first, Put("k", b"2", EMPTY))
        again = self.write(2, request="r")
        self.assertIsNone(self.outcome(again))
        self.sync(self.second)
        self.cluster.run(0.5)
        self.assert_written(again, 2)


class ForwardTests(SynchronousTestCase):
    """Two shards of three nodes each."""

    def setUp(self) -> None:
        """Found the cluster; a node of one shard is asked for a key of the other."""
        self.cluster = PureCluster(6, 2).founded()
        self.key = self.cluster.key_of("s1")
        self.asked = self.cluster.members("s0")[0]
        self.members = self.cluster.members("s1")

    def submit(self, within: float | None = None) -> int:
        """Ask for a write at all replicas."""
        return self.cluster.submit(self.asked, Put(self.key, b"1", EMPTY, concern="all", within=within))

    def test_forwarded(self) -> None:
        """A write that is sent on waits at the member that carries it out."""
        for address in self.members[1:]:
            self.cluster.sites[address].holding = True
        ticket = self.submit()
        self.assertNotIn(ticket, self.cluster.sites[self.asked].outcomes)
        for address in self.members:
            self.cluster.sync(self.cluster.sites[address])
            self.cluster.sites[address].holding = False
        self.cluster.run(0.5)
        outcome = self.cluster.sites[self.asked].outcomes[ticket]
        self.assertEqual((3, 3), (outcome.replicas, outcome.of))  # type: ignore[union-attr]

    def test_time_is_given_to_the_member(self) -> None:
        """As long as the member may wait, no other one is asked, and its answer is the client's."""
        self.cluster.sent.clear()
        self.cluster.cut = lambda _, to, message: to == self.members[2] and isinstance(message, Push | PullOps)
        ticket = self.submit(within=8)
        self.cluster.run(7.5)
        self.assertEqual(1, sum(isinstance(message, Forward) for _, _, message in self.cluster.sent))
        self.cluster.run(1.0)
        self.assertIsInstance(self.cluster.sites[self.asked].outcomes[ticket], Unconfirmed)


class MembershipTests(LearnersCase):
    """Two members of a shard, a node that learns it, and an operator who changes who is a member."""

    def setUp(self) -> None:
        """Found the cluster and have a node learn."""
        self.found()
        self.cluster.cut = without(PullOps, PullRows, to=NEW)
        self.outcome(AddMember("s0", NEW))
        self.assertEqual([NEW], self.learners())

    def write(self, concern: Concern) -> int:
        """The first node is asked to write a key of its shard."""
        return self.cluster.submit(FIRST, Put(self.keys[0], b"2", EMPTY, concern=concern, within=20))

    def answered(self, ticket: int) -> Outcome | None:
        """What the first node has answered."""
        return self.cluster.sites[FIRST].outcomes.get(ticket)

    def assert_written(self, ticket: int, replicas: int, of: int) -> None:
        """A write was answered, and so many replicas have it."""
        outcome = self.answered(ticket)
        assert isinstance(outcome, Written), outcome
        self.assertEqual((replicas, of), (outcome.replicas, outcome.of))

    def test_learners_do_not_count(self) -> None:
        """All members are all, and a learner is no member, though it acknowledges."""
        self.cluster.cut = lambda _, to, message: isinstance(message, Prepare)
        self.cluster.run(2.0)
        lost = Push | PullOps
        self.cluster.cut = lambda _, to, m: isinstance(m, Prepare) or (to == THIRD and isinstance(m, lost))
        ticket = self.write(2)
        self.cluster.run(0.5)
        acknowledged = [sender for sender, _, message in self.cluster.sent if isinstance(message, Acknowledged)]
        self.assertEqual({NEW}, set(acknowledged))
        self.assertEqual(([NEW], None), (self.learners(), self.answered(ticket)))
        self.cluster.cut = lambda _, to, message: isinstance(message, Prepare)
        self.cluster.run(3.0)
        self.assert_written(ticket, 2, of=2)

    def test_becomes_a_member(self) -> None:
        """A majority of two is both; of three it is two, and a learner that became a member is as good as the other."""
        self.cluster.cut = lambda _, to, m: to == THIRD and isinstance(m, Push | PullOps)
        ticket = self.write("majority")
        self.assertIsNone(self.answered(ticket))
        self.cluster.run(5.0)
        self.assertEqual([], self.learners())
        self.assert_written(ticket, 2, of=3)

    def test_leaves(self) -> None:
        """Who is removed is waited for no longer."""
        self.cluster.heal()
        self.cluster.run(5.0)
        self.assertEqual([], self.learners())
        self.cluster.cut = lambda _, to, message: to == THIRD and isinstance(message, Push | PullOps)
        ticket = self.write("all")
        self.cluster.run(0.5)
        self.assertIsNone(self.answered(ticket))
        self.cluster.submit(FIRST, RemoveNode(THIRD))
        self.cluster.run(3.0)
        self.assert_written(ticket, 2, of=2)

    def test_shard_is_no_more(self) -> None:
        """Where the shard ends, nobody is left to count: the client is told so at once."""
        self.cluster.heal()
        self.cluster.run(5.0)
        key = next(key for key in (f"key{n}" for n in range(60)) if self.shard_of(key) == "s1")
        self.cluster.cut = lambda _, to, message: to == FOURTH and isinstance(message, Push | PullOps)
        ticket = self.cluster.submit(SECOND, Put(key, b"2", EMPTY, concern="all", within=60))
        self.cluster.run(0.5)
        self.cluster.submit(FIRST, Reshard(1))
        self.cluster.run(15.0)
        self.assertEqual([], self.configuration().members("s1"))
        outcome = self.cluster.sites[SECOND].outcomes[ticket]
        assert isinstance(outcome, Unconfirmed), outcome
        self.assertEqual((1, 2), (outcome.replicas, outcome.of))
