"""Requests about a key: what the node is asked, and what its outcomes look like to the client."""

import json
from urllib.parse import quote

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from kvsd.replication.requests import (
    Absent,
    Found,
    Get,
    MissingWrite,
    Outcome,
    Overloaded,
    Put,
    Refused,
    StorageFull,
    Unassigned,
    Unavailable,
    Unconfirmed,
    Unmet,
    Written,
)
from kvsd.replication.token import EMPTY, Token
from kvsd.resources.door import RequestLimits
from tests.fakes import WRITER, token
from tests.http_case import HttpCase, request_bytes

OTHER = b"\x0a\x0b\x0c\x0d\x0e\x0f"
UNMET = "Causal dependencies not satisfied; try again later"


class KeyTests(HttpCase):
    """The key is what comes after /kvs/ in the path."""

    def asked_key(self, raw: str) -> str:
        """The key that the node was asked for by a raw path."""
        self.node.outcome = Absent("s0", EMPTY)
        self.assertEqual(self.ask("GET", f"/kvs/{raw}").status, 404)
        asked = self.node.asked[-1]
        assert isinstance(asked, Get)
        return asked.key

    def test_any_characters(self) -> None:
        """Any characters make a key, each its own: slashes, dots, newlines, NUL, signs, emoji."""
        for key in ("a", "a/b", "a//b", "/a", "a/", "/", "//", ".", "..", "../x", "a/../b", " ", "a+b", "a%2Fb", "\n", "a\r\nb", "\0", "?",
                    "#", "&", ";", "<x>", "<path:x>", '"', "\\", "{tag}x", "*", "é", "e\u0301", "👩\u200d💻", "\ufeff", "%", "http://x"):  # fmt: skip
            self.assertEqual(self.asked_key(quote(key, safe="")), key)

    def test_plain_or_escaped(self) -> None:
        """A character may be escaped or not, in either case; what only looks like an escape stays as it is."""
        for raw, key in (("a/b", "a/b"), ("a%2fb", "a/b"), ("/a", "/a"), ("//", "//"), ("a/", "a/"), ("..", ".."), ("./a", "./a"),
                         ("a+b", "a+b"), ("%41", "A"), ("%2541", "%41"), ("%", "%"), ("%zz", "%zz"), ("http://x", "http://x"),
                         ("a;b", "a;b"), ("a?b=c", "a"), ("\u00c3\u00a9", "é")):  # fmt: skip
            self.assertEqual(self.asked_key(raw), key, raw)

    def test_not_utf_8(self) -> None:
        """A key that is not UTF-8 is refused, whatever is to be done with it."""
        for raw in ("%FF", "a%C3", "%ED%A0%80", "%C0%80", "a%2F%FE", "a/%FE"):
            for method, body in (("PUT", b'{"value": 1}'), ("GET", None), ("DELETE", None)):
                self.assert_error(self.ask(method, f"/kvs/{raw}", body), 400, "Key is not valid UTF-8")
        self.assertEqual(self.node.asked, [])

    def test_too_long(self) -> None:
        """Fifty characters are allowed, however many bytes they are; fifty-one are not."""
        for character in ("k", "é", "😀", "/", "%", "\n"):
            self.assertEqual(self.asked_key(quote(character * 50, safe="")), character * 50)
            for method, fields in (("PUT", {"value": 1}), ("GET", None), ("DELETE", None)):
                self.assert_error(self.ask_key(method, character * 51, fields), 400, "Key is too long")


class LongerKeyTests(HttpCase):
    """An operator may allow longer keys."""

    limits = RequestLimits(max_key_length=300)

    def test_longer(self) -> None:
        """With a limit of 300 characters, 300 are allowed and 301 are not."""
        self.node.outcome = Absent("s0", EMPTY)
        self.assertEqual(self.ask_key("GET", "k" * 300).status, 404)
        self.assert_error(self.ask_key("GET", "k" * 301), 400, "Key is too long")


class DefaultConcernTests(HttpCase):
    """An operator may have more than one replica asked for."""

    limits = RequestLimits(concern=3)

    def test_default_is_capped(self) -> None:
        """What the settings ask for counts as all where the shard has fewer members; what a client asks for does not."""
        self.node.outcome = Written("s0", EMPTY, existed=False)
        for query, headers, capped in (("", {}, True), ("", {"Prefer": "wait=1"}, True), ("?w=3", {}, False)):
            self.ask("PUT", f"/kvs/k{query}", b'{"value":1}', headers)
            put = self.node.asked[-1]
            assert isinstance(put, Put)
            self.assertEqual((3, capped), (put.concern, put.capped))


class AskingTests(HttpCase):
    """What the node is asked."""

    def setUp(self) -> None:
        super().setUp()
        self.node.outcome = Absent("s0", EMPTY)
        self.one, self.two = token(1), token(2, OTHER, "s1")

    def text(self, seen: Token) -> str:
        """A token as clients have it."""
        return self.node.tokens.encode(seen)

    def test_operations(self) -> None:
        """Each verb asks for what it says."""
        self.ask_key("GET", "k", {"value": 1})
        self.ask_key("PUT", "k", {"value": [None]})
        self.ask_key("DELETE", "k", {"value": 1})
        self.ask_key("HEAD", "k")
        self.assertEqual(
            self.node.asked, [Get("k", EMPTY), Put("k", b"[null]", EMPTY), Put("k", None, EMPTY), Get("k", EMPTY)]
        )

    def test_space(self) -> None:
        """Space within a value is a part of it, space around it is not."""
        for content in (b'{"value" : [ 1\t] , "other": 1}', b'{\r\n"value"\n:\t[ 1\t]\r\n }', b' {"value":[ 1\t]} '):
            self.ask("PUT", "/kvs/k", content)
        self.assertEqual(self.node.asked, [Put("k", b"[ 1\t]", EMPTY)] * 3)

    def test_no_value(self) -> None:
        """A PUT has to have a value, of which null is one."""
        for content in (None, b"", b"{}", b'{"causal-metadata": null}', b'{"Value": 1}'):
            answer = self.ask("PUT", "/kvs/k", content)
            self.assert_error(answer, 400, "PUT request does not specify a value")
        self.ask_key("PUT", "k", {"value": None})
        self.assertEqual(self.node.asked, [Put("k", b"null", EMPTY)])

    def test_bodies_of_reads(self) -> None:
        """A GET or DELETE may have a body or not; if it has one it has to be an object."""
        for method in ("GET", "DELETE"):
            for content in (
                None,
                b"",
                b"{}",
                b'{"causal-metadata": null}',
                b'{"causal-metadata": {}}',
                b'{"other": 1}',
            ):
                self.assertEqual(self.ask(method, "/kvs/k", content).status, 404)
            for content in (b"[]", b"null", b'"text"', b"nonsense", b" "):
                self.assertEqual(self.ask(method, "/kvs/k", content).status, 400)

    def test_metadata(self) -> None:
        """Causal metadata comes in the body or in a header, as one token or several, which are merged."""
        one, two = self.text(self.one), self.text(self.two)
        both = self.one.merged(self.two.epoch, self.two.hlc, self.two.dependencies)
        for metadata, header, expected in (
            (one, None, self.one),
            ([], None, EMPTY),
            ([one], None, self.one),
            ([one, two], None, both),
            ([one] * 15 + [two], None, both),
            (None, one, self.one),
            (None, "", EMPTY),
            (None, f"{one}, {two}", both),
            (one, two, both),
            ({}, two, self.two),
            ([one], one, self.one),
        ):
            headers = {} if header is None else {"causal-metadata": header}
            for method in ("GET", "PUT", "DELETE"):
                self.ask_key(method, "k", {"value": 1, "causal-metadata": metadata}, headers)
                asked = self.node.asked[-1]
                assert isinstance(asked, Get | Put)
                self.assertEqual(asked.token, expected)

    def test_header_twice(self) -> None:
        """The header may stand there more than once."""
        connection = self.connect()
        lines = "".join(f"Causal-Metadata: {self.text(seen)}\r\n" for seen in (self.one, self.two))
        connection.send(f"GET /kvs/k HTTP/1.1\r\nHost: kvsd\r\n{lines}\r\n".encode())
        both = self.one.merged(self.two.epoch, self.two.hlc, self.two.dependencies)
        self.assertEqual(self.node.asked, [Get("k", both)])

    def test_metadata_of_a_wrong_kind(self) -> None:
        """Causal metadata of any other kind is refused, and the answer names it."""
        for metadata in (7, 1.5, True, {"a": 1}, [None], [["x"]], [1], [self.text(self.one)] * 17):
            for method in ("GET", "PUT", "DELETE"):
                answer = self.ask_key(method, "k", {"value": 1, "causal-metadata": metadata})
                self.assertEqual((answer.status, list(answer.body)), (400, ["error"]))
                self.assertTrue(answer.body["error"].startswith("causal-metadata must be "), answer)
        self.assertEqual(self.node.asked, [])

    def test_metadata_not_issued_here(self) -> None:
        """Causal metadata that this cluster did not issue is refused with the reason."""
        error = "causal-metadata is not valid: it was not issued by this cluster"
        for metadata in ("AAAA", "A" * 40, ["A" * 40]):
            self.assert_error(self.ask_key("GET", "k", {"causal-metadata": metadata}), 400, error)
        self.assert_error(self.ask_key("GET", "k", headers={"Causal-Metadata": "A" * 40}), 400, error)
        error = "causal-metadata is not valid: it is not base64url text"
        self.assert_error(self.ask_key("GET", "k", {"causal-metadata": "😀"}), 400, error)
        self.assert_error(self.ask_key("GET", "k", headers={"Causal-Metadata": "\xff"}), 400, error)
        many = {"Causal-Metadata": ",".join([self.text(self.one)] * 17)}
        self.assertEqual(self.ask_key("GET", "k", headers=many).status, 400)

    def asked_token(self) -> Token:
        """Of the last request about a key."""
        asked = self.node.asked[-1]
        assert isinstance(asked, Get | Put), asked
        return asked.token

    def test_empty_token(self) -> None:
        """An empty text is no token: it says as much as null."""
        for metadata in ("", [""], [], ["", ""]):
            for method, fields in (("GET", {}), ("PUT", {"value": 1}), ("DELETE", {})):
                answer = self.ask_key(method, "k", {**fields, "causal-metadata": metadata}, {"Causal-Metadata": ""})
                self.assertNotEqual(400, answer.status)
                self.assertEqual(EMPTY, self.asked_token())
                self.ask_key(method, "k", {**fields, "causal-metadata": metadata})
                self.assertEqual(EMPTY, self.asked_token())
        self.ask_key("GET", "k", {"causal-metadata": ["", self.text(self.one)]}, {"Causal-Metadata": ", ,"})
        self.assertEqual(self.one, self.asked_token())

    def test_blank_body(self) -> None:
        """A body of nothing but space is told apart from one that is missing, and from one that is broken off."""
        for method in ("GET", "PUT", "DELETE"):
            for body in (b" ", b"\r\n", b"\t \n" * 100):
                answer = self.ask(method, "/kvs/k", body)
                self.assert_error(answer, 400, "Request body is blank: a JSON object is expected")
        self.assertEqual([], self.node.asked)
        self.assert_error(self.ask("PUT", "/kvs/k"), 400, "PUT request does not specify a value")
        self.assert_error(self.ask("PUT", "/kvs/k", b""), 400, "PUT request does not specify a value")
        for method in ("GET", "DELETE"):
            for missing in (None, b""):
                self.assertNotEqual(400, self.ask(method, "/kvs/k", missing).status)

    def test_wait(self) -> None:
        """Prefer: wait=N asks for N seconds of patience, at most 60, and is confirmed."""
        for header, seconds in (("wait=5", 5), ("WAIT = 7", 7), ('wait="8"', 8), ("wait=60", 60), ("wait=61", 60), ("wait=100000000000", 60),
                                ("wait=" + "9" * 5000, 60), ("wait=007", 7), ("wait=0", 0), ("respond-async, wait=3", 3), ("wait=4; x=y", 4),
                                ('return="a,wait=9", wait=2', 2), ("wait=1, wait=2", 1), ("foo; wait=9, wait=6", 6)):  # fmt: skip
            answer = self.ask_key("GET", "k", headers={"prefer": header})
            self.assertEqual(self.node.asked[-1], Get("k", EMPTY, seconds), header)
            self.assertEqual(answer.headers["preference-applied"], f"wait={seconds}")

    def test_no_wait(self) -> None:
        """A preference that makes no sense is ignored."""
        for header in ("", "wait", "wait=", "wait=x", "wait=-1", "wait=1.5", "await=5", "wait=5x", 'wait="x"', "respond-async", "wait=²",
                       '"wait=5"', "\xff", "wait=5 6"):  # fmt: skip
            answer = self.ask_key("GET", "k", headers={"Prefer": header})
            self.assertEqual(self.node.asked[-1], Get("k", EMPTY, 0), header)
            self.assertNotIn("preference-applied", answer.headers)

    def test_wait_is_confirmed_only_where_it_counted(self) -> None:
        """Where waiting could not have helped, the preference is not said to have been applied."""
        self.node.outcome = Unavailable("s0")
        self.assertNotIn("preference-applied", self.ask_key("GET", "k", headers={"Prefer": "wait=1"}).headers)
        self.assertNotIn("preference-applied", self.ask("GET", "/kvs/k", b"[]", {"Prefer": "wait=1"}).headers)

    def test_concern(self) -> None:
        """A write may ask for replicas in its query, for as long as its client would wait; for a read that says nothing."""
        for text, concern in (("1", 1), ("3", 3), ("majority", "majority"), ("all", "all")):
            for headers, wait in (({}, None), ({"Prefer": "wait=7"}, 7), ({"Prefer": "wait=0"}, 0)):
                for method, value in (("PUT", b"1"), ("DELETE", None)):
                    self.ask(method, f"/kvs/k?w={text}", b'{"value":1}', headers)
                    within = None if concern == 1 else wait
                    put = Put("k", value, EMPTY, wait or 0, concern=concern, within=within)  # type: ignore[arg-type]
                    self.assertEqual(self.node.asked[-1], put)
        self.ask("GET", "/kvs/k?w=nonsense")
        self.assertEqual(self.node.asked[-1], Get("k", EMPTY))

    def test_bad_concern(self) -> None:
        """A concern that is no number from 1 and no word, or given twice, is refused."""
        for wrong in ("w=0", "w=-1", "w=", "w=most", "w=1.5", "w=%ff", "w=2&w=2"):
            for method in ("PUT", "DELETE"):
                answer = self.ask(method, f"/kvs/k?{wrong}", b'{"value":1}')
                self.assert_error(answer, 400, 'w must be a whole number from 1, "majority" or "all"')
        self.assertEqual(self.node.asked, [])

    def test_idempotency_key(self) -> None:
        """A write may carry the id by which its retry is recognised."""
        for key in ("x", "x" * 255, '"8e03978e"', "!~"):
            for method, value in (("PUT", b"1"), ("DELETE", None)):
                self.ask_key(method, "k", {"value": 1}, {"Idempotency-Key": key})
                self.assertEqual(self.node.asked[-1], Put("k", value, EMPTY, 0, key))

    def test_bad_idempotency_key(self) -> None:
        """An id that is empty, too long or not made of visible ASCII is refused."""
        for key in ("", "x" * 256, "a b", "\x7f", "\xe9"):
            answer = self.ask_key("PUT", "k", {"value": 1}, {"Idempotency-Key": key})
            self.assert_error(answer, 400, "Idempotency-Key must be 1 to 255 visible ASCII characters")
        self.assertEqual(self.node.asked, [])


class AnswerTests(HttpCase):
    """What each outcome looks like to the client."""

    def answered(self, method: str, outcome: Outcome) -> tuple[int, dict[str, object]]:
        """Status and body of the answer to a request with an outcome."""
        self.node.outcome = outcome
        answer = self.ask_key(method, "k", {"value": 1})
        if (metadata := answer.body.get("causal-metadata")) is not None:
            self.assertEqual(answer.headers["causal-metadata"], metadata)
        self.assertEqual(answer.headers.get("retry-after"), "1" if answer.status == 503 else None)
        return answer.status, answer.body

    def test_carried_out(self) -> None:
        """What was carried out says so, with the causal metadata and the shard; an absent key too."""
        seen = token(7)
        more = {"causal-metadata": self.node.tokens.encode(seen), "shard-id": "s0"}
        absent = 404, {"error": "Key does not exist", **more}
        reached, unconfirmed = {"durability": {"replicas": 2, "of": 3}}, "Stored on 2 of 3, not rolled back"
        for method, outcome, expected in (
            ("PUT", Written("s0", seen, existed=False), (201, {"result": "created", **more})),
            ("PUT", Written("s0", seen, existed=True), (200, {"result": "replaced", **more})),
            ("DELETE", Written("s0", seen, existed=True), (200, {"result": "deleted", **more})),
            (
                "PUT",
                Written("s0", seen, existed=True, replicas=2, of=3),
                (200, {"result": "replaced", **reached, **more}),
            ),
            (
                "DELETE",
                Written("s0", seen, existed=True, replicas=2, of=3),
                (200, {"result": "deleted", **reached, **more}),
            ),
            (
                "PUT",
                Unconfirmed("s0", seen, existed=True, replicas=2, of=3),
                (504, {"error": unconfirmed, **reached, **more}),
            ),
            ("GET", Found("s0", seen, b'{"a": [1.50]}'), (200, {"result": "found", "value": {"a": [1.5]}, **more})),
            ("GET", Absent("s0", seen), absent),
            ("DELETE", Absent("s0", seen), absent),
        ):
            self.assertEqual(self.answered(method, outcome), expected)

    def test_not_carried_out(self) -> None:
        """What was not says why."""
        for outcome, expected in (
            (Unavailable("s1"), (503, {"error": "Shard is unavailable; try again later", "shard-id": "s1"})),
            (
                Unassigned("it was deleted"),
                (503, {"error": "Node is not assigned to a shard", "reason": "it was deleted"}),
            ),
            (Overloaded("Too much; try again later"), (503, {"error": "Too much; try again later"})),
            (Refused("It can't be"), (400, {"error": "It can't be"})),
            (StorageFull(), (507, {"error": "Storage is full; writes are refused until there is room again"})),
        ):
            for method in ("GET", "PUT", "DELETE"):
                self.assertEqual(self.answered(method, outcome), expected)

    def test_unmet(self) -> None:
        """A dependency that is not here is named: which write, who has it, how its node is doing."""
        here = MissingWrite("s1", "a1f300000000", "10.0.0.3:8090", 17, 15, ["10.0.0.3:8090"], "suspect", 4.1234, 2.0)
        unknown = MissingWrite("s1", "b1f300000000", "", 3, 0, [], "unknown", None, 0.0)
        self.node.outcome = Unmet("s1", [here, unknown], 3, 2)
        text = self.node.tokens.encode(token(17))
        answer = self.ask_key("GET", "k", {"causal-metadata": text}, {"Prefer": "wait=1"})
        self.assertEqual(answer.status, 503)
        self.assertEqual(answer.body, {
            "error": UNMET,
            "waiting-for": [
                {"shard": "s1", "writer": "10.0.0.3:8090#a1f3", "need": 17, "have": 15, "held-by": ["10.0.0.3:8090"],
                 "last-heard-s": 4.123, "state": "suspect", "missing-since-s": 2.0},
                {"shard": "s1", "writer": "b1f300000000", "need": 3, "have": 0, "held-by": [],
                 "last-heard-s": None, "state": "unknown", "missing-since-s": 0.0},
                {"epoch-needed": 3, "epoch": 2},
            ],
            "causal-metadata": text,
            "shard-id": "s1",
        })  # fmt: skip
        self.assertEqual(answer.headers["retry-after"], "1")
        self.assertEqual(answer.headers["causal-metadata"], text)
        self.assertEqual(answer.headers["preference-applied"], "wait=1")

    def test_token_comes_back(self) -> None:
        """The metadata of an answer is the token that the node gave."""
        seen = token(9, WRITER, "s3")
        _, body = self.answered("GET", Absent("s0", seen))
        self.assertEqual(self.node.tokens.decode(str(body["causal-metadata"])), seen)


class UnderWayTests(HttpCase):
    """Requests that take their time."""

    limits = RequestLimits(in_flight=2)

    def setUp(self) -> None:
        super().setUp()
        self.node.outcome = None

    def test_answered_later(self) -> None:
        """A request is answered when the node has its outcome, and the next one on its connection after it."""
        connection = self.connect()
        connection.send(request_bytes("GET", "/kvs/a") + request_bytes("GET", "/view"))
        self.assertEqual(connection.answers(), [])
        self.node.open[0].callback(Found("s0", EMPTY, b"1"))
        self.assertEqual([next(iter(answer.body)) for answer in connection.answers()], ["result", "view"])

    def test_hang_up(self) -> None:
        """A client that hangs up is waited for no longer: the node is told, and nothing is logged."""
        connection = self.connect()
        connection.send(request_bytes("PUT", "/kvs/a", b'{"value": 1}'))
        connection.channel.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.node.given_up, [Put("a", b"1", EMPTY)])
        self.assertEqual(self.sample("kvsd_requests_total", verb="PUT", outcome="hung-up"), 1)

    def test_too_many(self) -> None:
        """More requests at once than the limit are sent away; syntax is still judged first; then there is room again."""
        connections = [self.connect() for _ in range(2)]
        for connection in connections:
            connection.send(request_bytes("GET", "/kvs/a"))
        answer = self.ask_key("GET", "a")
        self.assert_error(answer, 503, "Too many requests are under way at this node; try again later")
        self.assertEqual(answer.headers["retry-after"], "1")
        self.assertEqual(self.ask("GET", "/kvs/a", b"[]").status, 400)
        self.assertEqual(self.ask("GET", "/view").status, 200)
        self.node.open[0].callback(Absent("s0", EMPTY))
        connections[1].channel.connectionLost(Failure(ConnectionDone()))
        self.node.outcome = Absent("s0", EMPTY)
        self.assertEqual([self.ask_key("GET", "a").status for _ in range(5)], [404] * 5)

    def test_values_are_not_decoded(self) -> None:
        """A value goes back as the text it was stored as, even if no client could have stored it."""
        self.node.outcome = Found("s0", EMPTY, b'"\xc3\xa9"')
        self.assertEqual(json.loads(self.ask_key("GET", "a").content)["value"], "é")
