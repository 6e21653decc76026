"""What an operator can force where most voters are gone, and what becomes of nodes that were given up or are on a lost branch."""

from kvsd.replication.branches import Forced
from kvsd.replication.messages import Announce, Heartbeat
from kvsd.replication.requests import (
    AddNode,
    Changed,
    CountKeys,
    ForgetNode,
    Found,
    GiveUp,
    Overloaded,
    Refused,
    Unassigned,
    Unknown,
)
from kvsd.replication.saved import Saved
from kvsd.replication.wishes import NEVER, NO_SUCH_NODE
from tests.pure import ADDRESSES, PureCluster, with_limits
from tests.pure_case import PureCase

ONE, TWO, THREE, FOUR, FIVE = ADDRESSES[:5]
NEW, ANOTHER = "10.0.0.98:8090", "10.0.0.99:8090"


class ForcingCase(PureCase):
    """A cluster most of whose voters fall silent."""

    def found(self, nodes: int, shards: int = 1) -> None:
        """Found the cluster."""
        self.cluster = PureCluster(nodes, shards).founded()

    def fenced(self, *addresses: str) -> list[str]:
        """Which of these nodes are fenced."""
        return [address for address in addresses if self.cluster.sites[address].replica.state.fenced]

    def forced(self, *given_up: str, at: str = ONE) -> None:
        """Give nodes up, and see that it is done."""
        self.assertEqual(Changed(), self.outcome(GiveUp(given_up), at, seconds=8.0))


class GivenUpTests(ForcingCase):
    """The nodes that are left go on."""

    def test_one_of_two(self) -> None:
        """Of two nodes one is gone: without force nothing can be changed, with it everything."""
        self.found(2)
        self.cluster.put(ONE, "key", "1")
        instance = self.configuration().nodes[TWO]
        self.crash(TWO)
        self.assertIsInstance(self.outcome(ForgetNode(TWO), seconds=11.0), Overloaded)
        self.forced(TWO)
        self.assertEqual((Forced(2, ((TWO, instance),), 1),), self.configuration().forced)
        self.assertEqual({ONE}, self.configuration().nodes.keys())
        self.assertEqual(Changed(), self.outcome(AddNode(NEW)))
        found = self.cluster.get(ONE, "key")
        assert isinstance(found, Found)
        self.assertEqual(b"1", found.value)

    def test_all_who_are_left_agree(self) -> None:
        """Of five voters three are gone: both others have to be there for it."""
        self.found(5)
        self.crash(THREE, FOUR, FIVE)
        self.forced(THREE, FOUR, FIVE)
        self.assertEqual(2, self.configuration(TWO).forced[0].voters)
        self.assertEqual(self.configuration(ONE), self.configuration(TWO))
        self.assertEqual({ONE, TWO}, self.configuration().nodes.keys())

    def test_losses_settle(self) -> None:
        """What only they had is lost, and told."""
        self.found(3)
        self.cluster.isolate(ONE)
        self.cluster.run(0.5)
        self.cluster.put(TWO, "key", "1")
        self.cluster.run(0.5)
        self.crash(TWO, THREE)
        self.cluster.heal()
        self.forced(TWO, THREE)
        self.cluster.run(2.0)
        self.assertEqual({TWO: 0, THREE: 0}, {loss.node: loss.kept for loss in self.configuration().lost.values()})

    def test_empty_disk(self) -> None:
        """Who was given up and is started with an empty disk is let in anew."""
        self.found(2)
        self.crash(TWO)
        self.forced(TWO)
        site = self.cluster.start(TWO)
        self.cluster.perform(site, site.replica.start(Saved(), None, (ONE,), self.cluster.now(site)))
        self.cluster.run(3.0)
        self.assertEqual({ONE, TWO}, self.configuration().nodes.keys())
        self.assertEqual(self.configuration(), self.configuration(TWO))


class RefusedTests(ForcingCase):
    """What can't be forced."""

    def test_never(self) -> None:
        """Where one of the voters that are left takes no part in it, nothing is forced, whoever is asked."""
        self.found(5)
        self.cluster.sites[TWO].replica.state.limits = with_limits(may_force=False)
        self.crash(THREE, FOUR, FIVE)
        self.assertEqual(Refused(NEVER), self.outcome(GiveUp((THREE, FOUR, FIVE)), TWO))
        self.assertIsInstance(self.outcome(GiveUp((THREE, FOUR, FIVE)), ONE, seconds=15.0), Overloaded)
        self.assertEqual(1, self.configuration().epoch)

    def test_by_name(self) -> None:
        """Nobody is given up who is up or unknown; all who are silent have to be named."""
        self.found(5)
        self.crash(THREE, FOUR, FIVE)
        self.assertEqual(Unknown(NO_SUCH_NODE), self.outcome(GiveUp((NEW,))))
        up = Refused(f"{TWO} is up: remove it instead, which loses nothing")
        self.assertEqual(up, self.outcome(GiveUp((TWO, THREE, FOUR, FIVE))))
        self.assertEqual(Refused(f"{ONE} is up: remove it instead, which loses nothing"), self.outcome(GiveUp((ONE,))))
        outcome = self.outcome(GiveUp((THREE, FOUR)))
        self.assertEqual(
            Refused(f"{FIVE} can't be heard either: name all that are gone, or wait for the others"), outcome
        )
        self.assertEqual(1, self.configuration().epoch)

    def test_majority(self) -> None:
        """Where a majority is up, nothing has to be forced."""
        self.found(3)
        self.crash(THREE)
        text = "a majority of the voters is up: forget the nodes one after another, without force"
        self.assertEqual(Refused(text), self.outcome(GiveUp((THREE,))))

    def test_shard_without_members(self) -> None:
        """No shard is given up."""
        self.found(4, 2)
        self.crash(TWO, FOUR)
        self.assertEqual(Refused(f"s1 would have no member without {FOUR}"), self.outcome(GiveUp((TWO, FOUR))))

    def test_not_before_its_time(self) -> None:
        """Who has been silent for a short time only is waited for, and may come back."""
        self.found(2)
        self.crash(TWO, seconds=1.5)
        ticket = self.cluster.submit(ONE, GiveUp((TWO,)))
        self.cluster.run(3.0)
        self.assertNotIn(ticket, self.cluster.sites[ONE].outcomes)
        self.assertEqual(1, self.configuration().epoch)
        self.cluster.run(1.5)
        self.assertEqual(Changed(), self.cluster.sites[ONE].outcomes[ticket])

    def test_voters_who_hear_of_them(self) -> None:
        """A voter that hears of a node, if only by others, does not give it up."""
        self.found(5)
        self.crash(FOUR, FIVE)
        deaf = {frozenset((ONE, THREE))}
        self.cluster.cut = lambda a, b, m: frozenset((a, b)) in deaf
        self.cluster.run(4.0)
        outcome = self.outcome(GiveUp((THREE, FOUR, FIVE)), seconds=11.0)
        self.assertIsInstance(outcome, Overloaded)
        self.assertEqual(1, self.configuration().epoch)

    def test_after_a_start(self) -> None:
        """Who has just been started does not know yet who is silent for long."""
        self.found(2)
        self.crash(TWO)
        self.cluster.crash(ONE)
        self.cluster.restart(ONE)
        ticket = self.cluster.submit(ONE, GiveUp((TWO,)))
        self.cluster.run(4.8)
        self.assertNotIn(ticket, self.cluster.sites[ONE].outcomes)
        self.cluster.run(1.0)
        self.assertEqual(Changed(), self.cluster.sites[ONE].outcomes[ticket])


class FencedTests(ForcingCase):
    """Nodes that come back though they were given up, and branches that do not go on."""

    def test_given_up_and_back(self) -> None:
        """Who was given up and comes back with its data has no part in anything, says why, and forgets nothing."""
        self.found(3)
        self.cluster.put(TWO, "key", "1")
        self.crash(TWO, THREE)
        self.forced(TWO, THREE)
        before = dict(self.cluster.sites[TWO].disk)
        site = self.cluster.restart(TWO)
        self.cluster.run(5.0)
        self.assertEqual([TWO], self.fenced(ONE, TWO))
        self.assertEqual((before, 1), (site.disk, site.replica.state.epoch))
        self.assertIn("given up by an operator", site.replica.state.fenced)
        for request in (AddNode(NEW), CountKeys("s0")):
            self.assertEqual(Unassigned(site.replica.state.fenced), self.outcome(request, TWO))
        self.assertEqual(Unassigned(site.replica.state.fenced), self.cluster.get(TWO, "key"))
        self.assertEqual({ONE}, self.configuration().nodes.keys())
        self.cluster.sent.clear()
        self.cluster.run(5.0)
        self.assertEqual([], [m for sender, _, m in self.cluster.sent if sender == TWO])

    def test_not_let_in_with_its_data(self) -> None:
        """Its address can be added again; its old data directory is not let in by that."""
        self.found(2)
        self.crash(TWO)
        self.forced(TWO)
        self.assertEqual(Changed(), self.outcome(AddNode(TWO)))
        self.cluster.cut = lambda a, b, m: not isinstance(m, Heartbeat | Announce)
        self.cluster.restart(TWO)
        self.cluster.run(5.0)
        self.assertEqual(b"", self.configuration().nodes[TWO])
        self.assertIn(
            "start it with an empty data directory", self.cluster.sites[ONE].replica.duties.log["bind"].blocked
        )

    def part(self, *side: str) -> None:
        """The network parts for long."""
        self.cluster.isolate(*side)
        self.cluster.run(6.0)

    def heal(self) -> None:
        """It is mended."""
        self.cluster.heal()
        self.cluster.run(5.0)

    def test_given_up_though_alive(self) -> None:
        """An operator gave up nodes that were only cut off: they end, as they had changed nothing meanwhile."""
        self.found(3)
        self.part(ONE)
        self.forced(TWO, THREE)
        self.cluster.put(TWO, "key", "1")
        self.heal()
        self.assertEqual([TWO, THREE], self.fenced(ONE, TWO, THREE))

    def test_quorum_goes_on(self) -> None:
        """Where a majority has decided something else meanwhile, it goes on, and who has forced ends; nothing is forgotten."""
        self.found(3)
        self.part(ONE)
        self.forced(TWO, THREE)
        self.assertEqual(Changed(), self.outcome(AddNode(NEW), TWO))
        self.cluster.put(ONE, "key", "1")
        before = {key: value for key, value in self.cluster.sites[ONE].disk.items() if key[0] == "rows"}
        self.heal()
        self.assertEqual([ONE], self.fenced(ONE, TWO, THREE))
        rows = {key: value for key, value in self.cluster.sites[ONE].disk.items() if key[0] == "rows"}
        self.assertEqual((before, 1), (rows, len(rows)))
        self.assertIn("does not go on", self.cluster.sites[ONE].replica.state.fenced)
        self.assertIn("fork-met", [note.event for site in self.cluster.live() for note in site.notes])
        self.assertEqual(Changed(), self.outcome(AddNode(ANOTHER), TWO))

    def test_later_epoch_does_not_help(self) -> None:
        """It does not matter who has changed more."""
        self.found(3)
        self.part(ONE)
        self.assertEqual(Changed(), self.outcome(AddNode(NEW), TWO))
        self.forced(TWO, THREE)
        for number in range(5):
            self.assertEqual(Changed(), self.outcome(AddNode(f"10.0.1.{number}:8090")))
        self.heal()
        self.assertEqual([ONE], self.fenced(ONE, TWO, THREE))

    def test_both_sides_force(self) -> None:
        """Of two branches that were forced with as many voters, the one goes on whose given up come first by name."""
        for side in ((ONE, TWO), (THREE, FOUR)):
            self.found(4)
            others = tuple(address for address in ADDRESSES[:4] if address not in side)
            self.part(*side)
            self.forced(*others, at=side[0])
            self.forced(*side, at=others[0])
            self.heal()
            self.assertEqual([ONE, TWO], self.fenced(*ADDRESSES[:4]))

    def test_the_other_side_is_stopped(self) -> None:
        """The way back: where the other side is stopped, who was fenced goes on once it is started again."""
        self.found(3)
        self.part(ONE)
        self.forced(TWO, THREE)
        self.heal()
        self.assertEqual([TWO, THREE], self.fenced(TWO, THREE))
        for address in (ONE, TWO, THREE):
            self.cluster.crash(address)
        for address in (TWO, THREE):
            self.cluster.restart(address)
        self.cluster.run(6.0)
        self.assertEqual([], self.fenced(TWO, THREE))
        self.assertEqual(Changed(), self.outcome(ForgetNode(ONE), TWO))

    def test_who_waits_is_told(self) -> None:
        """Whoever waits at a node when it is fenced is answered."""
        self.found(3)
        self.part(ONE)
        self.forced(TWO, THREE)
        self.crash(THREE, seconds=0.0)
        ticket = self.cluster.submit(TWO, AddNode(NEW))
        self.cluster.run(1.0)
        self.heal()
        self.assertEqual(
            Unassigned(self.cluster.sites[TWO].replica.state.fenced), self.cluster.sites[TWO].outcomes[ticket]
        )
