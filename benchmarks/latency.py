"""
``python -m benchmarks.latency``: how long requests take that come at a constant rate, whether answers keep up or not.

The rate is a half, and then four fifths, of the most that the same server was seen to answer just before.  A latency
counts from the moment at which its request was due (no coordinated omission).  Beside them: how long the same disk takes
to sync one write of a bare file.  Exit status 1 where a promise is broken.
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from statistics import median

import click

from benchmarks.answers import deliver
from benchmarks.generator import Latencies, at_rate, quantile
from benchmarks.load import Load, Wrk, get, tokens_of, writes_of
from benchmarks.options import Plot, measured
from benchmarks.plots import COLORS, FAINT, figure, save
from benchmarks.processes import SERVER_CORE, Children, Server, knows_reactor, pinned_here
from benchmarks.report import Report, Sheet

ONE, ONE_UVLOOP, THREE = "one node", "one node on uvloop", "1 x 3"
ASKED = ("GET", "PUT")
SHARES = (0.5, 0.8)
QUANTILES = (0.5, 0.99, 0.999)
KEYS, VALUE, REQUESTS, CONNECTIONS, AHEAD = 1000, "x" * 20, 20_000, 64, 16
SYNCS, SYNCED_BYTES = 300, 100
SETTLE_SECONDS = 0.5
GET_LIMIT_MS, PUT_LIMIT_MS, PUT_SYNCS = 10.0, 20.0, 5.0


@dataclass(frozen=True)
class Round:
    """One run at a constant rate: requests a second and how long they took."""

    rate: float
    took: Latencies

    def ms(self, share: float) -> float:
        """A quantile, in milliseconds."""
        return 1e3 * self.took.quantile(share)


Rounds = dict[tuple[str, str, float], list[Round]]
"""By the server, what was asked, and at which share of the peak."""


class Contestant:
    """A server, and what it is asked."""

    def __init__(self, name: str, server: Server, wrk: Wrk) -> None:
        self.name = name
        self._server = server
        self._wrk = wrk
        random = Random(1)
        tokens = tokens_of(server.addresses[0])
        deliver(server.addresses[0], writes_of([f"key{number}" for number in range(KEYS)], VALUE, tokens), AHEAD)
        keys = [f"key{random.randrange(KEYS)}" for _ in range(REQUESTS)]
        self._requests = {"GET": [get(key) for key in keys], "PUT": writes_of(keys, VALUE, tokens)}
        self._loads = {
            what: Load(f"peak of {what}", [requests] * len(server.addresses), server.addresses, CONNECTIONS)
            for what, requests in self._requests.items()
        }

    def peak(self, what: str, seconds: float) -> float:
        """The most that it answers a second, asked by as many connections without a pause."""
        return self._wrk.run(self._server, self._loads[what], seconds).rate

    def at(self, what: str, rate: float, seconds: float) -> Round:
        """So many requests a second."""
        time.sleep(SETTLE_SECONDS)
        return Round(rate, at_rate(self._server.addresses, self._requests[what], rate, seconds, CONNECTIONS))


def servers(children: Children, wrk: Wrk) -> tuple[list[Contestant], list[str]]:
    """One node and three replicas; on uvloop too where it is here."""
    found = [Contestant(ONE, children.kvsd(ONE, 1, 1), wrk)]
    missing = []
    if knows_reactor("uvloop"):
        found.append(Contestant(ONE_UVLOOP, children.kvsd(ONE_UVLOOP, 1, 1, reactor="uvloop"), wrk))
    else:
        missing.append(f"left out: {ONE_UVLOOP}: twistd knows no such reactor here")
    found.append(Contestant(THREE, children.kvsd(THREE, 3, 1), wrk))
    return found, missing


def bare_syncs(directory: Path) -> list[float]:
    """How long each sync of one appended write takes, in seconds, sorted."""
    times = []
    with pinned_here(SERVER_CORE):
        descriptor = os.open(directory / "bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            for _ in range(SYNCS):
                began = time.perf_counter()
                os.write(descriptor, b"x" * SYNCED_BYTES)
                os.fdatasync(descriptor)
                times.append(time.perf_counter() - began)
        finally:
            os.close(descriptor)
    return sorted(times)


def measure(
    directory: Path, count: int, seconds: float, tell: Callable[[str], object]
) -> tuple[Rounds, list[list[float]], list[str]]:
    """Start all, have them take their turns, and end them; also the bare syncs of each round."""
    rounds: Rounds = {}
    syncs = []
    with Children(directory) as children:
        found, missing = servers(children, Wrk(directory))
        for each in found:
            for what in ASKED:
                each.peak(what, 1)
        for number in range(count):
            tell(f"round {number + 1} of {count}")
            syncs.append(bare_syncs(directory))
            for each in found:
                for what in ASKED:
                    peak = each.peak(what, 2)
                    for share in SHARES:
                        done = each.at(what, share * peak, seconds)
                        rounds.setdefault((each.name, what, share), []).append(done)
    return rounds, syncs, missing


def middle(rounds: Sequence[Round], share: float) -> float:
    """A quantile in milliseconds: the median of the rounds."""
    return median(each.ms(share) for each in rounds)


def middle_sync(syncs: Sequence[Sequence[float]], share: float) -> float:
    """The same of the bare syncs."""
    return median(1e3 * quantile(each, share) for each in syncs)


def sheet(rounds: Rounds, syncs: Sequence[Sequence[float]]) -> Sheet:
    """All quantiles, and how many bare syncs the 99th percentile is."""
    columns = ("", "requests/s", "p50 ms", "p99 ms", "p99.9 ms", "p99 / p99 of a bare sync", "sent late, p99 ms")
    table = Sheet("At a constant rate, from when a request was due", columns)
    for (name, what, share), some in rounds.items():
        quantiles = [middle(some, each) for each in QUANTILES]
        table.add(
            f"{name}, {what}, {share:.0%} of the peak",
            f"{median(each.rate for each in some):,.0f}",
            *(f"{each:.2f}" for each in quantiles),
            f"{quantiles[1] / middle_sync(syncs, 0.99):.1f}",
            f"{1e3 * median(quantile(each.took.slips, 0.99) for each in some):.2f}",
        )
    bare = [f"{middle_sync(syncs, each):.2f}" for each in QUANTILES]
    table.add("a write of 100 bytes to a bare file, and fdatasync", "", *bare, "1.0", "")
    return table


def promise(report: Report, rounds: Rounds, syncs: Sequence[Sequence[float]]) -> None:
    """At half of the peak."""
    limits = {"GET": GET_LIMIT_MS, "PUT": max(PUT_LIMIT_MS, PUT_SYNCS * middle_sync(syncs, 0.99))}
    for (name, what, share), some in rounds.items():
        if failed := sum(each.took.failed for each in some):
            what_failed = f"{name}, {what} at {share:.0%} of the peak: requests that were not answered by a success"
            report.promise(what_failed, failed, 0, at_most=True)
        if share == SHARES[0]:
            report.promise(
                f"{name}, {what} at half of the peak: p99 in ms", middle(some, 0.99), limits[what], at_most=True
            )


def plot(rounds: Rounds, syncs: Sequence[Sequence[float]], path: Path) -> None:
    """Latency by percentile, the tail drawn out."""
    drawing, axes = figure(1, 2, 12, 4.6)
    shares = [0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999]
    names = list(dict.fromkeys(name for name, _, _ in rounds))
    for axis, what in zip(axes, ASKED, strict=True):
        for (name, asked, share), some in rounds.items():
            if asked == what:
                times = [middle(some, each) for each in shares]
                style, color = ("-" if share == SHARES[0] else "--"), COLORS[3 + names.index(name)]
                places = [1 / (1 - each) for each in shares]
                axis.plot(places, times, style, color=color, label=f"{name}, {share:.0%} of its peak")
        bare = [middle_sync(syncs, each) for each in shares]
        axis.plot([1 / (1 - each) for each in shares], bare, ":", color=FAINT, label="fdatasync of a bare file")
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xticks([1, 2, 10, 100, 1000], ["0", "p50", "p90", "p99", "p99.9"])
        axis.minorticks_off()
        axis.yaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
        axis.grid(visible=True, color="#e4e8eb", linewidth=0.7)
        axis.set_title(what)
        axis.legend(fontsize=7.5)
    axes[0].set_ylabel("ms from when the request was due")
    low = min(axis.get_ylim()[0] for axis in axes)
    high = max(axis.get_ylim()[1] for axis in axes)
    for axis in axes:
        axis.set_ylim(low, high)
    save(drawing, path, "How long requests take that come at a constant rate")


@click.command()
@measured("latency", rounds=5, seconds=2)
def main(report: Report, directory: Path, count: int, seconds: float) -> Plot:
    """Measure latencies at a constant rate."""
    rounds, syncs, missing = measure(directory, count, seconds, report.tell)
    report.add(sheet(rounds, syncs))
    promise(report, rounds, syncs)
    report.add(*missing)
    return partial(plot, rounds, syncs)


if __name__ == "__main__":
    main()
