"""The doors that change who is in the cluster: what the node is asked, and what its outcomes look like to the client."""

from typing import ClassVar

from kvsd.replication.requests import (
    AddMember,
    AddNode,
    Begun,
    Changed,
    Conflict,
    ForgetNode,
    Outcome,
    Overloaded,
    Refused,
    RemoveNode,
    Unassigned,
    Unknown,
)
from kvsd.resources.door import RequestLimits
from tests.http_case import HttpCase

NODE = "10.0.0.9:8090"
BODY = b'{"socket-address": "10.0.0.9:8090"}'
DOORS = (("PUT", "/view"), ("DELETE", "/view"), ("PUT", "/shard/add-member/s0"), ("PUT", "/kvsd/forget"))
"""All that are about one node."""


class NodesCase(HttpCase):
    """Requests about nodes."""

    refusals: ClassVar[list[tuple[Outcome, int]]] = [
        (Unknown("View has no such replica"), 404),
        (Refused("s1 would have no live member without it"), 400),
        (Conflict("something else is under way"), 409),
        (Overloaded("Too many changes are waited for here; try again later"), 503),
    ]

    def result(self, method: str, target: str, outcome: Outcome, body: bytes = BODY) -> tuple[int, object]:
        """Status and result of a request, where the node answers it so."""
        self.node.outcome = outcome
        answer = self.ask(method, target, body)
        return answer.status, answer.body.get("result")


class AnswersTests(NodesCase):
    """Good requests."""

    def test_add(self) -> None:
        """A node is added, or was there already."""
        self.assertEqual((201, "added"), self.result("PUT", "/view", Changed()))
        self.assertEqual((200, "already present"), self.result("PUT", "/view", Changed(anew=False)))
        self.assertEqual([AddNode(NODE)] * 2, self.node.asked)

    def test_remove(self) -> None:
        """A node is removed."""
        self.assertEqual((200, "deleted"), self.result("DELETE", "/view", Changed()))
        self.assertEqual([RemoveNode(NODE)], self.node.asked)

    def test_add_member(self) -> None:
        """A node is given a place, or had it already: the answer is the same."""
        for outcome in (Changed(), Changed(anew=False)):
            self.assertEqual((200, "node added to shard"), self.result("PUT", "/shard/add-member/s1", outcome))
        self.assertEqual([AddMember("s1", NODE)] * 2, self.node.asked)

    def test_add_member_of_no_shard(self) -> None:
        """Where there is no such shard nobody is asked; what is wrong with the body is said first."""
        for shard in ("s2", "0", "S0", "%FF", "é"):
            self.assert_error(self.ask("PUT", f"/shard/add-member/{shard}", BODY), 404, "Shard does not exist")
        self.assertEqual(400, self.ask("PUT", "/shard/add-member/s2", b"{}").status)
        self.assertEqual([], self.node.asked)

    def test_forget(self) -> None:
        """A node is forgotten by whoever accepts the loss."""
        body = b'{"socket-address": "10.0.0.9:8090", "accept-loss": true}'
        self.assertEqual((200, "forgotten"), self.result("PUT", "/kvsd/forget", Changed(), body))
        self.assertEqual([ForgetNode(NODE)], self.node.asked)

    def test_forget_without_accepting(self) -> None:
        """Nobody is asked where the loss is not accepted in so many words."""
        error = "Forgetting a node loses what only it had: say so with accept-loss true"
        for body in (BODY, b'{"socket-address": "10.0.0.9:8090", "accept-loss": false}'):
            self.assert_error(self.ask("PUT", "/kvsd/forget", body), 400, error)
        for value in (b'"true"', b"1", b"null", b"[]"):
            body = b'{"socket-address": "10.0.0.9:8090", "accept-loss": %s}' % value
            self.assertEqual(400, self.ask("PUT", "/kvsd/forget", body).status)
        self.assertEqual([], self.node.asked)

    def test_refused(self) -> None:
        """Whatever becomes of a change, the answer says it in the node's words, and when to try again."""
        body = b'{"socket-address": "10.0.0.9:8090", "accept-loss": true}'
        for method, target in DOORS:
            for outcome, status in self.refusals:
                self.node.outcome = outcome
                answer = self.ask(method, target, body)
                self.assert_error(answer, status, getattr(outcome, "reason", ""))
                self.assertEqual("1" if status == 503 else None, answer.headers.get("retry-after"))
            self.node.outcome = Unassigned("x")
            self.assertEqual(503, self.ask(method, target, body).status)
            self.node.outcome = Begun()
            self.assertEqual(202, self.ask(method, target, body).status)


class BadRequestsTests(NodesCase):
    """Requests that are wrong in themselves."""

    limits = RequestLimits(max_body_bytes=1000)

    def test_bad_bodies(self) -> None:
        """What is no JSON object that names a node is a 400 that says so, and nobody is asked."""
        bodies = (
            (b"", "Request body is missing"),
            (b"-nonsense", "not valid JSON"),
            (b"{", "not valid JSON"),
            (b'{"socket-address": "10.0.0.9:8090"}x', "not valid JSON"),
            (b"\xff", "not UTF-8"),
            (b"[" * 100, "nested"),
            (b"[]", "Expected `object`, got `array`"),
            (b"7", "Expected `object`, got `int`"),
            (b"null", "Expected `object`, got `null`"),
            (b'"10.0.0.9:8090"', "Expected `object`, got `str`"),
            (b"{}", "missing required field `socket-address`"),
            (b'{"address": "10.0.0.9:8090"}', "missing required field `socket-address`"),
            (b'{"socket-address": null}', "Expected `str`, got `null`"),
            (b'{"socket-address": 8090}', "Expected `str`, got `int`"),
            (b'{"socket-address": ["10.0.0.9:8090"]}', "Expected `str`, got `array`"),
        )
        for method, target in DOORS:
            for body, error in bodies:
                answer = self.ask(method, target, body)
                self.assertEqual(400, answer.status, (target, body))
                self.assertIn(error, answer.body["error"])
            self.assertEqual(400, self.ask(method, target).status)
        self.assertEqual([], self.node.asked)

    def test_no_address(self) -> None:
        """What is no IP:PORT, as nodes are called, is refused, and not repeated."""
        for text in ("", "x", "10.0.0.9", ":8090", "10.0.0.9:", "10.0.0.9:0", "10.0.0.9:65536", "10.0.0.256:8090", "10.0.0.9:8090 ",
                     "10.0.0.9:+8090", "10.0.0.9:\\u0664", "http://10.0.0.9:8090", "x" * 500,
                     "10.0.0.9:8090,10.0.0.8:8090", "10.0.0.9:8090\\n", "10.0.0.9:8090\\u0000", "10.0.0.9:9\\ud83d\\ude00"):  # fmt: skip
            body = b'{"socket-address": "%s", "accept-loss": true}' % text.encode()
            for method, target in DOORS:
                self.assert_error(self.ask(method, target, body), 400, "socket-address is not IP:PORT")
        self.assertEqual([], self.node.asked)

    def test_faulty_addresses(self) -> None:
        """An address that is none, or another spelling of one, is refused with a sentence that says so."""
        for text, error in (
            ("[0::1]:80", "socket-address is another spelling of [::1]:80: write that"),
            ("10.0.0.9:08090", "socket-address is another spelling of 10.0.0.9:8090: write that"),
            ("0.0.0.0:80", "socket-address is no node's name: the IP is unspecified"),
            ("169.254.169.254:80", "socket-address is no node's name: the IP is link-local"),
            ("[fe80::1%eth0]:80", "socket-address has a scope id, which means nothing to other nodes"),
        ):
            body = b'{"socket-address": "%s", "accept-loss": true}' % text.encode()
            for method, target in DOORS:
                self.assert_error(self.ask(method, target, body), 400, error)
        self.assertEqual([], self.node.asked)

    def test_old_names_can_go(self) -> None:
        """A node whose name is refused today is removed and forgotten all the same, and never added."""
        old = "[fe80::1%eth0]:80"
        self.node.insight.old_names = [old]
        body = b'{"socket-address": "%s", "accept-loss": true}' % old.encode()
        for method, target in DOORS:
            status, _ = self.result(method, target, Changed(), body)
            self.assertEqual(200 if target in {"/kvsd/forget"} or method == "DELETE" else 400, status, (method, target))
        self.assertEqual([RemoveNode(old), ForgetNode(old)], self.node.asked)

    def test_fields_that_mean_nothing(self) -> None:
        """Other fields are of no interest; of two of one name the last one counts."""
        body = b'{"x": [1], "socket-address": 0, "socket-address": "10.0.0.9:8090"}'
        self.assertEqual(400, self.ask("PUT", "/view", body).status)
        body = b'{"x": [1], "socket-address": "10.0.0.8:8090", "socket-address": "10.0.0.9:8090"}'
        self.assertEqual(201, self.result("PUT", "/view", Changed(), body)[0])
        self.assertEqual([AddNode(NODE)], self.node.asked)

    def test_too_large(self) -> None:
        """A body that is too large is a 413."""
        for method, target in DOORS:
            self.assertEqual(413, self.ask(method, target, BODY + b" " * 1000).status)
        self.assertEqual([], self.node.asked)

    def test_wrong_method(self) -> None:
        """A path that does not know a method says which ones it knows."""
        for method, target, allowed in (
            ("POST", "/view", "DELETE, GET, HEAD, PUT"),
            ("GET", "/shard/add-member/s0", "PUT"),
            ("DELETE", "/shard/add-member/s0", "PUT"),
            ("GET", "/kvsd/forget", "PUT"),
            ("POST", "/kvsd/forget", "PUT"),
        ):
            answer = self.ask(method, target, BODY)
            self.assert_error(answer, 405, f"Method not allowed here; allowed: {allowed}")
            self.assertEqual(allowed, answer.headers["allow"])

    def test_nothing_there(self) -> None:
        """What there is not is a 404."""
        for target in (
            "/view/10.0.0.9:8090",
            "/shard/add-member",
            "/shard/add-member/s0/x",
            "/kvsd/forget/x",
            "/kvsd/x",
        ):
            self.assertEqual(404, self.ask("PUT", target, BODY).status)
