"""A node as a process: it obeys SIGTERM from the first instant, lives on where nobody reads its log, keeps its files to itself."""

import contextlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest import SkipTest
from urllib.request import urlopen

from twisted.trial.unittest import SynchronousTestCase

from kvsd.local.launch import environment, twistd
from tests.acceptance.clusters import free_addresses
from tests.acceptance.door import ask, get, put, until

READY_WITHIN = 30.0
ENDS_WITHIN = 10.0
SIGTERM_BIT = 1 << (signal.SIGTERM - 1)
PIPE_BYTES = 4096


class ProcessTests(SynchronousTestCase):
    """A node of a cluster of one, started in one way or another."""

    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="kvsd-acceptance-"))
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        (self.address,) = free_addresses(1)
        self.data = self.directory / "data"

    def options(self, *more: str) -> list[str]:
        """The arguments of twistd, and what this test adds to those of the node."""
        node = [f"--socket-address={self.address}", f"--view={self.address}", f"--data-dir={self.data}"]
        return ["-n", "--pidfile=", *more, "kvsd", *node]

    def start(self, command: list[str], output: int = subprocess.DEVNULL) -> "subprocess.Popen[bytes]":
        """Start a command that is a node's; it is ended with the test."""
        process = subprocess.Popen(
            command, cwd=self.directory, env=environment(self.directory), stdin=subprocess.DEVNULL,
            stdout=output, stderr=subprocess.STDOUT if output != subprocess.DEVNULL else output,
        )  # fmt: skip
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def is_ready(self) -> bool:
        """Whether the node serves."""
        return ask(self.address, "GET", "/readyz").status == 200

    # SIGTERM

    def test_sigterm_at_any_time(self) -> None:
        """Whenever after its start a node gets SIGTERM, it ends: by the signal, or in order with status 0."""
        for delay_ms in (0, 50, 100, 200, 400, 600, 800, 1200):
            process = self.start([*twistd(), *self.options()])
            time.sleep(delay_ms / 1000)
            process.terminate()
            self.assertIn(process.wait(ENDS_WITHIN), (0, -signal.SIGTERM), f"after {delay_ms} ms")

    def first_process(self, program: list[str]) -> int:
        """Start a program as process 1 of a namespace, as a container does; gives its id out here."""
        if os.geteuid() != 0 or subprocess.run(["unshare", "--pid", "--fork", "true"], check=False).returncode != 0:
            raise SkipTest("only root makes namespaces of processes")
        outside = self.start(["unshare", "--pid", "--fork", "--kill-child", *program])
        children = Path(f"/proc/{outside.pid}/task/{outside.pid}/children")
        self.soon("it has a child", lambda: bool(children.read_text().split()))
        return int(children.read_text().split()[0])

    def soon(self, what: str, happens: Callable[[], bool]) -> None:
        """Wait until something happens, as closely as can be."""
        end = time.monotonic() + READY_WITHIN
        while not happens():
            self.assertLess(time.monotonic(), end, what)
            time.sleep(0.0005)

    def assert_obeys(self, process: int) -> None:
        """A process that is the first of its namespace ends after one SIGTERM."""
        os.kill(process, signal.SIGTERM)
        end = time.monotonic() + ENDS_WITHIN
        while Path(f"/proc/{process}/cmdline").exists() and Path(f"/proc/{process}/cmdline").read_bytes():
            self.assertLess(time.monotonic(), end, "SIGTERM was ignored")
            time.sleep(0.01)

    def test_sigterm_as_process_1_while_data_is_opened(self) -> None:
        """As process 1, for which SIGTERM without a handler is ignored, twistd obeys it while the database is opened."""
        process = self.first_process([*twistd(), *self.options()])
        self.soon("it opens its data directory", (self.data / "LOCK").exists)
        self.assert_obeys(process)

    def test_sigterm_as_process_1_before_twisted_is_there(self) -> None:
        """The program of the image obeys it from before Twisted is loaded, and then at every later time."""
        for delay_ms in (0, 100, 200, 400, 800):
            process = self.first_process([sys.executable, "-m", "kvsd", *self.options()])
            self.soon("it has a handler", partial(self.catches_sigterm, process))
            if delay_ms == 0:
                self.assertNotIn("_ssl", Path(f"/proc/{process}/maps").read_text())
            time.sleep(delay_ms / 1000)
            self.assert_obeys(process)

    def catches_sigterm(self, process: int) -> bool:
        """Whether a process has a handler for it."""
        [caught] = [line for line in Path(f"/proc/{process}/status").read_text().splitlines() if "SigCgt" in line]
        return bool(int(caught.split()[1], 16) & SIGTERM_BIT)

    # The log

    def full_pipe(self) -> tuple[int, int]:
        """A pipe that has room for nothing more: the end to read from and the end to write to."""
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writer, b"x" * PIPE_BYTES)
        os.set_blocking(writer, True)
        return reader, writer

    def test_log_that_nobody_reads(self) -> None:
        """A node whose log goes to a full pipe serves, also once the reader is gone, counts what it drops, and ends in order."""
        for logger in ([], ["--logger=kvsd.logs.observer"]):
            reader, writer = self.full_pipe()
            process = self.start([*twistd(), *self.options(*logger)], writer)
            os.close(writer)
            until("it is ready", self.is_ready, READY_WITHIN)
            token = put(self.address, "key", "value").token
            self.assertEqual("value", get(self.address, "key", token).body["value"])
            self.assertEqual(0, self.dropped_lines())
            os.close(reader)
            until("what can't be written is counted", lambda: self.dropped_lines() > 0, ENDS_WITHIN)
            self.assertEqual("value", get(self.address, "key", token).body["value"])
            process.terminate()
            self.assertEqual(0, process.wait(ENDS_WITHIN))

    def test_end_of_a_log_that_nobody_reads(self) -> None:
        """A node whose log goes to a pipe that stays full ends in order when it is told to."""
        reader, writer = self.full_pipe()
        self.addCleanup(os.close, reader)
        process = self.start([*twistd(), *self.options()], writer)
        os.close(writer)
        until("it is ready", self.is_ready, READY_WITHIN)
        process.terminate()
        self.assertEqual(0, process.wait(ENDS_WITHIN))

    def test_start_that_fails_where_nobody_reads(self) -> None:
        """A node that can't start ends with its status, though nobody reads why."""
        reader, writer = self.full_pipe()
        self.addCleanup(os.close, reader)
        self.data.mkdir()
        (self.data / "thesis.tex").touch()
        process = self.start([*twistd(), *self.options()], writer)
        os.close(writer)
        self.assertEqual(78, process.wait(READY_WITHIN))

    def test_last_lines(self) -> None:
        """What a node logs last, in order or not, is there once it has ended."""
        log = self.directory / "log"
        for options, status in (([], 0), (["--listen=bogus"], 1)):
            with log.open("wb") as output:
                process = self.start([*twistd(), *self.options(), *options], output.fileno())
            if status == 0:
                until("it is ready", self.is_ready, READY_WITHIN)
                process.terminate()
            self.assertEqual(status, process.wait(ENDS_WITHIN))
            self.assertIn(
                "KVSD_LISTEN is malformed" if status else "Server Shut Down.", log.read_text().splitlines()[-1]
            )

    def dropped_lines(self) -> float:
        """How many lines of its log the node says that it has dropped."""
        with urlopen(f"http://{self.address}/metrics", timeout=10) as answer:
            [line] = [
                line for line in answer.read().decode().splitlines() if line.startswith("kvsd_log_lines_dropped_t")
            ]
        return float(line.split()[1])

    # Files

    def test_files_are_the_owners_alone(self) -> None:
        """Whatever the shell's umask, nobody but the owner can open the data directory or what is in it."""
        self.data.mkdir(mode=0o755)
        before = os.umask(0o000)
        self.addCleanup(os.umask, before)
        process = self.start([*twistd(), *self.options()])
        os.umask(before)
        until("it is ready", self.is_ready, READY_WITHIN)
        process.terminate()
        process.wait(ENDS_WITHIN)
        for path in [self.data, *self.data.rglob("*")]:
            self.assertEqual(0, stat.S_IMODE(path.stat().st_mode) & 0o077, str(path))
