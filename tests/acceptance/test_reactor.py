"""``twistd --reactor=uvloop``: a node on another event loop is a node like any other."""

import os
import shutil
import signal
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from kvsd.local.launch import environment, start, twistd
from tests.acceptance.clusters import free_addresses
from tests.acceptance.door import ask, get, put, until

READY_WITHIN = 20.0


class ReactorTests(SynchronousTestCase):
    """A node of a cluster of one, started by a real twistd."""

    def setUp(self) -> None:
        """Have a place for its data."""
        self.directory = Path(tempfile.mkdtemp(prefix="kvsd-acceptance-"))
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        (self.address,) = free_addresses(1)
        self.command = [*twistd(), "-n", "--pidfile=", "--reactor=uvloop", "--logger=kvsd.logs.observer", "kvsd"]
        self.command += [f"--socket-address={self.address}", f"--view={self.address}", "--shard-count=1"]
        self.command += [f"--data-dir={self.directory / 'data'}"]

    def start(self) -> "subprocess.Popen[bytes]":
        """Start the node, and wait until it is ready."""
        process: subprocess.Popen[bytes] = start(self.command, self.directory, self.directory / "log")
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        until("it is ready", lambda: ask(self.address, "GET", "/readyz").status == 200, READY_WITHIN)
        return process

    def end(self, process: "subprocess.Popen[bytes]", signal_number: int) -> int:
        """End the node by a signal; gives its exit status."""
        os.kill(process.pid, signal_number)
        return process.wait(timeout=READY_WITHIN)

    def test_serves_and_keeps(self) -> None:
        """It serves on the event loop that was asked for, ends in order, and has its data after that and after a crash."""
        if find_spec("uvloop") is None:
            self.skipTest("uvloop is not installed here")
        node = self.start()
        token = put(self.address, "key", "value").token
        self.assertEqual(self.end(node, signal.SIGTERM), 0)
        node = self.start()
        self.assertEqual(get(self.address, "key", token).body["value"], "value")
        token = put(self.address, "key", "another").token
        self.assertEqual(self.end(node, signal.SIGKILL), -signal.SIGKILL)
        node = self.start()
        self.assertEqual(get(self.address, "key", token).body["value"], "another")
        self.assertEqual(self.end(node, signal.SIGTERM), 0)
        self.assertIn("AsyncioSelectorReactor", (self.directory / "log").read_text())

    def test_without_uvloop(self) -> None:
        """Where uvloop is not installed, the node says so and does not start."""
        (self.directory / "uvloop.py").write_text("raise ImportError('hidden by a test')")
        there = environment(self.directory)
        ended = subprocess.run(
            self.command,
            cwd=self.directory,
            env={**there, "PYTHONPATH": os.pathsep.join([str(self.directory), there["PYTHONPATH"]])},
            capture_output=True,
            text=True,
            timeout=READY_WITHIN,
            check=False,
        )
        self.assertEqual(ended.returncode, 1)
        self.assertIn('uvloop is not installed here (pip install "kvsd[uvloop]")', ended.stdout + ended.stderr)
        self.assertFalse((self.directory / "data").exists())
