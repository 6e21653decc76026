"""
One process at a time speaks for an address.
"""

from kvsd.replication.messages import Ballot
from kvsd.replication.occupant import Contested
from kvsd.replication.requests import Found, Put, Written
from kvsd.replication.token import EMPTY
from tests.pure import ADDRESSES, PureCluster, Site
from tests.pure_case import PureCase

ONE, TWO, THREE, FOUR, *_ = ADDRESSES
ANOTHER = b"another instance"
VALUE = b'"tea"'


class ClaimedCase(PureCase):
    """Four nodes in two shards; the mate of the first in its shard is down, so the first alone has its shard's writes."""

    def setUp(self) -> None:
        """Found the cluster, have something written, and take the mate away."""
        self.cluster = PureCluster(4, 2).founded()
        self.key = self.cluster.key_of("s0")
        self.cluster.crash(THREE)
        self.cluster.run(1.0)
        written = self.cluster.ask(ONE, Put(self.key, VALUE, EMPTY))
        assert isinstance(written, Written)
        self.token = written.token

    def epoch(self) -> int:
        """The epoch that the second node goes by."""
        return self.cluster.sites[TWO].replica.state.epoch

    def lacking(self, site: Site) -> str:
        """Why a node serves nothing."""
        return site.replica.routing.assignment.lacking()

    def is_served(self) -> None:
        """What the first node wrote is there."""
        seen = self.cluster.get(ONE, self.key, self.token)
        assert isinstance(seen, Found)
        self.assertEqual(VALUE, seen.value)

    def noted(self, address: str, event: str) -> list[dict[str, object]]:
        """The facts of all events of a kind that a node noted."""
        return [note.facts for note in self.cluster.sites[address].notes if note.event == event]


class AnotherInstanceTests(ClaimedCase):
    """A second process with an empty disk under the address of a node."""

    def test_incumbent_that_is_heard_stays(self) -> None:
        """Its writes are there afterwards, and the configuration is the one of before."""
        before = self.epoch()
        self.cluster.claim(ONE, ANOTHER)
        self.cluster.run(10.0)
        self.assertEqual(before, self.epoch())
        self.is_served()

    def test_claimant_serves_nothing_and_says_why(self) -> None:
        """It names the peer that hears the other process; the peers and the claimant note it."""
        claimant = self.cluster.claim(ONE, ANOTHER)
        self.cluster.run(3.0)
        self.assertIn("address-contested", self.lacking(claimant))
        self.assertEqual([ONE], [facts["address"] for facts in self.noted(TWO, "address-contested")])
        self.assertTrue(any(note.event == "address-contested" for note in claimant.notes))
        self.assertEqual("", claimant.halted)
        self.assertEqual("", self.lacking(self.cluster.sites[ONE]))

    def test_contest_ends(self) -> None:
        """Once the second process is gone nothing is left of it: nobody takes it for the next one there."""
        claimant = self.cluster.claim(ONE, ANOTHER)
        self.cluster.run(3.0)
        claimant.up = False
        self.cluster.run(4.0)
        self.cluster.crash(ONE)
        self.cluster.run(4.0)
        two = self.cluster.sites[TWO].replica
        self.assertFalse(two.voting.may_vote(two.state.epoch, Ballot(99, FOUR, 1), [ONE]))

    def test_replacement_takes_one_epoch(self) -> None:
        """Where the first process is silent, the other takes its place, by one change."""
        self.cluster.restart(THREE)
        self.cluster.run(3.0)
        before = self.epoch()
        self.cluster.crash(ONE)
        self.cluster.boot(ONE, ANOTHER)
        self.cluster.run(2.0)
        self.assertEqual(before, self.epoch())
        self.cluster.run(2.9)
        self.assertEqual(ANOTHER, self.configuration(TWO).nodes[ONE])
        self.cluster.run(3.0)
        self.is_served()
        self.assertEqual([ONE], [address for address, _ in self.configuration(TWO).superseded])

    def test_superseded_instance_never_comes_back(self) -> None:
        """Also where its successor is silent; it keeps what it has and says why."""
        self.cluster.restart(THREE)
        self.cluster.run(3.0)
        self.cluster.crash(ONE)
        old = self.cluster.sites[ONE]
        self.cluster.boot(ONE, ANOTHER)
        self.cluster.run(8.0)
        self.cluster.crash(ONE)
        after = self.epoch()
        self.cluster.sites[ONE] = old
        back = self.cluster.restart(ONE)
        rows = len(back.disk)
        self.cluster.run(12.0)
        self.assertEqual(after, self.epoch())
        self.assertIn("superseded", self.lacking(back))
        self.assertEqual(rows, len(back.disk))

    def test_voter_that_hears_the_incumbent_does_not_agree(self) -> None:
        """A node is replaced only where a majority hears another one in its place, and not it."""
        two, ballot = self.cluster.sites[TWO].replica, Ballot(99, FOUR, 1)
        self.cluster.claim(ONE, ANOTHER)
        self.cluster.run(4.0)
        self.assertTrue(two.voting.may_vote(two.state.epoch, ballot))
        self.assertFalse(two.voting.may_vote(two.state.epoch, ballot, [ONE]))
        self.assertFalse(
            two.voting.may_vote(two.state.epoch, ballot, [THREE]), "it is silent, and nobody is in its place"
        )
        self.cluster.crash(ONE)
        self.cluster.run(2.8)
        self.assertTrue(two.voting.may_vote(two.state.epoch, ballot, [ONE]))


class CopiedDirectoryTests(ClaimedCase):
    """A second process with a copy of the disk of a node."""

    def test_later_boot_stops(self) -> None:
        """Before it has acknowledged anything; the first goes on."""
        copy = self.cluster.copy(ONE)
        ticket = self.ask_at(copy)
        self.cluster.run(2.5)
        self.assertIn("copy of this data directory", copy.halted)
        self.assertNotIsInstance(copy.outcomes.get(ticket), Written)
        self.is_served()
        self.assertEqual([ONE], [facts["address"] for facts in self.noted(TWO, "address-contested")])

    def ask_at(self, copy: Site) -> int:
        """Have the copy asked for a write as soon as it runs."""
        self.cluster._ticket += 1
        ticket = self.cluster._ticket
        self.cluster.perform(copy, copy.replica.submit([(ticket, Put(self.key, VALUE, EMPTY))], self.cluster.now(copy)))
        return ticket

    def test_restart_is_no_second_process(self) -> None:
        """A node that is killed and started again at once serves as soon as the silence of its last run is long enough."""
        self.cluster.restart(THREE)
        self.cluster.run(3.0)
        self.cluster.crash(ONE)
        self.cluster.restart(ONE)
        self.cluster.run(1.8)
        self.assertEqual("", self.lacking(self.cluster.sites[ONE]))
        self.assertEqual("", self.cluster.sites[ONE].halted)
        self.is_served()
        self.assertEqual([], self.noted(TWO, "address-contested"))

    def test_late_message_of_the_last_run(self) -> None:
        """It does not speak for the address any more, and costs the present run nothing."""
        old = self.cluster.sender(self.cluster.sites[ONE])
        self.cluster.crash(ONE)
        now = self.cluster.restart(ONE)
        self.cluster.run(2.0)
        two = self.cluster.sites[TWO]
        self.cluster.perform(two, two.replica.receive(old, [], self.cluster.now(two)))
        process = two.replica.state.liveness.peers[ONE].occupant.process
        assert process is not None
        self.assertEqual(now.replica.state.identity.boot, process.boot)
        self.cluster.run(2.0)
        self.assertEqual(("", ""), (self.lacking(now), now.halted))

    def test_late_messages_of_the_last_run(self) -> None:
        """Two of them, a second and more apart, are no proof that it lives."""
        last = self.cluster.sender(self.cluster.sites[ONE])
        self.cluster.crash(ONE)
        now = self.cluster.restart(ONE)
        two = self.cluster.sites[TWO]
        for _ in range(2):
            self.cluster.run(0.95)
            self.cluster.perform(two, two.replica.receive(last, [], self.cluster.now(two)))
        self.cluster.run(3.5)
        self.assertEqual(("", ""), (self.lacking(now), now.halted))

    def test_word_for_another_process_is_ignored(self) -> None:
        """What is sent to an address may reach the wrong one of two processes."""
        one = self.cluster.sites[ONE]
        identity = one.replica.state.identity
        teller = self.cluster.sender(self.cluster.sites[TWO])
        for boot, contested in ((identity.boot + 1, False), (identity.boot, True)):
            message = Contested(identity.instance, boot, identity.instance, 10)
            self.cluster.perform(one, one.replica.receive(teller, [message], self.cluster.now(one)))
            self.assertIs(contested, one.replica.routing.assignment._meeting.is_contested())


class ForkTests(PureCase):
    """A node and a copy of its disk ran one after the other, and both have written under the same numbers."""

    def setUp(self) -> None:
        """Found the cluster, and keep a copy of the disk of the first node."""
        self.cluster = PureCluster(4, 2).founded()
        self.key = self.cluster.key_of("s0")
        self.cluster.put(ONE, self.key, "0")
        self.cluster.run(1.0)
        self.copy = dict(self.cluster.sites[ONE].disk)

    def write(self, *values: str) -> None:
        """Have the first node write."""
        for value in values:
            self.cluster.put(ONE, self.key, value)
        self.cluster.run(1.0)

    def start_from(self, disk: dict[tuple[str, bytes], bytes]) -> Site:
        """Start the first node anew, with another disk."""
        self.cluster.crash(ONE)
        self.cluster.run(1.5)
        self.cluster.sites[ONE].disk = disk
        return self.cluster.restart(ONE)

    def noted(self) -> list[object]:
        """The nodes of whose disk the third node has noted that there are two."""
        return [note.facts["node"] for note in self.cluster.sites[THREE].notes if note.event == "instance-forked"]

    def test_process_that_used_numbers_again_stops(self) -> None:
        """It ran alone on an old copy for so long that it has more writes than anybody remembers."""
        self.write("1", "2")
        self.cluster.isolate(ONE)
        old = self.start_from(self.copy)
        self.cluster.run(4.0)
        self.write("3", "4", "5")
        self.cluster.heal()
        self.cluster.run(4.0)
        self.assertIn("another process ran on a copy", old.halted)
        self.assertEqual([ONE], self.noted())
        self.assertEqual({}, self.cluster.sites[THREE].replica.broadcast.forked)
        seen = self.cluster.get(THREE, self.key)
        assert isinstance(seen, Found)
        self.assertEqual(b"2", seen.value)

    def test_replica_with_the_later_writes_says_so(self) -> None:
        """The process that wrote them is gone, and the writes of the first one don't fit to them."""
        self.cluster.isolate(ONE)
        self.write("1", "2", "3")
        first = self.cluster.sites[ONE].disk
        self.cluster.heal()
        self.start_from(self.copy)
        self.cluster.run(2.0)
        self.write("4")
        self.start_from(first)
        self.cluster.run(4.0)
        self.assertEqual([ONE], self.noted())
        three = self.cluster.sites[THREE].replica
        self.assertEqual({"s0": ONE}, three.broadcast.forked)
        writer = three.state.roster.writer_of[ONE, "s0"] if three.state.roster else b""
        self.assertEqual(2, three.state.roles["s0"].vector[writer])

    def test_restarts_are_no_fork(self) -> None:
        """Each goes on where the last one ended, also where one of them wrote nothing."""
        for values in (("1", "2"), (), ("3",)):
            self.start_from(self.cluster.sites[ONE].disk)
            self.cluster.run(2.0)
            self.write(*values)
        self.assertEqual([], self.noted())
        seen = self.cluster.get(THREE, self.key)
        assert isinstance(seen, Found)
        self.assertEqual(b"3", seen.value)

    def test_fork_after_a_restart_of_the_copy(self) -> None:
        """A process that has issued no number twice itself goes on after one that has."""
        self.write("1", "2")
        self.cluster.isolate(ONE)
        self.start_from(self.copy)
        self.cluster.run(4.0)
        self.write("3", "4")
        self.start_from(self.cluster.sites[ONE].disk)
        self.cluster.run(4.0)
        self.write("5")
        self.cluster.heal()
        self.cluster.run(5.0)
        self.assertEqual([ONE], self.noted())
        self.assertNotEqual("", self.cluster.sites[ONE].halted)
