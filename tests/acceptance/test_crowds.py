"""More clients, and more bytes, than a node has room for: it lives, it answers, and its memory stays within bounds."""

import http.client
import json
import resource
import shutil
import socket
import tempfile
from contextlib import ExitStack
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from kvsd.local.cluster import LocalCluster
from tests.acceptance.clusters import free_addresses
from tests.acceptance.door import ask

MEBIBYTE = 1 << 20


def one_node(test: SynchronousTestCase, limits: str, *options: str) -> LocalCluster:
    """A cluster of one node, started by a shell that first sets limits of its process."""
    data = Path(tempfile.mkdtemp(prefix="kvsd-acceptance-"))
    test.addCleanup(shutil.rmtree, data, ignore_errors=True)
    shell = ["bash", "-c", f'{limits}; exec "$@"', "-"]
    cluster = LocalCluster(free_addresses(1), 1, data, options=options, command_for=lambda _: shell)
    test.addCleanup(cluster.stop)
    cluster.start()
    cluster.ready()
    return cluster


def connect(address: str) -> socket.socket:
    """A connection of a client that does nothing."""
    host, _, port = address.rpartition(":")
    client = socket.socket()
    client.setblocking(False)
    client.connect_ex((host, int(port)))
    return client


class ConnectionTests(SynchronousTestCase):
    """A node with 1,024 files."""

    def setUp(self) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))

    def test_idle_clients_leave_the_disk_its_files(self) -> None:
        """2,000 clients that connect and do nothing: a client that was there before writes 100 MB, and can read them."""
        (address,) = (cluster := one_node(self, "ulimit -n 1024")).addresses
        writer = http.client.HTTPConnection(address, timeout=30)
        writer.connect()
        self.addCleanup(writer.close)
        with ExitStack() as crowd:
            for _ in range(2000):
                crowd.enter_context(connect(address))
            for number in range(100):
                body = json.dumps({"value": f"{number:04}" * (MEBIBYTE // 4 - 100)})
                writer.request("PUT", f"/kvs/key{number}", body)
                answer = writer.getresponse()
                self.assertEqual((answer.status, number), (201, number), answer.read())
                answer.read()
            cluster.check()
            writer.request("GET", "/metrics")
            metrics = writer.getresponse().read().decode()
            (connections,) = [line.split()[1] for line in metrics.splitlines() if line.startswith("kvsd_connections ")]
            self.assertLessEqual(float(connections), 1024 - 320)
        for number in range(100):
            answer_again = ask(address, "GET", f"/kvs/key{number}")
            self.assertEqual(answer_again.status, 200)
        cluster.check()

    def test_soft_limit_is_raised(self) -> None:
        """Where only the soft limit is low, the node raises it: all clients are accepted."""
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard != resource.RLIM_INFINITY and hard < 2048:
            self.skipTest("the hard limit is low, too")
        (address,) = one_node(self, "ulimit -S -n 256").addresses
        with ExitStack() as crowd:
            for _ in range(400):
                crowd.enter_context(connect(address))
            self.assertEqual(ask(address, "GET", "/view").status, 200)
