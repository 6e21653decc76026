"""
``python -m benchmarks.reshard``: what a reshard costs, and what the clients notice of it.

It starts a cluster of its own, loads keys, and has clients read and write without a pause, with their tokens, through
random nodes, while the shards become three and then two again.  Exit status 1 where a promise is broken.
"""

import asyncio
import http.client
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any

import click
from rich.console import Console

from benchmarks.figures import Moved, Stretch, show
from benchmarks.traffic import Advance, Traffic, TrafficError
from kvsd.local.cluster import ClusterError, LocalCluster, addresses_from, end_on_signals

FOUNDING_SHARDS = 2
LONGEST_RESHARD_SECONDS = 900.0
WATCH_SECONDS = 2.0
SETTLE_SECONDS = 0.2
REPORTS = 10


class Run:
    """One measurement on a cluster that is up."""

    def __init__(self, cluster: LocalCluster, traffic: Traffic, keys: int, console: Console) -> None:
        self.stretches: list[Stretch] = []
        self.moved: list[Moved] = []
        self._cluster = cluster
        self._traffic = traffic
        self._keys = keys
        self._console = console

    async def all(self, seconds: float) -> None:
        """Load, work, reshard twice meanwhile, and read everything back."""
        await self._reported("loaded", self._traffic.load)
        work = asyncio.ensure_future(self._traffic.work())
        try:
            await self._story(work, seconds)
        finally:
            self._traffic.stop()
            await asyncio.gather(work, return_exceptions=True)
        await work
        await self._reported("read back", self._traffic.read_back)

    async def _story(self, work: "asyncio.Future[None]", seconds: float) -> None:
        await self._stretch("before", asyncio.sleep(seconds), work)
        for shards, name in ((FOUNDING_SHARDS + 1, "between"), (FOUNDING_SHARDS, "after")):
            await self._reshard(shards, work)
            await self._stretch(name, asyncio.sleep(seconds), work)

    async def _stretch(self, name: str, during: Awaitable[Any], work: "asyncio.Future[None]") -> Any:
        """Wait for something while the clients work; what ends them ends this."""
        stretch = Stretch(name, time.perf_counter())
        self.stretches.append(stretch)
        waiting = asyncio.ensure_future(during)
        await asyncio.wait([waiting, work], return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            waiting.cancel()
            await work
        stretch.end = time.perf_counter()
        self._cluster.check()
        return await waiting

    async def _reshard(self, shards: int, work: "asyncio.Future[None]") -> None:
        door = self._cluster.addresses[0]
        plan = (await asyncio.to_thread(ask, door, "GET", f"/shard/reshard?shard-count={shards}"))[1]
        self._console.print(
            f"reshard to {shards}: {plan['slots-to-move']} slots, {plan['keys-to-move']:,} keys to move"
        )
        before = await asyncio.to_thread(key_counts, door)
        answered, seconds = await self._stretch(f"reshard to {shards}", self._ask_and_watch(door, shards), work)
        after = await asyncio.to_thread(key_counts, door)
        self.moved.append(Moved(shards, self.stretches[-1], answered, seconds, plan, before, after))

    async def _ask_and_watch(self, door: str, shards: int) -> tuple[str, float]:
        """Ask for a reshard and wait until nothing of it is left; gives the answer, and after how long it came."""
        began = time.perf_counter()
        asked = asyncio.ensure_future(
            asyncio.to_thread(ask, door, "PUT", "/shard/reshard", {"shard-count": shards}, LONGEST_RESHARD_SECONDS)
        )
        taken: list[float] = []
        asked.add_done_callback(lambda _: taken.append(time.perf_counter() - began))
        while time.perf_counter() - began < LONGEST_RESHARD_SECONDS:
            if asked.done():
                await asyncio.sleep(SETTLE_SECONDS)
            else:
                await asyncio.wait([asked], timeout=WATCH_SECONDS)
            status = (await asyncio.to_thread(ask, door, "GET", "/kvsd/reshard"))[1].get("reshard")
            if asked.done() and not status:
                break
            if status:
                self._console.print(f"  {time.perf_counter() - began:.1f} s: {in_words(status)}", soft_wrap=True)
        status_code, body = await asked
        return f"{status_code} {json.dumps(body)}", taken[0]

    async def _reported(self, what: str, step: Callable[[Advance], Awaitable[None]]) -> None:
        done, began = 0, time.perf_counter()

        def advance() -> None:
            nonlocal done
            done += 1
            if done % max(1, self._keys // REPORTS) == 0:
                pace = done / (time.perf_counter() - began)
                self._console.print(f"{what} {done:,} of {self._keys:,} keys, {pace:,.0f}/s")

        await step(advance)


def ask(
    door: str, method: str, path: str, fields: Mapping[str, object] | None = None, seconds: float = 30.0
) -> tuple[int, Any]:
    """One request of an operator: status and body; 0 and the reason where no answer came within so many seconds."""
    connection = http.client.HTTPConnection(door, timeout=seconds)
    try:
        connection.request(method, path, json.dumps(fields) if fields else None)
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        return 0, {"error": repr(error)}
    finally:
        connection.close()


def key_counts(door: str) -> dict[str, int]:
    """How many keys each shard has; raises TrafficError where a node doesn't say."""
    counts = {}
    for shard in ask(door, "GET", "/shard/ids")[1]["shard-ids"]:
        status, body = ask(door, "GET", f"/shard/key-count/{shard}")
        if status != 200:
            raise TrafficError(f"GET /shard/key-count/{shard} at {door}: {status} {body}")
        counts[shard] = body["shard-key-count"]
    return counts


def in_words(status: Mapping[str, Any]) -> str:
    """How far a reshard is."""
    blockers = "; ".join(str(move["blocker"]) for move in status["moves"] if move["blocker"])
    return f"{status['stage']}, {status['rows']} of {status['rows-expected']} rows {blockers}".rstrip()


async def measure(cluster: LocalCluster, clients: int, keys: int, seconds: float, console: Console) -> bool:
    """Run it all on a cluster that is ready; says whether every promise was kept."""
    traffic = Traffic(cluster.addresses, clients, keys, Random(1))
    run = Run(cluster, traffic, keys, console)
    try:
        await run.all(seconds)
    finally:
        traffic.close()
    return show(run.moved, run.stretches, traffic, keys)


@click.command()
@click.option("--keys", default=100_000, show_default=True, type=click.IntRange(min=100), help="Keys to load.")
@click.option("--clients", default=8, show_default=True, type=click.IntRange(min=1), help="Clients.")
@click.option("--nodes", default=6, show_default=True, type=click.IntRange(min=6), help="Founding nodes.")
@click.option("--seconds", default=10.0, show_default=True, help="Seconds of traffic before and after each reshard.")
@click.option(
    "--first-port", default=19482, show_default=True, type=click.IntRange(1, 65535), help="The others follow."
)
@click.option("--fsync/--no-fsync", default=True, show_default=True, help="Sync each batch of writes to disk.")
@click.option("--keep", type=click.Path(path_type=Path), help="Directory for data and logs, which stay there.")
def main(keys: int, clients: int, nodes: int, seconds: float, first_port: int, fsync: bool, keep: Path | None) -> None:
    """Measure two reshards of a cluster on this machine under traffic."""
    end_on_signals()
    options = [] if fsync else ["--no-fsync"]
    console = Console()
    kept = False
    with tempfile.TemporaryDirectory(prefix="kvsd-reshard-") as directory:
        addresses = addresses_from("127.0.0.1", first_port, nodes)
        try:
            with LocalCluster(addresses, FOUNDING_SHARDS, keep or Path(directory), options=options) as cluster:
                cluster.ready()
                kept = asyncio.run(measure(cluster, clients, keys, seconds, console))
        except (ClusterError, TrafficError) as error:
            console.print(f"BROKEN: {error}", soft_wrap=True)
    sys.exit(not kept)


if __name__ == "__main__":
    main()
