"""Any node takes any key: requests find a replica that can carry them out, and writes take effect once."""

from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication.messages import Forward, Forwarded, Heartbeat, Message, Push
from kvsd.replication.placement import slot_of
from kvsd.replication.requests import (
    Counted,
    CountKeys,
    Found,
    Get,
    Outcome,
    Overloaded,
    Put,
    Unavailable,
    Unmet,
    Written,
)
from kvsd.replication.store import record_bytes
from kvsd.replication.token import EMPTY
from tests.builders import make_record
from tests.pure import PureCluster, Watched, with_limits


class Asked:
    """A cluster of two shards; requests come in at a node of the other one."""

    def setUp(self) -> None:
        """Found the cluster; keys of s0 are asked for at a node of s1."""
        self.cluster = PureCluster().founded()
        self.key = self.cluster.key_of("s0")
        self.edge = self.cluster.members("s1")[0]
        self.first, self.second, self.third = self.cluster.members("s0")
        self.cluster.sent.clear()

    def outcome(self, ticket: int) -> Outcome | None:
        """What a request at the edge came to, if it did."""
        return self.cluster.sites[self.edge].outcomes.get(ticket)

    def value(self, address: str) -> bytes | None:
        """The value of the key at a replica."""
        seen = self.cluster.get(address, self.key)
        return seen.value if isinstance(seen, Found) else None

    def dots(self) -> int:
        """How many writes the members of s0 have issued."""
        return sum(self.cluster.sites[self.first].replica.state.roles["s0"].vector.values())


class ForwardingTests(Asked, SynchronousTestCase):
    """Requests at a node of another shard than the key's."""

    def test_any_node_takes_any_key(self) -> None:
        """A write and a read at a node of another shard are carried out by the right one."""
        written = self.cluster.ask(self.edge, Put(self.key, b"1", EMPTY))
        assert isinstance(written, Written)
        seen = self.cluster.get(self.edge, self.key, written.token)
        assert isinstance(seen, Found)
        self.assertEqual(("s0", b"1"), (seen.shard, seen.value))

    def test_key_counts_are_delegated(self) -> None:
        """Any node says how many keys a shard has."""
        self.cluster.put(self.first, self.key, "1")
        slot = slot_of(self.key)
        size = record_bytes(make_record(self.key, b"1"))
        for address in self.cluster.sites:
            self.assertEqual(Counted(1, size), self.cluster.ask(address, CountKeys("s0")))
            self.assertEqual(Counted(1, size), self.cluster.ask(address, CountKeys("s0", (slot,))))
            self.assertEqual(Counted(1, size), self.cluster.ask(address, CountKeys("s0", (slot,), 0)))
            self.assertEqual(Counted(0), self.cluster.ask(address, CountKeys("s0", (slot,), 1)))
            self.assertEqual(Counted(0), self.cluster.ask(address, CountKeys("s0", (slot + 2, slot + 1))))

    def test_silent_member_is_passed_over(self) -> None:
        """Where the member that was asked does not answer, the next one is, within about a second."""
        self.cluster.isolate(self.first)
        for _ in range(3):
            ticket = self.cluster.submit(self.edge, Put(self.key, b"1", EMPTY))
            self.cluster.run(1.3)
            self.assertIsInstance(self.outcome(ticket), Written)

    def test_member_that_was_started_again_is_passed_over(self) -> None:
        """A request whose member was killed and started again is sent to another one as soon as that is known."""
        self.cluster.cut = lambda sender, receiver, message: isinstance(message, Forwarded)
        ticket = self.cluster.submit(self.edge, Put(self.key, b"1", EMPTY))
        self.cluster.crash(self.first)
        self.cluster.heal()
        self.cluster.restart(self.first)
        self.cluster.run(self.cluster.limits.heartbeat_seconds)
        self.assertIsInstance(self.outcome(ticket), Written)

    def test_dead_shard_is_unavailable_at_once(self) -> None:
        """Once all members of a shard are known to be down, requests for it are refused without delay."""
        for address in self.cluster.members("s0"):
            self.cluster.crash(address)
        self.cluster.run(1.5)
        self.assertEqual(Unavailable("s0"), self.cluster.ask(self.edge, Get(self.key, EMPTY)))

    def test_member_that_lacks_the_dependency_routes_to_one_that_has_it(self) -> None:
        """A replica that is behind does not refuse what another one can serve."""
        self.cluster.cut = lambda sender, receiver, message: isinstance(message, Push) and receiver == self.second
        token = self.cluster.put(self.first, self.key, "1")
        seen = self.cluster.get(self.second, self.key, token)
        self.assertIsInstance(seen, Found)

    def test_refusal_comes_from_all_members(self) -> None:
        """A request is refused for an unmet dependency only after every member that can be reached was asked."""
        self.cluster.isolate(self.first)
        self.cluster.run(1.5)
        token = self.cluster.put(self.first, self.key, "1")
        self.cluster.sent.clear()
        self.assertIsInstance(self.cluster.get(self.edge, self.key, token), Unmet)
        asked = {receiver for _, receiver, message in self.cluster.sent if isinstance(message, Forward)}
        self.assertEqual({self.second, self.third}, asked)

    def test_client_that_waits_at_another_shard_is_served_when_it_can_be(self) -> None:
        """A client that would rather wait is answered once a member has what it depends on."""
        self.cluster.isolate(self.first)
        self.cluster.run(1.5)
        token = self.cluster.put(self.first, self.key, "1")
        ticket = self.cluster.submit(self.edge, Get(self.key, token, wait=20.0))
        self.cluster.run(3.0)
        self.assertIsNone(self.outcome(ticket))
        self.cluster.heal()
        self.cluster.run(4.0)
        self.assertIsInstance(self.outcome(ticket), Found)

    def test_bytes_of_requests_that_wait_are_bounded(self) -> None:
        """Of large writes that wait only so many bytes are kept, whoever asked; all is given back when the wait is over."""
        self.cluster.isolate(self.first)
        self.cluster.run(1.5)
        token = self.cluster.put(self.first, self.key, "1")
        replica = self.cluster.sites[self.second].replica
        replica.state.limits = with_limits(waiter_bytes=250_000)
        put = Put(self.key, b"1" * 100_000, token, wait=3.0)
        own = [self.cluster.submit(self.second, put) for _ in range(3)]
        self.cluster.run(1.0)
        outcomes = self.cluster.sites[self.second].outcomes
        self.assertEqual([type(outcomes.get(ticket)) for ticket in own], [type(None), type(None), Overloaded])
        self.assertEqual((replica.waiting.bytes, replica.state.budget.used_bytes), (200_000, 0))
        replica.cancel(own[0])
        self.cluster.isolate(self.first, self.third)
        self.cluster.run(1.5)
        forwarded = self.cluster.submit(self.edge, put)
        self.cluster.run(0.5)
        self.assertEqual((replica.waiting.bytes, replica.state.budget.used_bytes), (100_000, 100_000))
        self.cluster.run(4.0)
        self.assertIsInstance(self.outcome(forwarded), Unmet)
        self.assertEqual((replica.waiting.bytes, replica.state.budget.used_bytes), (0, 0))

    def test_client_that_waits_is_refused_in_time(self) -> None:
        """Waiting ends with a refusal when its time is up."""
        self.cluster.isolate(self.first)
        self.cluster.run(1.5)
        token = self.cluster.put(self.first, self.key, "1")
        ticket = self.cluster.submit(self.edge, Get(self.key, token, wait=3.0))
        self.cluster.run(2.8)
        self.assertIsNone(self.outcome(ticket))
        self.cluster.run(0.5)
        self.assertIsInstance(self.outcome(ticket), Unmet)


class RetryTests(Asked, SynchronousTestCase):
    """Writes whose first try was carried out, or was not, without the edge hearing of it."""

    def lose_first_answer(self, and_the_write: bool) -> None:
        """Have the first member that is asked fall silent after it carried the write out."""
        self.silenced: str = ""

        def cut(sender: str, receiver: str, message: Message) -> bool:
            if isinstance(message, Forward) and not self.silenced:
                self.silenced = receiver
                return False
            return sender == self.silenced and (and_the_write or isinstance(message, Forwarded | Heartbeat))

        self.cluster.cut = cut

    def test_write_that_was_carried_out_and_spread_takes_effect_once(self) -> None:
        """The next member knows the write already, and answers as the first did."""
        self.lose_first_answer(and_the_write=False)
        ticket = self.cluster.submit(self.edge, Put(self.key, b"1", EMPTY))
        self.cluster.run(4.3)
        outcome = self.outcome(ticket)
        assert isinstance(outcome, Written)
        self.assertFalse(outcome.existed)
        self.cluster.heal()
        self.cluster.run(4.0)
        self.assertEqual(1, self.dots())

    def test_retry_never_undoes_what_came_after_the_first_try(self) -> None:
        """A write that was carried out unheard and then overwritten does not come back by its retry."""
        self.lose_first_answer(and_the_write=True)
        ticket = self.cluster.submit(self.edge, Put(self.key, b'"old"', EMPTY))
        self.assertEqual(b'"old"', self.value(self.silenced))
        self.cluster.put(self.silenced, self.key, '"new"')
        self.cluster.run(4.3)
        self.assertIsInstance(self.outcome(ticket), Written)
        self.cluster.heal()
        self.cluster.run(5.0)
        self.assertEqual([b'"new"'] * 3, [self.value(address) for address in self.cluster.members("s0")])

    def test_retry_of_a_write_that_was_never_carried_out_takes_effect(self) -> None:
        """A write that got lost on the way is carried out by the next member."""
        self.cluster.cut = lambda sender, receiver, message: isinstance(message, Forward) and receiver == self.second
        for number in range(3):
            ticket = self.cluster.submit(self.edge, Put(self.key, b"%d" % number, EMPTY))
            self.cluster.run(4.3)
            self.assertIsInstance(self.outcome(ticket), Written)
            self.assertEqual(b"%d" % number, self.value(self.first))

    def late_first_try(self) -> tuple[str, Message]:
        """A write whose first try is still on its way when the second one has succeeded: to whom it goes, and it."""
        late: list[tuple[str, Message]] = []

        def cut(sender: str, receiver: str, message: Message) -> bool:
            if isinstance(message, Forward) and not late:
                late.append((receiver, message))
                return True
            return False

        self.cluster.cut = cut
        ticket = self.cluster.submit(self.edge, Put(self.key, b'"old"', EMPTY))
        self.cluster.run(4.3)
        self.assertIsInstance(self.outcome(ticket), Written)
        return late[0]

    def arrive(self, receiver: str, message: Message) -> None:
        """Have a message of the edge arrive now."""
        site, sender = self.cluster.sites[receiver], self.cluster.sender(self.cluster.sites[self.edge])
        self.cluster.perform(site, site.replica.receive(sender, [message], self.cluster.now(site)))

    def test_first_try_that_comes_after_the_second_undoes_nothing(self) -> None:
        """A request that was under way for long does not overwrite what was written since its retry."""
        receiver, first_try = self.late_first_try()
        self.cluster.put(self.first, self.key, '"new"')
        self.arrive(receiver, first_try)
        self.assertEqual([b'"new"'] * 3, [self.value(address) for address in self.cluster.members("s0")])

    def test_first_try_that_comes_after_a_deletion_brings_nothing_back(self) -> None:
        """Nor does it bring back a key that was deleted since, even where nothing is left of the deletion."""
        receiver, first_try = self.late_first_try()
        self.cluster.put(self.first, self.key, None)
        self.cluster.run(5.0)
        for address in self.cluster.members("s0"):
            self.assertEqual(0, len(self.cluster.sites[address].replica.state.roles["s0"].store))
            self.cluster.crash(address)
            self.cluster.restart(address)
        self.cluster.run(5.0)
        written = self.dots()
        self.arrive(receiver, first_try)
        self.assertEqual(written, self.dots())
        self.assertEqual([None] * 3, [self.value(address) for address in self.cluster.members("s0")])

    def test_stamp_of_a_slow_clock_is_drawn_anew(self) -> None:
        """A write that comes in at a node whose clock is behind is not lost to an earlier one."""
        self.cluster.put(self.first, self.key, '"earlier"')
        self.cluster.sites[self.edge].wall_offset_ms = -30_000
        self.assertIsInstance(self.cluster.ask(self.edge, Put(self.key, b'"later"', EMPTY)), Written)
        self.assertEqual([b'"later"'] * 3, [self.value(address) for address in self.cluster.members("s0")])

    def test_write_that_is_overtaken_every_time_is_carried_out(self) -> None:
        """A key that others write all the time can still be written from elsewhere."""
        values = iter(range(1000))

        def cut(sender: str, receiver: str, message: Message) -> bool:
            if isinstance(message, Forward) and sender == self.edge:
                self.cluster.sites[receiver].wall_offset_ms += 10
                self.cluster.put(receiver, self.key, str(next(values)))
            return False

        self.cluster.cut = cut
        self.assertIsInstance(self.cluster.ask(self.edge, Put(self.key, b'"hot"', EMPTY)), Written)

    def test_deletions_of_other_keys_do_not_stand_in_the_way_of_a_retry(self) -> None:
        """A write that is tried again late is not taken for one of a key that was deleted."""
        other = self.cluster.key_of("s0", "other")
        receivers: list[str] = []

        def cut(sender: str, receiver: str, message: Message) -> bool:
            if isinstance(message, Forward):
                receivers.append(receiver)
            return isinstance(message, Forward) and len(receivers) == 1

        self.cluster.cut = cut
        ticket = self.cluster.submit(self.edge, Put(self.key, b"1", EMPTY))
        for _ in range(9):
            self.cluster.put(self.first, other, "1")
            self.cluster.put(self.first, other, None)
            self.cluster.run(0.5)
        self.assertIsInstance(self.outcome(ticket), Written)

    def test_node_whose_clock_runs_ahead_forwards_no_writes(self) -> None:
        """Nor may such a node have others write with stamps of its own."""
        self.cluster.sites[self.edge].wall_offset_ms = 864_000_000
        self.cluster.run(1.0)
        self.assertIsInstance(self.cluster.ask(self.edge, Put(self.key, b"1", EMPTY)), Overloaded)

    def test_answer_that_comes_late_is_ignored(self) -> None:
        """An answer that comes after the next member was asked changes nothing."""
        late: list[Message] = []

        def cut(sender: str, receiver: str, message: Message) -> bool:
            if isinstance(message, Forwarded) and not late:
                late.append(message)
                return True
            return False

        self.cluster.cut = cut
        ticket = self.cluster.submit(self.edge, Get(self.key, EMPTY))
        self.cluster.run(4.3)
        first_outcome = self.outcome(ticket)
        self.assertIsNotNone(first_outcome)
        site = self.cluster.sites[self.edge]
        for address in self.cluster.members("s0"):
            sender = self.cluster.sender(self.cluster.sites[address])
            self.cluster.perform(site, site.replica.receive(sender, late, self.cluster.now(site)))
        self.assertEqual(first_outcome, self.outcome(ticket))

    def test_client_that_is_gone_is_not_answered(self) -> None:
        """A request whose client hung up is forgotten."""
        self.cluster.isolate(self.edge)
        ticket = self.cluster.submit(self.edge, Get(self.key, EMPTY))
        site = self.cluster.sites[self.edge]
        self.assertEqual(1, len(site.replica.forwards))
        site.replica.cancel(ticket)
        self.cluster.run(2.0)
        self.assertEqual(0, len(site.replica.forwards))
        self.assertIsNone(self.outcome(ticket))

    def test_client_that_is_gone_costs_one_look_up(self) -> None:
        """However many requests are under way, a hang-up looks at its own alone."""
        self.cluster.isolate(self.edge)
        site = self.cluster.sites[self.edge]
        tickets = [Watched(number) for number in range(1000, 1300)]
        asked = [(ticket, Get(self.key, EMPTY)) for ticket in tickets]
        self.cluster.perform(site, site.replica.submit(asked, self.cluster.now(site)))
        self.assertEqual(300, len(site.replica.forwards))
        Watched.looks = 0
        for ticket in tickets:
            site.replica.cancel(ticket)
        self.assertEqual(0, len(site.replica.forwards))
        self.assertLess(Watched.looks, 10 * 300)
