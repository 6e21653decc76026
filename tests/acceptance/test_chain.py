"""Six hundred writes in one causal chain from node to node, and how they are spread."""

import time

from twisted.trial.unittest import SynchronousTestCase

from tests.acceptance.clusters import settled_key_counts, six_nodes
from tests.acceptance.door import get, patiently, put

WRITES = 600
TRIES = 7


class ChainTests(SynchronousTestCase):
    """One client that goes from node to node with every write, over a new connection each time."""

    def test_six_hundred_writes(self) -> None:
        """
        Every write succeeds within seven tries, and five seconds later every key is read with the last token, at
        the node after the one that took it, at the first try; the keys are spread evenly over the two shards.
        """
        addresses = six_nodes().addresses
        before = settled_key_counts(addresses)
        token = None
        for number in range(WRITES):
            address = addresses[number % len(addresses)]
            answer = patiently(put, address, f"key{number}", number, token, tries=TRIES)
            self.assertEqual((answer.status, answer.body.get("result")), (201, "created"), f"key{number}: {answer}")
            token = answer.token
        time.sleep(5)
        for number in range(WRITES):
            answer = get(addresses[(number + 1) % len(addresses)], f"key{number}", token)
            self.assertEqual((answer.status, answer.body.get("value")), (200, number), f"key{number}: {answer}")
        self.assert_balanced(before)

    def assert_balanced(self, before: dict[str, int]) -> None:
        """All nodes count the same keys, and no shard has a quarter more or less than its half of the new ones."""
        counts = settled_key_counts(six_nodes().addresses)
        new = {shard: count - before[shard] for shard, count in counts.items()}
        self.assertEqual(sum(new.values()), WRITES, new)
        for shard, count in new.items():
            self.assertApproximates(WRITES / 2, count, WRITES / 2 * 0.25, f"{shard} has {count}")
