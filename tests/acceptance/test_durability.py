"""What a node has acknowledged outlives it, however it ends."""

import threading
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from kvsd.local.cluster import LocalCluster
from tests.acceptance.clusters import cluster_for
from tests.acceptance.door import Door, get, path, put, request

CLIENTS = 4


class Writer(threading.Thread):
    """A client that writes one key after another, some of them twice, until the node is gone."""

    def __init__(self, address: str, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self.address = address
        self.acknowledged: dict[str, int] = {}
        self.attempted: dict[str, int] = {}
        self.token: object = None
        self.under_way = threading.Event()

    def run(self) -> None:
        """Write, over one connection, each request in its turn."""
        random = Random(self.name)
        try:
            with Door(self.address) as door:
                for number in range(100_000):
                    key = f"{self.name}-{random.randrange(number + 1)}"
                    self.attempted[key] = number
                    answer = door.ask("PUT", path(key), {"value": number, "causal-metadata": self.token})
                    self.acknowledged[key] = number
                    self.token = answer.token
                    if len(self.acknowledged) == 100:
                        self.under_way.set()
        except (EOFError, OSError):
            return


class KilledNodeTests(SynchronousTestCase):
    """A single node under load that gets a ``kill -9``."""

    def test_every_acknowledged_write_is_there(self) -> None:
        """After each of three such deaths, each key has the value acknowledged last, or the one then under way."""
        cluster = cluster_for(self, 1, 1)
        address = cluster.addresses[0]
        for life in range(3):
            writers = [Writer(address, f"life{life}-{number}") for number in range(CLIENTS)]
            for writer in writers:
                writer.start()
            for writer in writers:
                self.assertTrue(writer.under_way.wait(30), "a client did not get 100 keys written in 30 s")
            cluster.kill(address)
            for writer in writers:
                writer.join()
            cluster.restart(address)
            cluster.ready()
            for writer in writers:
                self.assert_kept(address, writer)

    def assert_kept(self, address: str, writer: Writer) -> None:
        """All that was acknowledged to a client is there, and is so for its token."""
        for key, number in writer.acknowledged.items():
            answer = get(address, key, writer.token)
            self.assertEqual(answer.status, 200, f"{key}: {answer}")
            self.assertIn(answer.body["value"], {number, writer.attempted[key]}, key)


class EndedNodeTests(SynchronousTestCase):
    """A node that is asked to end, by SIGTERM."""

    def served(self, cluster: LocalCluster, doors: list[Door]) -> int:
        """Ask the node to end while each of its clients waits for an answer; gives its exit status."""
        for number, door in enumerate(doors):
            door.send(request("PUT", path(f"last-{number}"), {"value": "x" * 100_000}))
        self.assertEqual(doors[0].receive().status, 201)
        return cluster.terminate(cluster.addresses[0])

    def test_clean_end(self) -> None:
        """It answers what it has been asked, exits with status 0, and has kept all it said yes to."""
        cluster = cluster_for(self, 1, 1)
        address = cluster.addresses[0]
        doors = [Door(address) for _ in range(16)]
        for door in doors:
            self.addCleanup(door.close)
            self.assertEqual(door.ask("GET", "/view").status, 200)
        self.assertEqual(self.served(cluster, doors), 0)
        self.assertEqual([door.receive().status for door in doors[1:]], [201] * 15)
        cluster.restart(address)
        cluster.ready()
        for number in range(len(doors)):
            self.assertEqual(get(address, f"last-{number}").status, 200)

    def test_idle_connections(self) -> None:
        """Clients that keep a connection open without asking for anything do not hold up the end."""
        cluster = cluster_for(self, 1, 1)
        doors = [Door(cluster.addresses[0]) for _ in range(5)]
        for door in doors:
            self.addCleanup(door.close)
        self.assertEqual(put(cluster.addresses[0], "a", 1).status, 201)
        self.assertEqual(cluster.terminate(cluster.addresses[0], 5), 0)
