"""
``python -m benchmarks.start_process``: one process of :mod:`benchmarks.start`, that fills a data directory or opens it.
"""

import gc
import json
import random
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import react

from kvsd.entries import entries, owner_entry
from kvsd.node import Node
from kvsd.replication import effects
from kvsd.replication.causality import Dot
from kvsd.replication.configuration import founding_configuration
from kvsd.replication.placement import slot_of
from kvsd.replication.record import Record, Row
from kvsd.replication.requests import Found, Get, Put, Written
from kvsd.replication.token import EMPTY
from kvsd.service import NodeService
from kvsd.settings import read_settings
from kvsd.storage.datadir import read_boot_id
from kvsd.storage.rocks_storage import RocksStorage

ADDRESS = "127.0.0.1:18999"
INSTANCE = b"one node, alone."
VALUE = b'"' + b"v" * 98 + b'"'
ROWS_A_COMMIT = 5_000
OPERATIONS = 20_000
AT_ONCE = 64
ZIPF = 0.99


def key(number: int) -> str:
    """A key by its number."""
    return f"key-{number:08}"


# Filling


def changes(keys: int) -> Iterator[list[effects.Keep]]:
    """What a node alone would have kept after it wrote so many keys, in commits."""
    configuration = founding_configuration([ADDRESS], 1).bound({ADDRESS: INSTANCE})
    (member,) = configuration.shards["s0"].members
    writer, hlc = member.writer, (time.time_ns() // 10**6) << 16
    yield [effects.SetConfiguration(configuration), effects.SetBindings({ADDRESS: (INSTANCE, True)})]
    counts: dict[int, int] = {}
    for start in range(0, keys, ROWS_A_COMMIT):
        last = min(keys, start + ROWS_A_COMMIT)
        rows = [
            Row(writer, n + 1, Record(0, key(n), VALUE, hlc + n, Dot("s0", writer, n + 1), {}, 1, "", True, 0))
            for n in range(start, last)
        ]
        for row in rows:
            counts[slot_of(row.record.key)] = counts.get(slot_of(row.record.key), 0) + 1
        yield [
            effects.SetVector(writer, "s0", {writer: last}, hlc + last, 0),
            *(effects.SetRow(writer, r) for r in rows),
        ]
    if hasattr(effects, "SetCount"):
        size = 100 + len(key(0)) + len(VALUE)
        yield [effects.SetCount(writer, 0, slot, n, n, n * size) for slot, n in counts.items()]


async def fill(directory: Path, keys: int) -> dict[str, float]:
    """Write the tables of a node straight to its disk."""
    assert isinstance(reactor, ReactorBase)
    storage = RocksStorage(directory, reactor, boot_id=read_boot_id(), fsync=False)
    await storage.commit([owner_entry(INSTANCE, ADDRESS)])
    for kept in changes(keys):
        await storage.commit(entries(kept))
    await storage.close()
    return {}


# Opening


async def open_and_use(directory: Path, keys: int) -> dict[str, float]:
    """Open a node's data, wait until it serves, and use it for a while."""
    assert isinstance(reactor, ReactorBase)
    settings = read_settings(
        {"socket-address": ADDRESS, "view": ADDRESS, "data-dir": str(directory), "no-fsync": 1}, {}
    )
    service = NodeService(settings, reactor)
    gc.collect()
    memory, began, cpu = rss(), time.perf_counter(), time.process_time()
    storage = service._open_storage()
    node = service._start_node(storage)
    while not isinstance(await node.ask(Get(key(keys - 1), EMPTY)), Found):
        await a_moment()
    found = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - cpu}
    gc.collect()
    found["bytes_a_key"] = (rss() - memory) / keys
    for name, numbers in (("uniform", uniform(keys)), ("zipf", zipf(keys))):
        found[f"get_{name}_us"] = await used(node, [Get(key(n), EMPTY) for n in numbers])
        found[f"put_{name}_us"] = await used(node, [Put(key(n), VALUE, EMPTY) for n in numbers])
    gc.collect()
    found["bytes_a_key_used"] = (rss() - memory) / keys
    found["cached_bytes_a_key"] = cached(storage) / keys
    await node.stop(10)
    return found


async def used(node: Node, requests: Sequence[Get | Put]) -> float:
    """The microseconds of CPU that a request takes, its writing to the disk with it."""
    cpu = time.process_time()
    for start in range(0, len(requests), AT_ONCE):
        for outcome in await gatherResults([node.ask(request) for request in requests[start : start + AT_ONCE]]):
            assert isinstance(outcome, Found | Written), outcome
    return 1e6 * (time.process_time() - cpu) / len(requests)


def uniform(keys: int) -> list[int]:
    """Numbers of keys, each as likely as any other."""
    return random.Random("uniform").choices(range(keys), k=OPERATIONS)


def zipf(keys: int) -> list[int]:
    """Numbers of keys, of which few are asked for often."""
    order = list(range(keys))
    chance = random.Random("zipf")
    chance.shuffle(order)
    weights = list(accumulate(1 / n**ZIPF for n in range(1, keys + 1)))
    return chance.choices(order, cum_weights=weights, k=OPERATIONS)


def a_moment() -> Deferred[None]:
    """A moment in which the reactor has its turn."""
    assert isinstance(reactor, ReactorBase)
    done: Deferred[None] = Deferred()
    reactor.callLater(0.001, done.callback, None)
    return done


def cached(storage: object) -> int:
    """How many bytes of blocks the database holds in its cache."""
    database = storage._tables._database  # type: ignore[attr-defined]
    return int(database.property_int_value("rocksdb.block-cache-usage") or 0)


def rss() -> int:
    """The resident memory of this process, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def tell(found: dict[str, float]) -> None:
    """Say what was found."""
    sys.stdout.write(json.dumps(found) + "\n")


def main() -> None:
    """Do what the command line says and print what was found as JSON."""
    what, directory, keys = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])

    def run(_: object) -> Deferred[None]:
        action = {"fill": fill, "open": open_and_use}[what]
        return Deferred.fromCoroutine(action(directory, keys)).addCallback(tell)

    react(run)


if __name__ == "__main__":
    main()
