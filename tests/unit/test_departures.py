"""
Members that departed: what they have is fetched before a source is done with; who has nothing says so.
"""

from collections.abc import Mapping

from kvsd.replication.messages import Heartbeat, Import, Imported
from kvsd.replication.reports import Reports
from kvsd.replication.requests import AddNode, Found, Put, Written
from kvsd.replication.token import EMPTY
from tests.unit.test_reshard import FIVE, ONE, SIX, THREE, TWO, ReshardCase

Disk = Mapping[tuple[str, bytes], bytes]
ANOTHER = b"another instance"
VALUE = b'"precious"'


class UnawareTests(ReshardCase):
    """A node that became and ceased to be a member while it was cut off."""

    def setUp(self) -> None:
        """One shard more and one less, of which it never hears."""
        self.found()
        self.cluster.isolate(FIVE)
        self.reshard(3)
        self.run_until(lambda: "s2" in self.configuration().shard_ids())
        self.assertIn(FIVE, self.configuration().members("s2"))
        self.reshard(2)
        self.run_until(lambda: "s2" not in self.configuration().shard_ids())
        self.cluster.run(3.0)

    def blocked(self, duty: str) -> str:
        """Why the driver can't do a duty."""
        return self.cluster.sites[ONE].replica.duties.log[duty].blocked

    def test_has_nothing_to_show(self) -> None:
        """It says so once it is back, and the source is done with."""
        self.assertIn("may still lack writes of s2", self.blocked("drain"))
        self.cluster.heal()
        self.run_until(self.is_quiet)
        self.check()

    def test_losses_are_settled(self) -> None:
        """Nor does it have to say how much it has of what another one wrote whose disk is gone."""
        self.cluster.crash(SIX)
        self.cluster.boot(SIX, ANOTHER)
        self.run_until(lambda: "has not said" in self.blocked("settle"))
        self.cluster.heal()
        self.run_until(self.is_quiet)
        self.check()

    def test_others_remember(self) -> None:
        """Who says that it never wrote is not believed where anybody remembers that it did."""
        departed = next(m for m in self.configuration().shards["s2"].departed if m.node == FIVE)
        state = self.cluster.sites[ONE].replica.state
        self.assertFalse(Reports(state).owes_nothing(departed))
        self.cluster.heal()
        self.cluster.run(0.5)
        self.assertTrue(Reports(state).owes_nothing(departed))
        state.liveness.peers[THREE].recalls = {departed.writer: 1}
        self.assertFalse(Reports(state).owes_nothing(departed))


class OldCopyTests(ReshardCase):
    """A departed member with a write that only it has is started with an old copy of its data."""

    def prepare(self, *, knows: bool) -> Disk:
        """The member is down, has departed, and has the old copy, of before or after it knew of its role; returns the right data."""
        self.found()
        five = self.cluster.sites[FIVE]
        old = dict(five.disk)
        self.complete(3)
        old = dict(five.disk) if knows else old
        self.traffic.write_all()
        self.cluster.run(1.0)
        state = self.cluster.sites[ONE].replica.state
        self.key = next(key for key in (f"zz{n}" for n in range(1000)) if state.shard_of(key)[1] == "s2")
        self.cluster.isolate(FIVE)
        self.assertIsInstance(self.cluster.ask(FIVE, Put(self.key, VALUE, EMPTY)), Written)
        right = dict(five.disk)
        self.cluster.crash(FIVE)
        self.reshard(2)
        self.run_until(lambda: "s2" not in self.configuration().shard_ids())
        self.cluster.run(3.0)
        self.cluster.heal()
        self.start(old)
        return right

    def start(self, disk: Disk) -> None:
        """Start the member with other data."""
        self.cluster.sites[FIVE].disk = dict(disk)
        self.cluster.restart(FIVE)

    def put_back(self, right: Disk) -> None:
        """With its right data, what it wrote is fetched."""
        self.assertEqual({"s2"}, {s for tenancy in self.configuration().tenures.values() for s in tenancy.sources})
        self.cluster.heal()
        self.cluster.crash(FIVE)
        self.start(right)
        self.run_until(self.is_quiet)
        seen = self.cluster.get(ONE, self.key)
        assert isinstance(seen, Found)
        self.assertEqual(VALUE, seen.value)

    def test_of_before_it_had_the_role(self) -> None:
        """It does not take itself for one that never wrote: others remember better, and it stops."""
        right = self.prepare(knows=False)
        self.cluster.cut = lambda sender, receiver, message: {FIVE, TWO} == {sender, receiver}  # it meets for long
        self.cluster.run(2.6)
        self.assertIn("the data is older", self.cluster.sites[FIVE].halted)
        self.put_back(right)

    def test_while_it_meets_the_others(self) -> None:
        """It does not say that it has shown all while nobody could tell it that its data is old."""
        right = self.prepare(knows=True)
        self.cluster.cut = lambda sender, receiver, message: receiver == FIVE and isinstance(message, Heartbeat)
        self.cluster.sent.clear()
        self.cluster.run(2.6)
        self.assertEqual("", self.cluster.sites[FIVE].halted)
        self.assertEqual([], [m for sender, _, m in self.sent(Imported) if sender == FIVE])
        self.put_back(right)


class EpochTests(ReshardCase):
    """What was said under another configuration."""

    def answer(self, behind: int) -> set[bytes]:
        """An importer is answered by who has no more, so many epochs behind; returns who has shown all by its account."""
        self.cluster.sent.clear()
        self.run_until(lambda: bool(self.sent(Import)), writes=0)
        importer, asked, question = self.sent(Import)[-1]
        assert isinstance(question, Import)
        epoch, copy, source = self.configuration().epoch - behind, question.copy, question.shard
        nothing = Imported(question.id, source, question.tenure, epoch, copy, 0, 0, [], [], {}, 0, complete=True)
        site = self.cluster.sites[importer]
        sender = self.cluster.sender(self.cluster.sites[asked])
        self.cluster.perform(site, site.replica.receive(sender, [nothing], self.cluster.now(site)))
        return site.replica.imports.progress[question.tenure, source].done

    def test_shown_by_an_earlier_configuration(self) -> None:
        """Who has shown all counts only where it said so by the configuration in force: others may have changed since."""
        self.found()
        self.cluster.cut = lambda sender, receiver, message: isinstance(message, Imported) and is_over(receiver)

        def is_over(at: str = ONE) -> bool:
            return self.configuration(at).shard_ids() == ["s0"]

        self.reshard(1)
        self.run_until(is_over, writes=0)
        self.cluster.submit(TWO, AddNode("10.0.0.99:8090"))
        self.run_until(lambda: "10.0.0.99:8090" in self.configuration().nodes, writes=0)
        self.assertEqual(0, len(self.answer(behind=1)))
        self.assertEqual(1, len(self.answer(behind=0)))
