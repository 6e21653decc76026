"""What a node tells about the cluster, and what nodes say to each other."""

from kvsd.replication.configuration import NOT_ENOUGH_NODES
from kvsd.replication.requests import (
    Begun,
    Changed,
    Counted,
    CountKeys,
    Overloaded,
    Refused,
    Reshard,
    Unassigned,
    Unavailable,
)
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


class ReshardTests(HttpCase):
    """PUT /shard/reshard, and what is wrong in itself with it and with GET."""

    def test_answers(self) -> None:
        """A reshard is made, was there already, has begun, or can't be; with wait=false nobody waits."""
        for outcome, status, fields in (
            (Changed(), 200, {"result": "resharded"}),
            (Changed(anew=False), 200, {"result": "resharded"}),
            (Begun(), 202, {"result": "started", "status": "/kvsd/reshard"}),
            (Refused(NOT_ENOUGH_NODES), 400, {"error": NOT_ENOUGH_NODES}),
            (Overloaded("try again later"), 503, {"error": "try again later"}),
        ):
            self.node.outcome = outcome
            answer = self.ask("PUT", "/shard/reshard", b'{"shard-count": 3}')
            self.assertEqual((answer.status, answer.body), (status, fields))
        self.assertEqual([Reshard(3, wait=True)] * 5, self.node.asked)

    def test_wait(self) -> None:
        """Only wait=false says that nobody waits."""
        self.node.outcome = Changed()
        for query in ("", "?wait=true", "?wait=", "?wait=False", "?wait=0", "?wait=false&wait=true", "?x=false"):
            self.assertEqual(200, self.ask("PUT", f"/shard/reshard{query}", b'{"shard-count": 3}').status)
        self.assertEqual({Reshard(3, wait=True)}, set(self.node.asked))
        self.ask("PUT", "/shard/reshard?wait=false", b'{"shard-count": 3}')
        self.assertEqual(Reshard(3, wait=False), self.node.asked[-1])

    def test_bad_counts(self) -> None:
        """What is no number of shards is a 400, and nobody is asked."""
        for value in (
            b"true",
            b"0",
            b"-1",
            b"1.5",
            b'"3"',
            b"null",
            b"[3]",
            b"{}",
            b"1e400",
            b"-0",
            b"NaN",
        ):
            answer = self.ask("PUT", "/shard/reshard", b'{"shard-count": %s}' % value)
            self.assertEqual(400, answer.status, value)
            self.assertEqual({"error"}, set(answer.body))
        self.assertEqual([], self.node.asked)

    def test_bad_bodies(self) -> None:
        """So is a body that is no JSON object with that number."""
        for body in (
            None,
            b"",
            b"3",
            b"[]",
            b"null",
            b"-nonsense",
            b"{",
            b"\xff",
            b"{}",
            b'{"shards": 3}',
            b"[" * 1000,
        ):
            answer = self.ask("PUT", "/shard/reshard", body)
            self.assertEqual((400, {"error"}), (answer.status, set(answer.body)), body)
        self.assertEqual(413, self.ask("PUT", "/shard/reshard", b" " * (self.limits.max_body_bytes + 1)).status)
        self.assertEqual([], self.node.asked)

    def test_bad_queries(self) -> None:
        """A plan is made for one number of shards, from 1."""
        error = "shard-count must be given once in the query, as a number from 1"
        for query in ("", "?", "?shard-count", "?shard-count=", "?shard-count=0", "?shard-count=000", "?shard-count=-1", "?shard-count=1.5",
                      "?shard-count=true", "?shard-count=x", "?shard-count=2&shard-count=2", "?shards=2", "?shard-count=%D9%A3",
                      "?shard-count=+3", "?shard-count=3%20", "?shard-count=%B2", "?shard-count=0x3"):  # fmt: skip
            self.assert_error(self.ask("GET", f"/shard/reshard{query}"), 400, error)
        self.assertEqual([], self.node.asked)

    def test_wrong_method(self) -> None:
        """The paths that say which methods they know."""
        for method, target, allowed in (
            ("POST", "/shard/reshard", "GET, HEAD, PUT"),
            ("DELETE", "/shard/reshard", "GET, HEAD, PUT"),
            ("PUT", "/shard/ids", "GET, HEAD"),
            ("PUT", "/shard/key-count/s0", "GET, HEAD"),
        ):
            self.assert_error(self.ask(method, target, b"{}"), 405, f"Method not allowed here; allowed: {allowed}")


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
