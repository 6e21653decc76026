"""kvsctl get, put and delete, and the session that links them."""

import json
import stat
from pathlib import Path

from tests.ctl_case import CtlCase
from tests.fake_node import HANG_UP, Asked


class ValueTests(CtlCase):
    """What is written, and how it is shown."""

    def test_write_read_delete(self) -> None:
        """A key is created, replaced, read and deleted, each said in a line."""
        self.assertEqual(self.ctl("put", "tea", "oolong").output, "created tea in s1\n")
        self.assertEqual(self.ctl("put", "tea", "green").output, "replaced tea in s1\n")
        self.assertEqual(self.ctl("get", "tea").output, "green\n")
        self.assertEqual(self.ctl("delete", "tea").output, "deleted tea in s1\n")
        self.assertIn("kvsctl get tea: ", self.fails(1, "get", "tea"))

    def test_json(self) -> None:
        """With --json the node's answer is written."""
        self.assertEqual(self.ctl_json("put", "tea", "oolong")["result"], "created")
        self.assertEqual(self.ctl_json("get", "tea")["value"], "oolong")
        self.assertEqual(self.ctl_json("delete", "tea")["result"], "deleted")

    def test_value_is_json_or_text(self) -> None:
        """A value that can be read as JSON is JSON, anything else is text."""
        for given, meant in [
            ("42", 42), ('"42"', "42"), ("null", None), ('{"a": [1, 2]}', {"a": [1, 2]}), (" true ", True),
            ("oolong", "oolong"), ("NaN", "NaN"), ("{a}", "{a}"), ("", ""), ("été", "été"),
        ]:  # fmt: skip
            self.ctl("put", "k", given)
            self.assertEqual(self.node.asked[-1].fields["value"], meant, given)

    def test_value_is_kept_as_it_is(self) -> None:
        """Numbers that Python can't hold, and spaces, come back as they were given."""
        for value in ('{"big":  1e400}', "9" * 5000, "0.10"):
            self.ctl("put", "k", value)
            self.assertEqual(self.ctl("get", "k").output, value + "\n")

    def test_value_from_standard_input(self) -> None:
        """A dash reads the value from standard input, JSON or text."""
        self.ctl("put", "k", "-", stdin='{"a": 1}\n')
        self.assertEqual(self.node.asked[-1].fields["value"], {"a": 1})
        self.ctl("put", "k", "-", stdin="two\nlines\n")
        self.assertEqual(self.ctl("get", "k").output, "two\nlines\n\n")

    def test_bad_standard_input(self) -> None:
        """Bytes that are not UTF-8 are refused before anything is sent."""
        self.assertIn("not UTF-8", self.ctl("put", "k", "-", stdin=b"\xff", status=2).stderr)
        self.assertEqual(self.node.asked, [])

    def test_value_nested_too_deep(self) -> None:
        """Thousands of brackets are refused, without a traceback."""
        self.assertIn("nested too deep", self.ctl("put", "k", "[" * 9999 + "]" * 9999, status=2).stderr)

    def test_value_with_a_dash(self) -> None:
        """A value that begins with a dash goes after two dashes, even if it looks like an option."""
        self.ctl("put", "--", "k", "--json")
        self.assertEqual(self.ctl("get", "k").output, "--json\n")

    def test_strange_keys(self) -> None:
        """Slashes, dots, spaces, percent signs and question marks are part of the key, not of the path."""
        for key in ("a/b", "..", ".", "a b", "100%25", "what?", "#1", "+", "été", "../kvsd/status"):
            self.ctl("put", key, "x")
            self.assertEqual(list(self.node.keys), [key])
            self.ctl("delete", key)

    def test_empty_key(self) -> None:
        """A key has at least one character."""
        self.assertIn("at least one character", self.ctl("get", "", status=2).stderr)
        self.assertEqual(self.node.asked, [])

    def test_concern(self) -> None:
        """Who wants a write at several replicas says so in the query, and is told how many have it."""
        self.assertEqual(self.ctl("put", "tea", "oolong", "--w", "majority").output, "created tea in s1, on 2 of 3\n")
        self.ctl("delete", "tea", "--w", "3")
        self.assertEqual(["/kvs/tea?w=majority"], self.node.paths("PUT"))
        self.assertEqual(["/kvs/tea?w=3"], self.node.paths("DELETE"))

    def test_bad_concern(self) -> None:
        """What is neither a number nor one of the words is refused before anything is sent."""
        for wrong in ("0", "00", "-1", "most", "", "1.5"):
            self.assertIn("whole number from 1", self.ctl("put", "k", "v", "--w", wrong, status=2).stderr)
        self.assertEqual(self.node.asked, [])

    def test_unconfirmed(self) -> None:
        """A write that did not reach enough replicas in time is a failure for now, and the session knows of it."""
        body = {"error": "Stored on 1 of 3, not rolled back", "causal-metadata": "kept", "shard-id": "s1"}
        self.node.answers["PUT", "/kvs/k"] = 504, body
        file = Path(self.mktemp())
        self.assertIn("Stored on 1 of 3", self.fails(4, "put", "k", "v", "--w", "all", "--session", str(file)))
        self.assertEqual("kept", json.loads(file.read_text())["causal-metadata"])

    def test_wait(self) -> None:
        """Who wants to wait says so in the header Prefer; who does not, sends none."""
        self.ctl("put", "k", "v", "--wait", "7")
        self.assertEqual(self.node.asked[-1].headers["prefer"], "wait=7")
        self.ctl("get", "k")
        self.assertNotIn("prefer", self.node.asked[-1].headers)
        self.ctl("get", "k", "--wait", "61", status=2)

    def test_writes_can_be_repeated(self) -> None:
        """Each write has an Idempotency-Key of its own; where a node does not answer, the next gets the same write."""
        second = self.start_node()
        self.node.answers["PUT", "/kvs/k"] = HANG_UP
        result = self.run_bare("put", "k", "v", "--node", self.node.address, "--node", second.address)
        self.assertEqual((result.exit_code, result.output), (0, "created k in s1\n"))
        first, repeated = self.node.asked[0], second.asked[0]
        self.assertEqual(first.headers["idempotency-key"], repeated.headers["idempotency-key"])
        self.assertEqual(first.content, repeated.content)
        self.run_bare("put", "k", "v", "--node", second.address)
        self.assertNotEqual(second.asked[1].headers["idempotency-key"], repeated.headers["idempotency-key"])


class KeyFailureTests(CtlCase):
    """What can go wrong with keys."""

    def test_missing_causes(self) -> None:
        """Missing causes are a matter of trying again later, or of waiting."""
        error = "Causal dependencies not satisfied; try again later"
        self.node.answers["GET", "/kvs/k"] = (503, {"error": error, "causal-metadata": "t"})
        line = self.fails(4, "get", "k")
        self.assertTrue(line.startswith(f"kvsctl get k: {self.node.address}: {error} ("), line)
        self.assertIn("--wait", line)

    def test_full_disk(self) -> None:
        """A node without room says so."""
        self.node.answers["PUT", "/kvs/k"] = (507, {"error": "Storage is full"})
        self.assertIn("free some disk space at that node", self.fails(4, "put", "k", "v"))

    def test_refused(self) -> None:
        """What a node refuses as wrong is told in its words."""
        self.node.answers["PUT", "/kvs/k"] = (400, {"error": "Key is too long"})
        self.assertIn("Key is too long", self.fails(2, "put", "k", "v"))
        self.node.answers["PUT", "/kvs/k"] = (413, {"error": "Request body is too large: the limit is 9 bytes"})
        self.assertIn("too large", self.fails(2, "put", "k", "v"))

    def test_no_answer_to_a_write(self) -> None:
        """A write that nobody answered may have been carried out, and that is said."""
        self.node.answers["PUT", "/kvs/k"] = HANG_UP
        self.assertIn("may have been carried out", self.fails(6, "put", "k", "v"))

    def test_control_characters(self) -> None:
        """An answer can't put control characters into an error."""
        self.node.answers["GET", "/kvs/k"] = (400, {"error": "bad\x1b[2J\nkey"})
        self.assertIn(r"bad\x1b[2J key", self.fails(2, "get", "k"))


class SessionTests(CtlCase):
    """The causal token in a file."""

    def setUp(self) -> None:
        """Choose a file."""
        super().setUp()
        self.file = self.directory() / "session"

    def session(self, *words: str, status: int = 0) -> str:
        """Run a verb in the session; gives what it writes."""
        return self.ctl(*words, "--session", str(self.file), status=status).output

    def sent(self) -> list[object]:
        """The tokens of all requests so far."""
        return [each.fields["causal-metadata"] for each in self.node.asked]

    def test_token_is_carried(self) -> None:
        """Every request carries the token of the last answer, that of a 404 too."""
        self.session("put", "a", "1")
        self.session("get", "a")
        self.session("get", "nothing", status=1)
        self.session("delete", "a")
        self.assertEqual(self.sent(), [None, "token.1", "token.1.2", "token.1.2.3"])
        kept = json.loads(self.file.read_text())
        self.assertEqual(kept, {"causal-metadata": "token.1.2.3.4", "node": self.node.address})

    def test_no_session(self) -> None:
        """Without a session each request stands for itself."""
        self.ctl("put", "a", "1")
        self.ctl("get", "a")
        self.assertEqual(self.sent(), [None, None])

    def test_file_is_private(self) -> None:
        """Only its owner can read the file, even where everybody could before, and nothing else is left."""
        self.session("put", "a", "1")
        self.file.chmod(0o644)
        self.session("get", "a")
        self.assertEqual(stat.S_IMODE(self.file.stat().st_mode), 0o600)
        self.assertEqual(list(self.file.parent.iterdir()), [self.file])

    def test_link_stays_a_link(self) -> None:
        """A symbolic link is followed, not replaced."""
        target = self.file.with_name("elsewhere")
        self.file.symlink_to(target)
        self.session("put", "a", "1")
        self.assertTrue(self.file.is_symlink())
        self.assertIn("token.1", target.read_text())

    def test_failure_keeps_the_token(self) -> None:
        """A request that was not carried out leaves the session as it was."""
        self.session("put", "a", "1")
        before = self.file.read_text()
        self.node.answers["GET", "/kvs/a"] = (503, {"error": "later", "causal-metadata": "other"})
        self.session("get", "a", status=4)
        self.assertEqual(self.file.read_text(), before)

    def test_node_of_the_session(self) -> None:
        """Where no node is named, the one that answered last is asked."""
        self.session("put", "a", "1")
        result = self.run_bare("get", "a", "--session", str(self.file))
        self.assertEqual((result.exit_code, result.output), (0, "1\n"))

    def test_bad_file(self) -> None:
        """A file that is no session is named, and neither used nor changed."""
        for text in ("{", "[]", "{}", '{"causal-metadata": null, "node": 5}'):
            self.file.write_text(text)
            self.assertIn("no session file of kvsctl", self.session("get", "a", status=2))
            self.assertEqual(self.file.read_text(), text)
        self.assertEqual(self.node.asked, [])

    def test_no_directory(self) -> None:
        """A directory that is not there is noticed before anything is sent."""
        self.file = self.file.parent / "no" / "session"
        self.assertIn("there is no directory", self.session("put", "a", "1", status=2))
        self.assertEqual(self.node.asked, [])

    def test_file_can_not_be_written(self) -> None:
        """A write whose token can't be kept is told as that: it was carried out."""
        self.addCleanup(self.file.parent.mkdir)

        def remove_directory(_: Asked) -> None:
            Path(self.file.parent).rmdir()

        self.node.on_ask = remove_directory
        said = self.session("put", "a", "1", status=6)
        self.assertIn("was carried out, but its token could not be kept", said)
        self.assertIn("a", self.node.keys)
