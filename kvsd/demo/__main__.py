"""
``python -m kvsd.demo``: load a cluster with the names of all characters, read them back elsewhere, and compare.

It starts six nodes of its own, or uses a running cluster (``--attach``).  With ``--kill``, one node of each shard is
killed with SIGKILL when a third of the keys is loaded, and started again some seconds later.  The exit status is 0
only if no acknowledged write was lost, no read contradicted its token, and all nodes are equal at the end.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from random import Random, SystemRandom

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.table import Column, Table
from rich.text import Text

from kvsd.demo.agreement import Shard, agree_on_shards, compare_members
from kvsd.demo.chain import GaveUpError, UnexpectedError, together
from kvsd.demo.outage import Outage
from kvsd.demo.workload import Advance, Workload, characters
from kvsd.local.cluster import ClusterError, LocalCluster, addresses_from, end_on_signals

NODES, SHARDS = 6, 2
MISTAKES_SHOWN = 10


class RateColumn(ProgressColumn):
    """How many steps a second."""

    def render(self, task: Task) -> Text:
        """Give the rate of the whole task, or of what is done of it."""
        return Text(f"{task.finished_speed or task.speed or 0:,.0f}/s", style="progress.data.speed")


def percentile(ordered: list[float], percent: int) -> float:
    """The value below which that share of an ordered list lies (nearest rank); 0 for an empty one."""
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)] if ordered else 0.0


class Demo:
    """One demonstration on the nodes at ``addresses``; ``cluster`` is there if they are its own."""

    def __init__(
        self, addresses: list[str], cluster: LocalCluster | None, console: Console, random: Random, clients: int
    ) -> None:
        self.workload = Workload(addresses, random, clients)
        self.elapsed_seconds: dict[str, float] = {}
        self._addresses = addresses
        self._cluster = cluster
        self._random = random
        self._progress = Progress(
            TextColumn("{task.description:>12}"), BarColumn(), MofNCompleteColumn(), RateColumn(), TimeElapsedColumn(),
            console=console,
        )  # fmt: skip

    async def run(self, pairs: list[tuple[str, str]], kill: bool, sample: int) -> list[Shard]:
        """Load, read back and compare; gives the shards as they are in the end."""
        before, differed = await agree_on_shards(self._addresses, None)
        fresh = not any(shard.keys for shard in before)
        try:
            with self._progress:
                await self._load(pairs, before if kill else [])
                with self._step("reading back", len(pairs)) as advance:
                    await self.workload.read_back(advance)
                shards, differ = await agree_on_shards(self._addresses, len(pairs) if fresh else None)
                unequal = await self._compare(shards, sample)
        finally:
            self.workload.close()
        self.workload.mistakes += [*differed, *differ, *unequal]
        return shards

    async def _load(self, pairs: list[tuple[str, str]], to_hurt: list[Shard]) -> None:
        """Write all pairs, while one node of each of the shards ``to_hurt`` is killed and comes back."""
        with self._step("loading", len(pairs)) as advance:
            if self._cluster is None or not to_hurt:
                await self.workload.load(pairs, advance)
                return
            victims = [self._random.choice(shard.members) for shard in to_hurt]
            outage = Outage(self._cluster, victims, len(pairs), self._progress.console.print)
            load = self.workload.load(pairs, advance, outage.gate)
            await together(load, outage.happen(lambda: self.workload.acknowledged))

    async def _compare(self, shards: list[Shard], sample: int) -> list[str]:
        everything = [each for written in self.workload.written for each in written]
        chosen = self._random.sample(everything, sample) if 0 < sample < len(everything) else everything
        members = {shard.name: len(shard.members) for shard in shards}
        with self._step("comparing", sum(members.get(each.shard, 0) for each in chosen)) as advance:
            return await compare_members(shards, chosen, advance)

    @contextmanager
    def _step(self, name: str, total: int) -> Iterator[Advance]:
        """Show the progress of one step, and take its time."""
        task = self._progress.add_task(name, total=total)
        began = time.perf_counter()
        yield lambda: self._progress.advance(task)
        self.elapsed_seconds[name] = time.perf_counter() - began


def shard_table(shards: list[Shard]) -> Table:
    """How many keys each shard has."""
    table = Table("shard", "members", Column("keys", justify="right"))
    for shard in shards:
        table.add_row(shard.name, "  ".join(shard.members), f"{shard.keys:,}")
    return table


def speed_table(demo: Demo) -> Table:
    """How long clients waited, from the first try of an operation to its answer."""
    numbers = [Column(name, justify="right") for name in ("number", "a second", "p50 ms", "p95 ms", "p99 ms")]
    table = Table("operation", *numbers)
    tally, keys = demo.workload.tally, demo.workload.acknowledged
    steps = (("PUT", "loading", len(tally.seconds["PUT"])), ("GET", "reading back", keys))
    for method, step, number_in_step in steps:
        ordered = sorted(tally.seconds[method])
        waits = [f"{percentile(ordered, percent) * 1000:.1f}" for percent in (50, 95, 99)]
        rate = number_in_step / demo.elapsed_seconds[step]
        table.add_row(method, f"{len(ordered):,}", f"{rate:,.0f}", *waits)
    return table


def report(demo: Demo, shards: list[Shard], console: Console) -> int:
    """Print what was seen; gives the exit status."""
    console.print(shard_table(shards), speed_table(demo))
    retries = ", ".join(f"{count:,} times {reason}" for reason, count in sorted(demo.workload.tally.retries.items()))
    console.print(f"Requests sent again: {retries or 'none'}.")
    mistakes = demo.workload.mistakes
    for mistake in mistakes[:MISTAKES_SHOWN]:
        console.print(f"wrong: {mistake}", markup=False, style="red")
    if mistakes:
        console.print(f"{len(mistakes)} answers were wrong.", style="bold red")
        return 1
    console.print(
        "No acknowledged write lost, no read that contradicts its token, all nodes equal.", style="bold green"
    )
    return 0


@contextmanager
def own_cluster(first_port: int, console: Console) -> Iterator[LocalCluster]:
    """Six nodes in two shards, whose data is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="kvsd-demo-") as data:
        with LocalCluster(addresses_from("127.0.0.1", first_port, NODES), SHARDS, Path(data)) as cluster:
            with console.status(f"Starting {NODES} nodes …"):
                cluster.ready()
            yield cluster


def demonstrate(demo: Demo, keys: int, kill: bool, sample: int, console: Console) -> int:
    """Run a demonstration from load to verdict; gives the exit status."""
    pairs = list(islice(characters(), keys or None))
    try:
        shards = asyncio.run(demo.run(pairs, kill, sample))
    except (GaveUpError, UnexpectedError) as error:
        console.print(f"failed: {error}", markup=False, style="bold red")
        return 1
    return report(demo, shards, console)


@click.command()
@click.option("--keys", default=0, type=click.IntRange(min=0), help="Only so many keys; 0 means all.")
@click.option("--clients", default=16, show_default=True, type=click.IntRange(min=1), help="Clients at a time.")
@click.option("--kill", is_flag=True, help="Kill one node of each shard in the middle, and start it again.")
@click.option("--sample", default=2000, show_default=True, help="Keys to compare at all members; 0 means all.")
@click.option("--seed", type=int, help="Deals out keys and nodes as in an earlier run.")
@click.option("--first-port", default=8182, show_default=True, type=click.IntRange(1, 65535), help="Of its own nodes.")
@click.option("--attach", default="", metavar="ADDRESS,…", help="Use these nodes, which run already.")
def main(keys: int, clients: int, kill: bool, sample: int, seed: int | None, first_port: int, attach: str) -> None:
    """Load a cluster with the names of all characters, read them back at other nodes, and compare the nodes."""
    if attach and kill:
        raise click.UsageError("--kill needs nodes that the demonstration has started: leave out --attach")
    end_on_signals()
    console = Console(highlight=False)
    seed = SystemRandom().randrange(10**6) if seed is None else seed
    console.print(f"Seed {seed}.")
    try:
        if attach:
            demo = Demo(attach.split(","), None, console, Random(seed), clients)
            sys.exit(demonstrate(demo, keys, False, sample, console))
        with own_cluster(first_port, console) as cluster:
            demo = Demo(cluster.addresses, cluster, console, Random(seed), clients)
            status = demonstrate(demo, keys, kill, sample, console)
            cluster.check()
    except ClusterError as error:
        console.print(str(error), markup=False, style="bold red")
        status = 1
    except KeyboardInterrupt:
        console.print("Interrupted.")
        status = 130
    sys.exit(status)


if __name__ == "__main__":
    main()
