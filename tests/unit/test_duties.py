"""What is done to the configuration without anybody asking for it, and what is said where it can't be done yet."""

from kvsd.replication.changes import ChangeRefused
from kvsd.replication.configuration import Configuration
from kvsd.replication.duties import Duties
from kvsd.replication.duty import Duty
from kvsd.replication.messages import (
    Announce,
    Heartbeat,
    Imported,
    Prepare,
    PullOps,
    PullRows,
    Push,
    TellConfiguration,
)
from kvsd.replication.replica import Replica
from kvsd.replication.requests import AddNode, ForgetNode, RemoveNode, Reshard
from tests.pure import ADDRESSES, PureCluster
from tests.pure_case import PureCase
from tests.unit.test_membership import NEW, newcomer, without

ONE, TWO, THREE, FOUR = ADDRESSES[:4]
ANOTHER = b"another instance"


class DutiesCase(PureCase):
    """Four nodes with two shards; the odd ones are members of s0."""

    def setUp(self) -> None:
        self.cluster = PureCluster(4, 2).founded()

    def replica(self, at: str = ONE) -> Replica:
        """A node's replica."""
        return self.cluster.sites[at].replica

    def duty(self, name: str, at: str = ONE) -> Duty:
        """What became of a duty at a node."""
        return self.replica(at).duties.log[name]

    def proposers(self) -> set[str]:
        """Who has proposed anything since the last call."""
        found = {sender for sender, _, message in self.cluster.sent if isinstance(message, Prepare)}
        self.cluster.sent.clear()
        return found


class DriverTests(DutiesCase):
    """One node sees to the duties."""

    def test_the_first_that_is_up(self) -> None:
        """It is the first node of all that are up; all agree on it."""
        self.assertEqual({ONE}, {self.replica(a).duties.driver() for a in ADDRESSES[:4]})
        self.cluster.crash(ONE)
        self.cluster.run(2.0)
        self.assertEqual({TWO}, {self.replica(a).duties.driver() for a in ADDRESSES[1:4]})
        self.assertIsNone(Replica(self.replica().state.identity).duties.driver())

    def test_nobody_else_proposes(self) -> None:
        """Only that one proposes; when it is down, the next one does."""
        self.cluster.sent.clear()
        newcomer(self.cluster)
        self.cluster.run(2.0)
        self.assertEqual({ONE}, self.proposers())
        self.cluster.crash(ONE)
        self.cluster.run(2.0)
        newcomer(self.cluster, "10.0.0.8:8090")
        self.cluster.run(2.0)
        self.assertEqual({TWO}, self.proposers())
        self.assertIn("10.0.0.8:8090", self.configuration(TWO).nodes)

    def test_waits_for_its_disk(self) -> None:
        """What the driver itself has counts only where it is durable: it waits until its disk knows the configuration, too."""
        site = self.cluster.sites[ONE]
        site.holding = True
        self.cluster.submit(TWO, AddNode(NEW))
        newcomer(self.cluster)
        self.cluster.run(0.5)
        self.assertEqual(ONE, self.replica().duties.driver())
        self.assertEqual(b"", self.configuration().nodes[NEW])
        self.assertIsNone(self.replica().duties.next(self.cluster.now(site)))
        self.cluster.sync(site)
        self.assertIsNotNone(self.replica().duties.next(self.cluster.now(site)))

    def test_nothing_to_do(self) -> None:
        """A cluster at rest proposes nothing, and nothing blocks it."""
        self.cluster.sent.clear()
        self.cluster.run(5.0)
        self.assertEqual(set(), self.proposers())
        for duty in self.replica().duties.log.values():
            self.assertEqual(Duty(), duty)
        self.assertEqual({}, self.replica(TWO).duties.log)

    def test_refused(self) -> None:
        """A change that is refused blocks its duty, in words, and no other."""

        def refused() -> Configuration:
            raise ChangeRefused("it makes no sense")

        record = Duty()
        self.assertIsNone(Duties._made(record, "did something", refused))
        self.assertEqual("did something: it makes no sense", record.blocked)


class NodesTests(DutiesCase):
    """Duties towards nodes."""

    def test_admit(self) -> None:
        """Who asks to be let in is let in, and that is noted with its time."""
        newcomer(self.cluster)
        self.cluster.run(2.0)
        duty = self.duty("admit")
        self.assertEqual((f"let {NEW} in", ""), (duty.last, duty.blocked))
        self.assertGreater(duty.at, self.cluster.time - 2.5)

    def test_bind(self) -> None:
        """A node that was added by its address is waited for, and bound once it is heard of."""
        self.cluster.submit(TWO, AddNode(NEW))
        self.cluster.run(1.0)
        self.assertEqual(f"{NEW} was never heard of", self.duty("bind").blocked)
        self.assertEqual(b"", self.configuration().nodes[NEW])
        self.cluster.cut = without(Announce)
        newcomer(self.cluster)
        self.cluster.run(2.0)
        self.assertEqual((f"bound {NEW}", ""), (self.duty("bind").last, self.duty("bind").blocked))
        self.assertEqual(b"a fresh instance", self.configuration().nodes[NEW])

    def test_lose_and_settle(self) -> None:
        """A node with another disk is taken in; what is left of its writes is put down once all who may know have said."""
        key = self.cluster.key_of("s1")
        for number in range(3):
            self.cluster.put(FOUR, key, str(number))
        self.cluster.run(1.0)
        self.cluster.crash(FOUR)
        self.cluster.boot(FOUR, ANOTHER)
        self.cluster.run(6.0)
        self.assertEqual(f"took in {FOUR}, whose disk is gone", self.duty("lose").last)
        self.assertEqual(f"settled the losses of {FOUR} in s1", self.duty("settle").last)
        (loss,) = self.configuration().lost.values()
        self.assertEqual((3, 3), (loss.known, loss.kept))

    def test_disk_that_is_lost_while_its_node_is_removed(self) -> None:
        """A removed node that comes back with another disk owes nothing any more under its old name, which is settled."""
        self.cluster.put(FOUR, self.cluster.key_of("s1"), "1")
        self.cluster.run(1.0)
        self.cluster.crash(FOUR)
        self.cluster.submit(ONE, RemoveNode(FOUR))
        self.cluster.run(6.0)
        self.assertEqual([FOUR], [member.node for member in self.configuration().shards["s1"].departed])
        self.cluster.boot(FOUR, ANOTHER)
        self.cluster.run(6.0)
        self.assertEqual(ANOTHER, self.configuration().nodes[FOUR])
        self.assertEqual((), self.configuration().shards["s1"].departed)
        self.assertEqual(f"gave up what {FOUR} was before", self.duty("lose").last)
        (loss,) = self.configuration().lost.values()
        self.assertEqual((FOUR, 1, 1), (loss.node, loss.known, loss.kept))

    def test_settle_is_blocked(self) -> None:
        """It is said of whom nothing is known while a loss can't be settled."""
        self.cluster = PureCluster(6, 2).founded()
        six = ADDRESSES[5]
        self.cluster.put(FOUR, self.cluster.key_of("s1"), "1")
        self.cluster.run(1.0)
        self.cluster.crash(FOUR)
        self.cluster.crash(six)
        self.cluster.boot(FOUR, ANOTHER)
        self.cluster.run(6.0)
        self.assertEqual(f"{six} has not said what it has of s1", self.duty("settle").blocked)
        self.assertEqual([None], [loss.kept for loss in self.configuration().lost.values()])
        self.cluster.restart(six)
        self.cluster.run(6.0)
        self.assertEqual("", self.duty("settle").blocked)
        self.assertEqual([1], [loss.kept for loss in self.configuration().lost.values()])

    def test_settle_waits_for_agreement(self) -> None:
        """While members have not told each other what they have of a lost writer, nothing is put down."""
        self.cluster = PureCluster(6, 2).founded()
        six = ADDRESSES[5]
        self.cluster.cut = without(Push, PullOps, PullRows, to=six)
        self.cluster.put(FOUR, self.cluster.key_of("s1"), "1")
        self.cluster.run(1.0)
        self.cluster.crash(FOUR)
        self.cluster.boot(FOUR, ANOTHER)
        self.cluster.run(5.0)
        self.assertEqual("the members of s1 have not yet told each other what they have", self.duty("settle").blocked)
        self.cluster.heal()
        self.cluster.run(5.0)
        self.assertEqual([1], [loss.kept for loss in self.configuration().lost.values()])

    def test_place(self) -> None:
        """A node that was left out of a reshard as it was down gets a place when it is back."""
        self.cluster = PureCluster(6, 3).founded()
        six = ADDRESSES[5]
        self.cluster.crash(six)
        self.cluster.run(4.0)
        self.cluster.submit(ONE, Reshard(2))
        self.cluster.run(6.0)
        self.assertEqual((six,), self.configuration().absent)
        self.cluster.restart(six)
        self.cluster.run(8.0)
        self.assertRegex(self.duty("place").last, f"gave {six} a place in s[01]")
        self.assertIsNotNone(self.configuration().member(six))


class ShardsTests(DutiesCase):
    """Duties towards shards."""

    def test_hand_off(self) -> None:
        """While a shard is still copying, it is said from whom; then the slots are handed off."""
        self.cluster.put(ONE, self.cluster.key_of("s1"), "1")
        self.cluster.cut = without(Imported)
        self.cluster.submit(TWO, Reshard(1))
        self.cluster.run(2.0)
        self.assertIn(" is still copying ", self.duty("hand-off").blocked)
        self.assertEqual(["s0", "s1"], self.configuration().shard_ids())
        self.cluster.heal()
        self.cluster.run(6.0)
        self.assertEqual(("handed slots off", ""), (self.duty("hand-off").last, self.duty("hand-off").blocked))
        self.assertEqual("s0 has all of s1", self.duty("drain").last)
        self.assertRegex(self.duty("retire").last, "has left s1")

    def test_given_up(self) -> None:
        """A reshard that nobody can go on with is given up after a while, and that is noted."""
        self.cluster.cut = without(Imported)
        self.cluster.submit(TWO, Reshard(1))
        self.cluster.run(1.0)
        self.cluster.crash(TWO)
        self.cluster.crash(FOUR)
        self.cluster.heal()
        self.cluster.run(9.0)
        self.assertIsNotNone(self.configuration().pending)
        self.cluster.restart(TWO)  # or else there is no majority
        self.cluster.run(6.0)
        self.assertEqual(("", None), (self.duty("hand-off").blocked, self.configuration().pending))

    def test_retire_is_blocked(self) -> None:
        """Who departed with writes that nobody else has is waited for, until it is back or forgotten."""
        self.cluster.cut = without(Push, Heartbeat, of=FOUR)
        self.cluster.put(FOUR, self.cluster.key_of("s1"), "1")
        self.cluster.submit(ONE, RemoveNode(FOUR))
        self.cluster.crash(FOUR)
        self.cluster.run(4.0)
        self.assertEqual(f"{FOUR} may have writes of s1 that nobody else has", self.duty("retire").blocked)
        self.cluster.submit(ONE, ForgetNode(FOUR))
        self.cluster.run(4.0)
        self.assertEqual("", self.duty("retire").blocked)

    def test_retire_waits_for_importers(self) -> None:
        """Nor does anybody leave for good from whom others may still take writes over."""
        self.cluster = PureCluster(6, 2).founded()
        self.cluster.cut = without(Imported)
        self.cluster.submit(ONE, Reshard(3))
        self.cluster.run(1.0)
        self.cluster.cut = without(TellConfiguration, to=THREE)
        self.cluster.run(4.0)
        self.assertEqual(["s0", "s1", "s2"], self.configuration().shard_ids())
        self.assertEqual("others may still lack writes of s0", self.duty("retire").blocked)
        self.assertEqual(f"{ADDRESSES[4]} may still lack writes of s0", self.duty("drain").blocked)
        self.cluster.heal()
        self.cluster.run(4.0)
        self.assertEqual(("", ""), (self.duty("retire").blocked, self.duty("drain").blocked))
        self.assertEqual((), self.configuration().shards["s0"].departed)
