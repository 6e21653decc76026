"""Causal broadcast: what comes too early is held back, what is nonsense is refused, and nothing gets stuck."""

from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication.messages import (
    Bind,
    Bound,
    Forwarded,
    Heartbeat,
    Message,
    PullOps,
    PullRows,
    Push,
    Sender,
    TellConfiguration,
)
from kvsd.replication.requests import Found, Get, Put, Request, Unavailable, Written
from kvsd.replication.role import Role
from kvsd.replication.token import EMPTY
from tests.builders import make_op
from tests.pure import PureCluster, with_limits


class BroadcastTests(SynchronousTestCase):
    """Three replicas of one shard."""

    def setUp(self) -> None:
        """Found the cluster; its hold-back queues are short."""
        self.cluster = PureCluster(3, 1, with_limits(holdback_ops=5)).founded()
        self.first, self.second, self.third = self.cluster.members("s0")

    def role(self, address: str) -> Role:
        """The role of a node."""
        return self.cluster.sites[address].replica.state.roles["s0"]

    def hear(self, message: Message, sender: Sender | None = None) -> None:
        """Have the third node hear a message of the first one, or of another sender."""
        site = self.cluster.sites[self.third]
        sender = sender or self.cluster.sender(self.cluster.sites[self.first])
        self.cluster.perform(site, site.replica.receive(sender, [message], self.cluster.now(site)))

    def lose_pushes(self, sender: str, receiver: str) -> None:
        """Have all pushes from one node to another get lost."""
        self.cluster.cut = lambda s, r, message: isinstance(message, Push) and (s, r) == (sender, receiver)

    def test_effect_waits_for_its_cause(self) -> None:
        """A write that came before what it depends on is not seen, and is once its cause came."""
        self.lose_pushes(self.first, self.third)
        cause = self.cluster.put(self.first, "cause", "1")
        self.cluster.put(self.second, "effect", "2", cause)
        self.assertNotIsInstance(self.cluster.get(self.third, "effect"), Found)
        self.assertEqual(1, self.role(self.third).holdback.count)
        self.cluster.run(1.0)
        self.assertIsInstance(self.cluster.get(self.third, "effect"), Found)
        self.assertEqual(0, self.role(self.third).holdback.count)

    def test_what_is_on_its_way_is_waited_for_a_moment(self) -> None:
        """A request that depends on writes of two nodes, of which each place has one, need not be tried again."""
        held: list[Message] = []

        def cut(sender: str, receiver: str, message: Message) -> bool:
            if isinstance(message, Push):
                held.append(message)
            return isinstance(message, Push)

        self.cluster.cut = cut
        tokens = [self.cluster.put(address, address, "1") for address in (self.first, self.second)]
        both = tokens[0].merged(1, 0, tokens[1].dependencies)
        ticket = self.cluster.submit(self.third, Get(self.first, both))
        self.assertNotIn(ticket, self.cluster.sites[self.third].outcomes)
        self.hear(held[0])
        self.hear(held[2], self.cluster.sender(self.cluster.sites[self.second]))
        self.assertIsInstance(self.cluster.sites[self.third].outcomes[ticket], Found)

    def test_unrelated_writes_do_not_wait_for_each_other(self) -> None:
        """Only true causes are waited for."""
        self.lose_pushes(self.first, self.third)
        self.cluster.put(self.first, "lost", "1")
        self.cluster.put(self.second, "unrelated", "2")
        self.assertIsInstance(self.cluster.get(self.third, "unrelated"), Found)

    def test_full_queue_does_not_block_what_all_wait_for(self) -> None:
        """The write that fills of the queue wait for gets through, however full the queue is."""
        self.lose_pushes(self.first, self.third)
        token = self.cluster.put(self.first, "cause", "1")
        for number in range(8):
            token = self.cluster.put(self.second, f"effect{number}", "2", token)
        self.assertEqual(5, self.role(self.third).holdback.count)
        self.cluster.run(3.0)
        self.assertEqual(self.role(self.first).vector, self.role(self.third).vector)

    def pushes(self, receiver: str) -> list[Push]:
        """What was pushed to a node."""
        return [m for _, to, m in self.cluster.sent if isinstance(m, Push) and to == receiver]

    def test_writes_of_one_event_are_one_push(self) -> None:
        """What comes in together is written and pushed together, each write by itself, with what it depends on."""
        token = self.cluster.put(self.first, "cause", "0")
        site = self.cluster.sites[self.first]
        asked: list[Request] = [
            Put("a", b"1", token),
            Put("b", b"2", EMPTY, concern="all"),
            Put("a", b"3", EMPTY),
            Get("a", EMPTY),
        ]
        *written, read = [site.outcomes[ticket] for ticket in self.cluster.submit_all(self.first, *asked)]
        assert isinstance(read, Found)
        self.assertEqual(
            [b"3", False, False, True], [read.value, *(o.existed for o in written if isinstance(o, Written))]
        )
        for receiver in (self.second, self.third):
            push = self.pushes(receiver)[-1]
            self.assertEqual(["a", "b", "a"], [op.record.key for op in push.ops])
            self.assertTrue(push.acknowledge)
            self.assertEqual([token.dependencies["s0"], {}, {}], [op.dependencies for op in push.ops])
            self.assertEqual(self.role(self.first).vector, self.role(receiver).vector)

    def test_writes_of_one_event_leave_once_they_are_durable(self) -> None:
        """Neither answers nor pushes of an event with several writes leave before all of it is on disk."""
        site = self.cluster.sites[self.first]
        site.holding = True
        before = len(self.pushes(self.second))
        tickets = self.cluster.submit_all(self.first, *(Put(key, b"1", EMPTY) for key in "abc"), Get("b", EMPTY))
        self.assertEqual((1, before), (len(site.unsynced), len(self.pushes(self.second))))
        self.assertTrue(site.outcomes.keys().isdisjoint(tickets))
        self.cluster.sync(site)
        self.assertTrue(site.outcomes.keys() >= set(tickets))
        self.assertEqual(before + 1, len(self.pushes(self.second)))

    def test_pushes_are_bounded(self) -> None:
        """Large writes that come in together are pushed in several messages, in their order."""
        size = self.cluster.limits.page_bytes // 3
        self.cluster.submit_all(self.first, *(Put(f"k{n}", b'"%b"' % (b"x" * size), EMPTY) for n in range(8)))
        pushes = self.pushes(self.third)
        self.assertEqual([3, 3, 2], [len(push.ops) for push in pushes])
        self.assertEqual([f"k{n}" for n in range(8)], [op.record.key for push in pushes for op in push.ops])
        self.assertEqual(self.role(self.first).vector, self.role(self.third).vector)

    def test_doubled_and_old_writes_change_nothing(self) -> None:
        """A write that comes again is not applied again."""
        self.cluster.put(self.first, "key", "1")
        [push] = [m for _, receiver, m in self.cluster.sent if isinstance(m, Push) and receiver == self.third]
        self.cluster.put(self.first, "key", "2")
        self.hear(push)
        seen = self.cluster.get(self.third, "key")
        assert isinstance(seen, Found)
        self.assertEqual((b"2", 2), (seen.value, self.role(self.third).log.arrival))

    def test_nonsense_of_a_peer_is_refused_and_stops_nothing(self) -> None:
        """Ops and pages that can't be are let go with a note, and the node goes on."""
        stranger, own = self.role(self.first).writer, self.role(self.third).writer
        op = make_op(stranger, 1)
        nonsense = [
            replace(op, records=(replace(op.record, tenure=7),)),
            replace(op, records=(replace(op.record, origin=make_op(stranger, 2).record.origin),)),
            replace(op, records=(op.record, op.record)),
            replace(op, counter=9),
            replace(op, writer=b"nobody"),
            make_op(own, 1),
        ]
        for bad in nonsense:
            self.hear(Push([bad]))
        self.hear(Push([replace(op, shard="s7")]))
        self.assertEqual({}, self.role(self.third).vector)
        notes = [note.event for note in self.cluster.sites[self.third].notes if note.event == "op-refused"]
        self.assertEqual(len(nonsense), len(notes))

    def test_answers_that_nobody_asked_for_change_nothing(self) -> None:
        """Unasked pages, answers and votes are let go."""
        vector = {self.role(self.first).writer: 5}
        self.hear(PullRows(1, "s0", 1, 0, [], 0, vector, []))
        self.hear(PullOps(1, "s0", [], more=True))
        self.hear(Forwarded(99, Unavailable("s0")))
        self.hear(Bound(b"another instance"))
        self.hear(Bind())
        self.hear(TellConfiguration(self.cluster.configuration))
        self.hear(Heartbeat(1, 0, 0, {"10.9.9.9:1": 5}, {"s9": vector}, {"10.9.9.9:1": b"another instance"}, {}))
        self.assertEqual({}, self.role(self.third).vector)
        self.assertEqual("", self.cluster.sites[self.third].replica.routing.assignment.lacking())
        self.cluster.put(self.first, "key", "1", EMPTY)
        self.assertIsInstance(self.cluster.get(self.third, "key"), Found)

    def test_strangers_are_not_heard(self) -> None:
        """Another instance at a member's address, and a node of another cluster, change nothing."""
        sender = self.cluster.sender(self.cluster.sites[self.first])
        op = make_op(self.role(self.first).writer, 1)
        self.hear(Push([op]), sender._replace(instance=b"another instance"))
        self.hear(Push([op]), sender._replace(cluster="another"))
        self.hear(Push([op]), sender._replace(address="10.9.9.9:1"))
        self.assertEqual({}, self.role(self.third).vector)
        self.hear(Push([op]))
        self.assertEqual({op.writer: 1}, self.role(self.third).vector)

    def test_answers_without_a_word_are_no_sign_of_life(self) -> None:
        """A node that takes POSTs and says nothing, as one does whose disk hangs, counts as silent."""
        site, sender = self.cluster.sites[self.third], self.cluster.sender(self.cluster.sites[self.first])
        self.cluster.isolate(self.first)
        for _ in range(15):
            self.cluster.run(0.1)
            site.replica.receive(sender, [], self.cluster.now(site))
        self.assertFalse(site.replica.state.usable(self.first))

    def test_two_strangers_do_not_talk_for_ever(self) -> None:
        """Heartbeats of unknown nodes are answered now and then, not each."""
        self.cluster.sent.clear()
        sender = self.cluster.sender(self.cluster.sites[self.first])._replace(address="10.9.9.9:1")
        for _ in range(20):
            self.hear(Heartbeat(1, 0, 0, {}, {}, {}, {}), sender)
        self.assertEqual(1, sum(receiver == "10.9.9.9:1" for _, receiver, _ in self.cluster.sent))
