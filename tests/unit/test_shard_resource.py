"""What a node tells about the cluster, and what nodes say to each other."""

from kvsd.replication.requests import Counted, CountKeys, Overloaded, Unassigned, Unavailable
from tests.http_case import HttpCase


class ViewTests(HttpCase):
    """GET /view"""

    def test_view(self) -> None:
        """The view has the nodes that are up."""
        answer = self.ask("GET", "/view")
        self.assertEqual((answer.status, answer.body), (200, {"view": ["10.0.0.1:8090", "10.0.0.2:8090"]}))
        self.node.insight.up = []
        self.assertEqual(self.ask("GET", "/view", b"a body that nobody reads").body, {"view": []})


class ShardTests(HttpCase):
    """The four questions under /shard."""

    def test_ids(self) -> None:
        """The ids of all shards."""
        answer = self.ask("GET", "/shard/ids")
        self.assertEqual((answer.status, answer.body), (200, {"shard-ids": ["s0", "s1"]}))

    def test_node_shard_id(self) -> None:
        """The shard of the node that is asked, null if it is in none."""
        self.assertEqual(self.ask("GET", "/shard/node-shard-id").body, {"node-shard-id": "s0"})
        self.node.insight.shard = None
        answer = self.ask("GET", "/shard/node-shard-id")
        self.assertEqual((answer.status, answer.body), (200, {"node-shard-id": None}))

    def test_members(self) -> None:
        """The members of any shard."""
        answer = self.ask("GET", "/shard/members/s1")
        self.assertEqual((answer.status, answer.body), (200, {"shard-members": ["10.0.0.2:8090"]}))

    def test_key_count(self) -> None:
        """The number of keys of any shard."""
        self.node.outcome = Counted(600)
        answer = self.ask("GET", "/shard/key-count/s1")
        self.assertEqual((answer.status, answer.body), (200, {"shard-key-count": 600}))
        self.assertEqual(self.node.asked, [CountKeys("s1")])

    def test_key_count_not_to_be_had(self) -> None:
        """Where no member can be asked, the answer says so and when to try again."""
        for outcome, body in (
            (Unavailable("s1"), {"error": "Shard is unavailable; try again later", "shard-id": "s1"}),
            (Unassigned("x"), {"error": "Node is not assigned to a shard", "reason": "x"}),
            (Overloaded("Too much; try again later"), {"error": "Too much; try again later"}),
        ):
            self.node.outcome = outcome
            answer = self.ask("GET", "/shard/key-count/s1")
            self.assertEqual((answer.status, answer.headers["retry-after"], answer.body), (503, "1", body))

    def test_unknown(self) -> None:
        """A shard that there is not has neither members nor keys."""
        for what in ("members", "key-count"):
            for shard in ("s2", "0", "S0", "s0%20", "s%00", "%FF", "%2F", "é"):
                answer = self.ask("GET", f"/shard/{what}/{shard}")
                self.assert_error(answer, 404, "Shard does not exist")
        self.assertEqual(self.node.asked, [])


class PeerTests(HttpCase):
    """Paths that nodes use among themselves."""

    def test_messages(self) -> None:
        """What a node POSTs is handed on to the byte, and so is the answer."""
        said = bytes(range(256)) * 10
        answer = self.ask("POST", "/kvsd/i/messages", said, {"Content-Type": "application/octet-stream"})
        self.assertEqual((answer.status, answer.content), (200, b"heard: " + said))
        self.assertEqual(answer.headers["content-type"], "application/octet-stream")
        self.assertEqual(self.node.received, [said])

    def test_not_genuine(self) -> None:
        """What no node of the cluster wrote is refused."""
        answer = self.ask("POST", "/kvsd/i/messages", b"forged")
        self.assert_error(answer, 400, "the message was not made under this cluster's secret")

    def test_waiting(self) -> None:
        """Who waits, and for what, can be looked up."""
        self.assertEqual(self.ask("GET", "/kvsd/waiting").body, {"waiting": []})
        self.node.insight.waiters = [{"key": "tea", "seconds-left": 1.5, "lacks": {"010203040506": 7}}]
        self.assertEqual(self.ask("GET", "/kvsd/waiting").body, {"waiting": self.node.insight.waiters})
