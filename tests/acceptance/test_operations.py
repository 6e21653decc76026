"""Keys written, read and deleted through any node of a cluster: statuses, field names and texts to the letter."""

import json
from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.acceptance.clusters import members, settled_key_counts, six_nodes
from tests.acceptance.door import Answer, ask, delete, get, names, path, patiently, put

DONE = {"causal-metadata": True}
ABSENT = {"error": "Key does not exist", **DONE}
keys = names("operation")


class OperationTests(SynchronousTestCase):
    """One key through its life, at members of its shard and at nodes that have to ask those."""

    def setUp(self) -> None:
        self.addresses = six_nodes().addresses
        self.shards = members(self.addresses[0])
        self.key = next(keys)
        absent = get(self.addresses[0], self.key)
        self.shard = absent.body["shard-id"]
        self.inside = self.shards[self.shard][0]
        self.outside = next(address for address in self.addresses if address not in self.shards[self.shard])

    def life(self, address: str, token: Any = None) -> tuple[list[tuple[int, dict[str, Any]]], Any]:
        """What a node answers from a key's creation to its second end, and the token of the last answer."""
        steps: list[tuple[Callable[..., Answer], list[str]]] = [
            (get, []), (put, ["a"]), (put, ["b"]), (get, []), (delete, []),
            (get, []), (delete, []), (put, ["c"]), (get, []), (delete, []),
        ]  # fmt: skip
        said = []
        for act, value in steps:
            answer = patiently(act, address, self.key, *value, token)
            token = answer.token
            said.append(answer.said)
        return said, token

    def test_life(self) -> None:
        """A key is created, replaced, found, deleted, absent and created again, whichever node is asked."""
        more = {**DONE, "shard-id": self.shard}
        created, replaced, deleted = (
            (status, {"result": result, **more})
            for status, result in ((201, "created"), (200, "replaced"), (200, "deleted"))
        )
        absent = 404, {"error": "Key does not exist", **more}
        found = [(200, {"result": "found", "value": value, **more}) for value in "abc"]
        expected = [
            absent, created, replaced, found[1], deleted, absent, absent, created, found[2], deleted
        ]  # fmt: skip
        said, token = self.life(self.inside)
        self.assertEqual(said, expected)
        self.assertEqual(self.life(self.outside, token)[0], expected)

    def test_round_the_nodes(self) -> None:
        """A client that goes from node to node sees its own writes everywhere."""
        token = None
        for number, address in enumerate(self.addresses * 2):
            answer = patiently(put, address, self.key, number, token)
            self.assertEqual(answer.status, 201 if number == 0 else 200, answer)
            following = self.addresses[(number + 1) % len(self.addresses)]
            answer = patiently(get, following, self.key, answer.token)
            self.assertEqual((answer.status, answer.body["value"]), (200, number))
            token = answer.token

    def test_deleted_everywhere(self) -> None:
        """A client that has deleted a key does not see it again, at any node."""
        written = put(self.inside, self.key, "here")
        deleted = patiently(delete, self.outside, self.key, written.token)
        self.assertEqual(deleted.status, 200)
        for address in self.addresses:
            answer = patiently(get, address, self.key, deleted.token)
            self.assertEqual(answer.said, (404, {**ABSENT, "shard-id": self.shard}))

    def test_count(self) -> None:
        """A new key is counted once, however often it is written, and not once it is deleted."""
        before = settled_key_counts(self.addresses)[self.shard]
        token = None
        for value in range(3):
            token = put(self.inside, self.key, value, token).token
        self.assertEqual(settled_key_counts(self.addresses)[self.shard], before + 1)
        delete(self.inside, self.key, token)
        self.assertEqual(settled_key_counts(self.addresses)[self.shard], before)

    def test_metadata_left_out(self) -> None:
        """A first request needs no causal metadata: the field, or for GET and DELETE the body, may be missing."""
        self.assertEqual(ask(self.inside, "PUT", path(self.key), {"value": 1}).status, 201)
        for fields in (None, {}, {"causal-metadata": None}):
            self.assertEqual(ask(self.inside, "GET", path(self.key), fields).status, 200)
        self.assertEqual(ask(self.inside, "DELETE", path(self.key)).status, 200)

    def test_chain_of_two_clients(self) -> None:
        """Who saw a write made after another sees that other one too, at every node and in every shard."""
        for number in range(20):
            first, second = f"{self.key}-{number}-first", f"{self.key}-{number}-second"
            cause = put(self.addresses[number % 6], first, number)
            effect = patiently(put, self.addresses[(number + 1) % 6], second, number, cause.token)
            seen = patiently(get, self.addresses[(number + 2) % 6], second, effect.token)
            answer = patiently(get, self.addresses[(number + 3) % 6], first, seen.token)
            self.assertEqual((answer.status, answer.body.get("value")), (200, number))

    def test_wait(self) -> None:
        """A client that says it would rather wait is told that this was heard, and gets its answer."""
        written = put(self.inside, self.key, "new")
        for address in self.addresses:
            answer = get(address, self.key, written.token, headers={"Prefer": "wait=5"})
            self.assertEqual((answer.status, answer.body.get("value")), (200, "new"))

    def test_retry_with_the_same_key(self) -> None:
        """A write sent twice with one Idempotency-Key takes effect once, even where another came in between."""
        once = {"Idempotency-Key": f"{self.key}-once"}
        self.assertEqual(put(self.inside, self.key, "first", None, headers=once).status, 201)
        second = put(self.inside, self.key, "second")
        again = put(self.inside, self.key, "first", None, headers=once)
        self.assertIn(again.status, (200, 201))
        self.assertEqual(get(self.inside, self.key, second.token).body["value"], "second")


class ValueTests(SynchronousTestCase):
    """Any JSON is a value, and comes back as it was."""

    def test_values(self) -> None:
        """Every kind of JSON value is found again at another shard's node as it was written."""
        nested: Any = 1
        for _ in range(50):
            nested = [nested]
        values = [None, False, True, 0, -1, 2**53, 2**63 - 1, 1.5, -1e-300, "", "a\u0000b", "naïve 😀 \u2028", [], {},
                  {"": None}, {"value": {"causal-metadata": None}}, [1, [2, [3]]], nested, "x" * 10000]  # fmt: skip
        for value in values:
            key = next(keys)
            for reader in six_nodes().addresses[:2]:
                written = put(six_nodes().addresses[0], key, value)
                self.assertIn(written.status, (200, 201), f"{value!r}")
                found = patiently(get, reader, key, written.token)
                self.assertEqual(json.dumps(found.body["value"]), json.dumps(value))

    def test_large_integers(self) -> None:
        """A number too large for 64 bits is either kept exactly or refused."""
        key = next(keys)
        for value in (2**64, -(2**70), 10**100):
            written = put(six_nodes().addresses[0], key, value)
            if written.status != 400:
                found = patiently(get, six_nodes().addresses[0], key, written.token)
                self.assertEqual(found.body["value"], value)

    def test_half_a_character(self) -> None:
        """A value with half of a surrogate pair, which is no text, is either kept or refused."""
        target = path(next(keys))
        written = ask(six_nodes().addresses[0], "PUT", target, content=b'{"value": "\\ud83d"}')
        if written.status != 400:
            found = patiently(ask, six_nodes().addresses[0], "GET", target, {"causal-metadata": written.token})
            self.assertEqual(found.body["value"], "\ud83d")

    def test_value_of_nearly_a_mebibyte(self) -> None:
        """A body just below the limit is taken."""
        key, value = next(keys), "x" * (2**20 - 200)
        written = put(six_nodes().addresses[0], key, value)
        self.assertEqual(written.status, 201)
        for address in six_nodes().addresses:
            self.assertEqual(patiently(get, address, key, written.token).body.get("value"), value)


class KeyTests(SynchronousTestCase):
    """A key may hold any characters, and fifty of them."""

    def setUp(self) -> None:
        self.address, self.other = six_nodes().addresses[:2]

    def test_fifty_characters(self) -> None:
        """Fifty characters are allowed, however many bytes they take; fifty-one are not, for any operation."""
        for key in ("k" * 50, "é" * 50, "😀" * 50, "/" * 50, "%" * 50):
            written = put(self.address, key, 1)
            self.assertEqual(written.status, 201, key)
            self.assertEqual(put(self.address, f"{key}{key[0]}", 1).said, (400, {"error": "Key is too long"}), key)
            self.assertEqual(get(self.address, key * 2).said, (400, {"error": "Key is too long"}))
            self.assertEqual(delete(self.address, key + key[0]).said, (400, {"error": "Key is too long"}))
            self.assertEqual(patiently(delete, self.address, key, written.token).status, 200)

    def test_any_characters(self) -> None:
        """Keys with slashes, spaces, newlines, dots, signs and emoji are keys like others, each its own."""
        odd = ["a/b", "a//b", "/a", "a/", "a", "//", "/", ".", "..", "../x", "a/../b", "./a", " ", "a b", "a+b", "a%2Fb", "\n",
               "a\r\nb", "\x00", "\x7f", "?", "a?b=c", "#", "&", ";", "a;b", '"', "\\", "{tag}x", "*", "é", "e\u0301",
               "😀", "👩\u200d💻", "\u202e", "\ufeff", "__proto__", "%"]  # fmt: skip
        token = None
        for number, key in enumerate(odd):
            written = patiently(put, self.address, key, number, token)
            self.assertEqual(written.status, 201, f"{key!r}: {written}")
            token = written.token
        for number, key in enumerate(odd):
            for address in (self.address, self.other):
                found = patiently(get, address, key, token)
                self.assertEqual((found.status, found.body.get("value")), (200, number), f"{key!r}")
        for key in odd:
            deleted = patiently(delete, self.other, key, token)
            self.assertEqual(deleted.status, 200, f"{key!r}")
            token = deleted.token

    def test_slash_plain_or_escaped(self) -> None:
        """A slash in a key may be written plain or as %2F, in either case of letters."""
        key = next(keys)
        targets = [f"/kvs/{key}/x//y", f"/kvs/{key}%2Fx%2F%2Fy", f"/kvs/{key}%2fx/%2fy"]
        for writer in targets:
            written = ask(self.address, "PUT", writer, {"value": writer})
            for reader in targets:
                found = patiently(ask, self.address, "GET", reader, {"causal-metadata": written.token})
                self.assertEqual(found.body.get("value"), writer, reader)

    def test_plus_is_plus(self) -> None:
        """A plus sign in a path is a plus sign, not a space."""
        key = next(keys)
        written = ask(self.address, "PUT", f"/kvs/{key}+x", {"value": 1})
        self.assertEqual(patiently(get, self.address, f"{key}+x", written.token).status, 200)
        self.assertEqual(patiently(get, self.address, f"{key} x", written.token).status, 404)

    def test_unescaped_utf_8(self) -> None:
        """Characters that a client forgot to escape are taken as the UTF-8 they are."""
        key = next(keys)
        written = ask(self.address, "PUT", f"/kvs/{key}-é", {"value": 1})
        self.assertEqual(written.status, 201)
        self.assertEqual(patiently(get, self.address, f"{key}-é", written.token).status, 200)

    def test_not_utf_8(self) -> None:
        """A key whose bytes are not UTF-8 is refused, for every operation."""
        for bad in ("%FF", "a%C3", "%ED%A0%80", "%C0%80", "a%2F%FE"):
            for method, fields in (("PUT", {"value": 1}), ("GET", None), ("DELETE", None)):
                answer = ask(self.address, method, f"/kvs/{bad}", fields)
                self.assertEqual((answer.status, list(answer.body)), (400, ["error"]), bad)
