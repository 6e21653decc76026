"""Durable before known: nothing that depends on a write leaves before it is on disk."""

import math

from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication.limits import Limits
from kvsd.replication.messages import Forward, Forwarded, Heartbeat, Pull, PullOps, Push
from kvsd.replication.requests import Absent, Found, Get, Put
from kvsd.replication.saved import Saved
from kvsd.replication.token import EMPTY
from tests.pure import PureCluster, with_limits


class DurabilityTests(SynchronousTestCase):
    """One node of a cluster whose disk syncs only when the test says so."""

    def setUp(self) -> None:
        """Found the cluster, then hold the disk of one node."""
        self.cluster = PureCluster().founded()
        self.key = self.cluster.key_of("s0")
        self.other_key = self.cluster.key_of("s0", "another")
        self.node, self.peer, _ = self.cluster.members("s0")
        self.cluster.put(self.node, self.other_key, "0")
        self.site = self.cluster.sites[self.node]
        self.site.holding = True
        self.cluster.sent.clear()

    def sent(self, *kinds: type) -> list[object]:
        """The messages of these kinds that have left the held node."""
        return [m for sender, _, m in self.cluster.sent if sender == self.node and isinstance(m, kinds)]

    def test_answer_and_broadcast_wait_for_the_disk(self) -> None:
        """A write is acknowledged, and told to other replicas, only once it is on disk."""
        ticket = self.cluster.submit(self.node, Put(self.key, b"1", EMPTY))
        self.assertEqual({}, {k: v for k, v in self.site.outcomes.items() if k == ticket})
        self.assertEqual([], self.sent(Push))
        self.cluster.sync(self.site)
        self.assertIn(ticket, self.site.outcomes)
        self.assertEqual(2, len(self.sent(Push)))

    def test_read_of_a_write_under_way_waits_and_others_do_not(self) -> None:
        """A read of the key that is being written waits for the disk; a read of another key does not."""
        self.cluster.submit(self.node, Put(self.key, b"1", EMPTY))
        waits = self.cluster.submit(self.node, Get(self.key, EMPTY))
        served = self.cluster.submit(self.node, Get(self.other_key, EMPTY))
        self.assertNotIn(waits, self.site.outcomes)
        self.assertIsInstance(self.site.outcomes[served], Found)
        self.cluster.sync(self.site)
        self.assertIsInstance(self.site.outcomes[waits], Found)

    def reported(self) -> list[int]:
        """How many of its own writes the held node has reported, in the order of its reports."""
        role = self.site.replica.state.roles["s0"]
        beats = [message for message in self.sent(Heartbeat) if isinstance(message, Heartbeat)]
        return [beat.vectors["s0"].get(role.writer, 0) for beat in beats]

    def test_no_report_quotes_what_is_not_on_disk(self) -> None:
        """Heartbeats name only what is on disk, and pulls wait for it."""
        self.cluster.submit(self.node, Put(self.key, b"1", EMPTY))
        self.cluster.run(0.5)
        self.assertEqual({1}, set(self.reported()))
        self.assertEqual([], self.sent(Pull, PullOps))
        self.cluster.sync(self.site)
        self.cluster.run(0.5)
        self.assertEqual(2, self.reported()[-1])

    def test_node_whose_disk_hangs_falls_silent(self) -> None:
        """A node that can't acknowledge anything must not pass for one that works; once its disk is back, so is it."""
        self.cluster.submit(self.node, Put(self.key, b"1", EMPTY))
        self.cluster.run(2.5)
        peer = self.cluster.sites[self.peer].replica
        self.assertFalse(peer.state.usable(self.node))
        self.site.holding = False
        self.cluster.sync(self.site)
        self.cluster.run(3.0)
        self.assertTrue(peer.state.usable(self.node))

    def test_node_that_has_just_started_is_not_taken_to_hang(self) -> None:
        """What a node writes at its start has been under way since then, and not since the clock began."""
        site = self.cluster.start("10.0.0.9:8090")
        site.holding = True
        self.cluster.perform(site, site.replica.start(Saved(), self.cluster.configuration, (), self.cluster.now(site)))
        self.assertFalse(site.replica.state.disk.is_stuck(self.cluster.time + 0.5))
        self.assertTrue(site.replica.state.disk.is_stuck(self.cluster.time + 1.5))

    def test_node_whose_disk_is_full_stays_in_the_view(self) -> None:
        """A full disk is no reason to be avoided: reads go on."""
        self.site.replica.storage_full(True)
        self.cluster.submit(self.node, Put(self.key, b"1", EMPTY))
        self.cluster.run(4.0)
        self.assertTrue(self.cluster.sites[self.peer].replica.state.usable(self.node))

    def test_forwarded_write_waits_for_the_disk(self) -> None:
        """A write that another node forwarded is answered only once it is on disk."""
        elsewhere = self.cluster.members("s1")[0]
        for address in self.cluster.members("s0"):
            self.cluster.sites[address].holding = True
        ticket = self.cluster.submit(elsewhere, Put(self.key, b"1", EMPTY))
        self.assertEqual([], [m for _, _, m in self.cluster.sent if isinstance(m, Forwarded)])
        for address in self.cluster.members("s0"):
            self.cluster.sync(self.cluster.sites[address])
        self.assertIn(ticket, self.cluster.sites[elsewhere].outcomes)

    def test_unacknowledged_write_may_be_lost_and_its_dot_is_free_again(self) -> None:
        """A crash before the sync takes the write with it: nobody knew of it, so its number can be used again."""
        self.cluster.submit(self.node, Put(self.key, b'"lost"', EMPTY))
        self.cluster.crash(self.node)
        self.cluster.restart(self.node)
        self.cluster.run(1.5)
        self.cluster.put(self.node, self.key, '"kept"')
        self.cluster.run(4.0)
        for address in self.cluster.members("s0"):
            seen = self.cluster.get(address, self.key)
            assert isinstance(seen, Found)
            self.assertEqual(b'"kept"', seen.value)

    def test_restart_keeps_all_that_was_acknowledged(self) -> None:
        """A node that is killed and started again has every acknowledged write, even where it hears of no peer."""
        self.site.holding = False
        token = EMPTY
        for number in range(50):
            token = self.cluster.put(self.node, f"{self.key}{{{self.key}}}{number}", str(number), token)
        self.cluster.crash(self.node)
        self.cluster.isolate(self.node)
        self.cluster.restart(self.node)
        self.cluster.run(3.1)
        for number in range(50):
            seen = self.cluster.get(self.node, f"{self.key}{{{self.key}}}{number}", token)
            assert isinstance(seen, Found)
            self.assertEqual(str(number).encode(), seen.value)

    def test_node_with_an_old_copy_of_its_disk_stops(self) -> None:
        """A node whose peers have writes of its own that it has not must stop: it would use numbers twice."""
        self.site.holding = False
        old = dict(self.site.disk)
        self.cluster.put(self.node, self.key, "1")
        self.cluster.run(1.0)
        self.cluster.crash(self.node)
        self.site.disk = old
        self.cluster.restart(self.node)
        self.cluster.run(1.0)
        self.assertIn("older than", self.cluster.sites[self.node].halted)

    def test_node_that_lacks_what_it_told_others_it_had_stops(self) -> None:
        """Also where only writes of others are missing: its peers left them out of tokens for what it had said."""
        self.site.holding = False
        writer, _ = (address for address in self.cluster.members("s0") if address != self.node)
        old = dict(self.site.disk)
        token = self.cluster.put(writer, self.key, "1")
        self.cluster.run(1.0)
        self.cluster.crash(self.node)
        self.site.disk = old
        self.cluster.restart(self.node)
        self.assertIsInstance(self.cluster.get(self.node, self.key, token), Found)
        self.assertEqual(1, len(self.sent(Forward)))
        self.cluster.run(1.0)
        self.assertIn("older than", self.cluster.sites[self.node].halted)

    def test_node_that_was_started_again_serves_once_it_has_met_the_others(self) -> None:
        """They alone can tell whether its data is what it was; who is silent for long is not waited for."""
        self.site.holding = False
        silent = next(address for address in self.cluster.members("s0") if address != self.node)
        self.cluster.crash(silent)
        self.cluster.crash(self.node)
        self.cluster.restart(self.node)
        self.cluster.run(2.5)
        self.assertIsInstance(self.cluster.get(self.node, self.key), Absent)
        self.assertEqual(1, len(self.sent(Forward)))
        self.cluster.run(1.0)
        self.assertIsInstance(self.cluster.get(self.node, self.key), Absent)
        self.assertEqual(1, len(self.sent(Forward)))

    def test_node_that_is_to_wait_for_silent_ones_serves_nothing_without_them(self) -> None:
        """Until the last of them is heard; and without that wish it serves alone after 3 s, and says so."""
        self.site.holding = False
        silent = next(address for address in self.cluster.members("s0") if address != self.node)
        for limits, alone in ((with_limits(alone_seconds=math.inf), False), (Limits(), True)):
            self.cluster.limits = limits
            self.cluster.crash(silent)
            self.cluster.crash(self.node)
            site = self.cluster.restart(self.node)
            self.cluster.run(8.0)
            assignment = site.replica.routing.assignment
            self.assertEqual([silent], assignment.unmet())
            self.assertEqual(alone, not assignment.lacking())
            noted = [note.facts["unheard"] for note in site.notes if note.event == "serves-alone"]
            self.assertEqual([silent] if alone else [], noted)
            self.cluster.restart(silent)
            self.cluster.run(4.0)
            self.assertEqual(([], ""), (assignment.unmet(), assignment.lacking()))

    def test_node_that_meets_the_others_says_nothing_of_what_it_has(self) -> None:
        """What it reported while it had an old copy, it would be held to when the right one is put back."""
        self.site.holding = False
        self.cluster.put(self.node, self.key, "1")
        self.cluster.run(1.0)
        self.cluster.crash(self.node)
        self.cluster.crash(self.cluster.members("s1")[0])
        self.cluster.restart(self.node)
        self.cluster.sent.clear()
        self.cluster.run(2.0)
        beats = [m for sender, _, m in self.cluster.sent if sender == self.node and isinstance(m, Heartbeat)]
        self.assertNotEqual([], beats)
        self.assertEqual([], [beat for beat in beats if beat.vectors])
        self.cluster.sent.clear()
        self.cluster.run(2.0)
        beats = [m for sender, _, m in self.cluster.sent if sender == self.node and isinstance(m, Heartbeat)]
        self.assertNotEqual([], [beat for beat in beats if beat.vectors])

    def test_what_comes_after_the_start_makes_up_for_nothing(self) -> None:
        """Nor does a write that reaches it before anybody's memory does, though it has as many writes again by that."""
        self.site.holding = False
        first, second = (address for address in self.cluster.members("s0") if address != self.node)
        old = dict(self.site.disk)
        self.cluster.put(first, self.key, "1")
        self.cluster.run(1.0)
        had = sum(self.site.replica.state.roles["s0"].vector.values())
        self.cluster.crash(self.node)
        self.site.disk = old
        self.cluster.cut = lambda sender, receiver, message: isinstance(message, Heartbeat) and receiver == self.node
        back = self.cluster.restart(self.node)
        self.cluster.put(second, self.key, "2")
        self.assertEqual(had, sum(back.replica.state.roles["s0"].vector.values()))
        self.cluster.heal()
        self.cluster.run(1.0)
        self.assertIn("older than", back.halted)
