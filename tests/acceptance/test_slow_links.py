"""A link that carries little: all that is written gets there all the same, and nobody is taken to be dead."""

import shutil
import tempfile
import time
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from kvsd.local.cluster import LocalCluster
from tests.acceptance.door import ask, get, patiently, put, until
from tests.acceptance.namespaces import Network, why_not

VALUE = "v" * 1_000_000
"""Two seconds' worth of the link."""
THERE_SECONDS = 20.0


class SlowLinkTests(SynchronousTestCase):
    """Four nodes in two shards; one node's link carries 4 Mbit/s."""

    def setUp(self) -> None:
        reason = why_not() or ("" if shutil.which("tc") else "there is no tc command (iproute2)")
        if reason:
            raise SkipTest(reason)
        data = Path(tempfile.mkdtemp(prefix="kvsd-acceptance-"))
        self.addCleanup(shutil.rmtree, data, ignore_errors=True)
        network = Network(4, self.addCleanup)
        cluster = LocalCluster(network.addresses, 2, data, command_for=network.command_for, door=network.door)
        self.addCleanup(cluster.stop)
        cluster.start()
        cluster.ready()
        first = network.door(network.addresses[0])
        shards = [ask(first, "GET", f"/shard/members/{shard}").body["shard-members"] for shard in ("s0", "s1")]
        slow, mate = shards[0]
        try:
            network.narrow(slow, "4mbit")
        except OSError as error:
            raise SkipTest(f"links can't be made slow here: {error}") from None
        self.slow, self.mate, self.other = (network.door(address) for address in (slow, mate, shards[1][0]))
        self.all = [network.door(address) for address in network.addresses]
        keys = [f"key{number}" for number in range(40)]
        self.keys = [key for key in keys if get(self.mate, key).body["shard-id"] == "s0"]

    def there(self, key: str, value: object) -> float:
        """Wait until the node behind the slow link has a value; returns how many seconds that took."""
        began = time.monotonic()
        until(f"{key} is there", lambda: get(self.slow, key).body.get("value") == value, THERE_SECONDS)
        return time.monotonic() - began

    def test_large_values(self) -> None:
        """
        Values of 1 MB, and small ones behind them, cross the link both ways, as do requests that are forwarded; meanwhile
        every node is in the view of all.
        """
        large, small, back, away, *_ = self.keys
        self.assertEqual(put(self.mate, large, VALUE).status, 201)
        self.assertEqual(put(self.mate, small, "small").status, 201)
        self.there(small, "small")
        self.assertEqual(get(self.slow, large).body["value"], VALUE)
        for address in self.all:
            self.assertEqual(len(ask(address, "GET", "/view").body["view"]), 4)
        self.assertEqual(put(self.slow, back, VALUE).status, 201)
        until("the value is back", lambda: get(self.mate, back).body.get("value") == VALUE, THERE_SECONDS)
        self.assertIn(patiently(put, self.other, away, VALUE).status, (200, 201))
        self.assertEqual(get(self.other, back).body["value"], VALUE)
        self.there(away, VALUE)
