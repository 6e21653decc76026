"""Reshards during which nodes die, logs are too short, or somebody changes their mind."""

from kvsd.replication.messages import Import, Imported, Message
from kvsd.replication.requests import AbortReshard, Begun, Changed, Conflict, Reshard
from tests.pure import PureCluster, with_limits
from tests.unit.test_reshard import FIVE, FOUR, ONE, SIX, SMALL_PAGES, THREE, TWO, ReshardCase

NO_LOG = with_limits(page_rows=16, log_bytes=1, upkeep_seconds=0.2)


class DeathTests(ReshardCase):
    """Nodes die in the middle of a copy."""

    def die_after(self, pages: int, *, donor: bool) -> str:
        """Start a reshard, and kill who gives or who takes the first copy of s0 after some pages; returns who it is."""
        cluster, died = self.cluster, list[str]()
        seen = 0

        def cut(sender: str, receiver: str, message: Message) -> bool:
            nonlocal seen
            if isinstance(message, Imported) and message.shard == "s0" and not died:
                seen += 1
                if seen > pages and message.cursor:
                    died.append(sender if donor else receiver)
                    cluster.crash(died[0])
            return sender in died or receiver in died

        cluster.cut = cut
        self.reshard(3)
        self.run_until(lambda: bool(died), writes=1)
        cluster.cut = lambda sender, receiver, message: False
        return died[0]

    def copied(self) -> int:
        """How many pages of copies have been asked for that had begun."""
        return sum(isinstance(m, Import) and m.first and m.cursor > 0 for _, _, m in self.cluster.sent)

    def test_donor_dies(self) -> None:
        """Another member gives the copy from the beginning; the reshard ends without the dead one, which only drains late."""
        self.found(SMALL_PAGES, keys=200)
        dead = self.die_after(2, donor=True)
        self.assertIn(dead, (ONE, THREE, FIVE))
        self.assertGreater(self.copied(), 2)
        alive = next(site.address for site in self.cluster.live())
        self.run_until(lambda: "s2" in self.configuration(alive).shard_ids(), writes=1)
        self.assertFalse(self.is_quiet(alive))
        self.cluster.restart(dead)
        self.run_until(lambda: self.is_quiet(alive), writes=1)
        self.check()

    def test_importer_dies(self) -> None:
        """The other new member copies what is left, and the one that died has all that, too, when it is back."""
        self.found(SMALL_PAGES, keys=200)
        dead = self.die_after(2, donor=False)
        self.assertIn(dead, (FIVE, SIX))
        self.run_until(lambda: "s2" in self.configuration().shard_ids(), writes=1)
        self.cluster.restart(dead)
        self.run_until(self.is_quiet, writes=1)
        self.check()

    def test_both_new_members_die(self) -> None:
        """A shard in the making whose members are all down for long is given up; all stays as it was."""
        self.found()
        self.cluster.cut = lambda sender, receiver, message: isinstance(message, Imported)
        ticket = self.reshard(3)
        self.run_until(self.is_pending)
        self.cluster.crash(FIVE)
        self.cluster.crash(SIX)
        self.cluster.heal()
        self.cluster.run(16.0)
        self.assertIsInstance(self.cluster.sites[ONE].outcomes[ticket], Conflict)
        self.assertEqual(["s0", "s1"], self.configuration().shard_ids())
        self.assertFalse(self.is_pending())
        self.cluster.restart(FIVE)
        self.cluster.restart(SIX)
        self.cluster.run(5.0)
        self.check()
        self.assertEqual({0, 1}, self.tenures_kept())

    def test_dead_member_of_the_source_holds_up_only_the_drain(self) -> None:
        """Slots are handed off and served while a member of the source is down; what is held up says why."""
        self.found()
        self.reshard(3)
        self.run_until(self.is_pending)
        self.cluster.crash(FOUR)
        self.run_until(lambda: "s2" in self.configuration().shard_ids())
        self.cluster.run(3.0)
        self.check()
        sources = {source for tenancy in self.configuration().tenures.values() for source in tenancy.sources}
        self.assertEqual({"s1"}, sources)
        log = self.cluster.sites[ONE].replica.duties.log
        self.assertIn("may still lack writes of s1", log["drain"].blocked)
        self.cluster.restart(FOUR)
        self.run_until(self.is_quiet)
        self.check()

    def test_driver_dies(self) -> None:
        """The next node sees to what is left, when the one that saw to it is down."""
        self.found()
        self.reshard(3)
        self.run_until(self.is_pending)
        self.cluster.crash(ONE)
        self.run_until(lambda: "s2" in self.configuration(TWO).shard_ids())
        self.cluster.restart(ONE)
        self.run_until(lambda: self.is_quiet(TWO))
        self.check()


class ShortLogTests(ReshardCase):
    """Logs that reach back too short for the tail of a copy."""

    def test_rows_are_copied(self) -> None:
        """Where the log of the source does not reach back, rows are copied again, and no write is lost."""
        self.found(NO_LOG, keys=120)
        self.cluster.cut = lambda sender, receiver, message: isinstance(message, Imported) and not message.cursor
        self.reshard(3)
        self.run_until(self.is_pending)
        self.run_until(lambda: self.cluster.time > 1010, writes=5)
        self.cluster.heal()
        self.run_until(self.is_handed_off, writes=5)
        self.run_until(self.is_quiet)
        tails = [m for _, _, m in self.sent(Import) if isinstance(m, Import) and not m.first]
        self.assertTrue(any(m.cursor for m in tails))
        self.check()

    def test_back_and_forth(self) -> None:
        """So it is on the way back."""
        self.found(NO_LOG, keys=60)
        self.complete(3)
        self.complete(2)
        self.check()


class MindTests(ReshardCase):
    """Reshards that are given up, or asked for twice."""

    def hold(self) -> None:
        """Begin a reshard that does not get beyond its copies."""
        self.cluster.cut = lambda sender, receiver, message: isinstance(message, Imported) and not message.cursor
        self.ticket = self.reshard(3)
        self.run_until(self.is_pending)
        self.run_until(lambda: len(self.tenures_kept()) > 2)

    def test_abort(self) -> None:
        """A reshard that is given up leaves nothing; whoever waited for it is told; it can be asked for again."""
        self.found(SMALL_PAGES, keys=120)
        self.hold()
        self.assertEqual(Changed(), self.outcome(AbortReshard(), TWO))
        self.assertIsInstance(self.cluster.sites[ONE].outcomes[self.ticket], Conflict)
        self.cluster.heal()
        self.cluster.run(2.0)
        self.assertEqual({0, 1}, self.tenures_kept())
        for site in self.cluster.live():
            self.assertEqual((1, []), (len(site.replica.state.roles), site.replica.state.dissolving))
            self.assertEqual([], [key for key in site.disk if key[0] == "rows" and b"s2" in key[1]])
        self.check()
        self.complete(3)
        self.check()

    def test_abort_too_late(self) -> None:
        """What was handed off can't be given up."""
        self.found()
        self.reshard(3)
        self.run_until(self.is_pending)
        self.cluster.crash(FOUR)
        self.run_until(self.is_handed_off)
        refusal = Conflict("The reshard is handed off already: ask for another one instead")
        self.assertEqual(refusal, self.outcome(AbortReshard(), TWO))
        self.assertIn("s2", self.configuration().shard_ids())

    def test_abort_before_the_last_one_is_drained(self) -> None:
        """A reshard is given up although writes of an earlier one may still come, and does not begin by itself again."""
        self.found()
        self.reshard(3)
        self.run_until(self.is_pending)
        self.cluster.crash(FOUR)
        self.run_until(self.is_handed_off)
        self.cluster.run(3.0)
        self.cluster.cut = lambda sender, receiver, message: isinstance(message, Imported)
        ticket = self.reshard(2)
        self.run_until(self.is_pending, writes=0)
        self.assertEqual(Changed(), self.outcome(AbortReshard(), TWO))
        self.assertIsInstance(self.cluster.sites[ONE].outcomes[ticket], Conflict)
        self.assertFalse(self.is_pending())
        self.assertEqual(["s0", "s1", "s2"], self.configuration().shard_ids())

    def test_asked_for_twice(self) -> None:
        """Whoever asks for another one meanwhile is told which one is under way; nobody waits who does not want to."""
        self.found(SMALL_PAGES, keys=120)
        self.hold()
        started = self.configuration().epoch
        conflict = Conflict(f"A reshard to 3 shards is under way, since epoch {started}")
        self.assertEqual(conflict, self.outcome(Reshard(2), TWO))
        self.assertEqual(conflict, self.outcome(Reshard(3), TWO))
        self.outcome(AbortReshard(), TWO)
        self.assertEqual(Begun(), self.outcome(Reshard(3, wait=False), TWO))

    def test_no_answer_for_long(self) -> None:
        """Who waits too long for the end of a reshard is told that it goes on."""
        self.found(with_limits(page_rows=8, reshard_seconds=3.0), keys=120)
        self.hold()
        self.cluster.run(4.0)
        self.assertIn(self.ticket, self.cluster.sites[ONE].outcomes)
        self.assertTrue(self.is_pending())


class LonelyTests(ReshardCase):
    """Small clusters."""

    def test_four_nodes(self) -> None:
        """Where every node of a new shard is a member of an old one, it imports from itself as well."""
        self.cluster = PureCluster(4, 1, SMALL_PAGES).founded()
        cluster = self.cluster
        tokens = {f"key{n}": cluster.put(ONE, f"key{n}", str(n)) for n in range(60)}
        cluster.submit(ONE, Reshard(2))
        cluster.run(6.0)
        self.assertTrue(self.is_quiet())
        self.assertEqual(["s0", "s1"], self.configuration().shard_ids())
        for site in cluster.live():
            for number in range(60):
                found = cluster.get(site.address, f"key{number}", tokens[f"key{number}"])
                self.assertEqual(b"%d" % number, getattr(found, "value", found))
