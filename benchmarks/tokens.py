"""
``python -m benchmarks.tokens``: how long the causal metadata gets that clients carry.

Every token that a client is handed in a modelled cluster is measured, as text.  Exit status 1 where one is longer
than the limit of its situation.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from statistics import median, quantiles

import click
from rich.console import Console
from rich.table import Column, Table

from benchmarks.model import HEARTBEAT_MS, HEARTBEATS_KEPT, LONGEST_DELAY_MS, Cluster, Load, clients_of

WARM_UP_SECONDS = 2.0
QUIET_LIMIT, DOZEN_LIMIT, THOUSAND_LIMIT = 40, 250, 2000
WIDTH = 140


@dataclass
class Measured:
    """The lengths of tokens in one situation, the number of writes that they named, and the limit in characters."""

    situation: str
    lengths: Sequence[int]
    named: Sequence[int]
    limit: int

    @property
    def kept(self) -> bool:
        """Whether no token was longer than the limit."""
        return max(self.lengths) <= self.limit

    def row(self) -> Iterator[str]:
        """The cells of the table."""
        yield from (self.situation, f"{len(self.lengths):,}", f"{median(self.named):g} / {max(self.named)}")
        p99 = quantiles(self.lengths, n=100)[-1] if len(self.lengths) > 1 else self.lengths[0]
        yield from (f"{median(self.lengths):g}", f"{p99:.0f}", str(max(self.lengths)), str(self.limit))
        yield "kept" if self.kept else "BROKEN"


def quiet(seed: int) -> Measured:
    """A client that wrote and read in a cluster of 12 nodes, and asks each of them once more after a pause."""
    cluster = Cluster(12, 4, Random(seed))
    load = Load(clients=20, rate=20, keys=100, zipf=0)
    client = clients_of(cluster, load)[0]
    cluster.run(WARM_UP_SECONDS)
    lengths = []
    for members in cluster.shards.values():
        for node in members:
            now = 1000 * WARM_UP_SECONDS + 2 * (HEARTBEAT_MS + LONGEST_DELAY_MS)
            node.catch_up(now)
            for _ in range(HEARTBEATS_KEPT):
                node.act(now)
    later = 1000 * 3600.0
    for members in cluster.shards.values():
        lengths += [len(cluster.codec.encode(node.pruned(client.token, later))) for node in members]
    return Measured("12 nodes in 4 shards, quiet", lengths, [0], QUIET_LIMIT)


def busy(name: str, nodes: int, shards: int, load: Load, seconds: float, limit: int, seed: int) -> Measured:
    """Clients keep all nodes writing; every token is measured, once the cluster has warmed up."""
    cluster = Cluster(nodes, shards, Random(seed))
    clients = clients_of(cluster, load)
    cluster.run(WARM_UP_SECONDS)
    for client in clients:
        client.lengths.clear()
        client.named.clear()
    cluster.run(WARM_UP_SECONDS + seconds)
    return Measured(name, [n for c in clients for n in c.lengths], [n for c in clients for n in c.named], limit)


@click.command()
@click.option(
    "--rate",
    default=10.0,
    show_default=True,
    type=click.FloatRange(1, 190),
    help="Requests a second of each client, 1,000 nodes.",
)
@click.option("--clients", default=1000, show_default=True, help="Clients of 1,000 nodes.")
@click.option("--keys", default=100_000, show_default=True, help="Keys, 1,000 nodes.")
@click.option("--zipf", default=1.0, show_default=True, help="Exponent of Zipf's law.")
@click.option("--seconds", default=3.0, show_default=True, help="Seconds of the model's clock that are measured.")
@click.option("--seed", default=1, show_default=True, help="Where the random numbers begin.")
def main(rate: float, clients: int, keys: int, zipf: float, seconds: float, seed: int) -> None:
    """Measure how long tokens are, and compare that with the limits."""
    busy_dozen = Load(clients=60, rate=50, keys=1000, zipf=0)
    large = f"1,000 nodes in 333 shards, {clients:,} clients x {rate:g}/s"
    load = Load(clients, rate, keys, 0)
    measured = [
        quiet(seed),
        busy("12 nodes in 4 shards, 60 clients x 50/s, uniform", 12, 4, busy_dozen, seconds, DOZEN_LIMIT, seed),
        busy(
            "12 nodes in 4 shards, 60 clients x 50/s, Zipf",
            12,
            4,
            busy_dozen._replace(zipf=1),
            seconds,
            DOZEN_LIMIT,
            seed,
        ),
        busy(f"{large}, uniform", 1000, 333, load, seconds, THOUSAND_LIMIT, seed),
        busy(f"{large}, Zipf {zipf:g}", 1000, 333, load._replace(zipf=zipf), seconds, THOUSAND_LIMIT, seed),
    ]
    headings = ("tokens", "writes named: median / most", "median", "99th percentile", "maximum", "limit", "")
    table = Table("situation", *(Column(heading, justify="right") for heading in headings))
    for each in measured:
        table.add_row(*each.row())
    Console(width=WIDTH).print(table)
    sys.exit(not all(each.kept for each in measured))


if __name__ == "__main__":
    main()
