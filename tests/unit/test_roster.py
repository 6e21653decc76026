"""What follows from a configuration: who is who, and what is where."""

from itertools import product

from hypothesis import given
from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication.changes import add_learner, add_node, lose, remove_node
from kvsd.replication.configuration import Configuration, Shard
from kvsd.replication.exporting import slots_for
from kvsd.replication.placement import SLOTS, slot_of
from kvsd.replication.record import Record
from kvsd.replication.resharding import begin_reshard, drain_source, hand_off
from kvsd.replication.roster import Roster
from tests.builders import make_record, modest
from tests.configurations import NODES, all_promoted, founded, instance_of
from tests.strategies import configurations

N1, N4, N6, N8 = NODES[0], NODES[3], NODES[5], NODES[7]


def pending() -> Configuration:
    """Seven nodes on their way from two shards to three."""
    configuration = begin_reshard(founded(7, 2), 3, NODES)
    assert configuration is not None
    return configuration


def handed_off() -> Configuration:
    """The same, when the slots are handed off."""
    return hand_off(all_promoted(pending()), NODES)


def roster(configuration: Configuration, me: str = N6) -> Roster:
    """The roster of a node."""
    return Roster(configuration, (me, instance_of(me)))


def keeps(mine: Roster, shard: str, record: Record) -> bool:
    """Whether a replica of a shard keeps a record."""
    return mine.keeps(shard, record.tenure, slot_of(record.key))


class WhoTests(SynchronousTestCase):
    """Who is who."""

    def test_places(self) -> None:
        """A node has the places of its instance; those of another one at its address are not its own."""
        mine = roster(pending())
        self.assertEqual({"s1", "s2"}, set(mine.places))
        self.assertEqual((True, True, False), tuple(shard in mine.served for shard in ("s1", "s2", "s0")))
        self.assertEqual({}, Roster(pending(), (N6, instance_of(N6, 2))).places)
        self.assertEqual({}, roster(pending(), N8).places)

    def test_departed(self) -> None:
        """A node that departed still has its place, and serves nothing there."""
        mine = roster(handed_off())
        self.assertEqual({"s1", "s2"}, set(mine.places))
        self.assertEqual((False, True), ("s1" in mine.served, "s2" in mine.served))

    def test_learner(self) -> None:
        """Nor does a learner serve."""
        learns = add_learner(add_node(founded(4, 2), N6, instance_of(N6)), "s0", N6)
        mine = roster(learns)
        self.assertEqual((["s0"], False), (list(mine.places), "s0" in mine.served))
        self.assertNotIn(N6, mine.members("s0"))

    def test_is_genuine(self) -> None:
        """Instances of nodes are genuine, and so are those that departed and may still have something to say."""
        removed = roster(remove_node(founded(4, 2), N4, NODES), N1)
        self.assertTrue(removed.is_genuine(N4, instance_of(N4)))
        self.assertFalse(removed.is_genuine(N4, instance_of(N4, 2)))
        self.assertFalse(removed.is_genuine(N4, b""))
        lost = roster(lose(founded(4, 2), N4, instance_of(N4, 2), {}), N1)
        self.assertFalse(lost.is_genuine(N4, instance_of(N4)))
        self.assertTrue(lost.is_genuine(N4, instance_of(N4, 2)))
        self.assertFalse(roster(add_node(founded(4, 2), N6)).is_genuine(N6, b""))

    def test_everyone(self) -> None:
        """To be kept an eye on are all nodes, spares too, and those that left and may have something to say."""
        configuration = remove_node(add_node(founded(4, 2), N6, instance_of(N6)), N4, NODES)
        self.assertEqual([*NODES[:4], N6], roster(configuration).everyone)

    def test_unknown_shard(self) -> None:
        """Of a shard that there is not nobody is a member."""
        mine = roster(pending())
        self.assertEqual(
            (Shard(), [], False, []), (mine.shard("s9"), mine.members("s9"), "s9" in mine.served, mine.importers("s9"))
        )

    @modest
    @given(configurations)
    def test_of_any_configuration(self, configuration: Configuration) -> None:
        """Whatever the configuration: every slot is owned once, and every writer that is known is somebody."""
        mine = Roster(configuration, (next(iter(configuration.nodes)), b"x" * 16))
        owned = [slot for slots in mine.owned.values() for _, slot in slots]
        self.assertEqual(list(range(SLOTS)), sorted(owned))
        for writer, member in mine.writers.items():
            self.assertEqual(writer, member.writer)
            self.assertTrue(mine.is_genuine(member.node, member.instance))
            self.assertIn(member.node, mine.everyone)
        for shard in configuration.shards:
            for address in mine.members(shard):
                self.assertIn(address, configuration.nodes)


class WhatTests(SynchronousTestCase):
    """What is where."""

    def setUp(self) -> None:
        self.pending, self.handed_off = pending(), handed_off()
        assert self.pending.pending is not None
        self.move = self.pending.pending.moves[0]
        keys = [f"key{number}" for number in range(500)]
        self.moving = next(key for key in keys if slot_of(key) in self.move.slots)
        self.staying = next(key for key in keys if self.handed_off.owner(slot_of(key)) == (0, "s0"))

    def test_tenure_of(self) -> None:
        """A slot on its way is part of the tenure where it goes; any other of the one where it is."""
        self.assertEqual(self.move.tenure, roster(self.pending).tenure_of(slot_of(self.moving)))
        self.assertEqual(0, roster(self.pending).tenure_of(slot_of(self.staying)))
        self.assertEqual(self.move.tenure, roster(self.handed_off).tenure_of(slot_of(self.moving)))

    def test_present(self) -> None:
        """To be copied first are the present versions of the slots that move."""
        mine = roster(self.pending)
        self.assertTrue(mine.is_present(self.move.tenure, make_record(self.moving, tenure=0)))
        self.assertFalse(mine.is_present(self.move.tenure, make_record(self.moving, tenure=1)))
        self.assertFalse(mine.is_present(self.move.tenure + 1, make_record(self.moving, tenure=0)))
        self.assertFalse(mine.is_present(self.move.tenure, make_record(self.staying, tenure=0)))

    def test_concerns(self) -> None:
        """A tenure takes over records of its slots that were written in its lineage, before and after the hand-off."""
        for configuration in (self.pending, self.handed_off):
            mine = roster(configuration)
            self.assertTrue(mine.concerns(self.move.tenure, make_record(self.moving, tenure=0)))
            self.assertFalse(mine.concerns(self.move.tenure, make_record(self.moving, tenure=9)))
            self.assertFalse(mine.concerns(self.move.tenure, make_record(self.staying, tenure=0)))
            self.assertFalse(mine.concerns(0, make_record(self.staying, tenure=0)))

    def test_slots_for(self) -> None:
        """The slots to look at for a tenure are those of the records that concern it, or that it has at first."""
        for configuration in (pending(), handed_off(), drain_source(handed_off(), self.move.tenure, self.move.source)):
            mine = roster(configuration)
            for tenure in (self.move.tenure, self.move.tenure + 1, 0):
                slots = set(slots_for(mine, tenure, first=False))
                present = set(slots_for(mine, tenure, first=True))
                for key, older in product((f"key{number}" for number in range(200)), range(5)):
                    record = make_record(key, tenure=older)
                    at = (older, slot_of(key))
                    self.assertLessEqual(mine.concerns(tenure, record), at in slots)
                    self.assertEqual(mine.is_present(tenure, record), at in present)

    def test_keeps(self) -> None:
        """Records are kept where they are served, where they are taken over from, and where they go to; nowhere else."""
        old, new = make_record(self.moving, tenure=0), make_record(self.moving, tenure=self.move.tenure)
        mine = roster(self.pending)
        self.assertEqual([True, True], [keeps(mine, "s0", old), keeps(mine, "s2", new)])
        self.assertEqual(
            [False, False], [keeps(mine, "s1", new), keeps(mine, "s0", make_record(self.moving, tenure=9))]
        )
        mine = roster(self.handed_off)
        self.assertEqual([True, True], [keeps(mine, "s0", old), keeps(mine, "s2", new)])
        mine = roster(drain_source(self.handed_off, self.move.tenure, "s0"))
        self.assertEqual([False, True], [keeps(mine, "s0", old), keeps(mine, "s2", new)])
        self.assertTrue(keeps(mine, "s0", make_record(self.staying, tenure=0)))

    def test_importers(self) -> None:
        """Who takes over from a shard stands there from the beginning until it is drained."""
        since = self.pending.epoch
        self.assertEqual([("s2", self.move.tenure, since)], roster(self.pending).importers("s0"))
        self.assertEqual([("s2", self.move.tenure, self.handed_off.epoch)], roster(self.handed_off).importers("s0"))
        self.assertEqual([], roster(drain_source(self.handed_off, self.move.tenure, "s0")).importers("s0"))
