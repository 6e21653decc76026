"""A cluster that changes while it is used: nodes join, shards get members, keys are spread anew, nodes die and return."""

import shutil
from collections.abc import Sequence
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.acceptance.clusters import cluster_for, free_addresses, key_counts, members, settled_key_counts
from tests.acceptance.door import ask, get, patiently, put, until

KEYS = 600
TOO_FEW = "Not enough nodes to provide fault tolerance with requested shard count"


def view(address: str) -> list[str]:
    """The nodes that a node believes to be up."""
    found: list[str] = ask(address, "GET", "/view").body["view"]
    return found


class ChangeTests(SynchronousTestCase):
    """Six founding nodes in two shards, with 600 keys; there is room for a seventh node."""

    def setUp(self) -> None:
        """Found the cluster and write the keys, each by a chain of its own."""
        addresses = free_addresses(7)
        self.cluster = cluster_for(self, 6, 2, addresses=addresses[:6])
        self.seventh = addresses[6]
        self.tokens: dict[str, Any] = {}
        for number in range(KEYS):
            answer = patiently(put, addresses[number % 6], f"key{number}", number, None)
            self.assertEqual(201, answer.status)
            self.tokens[f"key{number}"] = answer.token

    @property
    def addresses(self) -> list[str]:
        """All nodes."""
        return self.cluster.addresses

    def reshard(self, address: str, count: int) -> tuple[int, dict[str, Any]]:
        """Ask a node for a number of shards."""
        answer = ask(address, "PUT", "/shard/reshard", {"shard-count": count})
        return answer.status, answer.body

    def read_all(self, addresses: Sequence[str]) -> None:
        """Read every key with the token of its write, at once, at nodes in turns."""
        for number, (key, token) in enumerate(self.tokens.items()):
            answer = get(addresses[number % len(addresses)], key, token)
            self.assertEqual((200, number), (answer.status, answer.body.get("value")), f"{key}: {answer}")

    def assert_spread(self, addresses: Sequence[str], shards: int, nodes: int) -> None:
        """All nodes agree on so many shards of at least two nodes, with about as many keys each."""
        seen = members(addresses[0])
        for address in addresses:
            self.assertEqual(seen, members(address))
        self.assertEqual(shards, len(seen))
        self.assertEqual(nodes, len({node for found in seen.values() for node in found}))
        self.assertTrue(all(len(found) >= 2 for found in seen.values()), seen)
        counts = settled_key_counts(addresses)
        self.assertEqual(len(self.tokens), sum(counts.values()))
        for count in counts.values():
            self.assertTrue(0.75 <= count * shards / KEYS <= 1.25, counts)

    def test_life_of_a_cluster(self) -> None:
        """A node joins, shards are made and given up, a node dies and returns: nothing is ever lost or refused."""
        self.cluster.join(self.seventh)
        everybody = sorted(self.addresses)
        until("the seventh node in all views", lambda: all(view(node) == everybody for node in everybody), 5)
        self.assertEqual(503, put(self.seventh, "early", 1, None).status)
        answer = ask(self.addresses[1], "PUT", "/shard/add-member/s1", {"socket-address": self.seventh})
        self.assertEqual((200, {"result": "node added to shard"}), (answer.status, answer.body))
        until("the seventh node serves", lambda: get(self.seventh, "key0", None).status == 200, 5)
        self.assertEqual(self.reshard(self.addresses[4], 3), (200, {"result": "resharded"}))
        self.assert_spread(self.addresses, 3, 7)
        self.read_all(self.addresses)
        victim, key, token = self.write_at_one_alone()
        others = [address for address in self.addresses if address != victim]
        until("the dead node out of all views", lambda: all(victim not in view(node) for node in others), 10)
        self.assertEqual(self.reshard(others[2], 2), (200, {"result": "resharded"}))
        self.assert_spread(others, 2, 6)
        self.read_all(others)
        second, *five = others
        self.cluster.kill(second)
        until("another one out of the views", lambda: all(len(view(node)) == 5 for node in five), 10)
        self.assertEqual((400, {"error": TOO_FEW}), self.reshard(five[3], 3))
        self.read_all(five)
        for node in (victim, second):
            self.cluster.restart(node)
        until("both back in all views", lambda: all(view(node) == everybody for node in everybody), 10)
        self.tokens[key] = token
        until("what one alone had", lambda: all(get(node, key, token).status == 200 for node in everybody), 10)
        self.read_all(everybody)

    def write_at_one_alone(self) -> tuple[str, str, Any]:
        """
        A write that only one member of its shard has, which dies after it: the others were down already, and return.

        Returns the member, the key and the token.
        """
        victim, *peers = members(self.addresses[0])["s2"]
        key = next(f"late{number}" for number in range(100) if self.shard_of(f"late{number}") == "s2")
        for peer in peers:
            self.cluster.kill(peer)
        written = patiently(put, victim, key, KEYS, None)
        self.cluster.kill(victim)
        self.assertEqual(("s2", 201), (written.body["shard-id"], written.status))
        for peer in peers:
            self.cluster.restart(peer)
        self.cluster.ready(only=peers)
        return victim, key, written.token

    def shard_of(self, key: str) -> str:
        """The shard of a key that is not there."""
        shard: str = get(self.addresses[0], key, None).body["shard-id"]
        return shard

    def test_removal(self) -> None:
        """A node that is deleted is out of all views, stays out, and comes back when it is put again."""
        first, second = self.addresses[:2]
        answer = ask(first, "DELETE", "/view", {"socket-address": second})
        self.assertEqual((200, {"result": "deleted"}), (answer.status, answer.body))
        others = [address for address in self.addresses if address != second]
        for node in others:
            self.assertNotIn(second, view(node))
        answer = ask(first, "DELETE", "/view", {"socket-address": second})
        self.assertEqual((404, {"error": "View has no such replica"}), (answer.status, answer.body))
        self.read_all(others)
        answer = ask(others[2], "PUT", "/view", {"socket-address": second})
        self.assertEqual((201, {"result": "added"}), (answer.status, answer.body))
        answer = ask(others[2], "PUT", "/view", {"socket-address": second})
        self.assertEqual((200, {"result": "already present"}), (answer.status, answer.body))
        until("it is back in all views", lambda: all(second in view(node) for node in self.addresses), 5)
        self.assertEqual(KEYS, sum(key_counts(second).values()))

    def test_empty_disk(self) -> None:
        """A node that comes back with nothing gets its data from the others, and what it took along is told."""
        victim = self.addresses[3]
        others = [address for address in self.addresses if address != victim]
        self.cluster.kill(victim)
        shutil.rmtree(self.cluster.data / victim.replace(":", "-"))
        self.cluster.restart(victim)
        shard = next(name for name, found in members(others[0]).items() if victim in found)
        until("its place", lambda: ask(victim, "GET", "/readyz").status == 200, 10)
        self.read_all(self.addresses)
        self.assertEqual(members(others[0]), members(victim))
        self.assertEqual(key_counts(others[0])[shard], key_counts(victim)[shard])
        (loss,) = ask(others[0], "GET", "/kvsd/losses").body["losses"]
        self.assertEqual((victim, shard, 0), (loss["node"], loss["shard"], loss["lost"]))
