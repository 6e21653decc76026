"""kvsctl as a program: which nodes it asks, how it fails, what it says of itself."""

import json
import os
import shlex
import subprocess
import threading

from tests.ctl_case import PROGRAM, CtlCase, environment
from tests.fake_node import HANG_UP

VERBS = (
    "status", "plan", "reshard", "progress", "abort", "add-member", "add", "remove", "forget", "losses",
    "get", "put", "delete",
)  # fmt: skip


class HelpTests(CtlCase):
    """What it says of itself."""

    def test_help(self) -> None:
        """--help names every verb and every exit status, in the order of use."""
        text = self.run_bare("--help").output
        places = [text.index(f"\n  {verb} ") for verb in VERBS]
        self.assertEqual(places, sorted(places))
        for status in (0, 1, 2, 3, 4, 5, 6, 130):
            self.assertIn(f"\n    {status} ", text)

    def test_help_of_each_verb(self) -> None:
        """Each verb has its own help, with the options that all have."""
        for verb in VERBS:
            result = self.run_bare(verb, "-h")
            self.assertEqual(result.exit_code, 0)
            for option in ("--node", "--json", "--timeout"):
                self.assertIn(option, result.output)

    def test_usage(self) -> None:
        """A command line that makes no sense ends with status 2 and says how to call it."""
        self.assertIn("Usage: kvsctl get", self.ctl("get", status=2).stderr)
        self.assertIn("No such command 'dance'", self.ctl("dance", status=2).stderr)
        self.assertIn("is no IP:PORT", self.ctl("add", "here", status=2).stderr)
        self.assertIn("is no IP:PORT", self.ctl("--node", "http://127.0.0.1:80", "status", status=2).stderr)

    def test_seconds(self) -> None:
        """What is no number of seconds is refused; no comparison would tell that of nan."""
        for words in (("--timeout", "nan", "losses"), ("losses", "--timeout=inf"), ("progress", "--every", "nan")):
            self.assertIn("Invalid value for '--", self.ctl(*words, status=2).stderr)
        self.assertEqual([], self.node.asked)

    def test_usage_as_json(self) -> None:
        """With --json anywhere, that is JSON too."""
        for words in (("--json", "get"), ("get", "--json"), ("dance", "--json"), ("--json", "--what")):
            error = json.loads(self.ctl(*words, status=2).stderr)
            self.assertEqual(error["exit-status"], 2)


class NodesTests(CtlCase):
    """Which nodes are asked."""

    def test_next_node(self) -> None:
        """Where the first node can't be reached, the next one is asked."""
        result = self.run_bare("--node", self.dead_node(), "get", "--node", self.node.address, "k")
        self.assertEqual(result.exit_code, 1)
        self.assertIn(f"{self.node.address}: Key does not exist", result.stderr)

    def test_next_node_for_a_change(self) -> None:
        """That holds for changes too: nothing has reached a node that refuses the connection."""
        result = self.run_bare("--node", self.dead_node(), "--node", self.node.address, "add", "10.0.0.1:80")
        self.assertEqual(result.exit_code, 0)
        self.assertEqual(self.node.view, {"10.0.0.1:80"})

    def test_a_change_is_not_repeated(self) -> None:
        """A change that got no answer is not given to another node: it may have been carried out."""
        second = self.start_node()
        self.node.answers["PUT", "/view"] = HANG_UP
        result = self.run_bare("--node", self.node.address, "--node", second.address, "add", "10.0.0.1:80")
        self.assertEqual(result.exit_code, 6)
        self.assertIn("may have been carried out", result.stderr)
        self.assertEqual(second.asked, [])

    def test_a_question_is_repeated(self) -> None:
        """A question that got no answer is put to the next node."""
        second = self.start_node()
        self.node.answers["GET", "/kvsd/losses"] = HANG_UP
        result = self.run_bare("--node", self.node.address, "--node", second.address, "losses")
        self.assertEqual(result.exit_code, 0)

    def test_environment(self) -> None:
        """KVSCTL_NODE names nodes, with commas or spaces; --node goes before it."""
        nodes = f"{self.dead_node()}, {self.node.address}"
        self.assertEqual(self.run_bare("losses", KVSCTL_NODE=nodes).exit_code, 0)
        second = self.start_node()
        self.run_bare("losses", "--node", second.address, KVSCTL_NODE=nodes)
        self.assertEqual((len(self.node.asked), len(second.asked)), (1, 1))

    def test_bad_environment(self) -> None:
        """A node in KVSCTL_NODE that is no address is told as that."""
        result = self.run_bare("losses", KVSCTL_NODE="here")
        self.assertEqual(result.exit_code, 2)
        self.assertIn("KVSCTL_NODE", result.stderr)

    def test_proxies_are_left_aside(self) -> None:
        """A proxy in the environment is for the web, not for one's own nodes."""
        result = self.run_bare("--node", self.node.address, "losses", HTTP_PROXY=f"http://{self.dead_node()}")
        self.assertEqual(result.exit_code, 0)


class FailureTests(CtlCase):
    """How it fails: one line, and a status that says what kind it is."""

    def test_nobody_reached(self) -> None:
        """All nodes that were tried are named with the reason."""
        dead, gone = self.dead_node(), self.dead_node()
        result = self.run_bare("--node", dead, "--node", gone, "status")
        self.assertEqual(result.exit_code, 5)
        refused = f"{dead}: Connection refused; {gone}: Connection refused"
        self.assertIn(f"kvsctl status: no node could be reached: {refused} (start it", result.stderr)
        error = json.loads(self.run_bare("--node", dead, "--json", "status").stderr)
        self.assertEqual((error["exit-status"], list(error["nodes"])), (5, [dead]))

    def test_exit_statuses(self) -> None:
        """Each HTTP status has its exit status."""
        for status, meant in [
            (400, 2), (404, 1), (405, 6), (409, 3), (413, 2), (500, 6), (503, 4), (504, 4), (507, 4), (302, 6),
        ]:  # fmt: skip
            self.node.answers["GET", "/kvsd/losses"] = (status, {"error": "so it is"})
            self.assertIn(f"{self.node.address}: so it is", self.fails(meant, "losses"))

    def test_error_without_text(self) -> None:
        """An error that says nothing is told by its status."""
        self.node.answers["GET", "/kvsd/losses"] = (500, {})
        self.assertIn("status 500", self.fails(6, "losses"))

    def test_no_node_at_all(self) -> None:
        """Something that is no kvsd node is recognised as that."""
        for body in (b"<html>", b"[1]", b"\xff", b"[" * 100_000):
            self.node.answers["GET", "/kvsd/losses"] = (200, body)
            self.assertIn("is this a kvsd node?", self.fails(6, "losses"))

    def test_other_version(self) -> None:
        """An answer in an unknown form is told with what is wrong in it, and a node that lacks a path is too."""
        self.node.answers["GET", "/kvsd/status"] = (200, {"address": 5})
        line = self.fails(6, "status")
        self.assertIn("`$.address`", line)
        self.assertIn("another version?", line)
        self.node.answers["GET", "/kvsd/status"] = (404, {"error": "Not found: there is nothing under this path"})
        self.assertIn("of another version than kvsctl", self.fails(1, "status"))

    def test_patience(self) -> None:
        """A node that does not answer in time is left."""
        over = threading.Event()
        self.addCleanup(over.set)
        self.node.on_ask = lambda _: None if over.wait(30) else self.fail("nobody ended the test")
        self.assertIn("it took too long", self.fails(5, "losses", "--timeout", "0.05"))

    def test_reader_went_away(self) -> None:
        """A pipe that nobody reads is no reason for a traceback."""
        reading, writing = os.pipe()
        os.close(reading)
        process = self.process("losses", stdout=writing, stderr=subprocess.PIPE)
        os.close(writing)
        self.assertEqual(process.communicate(timeout=30)[1], "")
        self.assertEqual(process.returncode, 141)

    def ended_without_output(self, *words: str, redirection: str) -> tuple[int, str]:
        """Run kvsctl from a shell with standard output redirected; gives its exit status and standard error."""
        command = " ".join([*map(shlex.quote, [*PROGRAM, "--node", self.node.address, *words]), redirection])
        done = subprocess.run(
            ["/bin/sh", "-c", command], env=environment(), stderr=subprocess.PIPE, text=True, timeout=30, check=False
        )
        return done.returncode, done.stderr

    def test_output_that_can_not_be_written(self) -> None:
        """Whether it is closed or full: the exit status is no success, and what was carried out is said."""
        troubles = {">/dev/full": "No space left on device", ">&-": "Bad file descriptor"}
        for redirection, trouble in troubles.items():
            for words, so in (
                (("put", "k", "1"), "the write was carried out"),
                (("put", "k", "1", "--json"), "the write was carried out"),
                (("add", "10.0.0.1:80"), "the change was accepted and is carried out"),
                (("status",), "nothing was changed"),
                (("get", "k"), "nothing was changed"),
            ):
                status, said = self.ended_without_output(*words, redirection=redirection)
                self.assertEqual((6, 1), (status, said.count("\n")), said)
                self.assertIn(f"the answer can't be written to standard output: {trouble}; {so}", said)
        self.assertEqual({"k"}, set(self.node.keys))

    def test_input_that_can_not_be_read(self) -> None:
        """A value that can't be read is no answer that can't be written."""
        for redirection, trouble in (("<&-", "is closed"), ("</proc/self/mem", "can't be read: Input/output error")):
            status, said = self.ended_without_output("put", "k", "-", redirection=redirection)
            self.assertEqual(2, status, said)
            self.assertIn(f"standard input {trouble}", said)
        self.assertEqual([], self.node.asked)

    def test_as_a_process(self) -> None:
        """``python -m kvsd.ctl`` is the same program."""
        command = [*PROGRAM, "--node", self.node.address, "get", "k"]
        done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=30, check=False)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertEqual(done.stderr, f"kvsctl get k: {self.node.address}: Key does not exist\n")
