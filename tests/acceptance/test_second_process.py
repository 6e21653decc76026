"""A second process under the address of a node takes nothing from it."""

import shutil
import subprocess
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from kvsd.local.cluster import LocalCluster
from kvsd.local.launch import start
from tests.acceptance.clusters import cluster_for, free_addresses
from tests.acceptance.door import ask, get, put, until

BESIDE_SECONDS = 6.0
"""So long both run: twice the time after which a node that is silent may be replaced."""


class SecondProcessTests(SynchronousTestCase):
    """Four nodes in two shards; the mate of the first is down, so the first alone has the writes of its shard."""

    def setUp(self) -> None:
        """Start the cluster, kill the mate, and write."""
        self.cluster: LocalCluster = cluster_for(self, 4, 2)
        self.first, self.other, self.mate, _ = self.cluster.addresses
        self.cluster.kill(self.mate)
        self.keys = [f"key{number}" for number in range(20)]
        self.token: object = None
        for key in self.keys:
            answer = put(self.first, key, key, self.token)
            self.assertIn(answer.status, (200, 201), answer.body)
            self.token = answer.token

    def second(self, name: str, source: Path | None = None) -> tuple[subprocess.Popen[bytes], str]:
        """Start a second process that says it is the first node; returns it and the address at which it listens."""
        (door,) = free_addresses(1)
        host, port = door.split(":")
        data = self.cluster.data / name
        if source:
            shutil.copytree(source, data)
        command = [*self.cluster.command(self.first), f"--listen=tcp:{port}:interface={host}", f"--data-dir={data}"]
        process = start(command, self.cluster.data, self.cluster.data / f"{name}.log")
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process, door

    def epoch(self) -> int:
        """The epoch that the second node goes by."""
        epoch: int = ask(self.other, "GET", "/kvsd/status").body["epoch"]
        return epoch

    def assert_all_is_there(self) -> None:
        """What was acknowledged is served to who wrote it."""
        for key in self.keys:
            answer = get(self.first, key, self.token)
            self.assertEqual((200, key), (answer.status, answer.body.get("value")), answer.body)

    def test_empty_directory(self) -> None:
        """It serves nothing and says why; the node keeps its place, and the configuration stays as it is."""
        before = self.epoch()
        process, door = self.second("second")
        until("the second process says why", lambda: "address-contested" in str(reasons(door)), 10)
        time.sleep(BESIDE_SECONDS)
        self.assertIsNone(process.poll(), "it goes on, and serves nothing")
        self.assertIn("address-contested", str(reasons(door)))
        self.assertEqual(before, self.epoch())
        self.assert_all_is_there()
        self.assertIn("address-contested", self.cluster.log(self.other).read_text())

    def test_copied_directory(self) -> None:
        """It stops before it has carried anything out."""
        (option,) = [word for word in self.cluster.command(self.first) if word.startswith("--data-dir=")]
        process, _ = self.second("copy", Path(option.partition("=")[2]))
        self.assertNotEqual(0, process.wait(15))
        self.assertIn("copy of this data directory", (self.cluster.data / "copy.log").read_text())
        self.assert_all_is_there()


def reasons(address: str) -> list[str]:
    """Why a node is not ready, as it says."""
    try:
        answer = ask(address, "GET", "/readyz")
    except OSError:
        return []
    found: list[str] = answer.body.get("reasons", [])
    return found
