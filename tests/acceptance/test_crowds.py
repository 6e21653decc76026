"""More clients, and more bytes, than a node has room for: it lives, it answers, and its memory stays within bounds."""

import asyncio
import contextlib
import http.client
import json
import resource
import select
import shutil
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from kvsd.local.cluster import LocalCluster
from tests.acceptance.clusters import cluster_for, free_addresses
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
            self.assertLessEqual(float(connections), 1024 - 320 + 64)  # as many as are accepted in a turn
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


class BodyTests(SynchronousTestCase):
    """A node whose clients send it more than it has memory for."""

    def setUp(self) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))

    def statuses(self, address: str, requests: Sequence[bytes]) -> Counter[int]:
        """What so many clients are answered that all send a request at once."""
        return Counter(asyncio.run(_all_at_once(address, requests)))

    def assert_peak(self, cluster: LocalCluster, most_mebibytes: int) -> None:
        """The node's resident memory never had more than that."""
        peak = _peak_mebibytes(cluster)
        self.assertLess(peak, most_mebibytes)

    def test_large_writes_at_once(self) -> None:
        """800 PUTs of 1 MB at once: each is carried out or told to come again, and the peak of memory is under 700 MB."""
        cluster = one_node(self, "true")
        (address,) = cluster.addresses
        requests = [_put(f"/kvs/key{number}", b"%07d" % number) for number in range(800)]
        statuses = self.statuses(address, requests)
        self.assertEqual(statuses[201] + statuses[503], 800, statuses)
        self.assertGreater(statuses[201], 180, statuses)
        self.assert_peak(cluster, 700)
        self.assertEqual(_figure(address, "kvsd_body_bytes"), 0)
        self.assertEqual(self.statuses(address, [requests[0]]).keys() & {200, 201}, {200})

    def test_announced_and_not_sent(self) -> None:
        """300 clients announce 8 MiB each, to any path, and send what they may: it is not kept, and others are served."""
        cluster = one_node(self, "true")
        (address,) = cluster.addresses
        for path in ("/kvs/key", "/nowhere", "/kvsd/i/messages"):
            head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {8 << 20}\r\n"
            head += "Content-Type: application/octet-stream\r\n\r\n"
            with ExitStack() as crowd:
                clients = [crowd.enter_context(connect(address)) for _ in range(300)]
                _push(clients, head.encode() + bytes((8 << 20) - 1), seconds=3)
                self.assertEqual(ask(address, "GET", "/view").status, 200)
            self.assert_peak(cluster, 600)

    def test_waiting_writes(self) -> None:
        """300 PUTs of 1 MB that wait for a write that never comes: what waits is bounded, and others can write."""
        cluster = cluster_for(self, 2, 1)
        writer, address = cluster.addresses
        cluster.kill(address)
        token = ask(writer, "PUT", "/kvs/a", {"value": 1}).body["causal-metadata"]
        cluster.kill(writer)
        cluster.restart(address)
        cluster.ready(only=[address])
        more = f'"causal-metadata": {json.dumps(token)}'.encode()
        requests = [_put(f"/kvs/key{number}", b"%07d" % number, more, "Prefer: wait=6") for number in range(300)]
        started = time.monotonic()
        self.assertEqual(self.statuses(address, requests), {503: 300})
        self.assertGreater(time.monotonic() - started, 6)
        self.assert_peak(cluster, 400)
        self.assertEqual(_figure(address, "kvsd_body_bytes"), 0)


def _put(path: str, value: bytes, more: bytes = b'"causal-metadata": null', header: str = "X: y") -> bytes:
    body = b'{"value": "%s", %s}' % (value * (MEBIBYTE // len(value) - 100), more)
    return f"PUT {path} HTTP/1.1\r\nHost: x\r\n{header}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


async def _all_at_once(address: str, requests: Sequence[bytes]) -> list[int]:
    host, _, port = address.rpartition(":")

    async def one(request: bytes) -> int:
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(request)
        line = await asyncio.wait_for(reader.readline(), 60)
        writer.close()
        return int(line.split()[1])

    return await asyncio.gather(*map(one, requests))


def _push(clients: Sequence[socket.socket], data: bytes, seconds: float) -> None:
    """Send as much of data as each connection takes within some seconds."""
    view, sent = memoryview(data), dict.fromkeys(clients, 0)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        _, ready, _ = select.select([], list(sent)[:500], [], 0.1)
        for client in ready:
            with contextlib.suppress(OSError):
                sent[client] += client.send(view[sent[client] : sent[client] + (1 << 18)])


def _peak_mebibytes(cluster: LocalCluster) -> int:
    (process,) = cluster._running.values()
    status = Path(f"/proc/{process.pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) // 1024


def _figure(address: str, name: str) -> float:
    """The value of a metric."""
    metrics = ask_text(address, "/metrics").splitlines()
    return float(next(line.split()[1] for line in metrics if line.startswith(f"{name} ")))


def ask_text(address: str, path: str) -> str:
    """The body of an answer that is no JSON."""
    connection = http.client.HTTPConnection(address, timeout=10)
    connection.request("GET", path)
    text = connection.getresponse().read().decode()
    connection.close()
    return text
