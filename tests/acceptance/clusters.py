"""
Clusters for the acceptance tests: free ports, a directory of their own, and an end that comes whatever happens.

A cluster of six nodes takes seconds to start, so tests that leave nodes and view as they are share one.  It is started
for the first of them and ended when the test run ends; if the run is killed, its nodes die with it (see
:mod:`kvsd.local.launch`).
"""

import atexit
import random
import shutil
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from kvsd.local.cluster import ClusterError, LocalCluster
from kvsd.local.launch import port_is_free
from tests.acceptance.door import ask, patiently, until

# Below the range from which the system takes ports for outgoing connections: one of those could hold the port of a
# node at the moment when that is to be started again.
PORTS = range(20000, 32000)


def first_free_port(count: int) -> int:
    """The first of so many consecutive ports on which nobody listens."""
    for _ in range(1000):
        first = random.choice(PORTS)
        if all(port_is_free(f"127.0.0.1:{port}") for port in range(first, first + count)):
            return first
    raise AssertionError(f"no {count} free ports in a row")


def free_addresses(count: int) -> list[str]:
    """Addresses on which nobody listens."""
    first = first_free_port(count)
    return [f"127.0.0.1:{port}" for port in range(first, first + count)]


def six_nodes() -> LocalCluster:
    """The cluster of six nodes in two shards that tests share; they leave its nodes and its view alone."""
    cluster = _shared()
    if isinstance(cluster, ClusterError):
        raise cluster
    return cluster


@cache
def _shared() -> LocalCluster | ClusterError:
    """That cluster, or why it can't be had: a second try would only take as long again."""
    data = Path(tempfile.mkdtemp(prefix="kvsd-acceptance-"))
    atexit.register(shutil.rmtree, data, ignore_errors=True)
    cluster = LocalCluster(free_addresses(6), 2, data)
    atexit.register(cluster.stop)
    try:
        cluster.start()
        cluster.ready()
    except ClusterError as error:
        cluster.stop()
        return error
    return cluster


def cluster_for(
    test: SynchronousTestCase,
    nodes: int,
    shards: int,
    options: Sequence[str] = (),
    addresses: Sequence[str] | None = None,
) -> LocalCluster:
    """A cluster for one test alone, which may do to it what it likes; at free addresses, unless they are given."""
    data = Path(tempfile.mkdtemp(prefix="kvsd-acceptance-"))
    test.addCleanup(shutil.rmtree, data, ignore_errors=True)
    cluster = LocalCluster(addresses or free_addresses(nodes), shards, data, options=options)
    test.addCleanup(cluster.stop)
    cluster.start()
    cluster.ready()
    return cluster


def settled_key_counts(addresses: Sequence[str]) -> dict[str, int]:
    """The number of keys in every shard, once all nodes count the same."""
    until("equal counts at all nodes", lambda: len({str(key_counts(address)) for address in addresses}) == 1, 5)
    return key_counts(addresses[0])


def members(address: str) -> dict[str, list[str]]:
    """The members of every shard, as a node knows them."""
    shards = ask(address, "GET", "/shard/ids").body["shard-ids"]
    return {shard: ask(address, "GET", f"/shard/members/{shard}").body["shard-members"] for shard in shards}


def key_counts(address: str) -> dict[str, int]:
    """The number of keys in every shard, as a node knows it."""
    shards = ask(address, "GET", "/shard/ids").body["shard-ids"]
    answers = {shard: patiently(ask, address, "GET", f"/shard/key-count/{shard}") for shard in shards}
    return {shard: answer.body["shard-key-count"] for shard, answer in answers.items()}
