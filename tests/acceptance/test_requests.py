"""Requests that are wrong or unusual: a clear answer in JSON, and no harm to any later request."""

import json
from collections.abc import Iterator
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.acceptance.clusters import cluster_for, six_nodes
from tests.acceptance.door import Door, ask, chunked, delete, get, names, path, patiently, put, request

MEBIBYTE = 2**20
keys = names("request")


def own_key(address: str) -> str:
    """A new key of a node's own shard: that node needs no other to serve it."""
    shard = ask(address, "GET", "/shard/node-shard-id").body["node-shard-id"]
    return next(key for key in keys if get(address, key).body["shard-id"] == shard)


class SoundAfterwards(SynchronousTestCase):
    """A test case that ends by seeing that every node still serves."""

    def setUp(self) -> None:
        self.addresses = six_nodes().addresses
        self.address = self.addresses[0]

    def tearDown(self) -> None:
        for address in self.addresses:
            key = next(keys)
            written = patiently(put, address, key, 1)
            self.assertEqual(written.status, 201)
            self.assertEqual(patiently(delete, address, key, written.token).status, 200)

    def assert_refused(self, door: Door, what: str, *, statuses: tuple[int, ...] = (400,)) -> None:
        """The next answer is an error, and the connection serves on, unless it was announced that it closes."""
        answer = door.receive()
        self.assertIn(answer.status, statuses, f"{what}: {answer}")
        if answer.headers.get("connection", "").lower() != "close":
            self.assertEqual(door.ask("GET", "/view").status, 200, what)


class BodyTests(SoundAfterwards):
    """Bodies that are no request."""

    def refused(self) -> Iterator[tuple[str, bytes]]:
        """Bodies to refuse, with what is wrong."""
        yield "no JSON", b"nonsense"
        yield "half of it", b'{"value": 1'
        yield "two of them", b'{"value": 1}{"value": 2}'
        yield "single quotes", b"{'value': 1}"
        yield "not a number", b'{"value": NaN}'
        yield "infinity", b'{"value": Infinity}'
        yield "not UTF-8", b'{"value": "\xff"}'
        yield "UTF-16", '{"value": 1}'.encode("utf-16")
        yield "a trailing comma", b'{"value": 1,}'
        yield "a control character", b'{"value": "\x01"}'
        for other in (b"[]", b'"text"', b"7", b"true", b"null", b'[{"value": 1}]'):
            yield "not an object", other
        yield "70 lists", b'{"value": ' + b"[" * 70 + b"]" * 70 + b"}"
        yield "70 objects", b'{"value": ' + b'{"a":' * 70 + b"1" + b"}" * 70 + b"}"
        yield "100,000 lists", b'{"value": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
        yield "100,000 lists never closed", b"[" * 100_000
        yield "deep in an unknown field", b'{"value": 1, "x": ' + b"[" * 70 + b"]" * 70 + b"}"

    def test_refused(self) -> None:
        """What is not a JSON object, or nested too deep, is refused for every operation, and nothing is written."""
        key = next(keys)
        for what, content in self.refused():
            for method in ("PUT", "GET", "DELETE"):
                with Door(self.address) as door:
                    door.send(request(method, path(key), content=content))
                    self.assert_refused(door, f"{method}, {what}")
        self.assertEqual(get(self.address, key).status, 404)

    def test_no_value(self) -> None:
        """A PUT has to have a value; null is one."""
        key = next(keys)
        for fields in ({}, {"causal-metadata": None}, {"Value": 1}):
            answer = ask(self.address, "PUT", path(key), fields)
            self.assertEqual(answer.said, (400, {"error": "PUT request does not specify a value"}))
        self.assertEqual(ask(self.address, "PUT", path(key)).status, 400)
        written = ask(self.address, "PUT", path(key), {"value": None})
        self.assertEqual(written.status, 201)
        self.assertEqual(patiently(get, self.address, key, written.token).body["value"], None)

    def test_fields_not_asked_for(self) -> None:
        """Fields that mean nothing here are passed over: a reply can be sent back whole as the next request."""
        key = next(keys)
        written = put(self.address, key, 1)
        answer = patiently(ask, self.address, "GET", path(key), {**written.body, "anything": [1]})
        self.assertEqual((answer.status, answer.body["value"]), (200, 1))

    def test_content_type(self) -> None:
        """A body is read as JSON whatever its Content-Type says: curl's own says form."""
        for kind in (
            "application/json",
            "application/json; charset=utf-8",
            "application/x-www-form-urlencoded",
            "text/plain",
        ):
            answer = ask(self.address, "PUT", path(next(keys)), {"value": 1}, headers={"Content-Type": kind})
            self.assertEqual(answer.status, 201, kind)

    def test_too_large(self) -> None:
        """A body of more than one mebibyte is refused, with its length announced or not, and nothing is written."""
        key = next(keys)
        content = json.dumps({"value": "x" * MEBIBYTE * 3}).encode()
        for method in ("PUT", "GET", "DELETE"):
            for data in (request(method, path(key), content=content), chunked(method, path(key), content, 60_000)):
                with Door(self.address) as door:
                    door.send(data)
                    self.assert_refused(door, f"{method} of {len(content)} bytes", statuses=(413,))
        self.assertEqual(get(self.address, key).status, 404)

    def test_huge_length_announced(self) -> None:
        """A body too large by its announced length is refused before it has come."""
        for length in (MEBIBYTE + 1, 10**12, 10**30):
            with Door(self.address) as door:
                door.send(request("PUT", path(next(keys)), headers={"Content-Length": str(length)}))
                self.assert_refused(door, f"{length} bytes announced", statuses=(400, 413))


class MetadataTests(SoundAfterwards):
    """Causal metadata that this cluster did not give out."""

    def test_malformed(self) -> None:
        """What can't be causal metadata is refused, for every operation, and nothing is written."""
        key = next(keys)
        deep: Any = 1
        for _ in range(60):
            deep = [deep]
        for token in ("nonsense", "AAAA", "😀", "x" * 5000, 7, 1.5, -1, True, deep, "A" * 40, "=" * 40):
            for address in self.addresses[:2]:
                for answer in (put(address, key, 1, token), get(address, key, token), delete(address, key, token)):
                    self.assertEqual((answer.status, list(answer.body)), (400, ["error"]), f"{token!r}")
        for address in self.addresses:
            self.assertEqual(get(address, key).status, 404)

    def test_tampered(self) -> None:
        """Metadata in which any character was changed is refused, and the true one works on."""
        key = next(keys)
        token = put(self.address, key, 1).token
        self.assertIsInstance(token, str)
        for place in range(len(token)):
            changed = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
            for answer in (get(self.address, key, changed), put(self.address, key, 2, changed)):
                self.assertIn(answer.status, (400, 503), f"character {place} of {token}: {answer}")
        for changed in (token[:-1], token[1:], token + "A", token * 2, token.swapcase()):
            self.assertIn(get(self.address, key, changed).status, (400, 503), changed)
        self.assertEqual(patiently(get, self.address, key, token).body["value"], 1)

    def test_of_another_cluster(self) -> None:
        """Metadata of another cluster is refused, and leaves no trace."""
        stranger = cluster_for(self, 1, 1).addresses[0]
        key = next(keys)
        token = None
        for value in range(30):
            token = put(stranger, key, value, token).token
        for address in self.addresses:
            for answer in (get(address, key, token), put(address, key, 1, token), delete(address, key, token)):
                self.assertIn(answer.status, (400, 503), answer)
        written = put(self.address, key, "own")
        self.assertEqual(written.status, 201)
        for address in self.addresses:
            self.assertEqual(patiently(get, address, key, written.token).body.get("value"), "own")


class PathTests(SoundAfterwards):
    """Paths and methods that there are not."""

    def test_unknown_path(self) -> None:
        """An unknown path is not found, and says so in JSON."""
        for target in (
            "/",
            "/nonsense",
            "/kv/x",
            "/shard",
            "/shard/nonsense",
            "/view/x",
            "/shard/members",
            "//view",
            "/%2e%2e/etc",
        ):
            answer = ask(self.address, "GET", target)
            self.assertEqual((answer.status, list(answer.body)), (404, ["error"]), target)

    def test_unknown_method(self) -> None:
        """A method that a path does not know is refused, and those it knows are named."""
        allowed = {path("x"): {"GET", "PUT", "DELETE"}, "/view": {"GET", "PUT", "DELETE"}, "/shard/ids": {"GET"},
                   "/shard/node-shard-id": {"GET"}, "/shard/members/s0": {"GET"}, "/shard/key-count/s0": {"GET"},
                   "/shard/add-member/s0": {"PUT"}, "/shard/reshard": {"GET", "PUT"}, "/kvsd/status": {"GET"},
                   "/kvsd/reshard": {"GET", "DELETE"}, "/kvsd/losses": {"GET"}, "/kvsd/forget": {"PUT"}}  # fmt: skip
        for target, methods in allowed.items():
            for method in {"GET", "PUT", "DELETE", "POST", "PATCH", "BREW"} - methods:
                answer = ask(self.address, method, target, {"value": 1})
                self.assertEqual((answer.status, list(answer.body)), (405, ["error"]), f"{method} {target}")
                named = {name.strip() for name in answer.headers["allow"].split(",")}
                self.assertEqual(named - {"HEAD", "OPTIONS"}, methods, f"{method} {target}")


class ConnectionTests(SoundAfterwards):
    """The ways in which a client may use its connections."""

    def test_kept_open(self) -> None:
        """One connection carries any number of requests, of every kind."""
        key = own_key(self.address)
        token = None
        with Door(self.address) as door:
            for number in range(50):
                written = door.ask("PUT", path(key), {"value": number, "causal-metadata": token})
                found = door.ask("GET", path(key), {"causal-metadata": written.token})
                self.assertEqual(found.body["value"], number)
                self.assertEqual(door.ask("GET", "/nonsense").status, 404)
                token = found.token

    def test_fresh_connections(self) -> None:
        """A connection for each request does as well."""
        for number in range(50):
            self.assertEqual(ask(self.address, "PUT", path(next(keys)), {"value": number}).status, 201)

    def test_closed_on_request(self) -> None:
        """A client that asks for the connection to be closed gets its answer and then the end."""
        with Door(self.address) as door:
            answer = door.ask("PUT", path(next(keys)), {"value": 1}, headers={"Connection": "close"})
            self.assertEqual(answer.status, 201)
            self.assertRaises(EOFError, door.receive)

    def test_pipelined(self) -> None:
        """Requests sent at once, without waiting, are answered in their order."""
        targets = [path(next(keys)) for _ in range(40)]
        for addresses in (self.addresses[:1], self.addresses[1:2]):
            with Door(addresses[0]) as door:
                door.send(b"".join(request("PUT", target, {"value": target}) for target in targets))
                written = {target: door.receive() for target in targets}
                self.assertEqual({answer.status for answer in written.values()} - {200, 201}, set())
                waiting = {"Prefer": "wait=5"}
                for target, answer in written.items():
                    door.send(request("GET", target, {"causal-metadata": answer.token}, headers=waiting))
                    door.send(request("GET", "/shard/ids"))
                for target in targets:
                    self.assertEqual(door.receive().body.get("value"), target)
                    self.assertEqual(door.receive().body, {"shard-ids": ["s0", "s1"]})

    def test_pipelined_with_errors(self) -> None:
        """Among requests sent at once, a wrong one spoils neither those before nor those after it."""
        target = path(next(keys))
        with Door(self.address) as door:
            wrong = [
                request("PUT", target, content=b"nonsense"),
                request("GET", "/nonsense"),
                request("POST", target, {}),
            ]
            right = request("PUT", target, {"value": 1})
            door.send(right + right.join(wrong) + right)
            self.assertEqual([door.receive().status for _ in range(7)], [201, 400, 200, 404, 200, 405, 200])

    def test_in_pieces(self) -> None:
        """A request that comes byte by byte is read like one that comes at once."""
        key = own_key(self.address)
        with Door(self.address) as door:
            for byte in request("PUT", path(key), {"value": "slow"}):
                door.send(bytes([byte]))
            written = door.receive()
            self.assertEqual(written.status, 201)
            self.assertEqual(door.ask("GET", path(key), {"causal-metadata": written.token}).body["value"], "slow")

    def test_chunked(self) -> None:
        """A body in chunks is read, for every operation, on a connection that goes on."""
        key = own_key(self.address)
        with Door(self.address) as door:
            for size in (1, 7, 1000):
                content = json.dumps({"value": size}).encode()
                door.send(chunked("PUT", path(key), content, size))
                written = door.receive()
                self.assertIn(written.status, (200, 201))
                content = json.dumps({"causal-metadata": written.token}).encode()
                door.send(chunked("GET", path(key), content, size))
                self.assertEqual(door.receive().body["value"], size)
            door.send(chunked("DELETE", path(key), b'{"causal-metadata": null}', 5))
            self.assertEqual(door.receive().status, 200)

    def test_expect(self) -> None:
        """A client that asks before it sends a body, as curl does with large ones, is told to go on."""
        content = json.dumps({"value": "x" * 5000}).encode()
        headers = {"Content-Length": str(len(content)), "Expect": "100-continue"}
        with Door(self.address) as door:
            door.send(request("PUT", path(next(keys)), headers=headers))
            self.assertEqual(door.receive_head()[0], 100)
            door.send(content)
            self.assertEqual(door.receive().status, 201)

    def test_hang_up(self) -> None:
        """Clients that leave in the middle of a request do no harm."""
        key = next(keys)
        whole = request("PUT", path(key), {"value": "x" * 2000})
        for length in (1, 10, 40, 100, len(whole) - 1, len(whole)):
            for _ in range(5):
                with Door(self.address) as door:
                    door.send(whole[:length])
        for address in self.addresses:
            self.assertIn(get(address, key).status, (200, 404))

    def test_old_http(self) -> None:
        """A client of HTTP/1.0 gets its answer and then the end of the connection."""
        with Door(self.address) as door:
            door.send(b"GET /shard/ids HTTP/1.0\r\n\r\n")
            self.assertEqual(door.receive().body, {"shard-ids": ["s0", "s1"]})
            self.assertRaises(EOFError, door.receive)

    def test_no_http(self) -> None:
        """Bytes that are not HTTP end the connection, at once or after an answer, and nothing else."""
        for noise in (b"\x16\x03\x01\x02\x00\x01", b"nonsense\r\n\r\n", b"GET\r\n\r\n", b"\x00" * 1000 + b"\r\n\r\n"):
            with Door(self.address) as door:
                door.send(noise)
        with Door(self.address) as door:
            door.send(b"GET /view HTTP/1.1\r\nHost: kvsd\r\nX: " + b"x" * 100_000 + b"\r\n\r\n")
