"""What tests of kvsctl have in common: a node to ask, and ways to run the command line."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

import kvsd
from kvsd.ctl.__main__ import cli
from tests.fake_node import HOST, FakeNode

CODE = str(Path(kvsd.__file__).parents[1])
PROGRAM = [sys.executable, "-m", "kvsd.ctl"]


def environment() -> dict[str, str]:
    """The environment for kvsctl as a process of its own."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("KVSCTL_")}
    return {**inherited, "PYTHONPATH": CODE, "TERM": "xterm", "COLUMNS": "110", "LINES": "35"}


class CtlCase(SynchronousTestCase):
    """A fake node, and kvsctl run against it in this process, where its output is no terminal."""

    def setUp(self) -> None:
        """Start the node."""
        self.node = self.start_node()

    def start_node(self) -> FakeNode:
        """A node that runs until the test is over."""
        node = FakeNode()
        node.__enter__()
        self.addCleanup(node.stop)
        return node

    def dead_node(self) -> str:
        """An address at which nobody listens, and which nobody else gets while the test runs."""
        taken = socket.socket()
        self.addCleanup(taken.close)
        taken.bind((HOST, 0))
        return f"{HOST}:{taken.getsockname()[1]}"

    def directory(self) -> Path:
        """A directory that goes with the test."""
        directory = tempfile.TemporaryDirectory(prefix="kvsctl-")
        self.addCleanup(directory.cleanup)
        return Path(directory.name)

    def run_bare(self, *words: str, stdin: str | bytes = "", **variables: str) -> Result:
        """Run kvsctl without saying which node to ask."""
        given = {"KVSCTL_NODE": None, "KVSCTL_TRACEBACK": None, **variables}
        return CliRunner().invoke(cli, words, input=stdin, env=given, prog_name="kvsctl")

    def ctl(self, *words: str, stdin: str | bytes = "", status: int = 0) -> Result:
        """Run kvsctl against the node; it must end with that status."""
        result = self.run_bare("--node", self.node.address, *words, stdin=stdin)
        self.assertEqual(result.exit_code, status, result.output)
        return result

    def ctl_json(self, *words: str) -> Any:
        """Run kvsctl with ``--json``; gives the one document that it writes."""
        result = self.ctl(*words, "--json")
        self.assertEqual(result.stdout.count("\n"), 1, result.stdout)
        return json.loads(result.stdout)

    def fails(self, status: int, *words: str, stdin: str | bytes = "") -> str:
        """Run kvsctl, which must end with that status and one line; gives that line."""
        result = self.ctl(*words, stdin=stdin, status=status)
        self.assertEqual(result.stdout, "")
        self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
        as_json = self.ctl(*words, "--json", stdin=stdin, status=status)
        error = json.loads(as_json.stderr)
        self.assertEqual(error["exit-status"], status)
        self.assertIn(error["error"], result.stderr)
        return result.stderr.strip()

    def process(self, *words: str, **options: Any) -> subprocess.Popen[str]:
        """
        Start kvsctl as a process of its own, which is ended after the test in any case.

        It can be interrupted even if the tests can't, as shells have it for what they run in the background.
        """
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        self.addCleanup(signal.signal, signal.SIGINT, before)
        command: Sequence[str] = [*PROGRAM, "--node", self.node.address, *words]
        process = subprocess.Popen(command, env=environment(), text=True, **options)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process
