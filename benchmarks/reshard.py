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
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from benchmarks.traffic import MISTAKES_SHOWN, Advance, Traffic, TrafficError
from kvsd.local.cluster import ClusterError, LocalCluster, addresses_from, end_on_signals, get_json
from kvsd.replication.placement import SLOTS

FOUNDING_SHARDS = 2
LONGEST_GAP_SECONDS = 2.0
ANSWER_SECONDS = 2.0
MOVED_AT_MOST = 1.05
LONGEST_RESHARD_SECONDS = 900.0
WATCH_SECONDS = 1.0
REPORTS = 10


@dataclass
class Stretch:
    """A part of the run, by ``time.perf_counter``."""

    name: str
    begin: float
    end: float = 0.0


@dataclass
class Moved:
    """One reshard: its time, the plan that the cluster gave beforehand, and the keys of each shard on both sides."""

    shards: int
    stretch: Stretch
    answered: str
    answered_seconds: float
    plan: dict[str, Any]
    before: dict[str, int]
    after: dict[str, int]

    @property
    def seconds(self) -> float:
        """Until nothing of it was left to do."""
        return self.stretch.end - self.stretch.begin

    @property
    def gained(self) -> int:
        """How many keys shards have that had them not before; what went to and fro does not show."""
        return sum(max(0, keys - self.before.get(shard, 0)) for shard, keys in self.after.items())

    @property
    def least_keys(self) -> float:
        """How many keys the least number of slots has, if all have alike."""
        return sum(self.before.values()) * int(self.plan["least-slots"]) / SLOTS

    def broken(self, keys: int) -> Iterator[str]:
        """What it did not keep, in words."""
        name = f"reshard to {self.shards}"
        if not self.answered.startswith("200"):
            yield f"{name}: the node that was asked answered {self.answered} after {self.answered_seconds:.1f} s"
        if len(self.after) != self.shards:
            yield f"{name}: there are {len(self.after)} shards after it"
        if self.plan["slots-to-move"] > MOVED_AT_MOST * self.plan["least-slots"]:
            yield f"{name}: {self.plan['slots-to-move']} slots moved, the least possible is {self.plan['least-slots']}"
        if self.gained > MOVED_AT_MOST * self.plan["keys-to-move"]:
            yield f"{name}: shards gained {self.gained} keys, {self.plan['keys-to-move']} were to move"
        if sum(self.after.values()) != keys:
            yield f"{name}: the shards count {sum(self.after.values())} keys after it, {keys} were written"


class Run:
    """One measurement on a cluster that is up."""

    def __init__(self, cluster: LocalCluster, traffic: Traffic, keys: int, console: Console) -> None:
        self.stretches: list[Stretch] = []
        self.moved: list[Moved] = []
        self.load_seconds = 0.0
        self._cluster = cluster
        self._traffic = traffic
        self._keys = keys
        self._console = console

    async def all(self, seconds: float) -> None:
        """Load, work, reshard twice meanwhile, and read everything back."""
        began = time.perf_counter()
        await self._reported("loaded", self._traffic.load)
        self.load_seconds = time.perf_counter() - began
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
            await asyncio.wait([asked], timeout=WATCH_SECONDS)
            status = (await asyncio.to_thread(ask, door, "GET", "/kvsd/reshard"))[1].get("reshard")
            if asked.done() and not status:
                break
            if status:
                self._console.print(f"  {time.perf_counter() - began:.1f} s: {in_words(status)}")
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
    """How many keys each shard has."""
    ids = get_json(door, "/shard/ids")[1]["shard-ids"]
    return {shard: get_json(door, f"/shard/key-count/{shard}", 30.0)[1]["shard-key-count"] for shard in ids}


def in_words(status: Mapping[str, Any]) -> str:
    """How far a reshard is."""
    blockers = "; ".join(str(move["blocker"]) for move in status["moves"] if move["blocker"])
    return f"{status['stage']}, {status['rows']} of {status['rows-expected']} rows {blockers}".rstrip()


def reshard_table(moved: list[Moved]) -> Table:
    """What each reshard took and moved."""
    table = Table("reshard", "seconds", "answer after", "slots moved / least", "keys to move", "least")
    for name in ("keys gained", "keys/s", "keys of the shards"):
        table.add_column(name)
    for each in moved:
        slots = f"{each.plan['slots-to-move']} / {each.plan['least-slots']}"
        table.add_row(
            f"to {each.shards}", f"{each.seconds:.1f}", f"{each.answered_seconds:.1f}", slots,
            f"{each.plan['keys-to-move']:,}", f"{each.least_keys:,.0f}", f"{each.gained:,}",
            f"{each.plan['keys-to-move'] / each.seconds:,.0f}",
            ", ".join(f"{shard} {keys:,}" for shard, keys in each.after.items()),
        )  # fmt: skip
    return table


def stretch_table(stretches: list[Stretch], traffic: Traffic) -> Table:
    """What the clients got done in each part of the run, and for how long each had to wait at the most."""
    table = Table("", "seconds", "requests/s", "failed tries", "longest gap of each client, s")
    for each in stretches:
        failures = Counter(f.how for f in traffic.failures() if each.begin <= f.when < each.end)
        gaps = (client.diary.longest_gap(each.begin, each.end) for client in traffic.clients)
        table.add_row(
            each.name,
            f"{each.end - each.begin:.1f}",
            f"{traffic.answered(each.begin, each.end) / (each.end - each.begin):,.0f}",
            ", ".join(f"{count} x {how}" for how, count in failures.items()) or "none",
            " ".join(f"{gap:.2f}" for gap in gaps),
        )
    return table


def broken_promises(run: Run, traffic: Traffic, keys: int) -> Iterator[str]:
    """All that was not kept, in words."""
    for moved in run.moved:
        yield from moved.broken(keys)
    for failure in traffic.failures():
        if failure.how != "503" or failure.seconds > ANSWER_SECONDS:
            yield f"failed after {failure.seconds:.2f} s: {failure.how}: {failure.text}"
    begin, end = run.stretches[0].begin, run.stretches[-1].end
    for number, client in enumerate(traffic.clients):
        if (gap := client.diary.longest_gap(begin, end)) > LONGEST_GAP_SECONDS:
            yield f"client {number} had no successful answer for {gap:.2f} s"
    yield from (f"lost or stale: {mistake}" for mistake in traffic.mistakes())


def show(run: Run, traffic: Traffic, keys: int, console: Console) -> bool:
    """Print the tables and what is broken; says whether all was kept."""
    console.print(reshard_table(run.moved))
    console.print(stretch_table(run.stretches, traffic))
    late = [failure.seconds for failure in traffic.failures() if failure.how == "503"]
    console.print(
        f"loaded {keys / run.load_seconds:,.0f} keys/s; {len(late)} x 503, the slowest {max(late, default=0):.2f} s"
    )
    console.print(f"lost or stale: {len(list(traffic.mistakes()))}")
    broken = list(broken_promises(run, traffic, keys))
    for line in broken[:MISTAKES_SHOWN]:
        console.print(f"BROKEN: {line}", soft_wrap=True)
    if len(broken) > MISTAKES_SHOWN:
        console.print(f"… and {len(broken) - MISTAKES_SHOWN} more")
    return not broken


async def measure(cluster: LocalCluster, clients: int, keys: int, seconds: float, console: Console) -> bool:
    """Run it all on a cluster that is ready; says whether every promise was kept."""
    traffic = Traffic(cluster.addresses, clients, keys, Random(1))
    run = Run(cluster, traffic, keys, console)
    try:
        await run.all(seconds)
    finally:
        traffic.close()
    return show(run, traffic, keys, console)


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
