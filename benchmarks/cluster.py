"""
``python -m benchmarks.cluster``: clusters of kvsd beside clusters of other makers, asked through HTTP.

All nodes of a cluster share one core, so CPU time a request is that of the whole cluster.  The connections are spread
evenly over all nodes that take requests.  Clusters are asked in turns; the others are up and idle meanwhile.  Exit
status 1 where a promise is broken.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random

import click

from benchmarks.answers import deliver
from benchmarks.load import Load, Measure, Samples, Wrk, ask, get, rounds, tokens_of, writes_of
from benchmarks.options import Plot, measured
from benchmarks.others import ETCD, WEBDIS, etcd, etcd_ways, webdis, webdis_ways
from benchmarks.plots import bars, figure, save
from benchmarks.processes import Children, Server
from benchmarks.report import Report, Sheet, compared, ratio

ONE, MAJORITY = "kvsd 1 x 3", "kvsd 1 x 3, w=majority"
RIGHT, WRONG = "kvsd 2 x 3, right shard", "kvsd 2 x 3, wrong shard"
NAMES = [WEBDIS, ETCD, ONE, MAJORITY, RIGHT, WRONG]
CONNECTIONS = (64, 512)
KEYS, VALUE, REQUESTS = 2000, "x" * 20, 20_000
IDLE_SECONDS, SETTLE_SECONDS = 3.0, 2.0
AHEAD = 16
MAJORITY_OVER_ETCD = {64: 2, 512: 4}


@dataclass(frozen=True)
class Contestant:
    """A cluster, and what each of its nodes is asked to read (nothing, where only writes differ) and to write."""

    name: str
    server: Server
    reads: Sequence[Sequence[bytes]]
    writes: Sequence[Sequence[bytes]]

    @property
    def asked(self) -> Sequence[str]:
        """What is measured of it."""
        return ("GET", "PUT") if self.reads else ("PUT",)

    def load(self, what: str, connections: int) -> Load:
        """All nodes at once."""
        requests = self.reads if what == "GET" else self.writes
        return Load(f"{what} {connections}", requests, self.server.addresses, connections)


def one_shard(children: Children) -> list[Contestant]:
    """Three replicas of one shard, whose writes wait for one disk, or for two."""
    server = children.kvsd(ONE, 3, 1)
    keys = [f"key{number}" for number in range(KEYS)]
    one = kvsd_contestant(ONE, server, dict.fromkeys(server.addresses, keys))
    tokens = tokens_of(server.addresses[0])
    writes = [writes_of(drawn_from(keys), VALUE, tokens, "majority") for _ in server.addresses]
    return [one, Contestant(MAJORITY, server, [], writes)]


def two_shards(children: Children) -> list[Contestant]:
    """Two shards of three; the keys are sorted by what the answers say of their shard."""
    server = children.kvsd("kvsd 2 x 3", 6, 2)
    keys = [f"key{number}" for number in range(KEYS)]
    of_shard: dict[str, list[str]] = {}
    for key in keys:
        shard = ask(server.addresses[0], "PUT", f"/kvs/{key}", {"value": VALUE})[1]["shard-id"]
        of_shard.setdefault(shard, []).append(key)
    own = {a: ask(a, "GET", "/shard/node-shard-id")[1]["node-shard-id"] for a in server.addresses}
    right = {address: of_shard[shard] for address, shard in own.items()}
    wrong = {address: of_shard[other] for address, shard in own.items() for other in of_shard if other != shard}
    return [kvsd_contestant(RIGHT, server, right), kvsd_contestant(WRONG, server, wrong)]


def kvsd_contestant(name: str, server: Server, keys: Mapping[str, Sequence[str]]) -> Contestant:
    """Writes every key, and gives what each node is to be asked from then on."""
    tokens = tokens_of(server.addresses[0])
    every = sorted({key for some in keys.values() for key in some})
    deliver(server.addresses[0], writes_of(every, VALUE, tokens), AHEAD)
    time.sleep(SETTLE_SECONDS)
    drawn = [drawn_from(keys[address]) for address in server.addresses]
    reads = [[get(key) for key in some] for some in drawn]
    writes = [writes_of(some, VALUE, tokens) for some in drawn]
    return Contestant(name, server, reads, writes)


def drawn_from(keys: Sequence[str]) -> list[str]:
    """Keys in no order."""
    random = Random(1)
    return [random.choice(keys) for _ in range(REQUESTS)]


def others(children: Children) -> tuple[list[Contestant], list[str]]:
    """The clusters of other makers, and a line for each that is not here."""
    found, missing = [], []
    keys = [f"key{number}" for number in range(KEYS)]
    for name, begin, ways in ((ETCD, etcd, etcd_ways()), (WEBDIS, webdis, webdis_ways())):
        server = begin(children)
        if server is None:
            missing.append(f"left out: {name}: its programs are not installed")
            continue
        deliver(server.addresses[0], [ways.put(key, VALUE) for key in keys])
        reads = [[ways.get(key) for key in drawn_from(keys)] for _ in server.addresses]
        writes = [[ways.put(key, VALUE) for key in drawn_from(keys)] for _ in server.addresses]
        found.append(Contestant(name, server, reads, writes))
    return found, missing


def asked(what: str, connections: int) -> str:
    """The heading of a comparison."""
    return f"{what}, {connections} connections"


def measure(
    directory: Path, count: int, seconds: float, tell: Callable[[str], object]
) -> tuple[Samples, dict[str, float], list[str]]:
    """Start all clusters, have them take their turns, and end them; also the share of a core that each takes idle."""
    with Children(directory) as children:
        wrk = Wrk(directory)
        found, missing = others(children)
        found += [*one_shard(children), *two_shards(children)]
        idle = idle_shares([each.server for each in found])
        measures: dict[tuple[str, str], Measure] = {
            (asked(what, connections), each.name): partial(wrk.run, each.server, each.load(what, connections), seconds)
            for what in ("GET", "PUT")
            for connections in CONNECTIONS
            for each in found
            if what in each.asked
        }
        warm_up = [partial(wrk.run, each.server, each.load(what, 64), 1) for each in found for what in each.asked]
        samples = rounds(count, measures, warm_up, tell)
    return samples, idle, missing


def idle_shares(servers: Sequence[Server]) -> dict[str, float]:
    """The share of a core that each cluster takes while nobody asks it anything."""
    before = {server.name: server.cpu_seconds() for server in servers}
    time.sleep(IDLE_SECONDS)
    return {server.name: (server.cpu_seconds() - before[server.name]) / IDLE_SECONDS for server in servers}


def promise(report: Report, samples: Samples) -> None:
    """What kvsd has to be beside etcd, and what a request may cost that comes to a node of another shard."""
    for connections in CONNECTIONS:
        reads, writes = asked("GET", connections), asked("PUT", connections)
        if (writes, ETCD) in samples:
            value = ratio(samples[writes, ONE], samples[writes, ETCD])
            report.promise(f"{writes}: requests/s of {ONE} over those of {ETCD}", value, 5)
            value = ratio(samples[writes, MAJORITY], samples[writes, ETCD])
            text = f"{writes}: requests/s of {MAJORITY} over those of {ETCD}"
            report.promise(text, value, MAJORITY_OVER_ETCD[connections])
            value = ratio(samples[reads, ONE], samples[reads, ETCD])
            report.promise(f"{reads}: requests/s of {ONE} over those of {ETCD}, serializable", value, 5)
        value = ratio(samples[reads, WRONG], samples[reads, RIGHT])
        report.promise(f"{reads}: requests/s at the wrong shard over those at the right one", value, 0.3)


def plot(samples: Samples, path: Path) -> None:
    """Rates above, CPU times of whole clusters below."""
    drawing, axes = figure(2, 4, 15, 5.4)
    headings = [asked(what, connections) for what in ("GET", "PUT") for connections in CONNECTIONS]
    for place, what in enumerate(headings):
        bars(axes[place], what, "requests/s", samples, what, NAMES, "rate")
        bars(axes[4 + place], "", "CPU µs/request, whole cluster", samples, what, NAMES, "cpu_us")
        if place % len(CONNECTIONS):
            axes[place].set_yticklabels([])
            axes[4 + place].set_yticklabels([])
    title = "Clusters on one core: kvsd and etcd sync before they acknowledge, Redis keeps all in memory"
    save(drawing, path, title)


@click.command()
@measured("cluster", rounds=5, seconds=2)
def main(report: Report, directory: Path, count: int, seconds: float) -> Plot:
    """Measure requests a second and CPU time a request of clusters of kvsd and of others."""
    samples, idle, missing = measure(directory, count, seconds, report.tell)
    for what in ("GET", "PUT"):
        for connections in CONNECTIONS:
            heading = asked(what, connections)
            report.add(compared(heading, heading, NAMES, ETCD, samples))
    sheet = Sheet("While nobody asks anything", ("", "share of a core"))
    for name, share in idle.items():
        sheet.add(name, f"{share:.1%}")
    report.add(sheet)
    report.no_failures(samples)
    promise(report, samples)
    report.add(*missing)
    return partial(plot, samples)


if __name__ == "__main__":
    main()
