"""A member that was started again has other members carry requests out until it may serve what it has."""

from kvsd.replication.messages import Forward
from kvsd.replication.requests import Counted, CountKeys, Found, Get, Put, Unavailable, Written
from kvsd.replication.token import EMPTY
from tests.pure import PureCluster
from tests.pure_case import PureCase


class MeetingTests(PureCase):
    """A node that is killed and started again while another one stays away, so that it can't have met all others."""

    def setUp(self) -> None:
        """Found the cluster, write two keys, kill a node of s0 and one of s1, and start the first again."""
        self.cluster = PureCluster().founded()
        self.key, self.far_key = self.cluster.key_of("s0"), self.cluster.key_of("s1")
        self.node, *self.mates = self.cluster.members("s0")
        self.cluster.put(self.node, self.key, "1")
        self.cluster.put(self.node, self.far_key, "2")
        self.cluster.run(1.0)
        self.cluster.crash(self.cluster.members("s1")[0])
        self.cluster.crash(self.node)

    def restart(self, seconds: float) -> None:
        """Start the node again and let time pass, with its memory of what was sent emptied."""
        self.cluster.restart(self.node)
        self.cluster.run(seconds)
        self.assertNotEqual("", self.cluster.sites[self.node].replica.routing.assignment.lacking())
        self.cluster.sent.clear()

    def forwarded_to(self) -> set[str]:
        """The nodes that the node has put requests to."""
        return {peer for sender, peer, message in self.cluster.sent if sender == self.node and _is_forward(message)}

    def test_requests_for_its_own_shard_are_carried_out_by_another_member(self) -> None:
        """Reads, writes and counts succeed, each at another member, and the write is one of that member."""
        self.restart(0.5)
        found = self.cluster.get(self.node, self.key)
        assert isinstance(found, Found)
        self.assertEqual(b"1", found.value)
        self.assertLessEqual(self.forwarded_to(), set(self.mates))
        before = dict(self.cluster.sites[self.node].replica.state.roles["s0"].vector)
        written = self.cluster.ask(self.node, Put(self.key, b"3", EMPTY))
        assert isinstance(written, Written)
        role = self.cluster.sites[self.node].replica.state.roles["s0"]
        self.assertEqual(before.get(role.writer, 0), role.vector.get(role.writer, 0))
        self.assertIsInstance(self.cluster.ask(self.node, CountKeys("s0")), Counted)

    def test_requests_for_another_shard_are_carried_out_there(self) -> None:
        """A node that may not serve its own shard yet finds the members of others as always."""
        self.restart(0.5)
        self.assertIsInstance(self.cluster.get(self.node, self.far_key), Found)

    def test_what_comes_before_any_peer_was_heard_is_tried_at_all_members(self) -> None:
        """In the first instant no member can be known to be up: one that does not answer is passed over at once."""
        self.cluster.crash(self.mates[0])
        self.restart(0.0)
        self.assertIsInstance(self.cluster.get(self.node, self.key), Found)
        self.assertIsInstance(self.cluster.ask(self.node, Put(self.key, b"3", EMPTY)), Written)

    def test_shard_is_unavailable_where_no_other_member_is_up(self) -> None:
        """The node does not say that it belongs to no shard; and once it may serve by itself it does."""
        for mate in self.mates:
            self.cluster.crash(mate)
        self.restart(0.5)
        self.assertEqual(Unavailable("s0"), self.cluster.get(self.node, self.key))
        self.cluster.run(3.0)
        self.assertIsInstance(self.cluster.get(self.node, self.key), Found)

    def test_reader_that_would_rather_wait_waits_at_another_member(self) -> None:
        """The node can't wait for causes itself, as what it has may be old."""
        self.restart(0.5)
        self.cluster.get(self.node, self.key)
        reader = self.forwarded_to()
        (busy,) = set(self.mates) - reader
        self.cluster.isolate(busy)
        token = self.cluster.put(busy, self.key, "4")
        self.cluster.crash(busy)
        ticket = self.cluster.submit(self.node, Get(self.key, token, 8.0))
        self.cluster.run(0.3)
        self.assertNotIn(ticket, self.cluster.sites[self.node].outcomes)
        self.assertEqual(reader, self.forwarded_to() - {busy})
        self.cluster.heal()
        self.cluster.restart(busy)
        self.cluster.run(6.0)
        found = self.cluster.sites[self.node].outcomes[ticket]
        assert isinstance(found, Found)
        self.assertEqual(b"4", found.value)


def _is_forward(message: object) -> bool:
    return isinstance(message, Forward)
