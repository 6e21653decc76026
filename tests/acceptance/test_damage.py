"""A bit of a table file flips: the node ends before anybody reads it, says what to do, and is not started again by mistake."""

import secrets
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from kvsd.local.cluster import LocalCluster
from tests.acceptance.clusters import cluster_for
from tests.acceptance.door import get, patiently, put, until

KEYS = 300
DAMAGED = 78


class DamagedNodeTests(SynchronousTestCase):
    """One of the three members of a shard."""

    def test_flipped_bit(self) -> None:
        """It ends, and again at the next start, with a sentence; with an empty directory it gets all from the others."""
        cluster = cluster_for(self, 3, 1, options=("--verify-rate=100000000",))
        address = cluster.addresses[0]
        token = None
        for number in range(KEYS):
            token = put(address, f"key{number}", secrets.token_hex(1000), token).token
        for _ in range(2):  # what the log holds is in a table file after a start
            self.assertEqual(0, cluster.terminate(address))
            cluster.restart(address)
            cluster.ready()
        self.assertEqual(0, cluster.terminate(address))
        directory = cluster.data / address.replace(":", "-")
        flip_among_rows(directory)
        for words in ("is marked as damaged and not used again", "was found damaged at"):
            cluster.restart(address)
            self.assertEqual(DAMAGED, self.status(cluster, address))
            last = cluster.log(address).read_text().splitlines()[-1]
            self.assertIn(words, last)
            self.assertIn("move it away and start with an empty one", last)
        directory.rename(directory.with_suffix(".damaged"))
        cluster.restart(address)
        cluster.ready()
        for number in range(KEYS):
            self.assertEqual(200, patiently(get, address, f"key{number}", token).status)

    def status(self, cluster: LocalCluster, address: str) -> int:
        """The exit status with which a node ends by itself."""
        ended: dict[str, tuple[int, int]] = {}

        def has_ended() -> bool:
            ended.update(cluster.take_ended())
            return address in ended

        until("the node has ended", has_ended, 20)
        return ended[address][1]


def flip_among_rows(directory: Path) -> None:
    """Flip a bit near the end of the largest table file: rows come last."""
    file = max((directory / "db").glob("*.sst"), key=lambda file: file.stat().st_size)
    content = bytearray(file.read_bytes())
    content[len(content) * 4 // 5] ^= 1
    file.write_bytes(content)
