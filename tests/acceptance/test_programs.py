"""The two programs for a terminal: the local cluster and the demonstration."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import kvsd
from kvsd.local.launch import port_is_free
from tests.acceptance.clusters import first_free_port
from tests.acceptance.door import ask, until

CODE = str(Path(kvsd.__file__).parents[1])


def program(name: str, *options: str, log: Path) -> subprocess.Popen[bytes]:
    """Start a program of kvsd, its output going to a file."""
    environment = {**os.environ, "PYTHONPATH": CODE, "TMPDIR": str(log.parent)}
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", f"kvsd.{name}", *options],
            cwd=log.parent, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip


class ProgramTests(SynchronousTestCase):
    """What is in common: a directory, a program in it, and its end."""

    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="kvsd-acceptance-"))
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        self.log = self.directory / "output"
        self.port = first_free_port(6)

    def start(self, name: str, *options: str) -> subprocess.Popen[bytes]:
        """Start a program that is ended after the test in any case."""
        process = program(name, f"--first-port={self.port}", *options, log=self.log)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def said(self) -> str:
        """What the program has printed."""
        return self.log.read_text()

    def assert_all_gone(self, nodes: int) -> None:
        """No node listens any more."""
        addresses = [f"127.0.0.1:{port}" for port in range(self.port, self.port + nodes)]
        until("all ports free", lambda: all(map(port_is_free, addresses)), 5)


class LocalTests(ProgramTests):
    """``python -m kvsd.local``."""

    def start_two(self) -> subprocess.Popen[bytes]:
        """Two nodes, ready."""
        process = self.start("local", "--nodes=2", "--shards=1")
        until("two nodes ready", lambda: "Ctrl-C" in self.said() or process.poll() is not None, 30)
        self.assertIsNone(process.poll(), self.said())
        return process

    def test_until_ctrl_c(self) -> None:
        """It says what runs and what to try, serves until Ctrl-C, and then leaves nothing behind."""
        process = self.start_two()
        for part in ("s0", f"127.0.0.1:{self.port}", f"127.0.0.1:{self.port + 1}", "curl", "/shard/key-count/s0"):
            self.assertIn(part, self.said())
        self.assertEqual(ask(f"127.0.0.1:{self.port + 1}", "PUT", "/kvs/tea", {"value": 1}).status, 201)
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(15), 0, self.said())
        self.assertNotIn("warning", self.said())
        self.assert_all_gone(2)
        self.assertEqual((self.directory / ".kvsd/secret").stat().st_mode & 0o777, 0o600)
        self.assertEqual({each.name for each in self.directory.iterdir()}, {".kvsd", "output"})

    def test_again(self) -> None:
        """What was written is there when it is started a second time; SIGTERM ends it as Ctrl-C does."""
        for status in (201, 200):
            process = self.start_two()
            self.assertEqual(ask(f"127.0.0.1:{self.port}", "PUT", "/kvs/tea", {"value": 1}).status, status)
            process.terminate()
            self.assertEqual(process.wait(15), 0, self.said())

    def test_port_in_use(self) -> None:
        """A port that is taken is named, and nothing is started."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", self.port + 1))
            taken.listen()
            process = self.start("local", "--nodes=2", "--shards=1")
            self.assertEqual(process.wait(15), 1)
        self.assertIn(f"port in use: 127.0.0.1:{self.port + 1}", self.said())
        self.assert_all_gone(2)

    def test_refused_settings(self) -> None:
        """Where a node does not start, its reason is shown and the rest is shut down."""
        process = self.start("local", "--nodes=3", "--shards=2")
        self.assertEqual(process.wait(30), 1)
        self.assertIn("Not enough nodes to provide fault tolerance with requested shard count", self.said())
        self.assert_all_gone(3)

    def test_node_is_killed(self) -> None:
        """The others go on, and the line that is printed starts it again; it ends like any process of its own."""
        process = self.start_two()
        pids = {int(port): int(pid) for pid, port in re.findall(r"(\d+) is 127\.0\.0\.1:(\d+)", self.said())}
        first, second = f"127.0.0.1:{self.port}", f"127.0.0.1:{self.port + 1}"
        self.assertEqual(ask(first, "PUT", "/kvs/tea?w=all", {"value": 1}).status, 201)
        os.kill(pids[self.port + 1], signal.SIGKILL)
        until("it is said", lambda: "To start it again" in self.said(), 5)
        self.assertIn(f"{second}: process {pids[self.port + 1]}: ended by SIGKILL", self.said())
        self.assertIn(f"The others go on: {first} (process {pids[self.port]})", self.said())
        self.assertEqual(ask(first, "PUT", "/kvs/tea", {"value": 2}).status, 200)
        line = self.said().splitlines()[-1]
        again = subprocess.Popen(
            ["/bin/sh", "-c", f"exec {line}"],
            cwd="/",
            env={**os.environ, "PYTHONPATH": CODE},
            stdout=subprocess.DEVNULL,
        )
        self.addCleanup(again.wait)
        self.addCleanup(again.kill)
        until("it is back", lambda: ask(second, "GET", "/kvs/tea").body.get("value") == 2, 10)
        again.terminate()
        self.assertIsNone(process.poll())

    def test_all_nodes_are_killed(self) -> None:
        """With no node left there is nothing to watch."""
        process = self.start_two()
        for pid in re.findall(r"(\d+) is 127\.0\.0\.1", self.said()):
            os.kill(int(pid), signal.SIGKILL)
        self.assertEqual(process.wait(15), 1)
        self.assertIn("No node is left.", self.said())

    def test_killed(self) -> None:
        """If it is killed itself, no node survives it."""
        process = self.start_two()
        process.kill()
        self.assert_all_gone(2)


class DemoTests(ProgramTests):
    """``python -m kvsd.demo``."""

    def test_with_kills(self) -> None:
        """With one node of each shard killed and started again on the way, nothing is lost and nothing is stale."""
        process = self.start("demo", "--keys=600", "--kill", "--sample=0")
        self.assertEqual(process.wait(120), 0, self.said())
        self.assertEqual(self.said().count("with SIGKILL"), 1, self.said())
        self.assertIn("No acknowledged write lost, no read that contradicts its token, all nodes equal.", self.said())
        self.assert_all_gone(6)

    def test_attached(self) -> None:
        """It can use a cluster that runs already, again and again, and leaves it running."""
        local = program("local", f"--first-port={self.port}", "--nodes=2", "--shards=1", log=self.directory / "local")
        self.addCleanup(local.wait)
        self.addCleanup(local.terminate)
        until("two nodes ready", lambda: "Ctrl-C" in (self.directory / "local").read_text(), 30)
        addresses = f"127.0.0.1:{self.port},127.0.0.1:{self.port + 1}"
        for _ in range(2):
            process = self.start("demo", "--keys=50", f"--attach={addresses}")
            self.assertEqual(process.wait(60), 0, self.said())
        self.assertIsNone(local.poll())
