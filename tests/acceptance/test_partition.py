"""A node that its peers can't reach and that can't reach them, while clients can: it serves what it knows, and no more."""

import shutil
import tempfile
import time
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from kvsd.local.cluster import LocalCluster
from tests.acceptance.clusters import key_counts, members
from tests.acceptance.door import Answer, ask, get, patiently, put, until
from tests.acceptance.namespaces import Network, why_not

UNMET = "Causal dependencies not satisfied; try again later"
AT_ONCE_SECONDS = 0.5
NOTICED_SECONDS = 3.0
HEALED_SECONDS = 10.0


class PartitionTests(SynchronousTestCase):
    """Six nodes in two shards, one of which loses its link to all others."""

    def setUp(self) -> None:
        reason = why_not()
        if reason:
            raise SkipTest(reason)
        data = Path(tempfile.mkdtemp(prefix="kvsd-acceptance-"))
        self.addCleanup(shutil.rmtree, data, ignore_errors=True)
        self.network = Network(6, self.addCleanup)
        door = self.network.door
        self.cluster = LocalCluster(self.network.addresses, 2, data, command_for=self.network.command_for, door=door)
        self.addCleanup(self.cluster.stop)
        self.cluster.start()
        self.cluster.ready()
        self.shards = members(door(self.network.addresses[0]))
        self.lonely = self.shards["s0"][0]
        self.inside = door(self.lonely)
        self.outside = door(self.shards["s0"][1])
        self.elsewhere = door(self.shards["s1"][0])
        self.own, self.foreign = self.keys_of("s0"), self.keys_of("s1")

    def keys_of(self, shard: str) -> list[str]:
        """Keys that belong to a shard, as told by the answer to reading them."""
        keys = [f"key{number}" for number in range(100)]
        return [key for key in keys if get(self.outside, key).body["shard-id"] == shard]

    def timed(self, address: str, key: str, value: str, token: object) -> tuple[Answer, float]:
        """A write and how long it took."""
        began = time.monotonic()
        answer = put(address, key, value, token)
        return answer, time.monotonic() - began

    def test_cut_off(self) -> None:
        """
        A node that is cut off takes writes of its shard at once and serves what it has, refuses what depends on writes
        that it can't have, and has everything ten seconds after the link is back, as all others have its writes.
        """
        old = put(self.outside, self.own[0], "before")
        until("the first write everywhere", lambda: get(self.inside, self.own[0]).status == 200, 5)
        self.network.cut(self.lonely)
        self.assert_writes_at_once()
        new = patiently(put, self.outside, self.own[2], "outside", old.token)
        self.assertEqual(new.status, 201)
        self.assert_knows_its_limits(old, new)
        self.network.heal(self.lonely)
        self.assert_healed(new)

    def assert_writes_at_once(self) -> None:
        """Right after the cut, neither side makes a client wait for the other."""
        for number in range(10):
            for address, key, value in (
                (self.inside, self.own[1], "inside"),
                (self.outside, self.own[3], "other side"),
            ):
                answer, seconds = self.timed(address, key, value, None)
                self.assertEqual(answer.status, 201 if number == 0 else 200)
                self.assertTrue(seconds < AT_ONCE_SECONDS, f"a write took {seconds:.2f} s")

    def assert_knows_its_limits(self, old: Answer, new: Answer) -> None:
        """The lonely node serves older tokens, refuses newer ones with what is missing, and can't reach other shards."""
        began = time.monotonic()
        answer = get(self.inside, self.own[2], new.token)
        self.assertEqual((answer.status, answer.body["error"]), (503, UNMET))
        self.assertIsInstance(answer.body["waiting-for"], list)
        self.assertTrue(answer.body["waiting-for"], answer)
        self.assertTrue(time.monotonic() - began < NOTICED_SECONDS, "the first refusal took too long")
        until("refused at once", lambda: self.refused_in(new) < AT_ONCE_SECONDS, NOTICED_SECONDS)
        self.assertEqual(put(self.inside, self.own[2], 1, new.token).body["error"], UNMET)
        answer = get(self.inside, self.own[0], old.token)
        self.assertEqual((answer.status, answer.body["value"]), (200, "before"))
        answer = get(self.inside, self.foreign[0], old.token)
        self.assertEqual((answer.status, answer.body["shard-id"]), (503, "s1"))
        self.assertEqual(answer.body["error"], "Shard is unavailable; try again later")

    def refused_in(self, new: Answer) -> float:
        """How long the lonely node takes to say that it lacks something."""
        began = time.monotonic()
        self.assertEqual(get(self.inside, self.own[2], new.token).status, 503)
        return time.monotonic() - began

    def assert_healed(self, new: Answer) -> None:
        """All nodes have all writes and each other again."""
        addresses = [self.network.door(address) for address in self.cluster.addresses]
        expected = {self.own[0]: "before", self.own[1]: "inside", self.own[2]: "outside", self.own[3]: "other side"}

        def healed() -> bool:
            values = [get(address, key, new.token).body.get("value") for address in addresses for key in expected]
            views = [ask(address, "GET", "/view").body["view"] for address in addresses]
            counts = [key_counts(address) for address in addresses]
            whole = all(view == sorted(self.cluster.addresses) for view in views)
            return values == list(expected.values()) * 6 and whole and counts == [{"s0": 4, "s1": 0}] * 6

        until("all writes and all nodes at every node", healed, HEALED_SECONDS)

    def test_wait_for_the_link(self) -> None:
        """A client that would rather wait gets its answer when the link is back."""
        self.network.cut(self.lonely)
        new = patiently(put, self.outside, self.own[0], "outside")
        began = time.monotonic()
        answer = get(self.inside, self.own[0], new.token, headers={"Prefer": "wait=1"})
        self.assertEqual(answer.status, 503)
        self.assertTrue(time.monotonic() - began > 0.9, "it did not wait")
        self.network.heal(self.lonely)
        answer = get(self.inside, self.own[0], new.token, headers={"Prefer": "wait=8"})
        self.assertEqual((answer.status, answer.body.get("value")), (200, "outside"))
        self.assertIn("wait=8", answer.headers["preference-applied"])
