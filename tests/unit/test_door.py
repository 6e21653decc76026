"""Bodies in, errors out: what all routes have in common."""

import json
import random
from typing import Any

import msgspec
from msgspec import Raw, Struct
from twisted.web.resource import Resource
from twisted.web.server import Request

from kvsd.replication.requests import Found, Put, Written
from kvsd.replication.token import EMPTY
from kvsd.resources.door import Rejected, read_json
from kvsd.resources.places import Places
from kvsd.resources.site import BoundedSite
from tests.fakes import token
from tests.http_case import HttpCase

NO_SUCH_PATH = "Not found: there is nothing under this path"


class _Body(Struct):
    value: Raw = Raw()


DECODER = msgspec.json.Decoder(_Body)

FRAGMENTS = [
    *(b'"', b"\\", b"u", b"d83d", b"\\ud83d", b"\\ude00", b"\\u00e9", b"{", b"}", b"[", b"]", b",", b":", b"0", b"1", b"-"),
    *(b".", b"e", b"E", b"+", b"true", b"false", b"null", b" ", b"\n", b"\t", b"\r", b"a", "é".encode(), "😀".encode()),
    *(b"\x00", b"\x1f", b"\x7f", b"\xff", b"\xed\xa0\x80", b"/", b"n", b'"a"', b'"":', b"[1]", b'{"a":1}', b"NaN", b"Infinity"),
]  # fmt: skip


def by_the_standard_library(body: bytes) -> Any:
    """The body as Python's own parser reads it, kept to the standard.  Raises ValueError."""

    def refuse(text: str) -> None:
        raise ValueError(text)

    value = json.loads(body.decode(), parse_constant=refuse)
    json.dumps(value, ensure_ascii=False).encode()  # half of a surrogate pair is no text
    return value


class JsonTests(HttpCase):
    """What is taken for JSON, and what is said of what is not."""

    def setUp(self) -> None:
        super().setUp()
        self.node.outcome = Written("s0", token(1), existed=False)

    def put(self, body: bytes) -> tuple[int, str]:
        """Status and error of a PUT."""
        answer = self.ask("PUT", "/kvs/key", body)
        return answer.status, answer.body.get("error", "")

    def test_agrees_with_another_parser(self) -> None:
        """Whatever is taken for JSON is JSON for Python's own parser too, with the same value, and the other way round."""
        chance = random.Random(1)
        taken = 0
        for _ in range(30_000):
            body = b'{"value":' + b"".join(chance.choices(FRAGMENTS, k=chance.randint(1, 6))) + b"}"
            try:
                value = bytes(read_json(body, DECODER, 64).value)
            except Rejected:
                self.assertRaises(ValueError, by_the_standard_library, body)
            else:
                taken += 1
                self.assertEqual(json.loads(value), by_the_standard_library(body).get("value"), body)
        self.assertGreater(taken, 500)

    def test_what_and_where(self) -> None:
        """A body that is not JSON is refused with what is wrong and at which byte."""
        for body, error in (
            (b"-nonsense", "Request body is not valid JSON: invalid character (byte 1)"),
            (b'{"value": 1', "Request body is not valid JSON: Input data was truncated"),
            (b'{"value": 1}x', "Request body is not valid JSON: trailing characters (byte 13)"),
            (b'{"value": [1,]}', "Request body is not valid JSON: trailing comma in array (byte 13)"),
            (b'{"value": NaN}', "Request body is not valid JSON: invalid character (byte 10)"),
            (b'\xef\xbb\xbf{"value": 1}', "Request body is not valid JSON: invalid character (byte 0)"),
            (b'{"value": "\xff"}', "Request body is not UTF-8 (byte 11)"),
            (b'{"value": "\xed\xa0\xbd"}', "Request body is not UTF-8 (byte 11)"),
            ('{"value": 1}'.encode("utf-16"), "Request body is not UTF-8 (byte 0)"),
            (b"[1]", "Request body is not as it should be: Expected `object`, got `array`"),
            (b"7", "Request body is not as it should be: Expected `object`, got `int`"),
            (b"null", "Request body is not as it should be: Expected `object`, got `null`"),
        ):
            self.assertEqual(self.put(body), (400, error), body)
        self.assertEqual(self.node.asked, [])

    def test_half_a_surrogate_pair(self) -> None:
        """Half of a surrogate pair is no text: it is refused, in a value and elsewhere; a whole pair is taken."""
        error = "Request body is not valid JSON: a \\u escape is half of a surrogate pair"
        for text in (
            rb'"\ud83d"',
            rb'"\ud83d\ud83d"',
            rb'"\ude00"',
            rb'"\ude00\ud83d"',
            rb'"\\\ud83d"',
            rb'{"\uD83D": 1}',
        ):
            self.assertEqual(self.put(b'{"value": ' + text + b"}"), (400, error), text)
            self.assertEqual(self.put(b'{"value": 1, "other": ' + text + b"}"), (400, error), text)
        for text in (rb'"\ud83d\ude00"', rb'"\\ud83d"', rb'"\u00e9"'):
            self.assertEqual(self.put(b'{"value": ' + text + b"}")[0], 201, text)

    def test_nothing_is_quoted(self) -> None:
        """No error repeats what the client sent: it may be a secret, and errors end up in logs."""
        for body in (b'"hunter2"', b"[hunter2", b'{"hunter2": 01}', b'{"value": hunter2}', b'{"causal-metadata": {"hunter2": 1}}',
                     b'{"value": 1, "causal-metadata": "hunter2"}', b'{"value": 1, "causal-metadata": ["hunter2", 2]}'):  # fmt: skip
            status, error = self.put(body)
            self.assertEqual(status, 400)
            self.assertNotIn("hunter2", error)

    def test_depth(self) -> None:
        """Sixty-four levels are taken, the body itself being one, and sixty-five are refused, wherever they are."""
        for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
            for levels, status in ((63, 201), (64, 400), (100_000, 400)):
                deep = opening * levels + b"1" + closing * levels
                self.assertEqual(self.put(b'{"value":' + deep + b"}")[0], status, f"{levels} of {opening!r}")
                self.assertEqual(self.put(b'{"value":1,"other":' + deep + b"}")[0], status, f"{levels} of {opening!r}")
        error = "Request body is nested over 64 deep"
        for body in (b"[" * 100_000, b"[" * 65 + b"]" * 65, b'{"a":' * 100_000, b'[{"a":' * 40 + b"1" + b"}]" * 40):
            self.assertEqual(self.put(body), (400, error), body[:20])

    def test_what_is_not_depth(self) -> None:
        """Brackets side by side, or in strings, are not nested, however many there are."""
        for value in (b"[" + b"[]," * 50_000 + b"{}]", b'"' + b"[" * 1000 + b'"', rb'["\"' + b"[" * 1000 + b'"]',
                      rb'["\\","' + b"{" * 1000 + b'"]', rb'{"\\\"' + b"[" * 100 + rb'\\":[[]]}'):  # fmt: skip
            self.assertEqual(self.put(b'{"value":' + value + b"}")[0], 201, value[:20])
        for value in (b"]" * 1000, b"[" * 60 + b"]" * 70, b"{]" * 100):
            status, error = self.put(b'{"value":' + value + b"}")
            self.assertEqual(status, 400)
            self.assertIn("not valid JSON", error)

    def test_value_to_the_byte(self) -> None:
        """A value is kept as it was written: its order, its spaces inside, its numbers of any size."""
        for value in (
            b"1",
            b'{"b": 1,  "a":2, "a": 3}',
            b"123456789012345678901234567890.000",
            b"1E400",
            b"-0",
            b'"\\u00e9/\\/"',
            b"null",
        ):
            self.assertEqual(self.put(b'{ "value" : \n ' + value + b" \t }")[0], 201)
            asked = self.node.asked[-1]
            assert isinstance(asked, Put)
            self.assertEqual(asked.value, value)
            self.node.outcome = Found("s0", token(1), value)
            self.assertIn(b'"value":' + value + b",", self.ask("GET", "/kvs/key").content)
            self.node.outcome = Written("s0", token(1), existed=False)

    def test_last_of_two_wins(self) -> None:
        """Of two fields with one name the last one counts."""
        self.put(b'{"value": 1, "value": 2}')
        self.assertEqual(self.node.asked, [Put("key", b"2", EMPTY)])


class Broken(Resource):
    """Fails, under /late after it has begun to answer."""

    isLeaf = True  # noqa: N815 (Twisted's name)

    def render(self, request: Request) -> bytes:
        if request.path == b"/late":
            request.write(b"half")
        raise ZeroDivisionError


class ErrorTests(HttpCase):
    """Errors are answers like others."""

    def test_unknown_path(self) -> None:
        """What there is not is a 404 in JSON, however odd its path; nobody is redirected."""
        for target in ("/", "/nonsense", "//view", "//kvs/a", "/kvs", "/kvs/", "/shard", "/shard/", "/shard/nonsense", "/view/x",
                       "/shard/members", "/shard/members/", "/shard/members/s0/x", "/shard//ids", "/healthz/x", "/kvsd", "/kvsd/i",
                       "/%2e%2e/etc", "/view/%FF", "/%FF", "/view%2F", "*", "x", "/shard/../view", "/?/view"):  # fmt: skip
            self.assert_error(self.ask("GET", target), 404, NO_SUCH_PATH)

    def test_wrong_method(self) -> None:
        """A path that does not know a method says which ones it knows."""
        for target, methods in (("/kvs/a", "DELETE, GET, HEAD, PUT"), ("/view", "DELETE, GET, HEAD, PUT"), ("/shard/ids", "GET, HEAD"),
                                ("/shard/node-shard-id", "GET, HEAD"), ("/shard/members/s0", "GET, HEAD"), ("/metrics", "GET, HEAD"),
                                ("/shard/key-count/s0", "GET, HEAD"), ("/kvsd/i/messages", "POST"), ("/healthz", "GET, HEAD")):  # fmt: skip
            for method in ("PATCH", "BREW", "OPTIONS"):
                answer = self.ask(method, target, b"{}")
                self.assert_error(answer, 405, f"Method not allowed here; allowed: {methods}")
                self.assertEqual(answer.headers["allow"], methods)

    def test_failure(self) -> None:
        """A failure that nobody expected is logged with its traceback; the client learns nothing of it."""
        self.node.failure = ZeroDivisionError("a secret")
        connection = self.connect()
        for target in ("/kvs/a", "/shard/key-count/s0"):
            self.assert_error(connection.ask("GET", target), 500, "Internal error; the node's log has more")
        self.assertEqual(
            [str(failure.value) for failure in self.flushLoggedErrors(ZeroDivisionError)], ["a secret"] * 2
        )
        self.assertEqual(connection.ask("GET", "/view").status, 200)

    def test_failure_below_the_routes(self) -> None:
        """So is a failure outside of any route; one that comes after half an answer ends the connection."""
        self.site = BoundedSite(Broken(), self.limits, self.clock, Places(self.node.budget, self.clock))
        self.assert_error(self.ask("GET", "/early"), 500, "Internal error; the node's log has more")
        connection = self.connect()
        connection.send(b"GET /late HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertTrue(connection.is_closing)
        self.assertNotIn(b"Traceback", connection.transport.value())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_odd_host(self) -> None:
        """What a client calls this node does not matter, as long as it could be a name."""
        for host in ("", "..", "kvsd..x", "[::1]:8090", "kvsd_1:80", "x:", "[fe80::1%25eth0]", "x" * 255):
            for target in ("/view", "/kvs/a"):
                self.assertNotEqual(400, self.ask("GET", target, headers={"Host": host}).status, host)

    def test_one_host(self) -> None:
        """A request of HTTP/1.1 names one host (RFC 9112, 3.2), one of HTTP/1.0 at most one; its connection goes on."""
        error = "Bad request: it must have exactly one Host header, with HOST or HOST:PORT"
        connection = self.connect()
        for lines in ("", "Host: a b\r\n", "Host: x\r\nHost: x\r\n", "Host: x, y\r\n", "Host: \xff\r\n", "Host: u@x\r\n",
                      "Host: x:y\r\n", f"Host: {'x' * 300}\r\n"):  # fmt: skip
            for target in ("/kvs/a", "/view", "/nothing", "http://x/view"):
                for method in ("GET", "PUT"):
                    connection.send(f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode("latin-1"))
                    (answer,) = connection.answers()
                    self.assert_error(answer, 400, error)
        self.assertEqual([], self.node.asked)
        self.assertEqual(200, connection.ask("GET", "/view").status)
        for lines, status in (("", 200), ("Host: x\r\n", 200), ("Host: x\r\nHost: y\r\n", 400)):
            connection = self.connect()
            connection.send(f"GET /view HTTP/1.0\r\n{lines}\r\n".encode())
            self.assertEqual([status], [answer.status for answer in connection.answers()])

    def test_conditions(self) -> None:
        """A condition that nobody looks at is refused, and so is the request: 501, and nothing is written."""
        error = "Conditional writes are not supported"
        for header in ("If-Match", "If-None-Match"):
            for value in ('"x"', "*", ""):
                for method, target, body in (
                    ("PUT", "/kvs/a", b'{"value": 1}'),
                    ("DELETE", "/kvs/a", None),
                    ("PUT", "/view", b'{"socket-address": "10.0.0.9:80"}'),
                    ("PUT", "/shard/reshard", b'{"shard-count": 2}'),
                ):
                    self.assert_error(self.ask(method, target, body, {header: value}), 501, error)
        self.assert_error(self.ask("GET", "/kvs/a", headers={"If-Match": "*"}), 501, error)
        self.assertEqual([], self.node.asked)
        self.ask("GET", "/kvs/a", headers={"If-None-Match": '"x"'})
        self.assertEqual(1, len(self.node.asked))

    def test_method_in_small_letters(self) -> None:
        """Methods are told apart by case (RFC 9110, 9.1)."""
        for target in ("/kvs/a", "/view"):
            for method in ("put", "Put", "get", "delete", "hEAD"):
                answer = self.ask(method, target, b'{"value": 1, "socket-address": "10.0.0.9:80"}')
                self.assert_error(answer, 405, "Method not allowed here; allowed: DELETE, GET, HEAD, PUT")
                self.assertEqual("DELETE, GET, HEAD, PUT", answer.headers["allow"])
        self.assertEqual([], self.node.asked)

    def test_missing_and_blank_bodies(self) -> None:
        """A change without a body is told so."""
        for target in ("/view", "/shard/add-member/s0", "/shard/reshard", "/kvsd/forget"):
            self.assert_error(self.ask("PUT", target), 400, "Request body is missing: a JSON object is expected")
            self.assert_error(
                self.ask("PUT", target, b" \r\n"), 400, "Request body is blank: a JSON object is expected"
            )

    def test_whole_url(self) -> None:
        """A proxy may ask with the whole URL."""
        self.assertEqual(self.ask("GET", "http://kvsd:8090/view").status, 200)

    def test_head(self) -> None:
        """HEAD is answered like GET, without the body."""
        whole = self.ask("GET", "/view")
        head = self.ask("HEAD", "/view")
        self.assertEqual((head.status, head.content), (200, b""))
        self.assertEqual(head.headers["content-length"], str(len(whole.content)))
        self.assertEqual(self.ask("HEAD", "/nonsense").status, 404)

    def test_server_header(self) -> None:
        """The server names itself without its version."""
        self.assertEqual(self.ask("GET", "/view").headers["server"], "kvsd")
