"""
``python -m benchmarks.scale``: what a request costs as everything around it grows.

CPU time of the server a request, as keys, the size of values, sessions, replicas, writes held back and entries of
tokens grow.  The last two are measured in this process, on the code that a node runs; all else on real nodes, synced.
Exit status 1 where a cost grows more than promised.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from random import Random
from statistics import median

import click

from benchmarks.answers import deliver
from benchmarks.cores import held_back, token_entries
from benchmarks.generator import deliver_all, in_sessions
from benchmarks.load import Load, Measure, Samples, Wrk, get, put, request, rounds, tokens_of, writes_of
from benchmarks.options import Plot, measured
from benchmarks.plots import curves, figure, save
from benchmarks.processes import Children, Server
from benchmarks.report import Report, Sheet, middle

KEYS, SIZES, SESSIONS, REPLICAS = "keys", "bytes of a value", "sessions", "replicas"
HELD, ENTRIES = "writes held back", "entries of a token"
KEY_COUNTS = (1_000, 10_000, 100_000, 1_000_000)
VALUE_BYTES = (10, 100, 1_000, 10_000, 100_000)
SESSION_COUNTS = (1, 10, 100, 1_000)
REPLICA_COUNTS = (2, 3, 4, 5)
ENTRY_COUNTS = (0, 1, 10, 100, 1_000)
HELD_COUNTS = (1, 10, 100, 1_000, 10_000)
FEW = f"GET of {KEY_COUNTS[0]:,} of them"
CONNECTIONS, AHEAD, SETTLE_SECONDS = 64, 64, 2.0
REQUESTS = 100_000
REQUEST_BYTES = 20 << 20
VALUE = "x" * 20
GROWTH = 1.3


def point(what: str, size: int, asked: str = "") -> tuple[str, str]:
    """The name of a measurement: what grows and what is asked, and how large it is."""
    return f"{what}, {asked}" if asked else what, str(size)


class Sizes:
    """All nodes at once, and what is measured on each."""

    def __init__(self, children: Children, wrk: Wrk, seconds: float, most_keys: int) -> None:
        self.measures: dict[tuple[str, str], Measure] = {}
        self.bytes_a_key = 0.0
        self._children, self._wrk, self._seconds = children, wrk, seconds
        self._random = Random(1)
        self._most_keys = most_keys

    def keys(self, tell: Callable[[str], object]) -> None:
        """A node for each number of keys."""
        resident = {}
        for count in KEY_COUNTS:
            if count > self._most_keys:
                continue
            server = self._children.kvsd(f"{count} keys", 1, 1)
            began = time.monotonic()
            deliver_all(server.addresses[0], (put(f"key{number}", VALUE, None) for number in range(count)))
            tell(f"{count:,} keys written in {time.monotonic() - began:.1f} s")
            resident[count] = server.resident_bytes()
            few = [f"key{self._random.randrange(count)}" for _ in range(KEY_COUNTS[0])]
            load = Load(f"{count} {FEW}", [[get(key) for key in few]], server.addresses, CONNECTIONS)
            self.measures[point(KEYS, count, FEW)] = partial(self._wrk.run, server, load, self._seconds)
            drawn = [f"key{self._random.randrange(count)}" for _ in range(REQUESTS)]
            self._both(KEYS, count, server, drawn, VALUE)
        least, most = min(resident), max(resident)
        self.bytes_a_key = (resident[most] - resident[least]) / max(1, most - least)

    def values(self) -> None:
        """One node with values of all sizes."""
        server = self._children.kvsd("values", 1, 1)
        for size in VALUE_BYTES:
            keys = [f"v{size}-{number}" for number in range(min(100, REQUEST_BYTES // size))]
            deliver(server.addresses[0], [put(key, "x" * size, None) for key in keys])
            self._both(SIZES, size, server, keys, "x" * size)

    def sessions(self) -> None:
        """One node, asked by more and more sessions that each write, read, and carry their token."""
        server = self._children.kvsd("sessions", 1, 1)
        for count in SESSION_COUNTS:
            self.measures[point(SESSIONS, count)] = partial(in_sessions, server, count, next_of_session, self._seconds)

    def replicas(self) -> None:
        """A cluster of one shard for each number of replicas; CPU time is that of all nodes."""
        for count in REPLICA_COUNTS:
            server = self._children.kvsd(f"{count} replicas", count, 1)
            keys = [f"key{number}" for number in range(1000)]
            deliver(server.addresses[0], [put(key, VALUE, None) for key in keys], AHEAD)
            time.sleep(SETTLE_SECONDS)
            self._both(REPLICAS, count, server, keys, VALUE)

    def _both(self, what: str, size: int, server: Server, keys: Sequence[str], value: str) -> None:
        tokens = tokens_of(server.addresses[0])
        loads = {"GET": [get(key) for key in keys], "PUT": writes_of(keys, value, tokens)}
        for asked, requests in loads.items():
            each = len(server.addresses)
            load = Load(f"{what} {size} {asked}", [requests] * each, server.addresses, CONNECTIONS)
            self.measures[point(what, size, asked)] = partial(self._wrk.run, server, load, self._seconds)


def next_of_session(session: int, sent: int, token: bytes) -> bytes:
    """Writes and reads in turn, of a few keys that all sessions share."""
    key = f"key{(session + sent // 2) % 100}"
    if sent % 2:
        return request("GET", f"/kvs/{key}", b"", {"Causal-Metadata": token.decode()})
    return put(key, VALUE, token.decode() or None)


def measure(
    directory: Path, count: int, seconds: float, most_keys: int, tell: Callable[[str], object]
) -> tuple[Samples, float]:
    """Start all nodes, have them take their turns, and end them; also the memory that a key takes."""
    with Children(directory) as children:
        sizes = Sizes(children, Wrk(directory), seconds, most_keys)
        sizes.keys(tell)
        sizes.values()
        sizes.sessions()
        sizes.replicas()
        for depth in HELD_COUNTS:
            sizes.measures[point(HELD, depth)] = partial(held_back, depth)
        for entries in ENTRY_COUNTS:
            sizes.measures[point(ENTRIES, entries)] = partial(token_entries, entries)
        samples = rounds(count, sizes.measures, sizes.measures.values(), tell)
    return samples, sizes.bytes_a_key


def costs(samples: Samples, what: str) -> dict[float, list[float]]:
    """CPU time a request, round by round, by the size of what grows."""
    return {float(size): [each.cpu_us for each in some] for (name, size), some in samples.items() if name == what}


def growth(samples: Samples, what: str, least: int) -> float:
    """How many times more a request costs at the largest size than at a small one, in the median of the rounds."""
    found = costs(samples, what)
    return median(most / few for few, most in zip(found[least], found[max(found)], strict=True))


def beyond_linear(samples: Samples, what: str) -> float:
    """The cost at the largest size over that on the line through the smallest and the second largest."""
    found = {size: median(values) for size, values in costs(samples, what).items()}
    least, *_, large, most = sorted(found)
    slope = max(0.0, found[large] - found[least]) / (large - least)
    return found[most] / (found[large] + slope * (most - large))


def sheets(samples: Samples) -> list[Sheet]:
    """A table for each thing that grows."""
    found: dict[str, Sheet] = {}
    for what in dict.fromkeys(name for name, _ in samples):
        sizes = {size: some for (name, size), some in samples.items() if name == what}
        grows, _, asked = what.partition(", ")
        sheet = found.setdefault(grows, Sheet(f"CPU µs a request by {grows}", ["", *(f"{int(s):,}" for s in sizes)]))
        sheet.add(
            asked or UNIT.get(what, EACH),
            *(f"{middle(some, 'cpu_us'):,.1f}" for some in sizes.values()),
        )
    return list(found.values())


EACH = "PUT and GET in turn"
ASKED_COLORS = {"GET": "#2f7f79", FEW: "#7a9a3a", "PUT": "#b0785f", "": "#12456b"}
UNIT = {HELD: "a write kept and handed out", ENTRIES: "a token read and written"}


def plot(samples: Samples, path: Path) -> None:
    """A curve for each thing that grows; where the cost itself grows, dashed, what a linear growth would be."""
    drawing, axes = figure(2, 3, 13, 7)
    for axis, grows in zip(axes, (KEYS, SESSIONS, REPLICAS, HELD, SIZES, ENTRIES), strict=True):
        linear = grows in (SIZES, ENTRIES)
        for what in dict.fromkeys(name for name, _ in samples if name.partition(", ")[0] == grows):
            asked = what.partition(", ")[2]
            color = ASKED_COLORS[asked]
            points = {size: values for size, values in costs(samples, what).items() if size}
            curves(axis, asked or UNIT.get(what, EACH), points, color, logarithmic=linear)
            if linear:
                axis.plot(*foretold(points), "--", color=color, lw=0.9, alpha=0.7)
        axis.set_title(f"by {grows}")
        axis.legend(loc="upper left" if linear else "upper right")
    axes[0].set_ylabel("CPU µs a request")
    axes[3].set_ylabel("CPU µs")
    axes[2].set_xscale("linear")
    axes[2].set_xticks(REPLICA_COUNTS, map(str, REPLICA_COUNTS))
    axes[2].set_title("by replicas (CPU time of all nodes)")
    axes[4].set_title("by bytes of a value (dashed: fixed + linear)")
    axes[5].set_title("by entries of a token (dashed: fixed + linear)")
    save(drawing, path, "What a request costs as everything around it grows")


def foretold(points: Mapping[float, Sequence[float]]) -> tuple[list[float], list[float]]:
    """A fixed cost and one that is linear in size, through the smallest and the largest."""
    least, most = min(points), max(points)
    fixed = median(points[least])
    slope = (median(points[most]) - fixed) / (most - least)
    places = [least * (most / least) ** (step / 40) for step in range(41)]
    return places, [fixed + slope * (place - least) for place in places]


@click.command()
@measured("scale", rounds=5, seconds=1)
@click.option("--most-keys", default=KEY_COUNTS[-1], show_default=True, help="No node gets more keys than this.")
def main(report: Report, directory: Path, count: int, seconds: float, most_keys: int) -> Plot:
    """Measure what a request costs as everything around it grows."""
    samples, bytes_a_key = measure(directory, count, seconds, most_keys, report.tell)
    report.add(*sheets(samples), f"a key takes {bytes_a_key:,.0f} bytes of a node's memory, its recent writes included")
    report.no_failures(samples)
    for asked in (FEW, "GET", "PUT"):
        what, _ = point(KEYS, 0, asked)
        most = f"{min(most_keys, KEY_COUNTS[-1]):,}"
        report.promise(
            f"{asked}: CPU time with {most} keys over that with 1,000",
            growth(samples, what, KEY_COUNTS[0]),
            GROWTH,
            at_most=True,
        )
    for asked in ("GET", "PUT"):
        what, _ = point(SIZES, 0, asked)
        report.promise(
            f"{asked}: CPU time with 100 KB over what those with 10 bytes and 10 KB foretell",
            beyond_linear(samples, what),
            GROWTH,
            at_most=True,
        )
    what = "a write held back: CPU time with 10,000 of them over that with 10"
    report.promise(what, growth(samples, HELD, HELD_COUNTS[1]), GROWTH, at_most=True)
    return partial(plot, samples)


if __name__ == "__main__":
    main()
