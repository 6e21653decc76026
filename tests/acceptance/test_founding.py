"""Six nodes that were given a view and two shards come to the same cluster, and say so in the same words."""

from itertools import chain

from twisted.trial.unittest import SynchronousTestCase

from tests.acceptance.clusters import cluster_for, members, six_nodes
from tests.acceptance.door import ask, put

ENOUGH = "Not enough nodes to provide fault tolerance with requested shard count"


class FoundingTests(SynchronousTestCase):
    """What every node of a new cluster says of it."""

    def setUp(self) -> None:
        self.addresses = six_nodes().addresses

    def test_view(self) -> None:
        """All nodes name all nodes, sorted."""
        for address in self.addresses:
            self.assertEqual(ask(address, "GET", "/view").said, (200, {"view": sorted(self.addresses)}))

    def test_shard_ids(self) -> None:
        """All nodes name the two shards, as strings."""
        for address in self.addresses:
            self.assertEqual(ask(address, "GET", "/shard/ids").said, (200, {"shard-ids": ["s0", "s1"]}))

    def test_members(self) -> None:
        """All nodes name the same three members of each shard, sorted, and every node is a member of one."""
        shards = members(self.addresses[0])
        self.assertEqual([len(each) for each in shards.values()], [3, 3])
        self.assertEqual(sorted(chain.from_iterable(shards.values())), sorted(self.addresses))
        for address in self.addresses:
            self.assertEqual(members(address), shards)
        for each in shards.values():
            self.assertEqual(each, sorted(each, key=lambda address: int(address.rpartition(":")[2])))

    def test_own_shard(self) -> None:
        """Each node knows of which shard it is a member."""
        for shard, addresses in members(self.addresses[0]).items():
            for address in addresses:
                self.assertEqual(ask(address, "GET", "/shard/node-shard-id").said, (200, {"node-shard-id": shard}))

    def test_key_count(self) -> None:
        """Each node tells the number of keys of each shard, its own or not."""
        for address in self.addresses:
            for shard in ("s0", "s1"):
                answer = ask(address, "GET", f"/shard/key-count/{shard}")
                self.assertEqual((answer.status, list(answer.body)), (200, ["shard-key-count"]))
                self.assertIs(type(answer.body["shard-key-count"]), int)

    def test_unknown_shard(self) -> None:
        """A shard that does not exist is not found, by whatever name it is asked for."""
        spare = {"socket-address": self.addresses[0]}
        for shard in ("s9", "0", "nonsense", "s0x", "%F0%9F%98%80"):
            for method, what, fields in (
                ("GET", "members", None),
                ("GET", "key-count", None),
                ("PUT", "add-member", spare),
            ):
                answer = ask(self.addresses[0], method, f"/shard/{what}/{shard}", fields)
                self.assertEqual((answer.status, list(answer.body)), (404, ["error"]), f"{what} of {shard}")


class ReadyTests(SynchronousTestCase):
    """Nodes that have only just been started."""

    def test_ready(self) -> None:
        """As soon as all nodes say that they are ready, each of them serves the keys of every shard."""
        addresses = cluster_for(self, 4, 2).addresses
        for address in addresses:
            for number in range(8):
                answer = put(address, f"{address} {number}", number)
                self.assertEqual(answer.status, 201, f"{address}: {answer}")
            for shard in ("s0", "s1"):
                answer = ask(address, "GET", f"/shard/key-count/{shard}")
                self.assertEqual(answer.status, 200, f"{address}: {answer}")
