"""
``python -m benchmarks.http``: one node of kvsd beside other HTTP servers that keep values in memory.

All are asked the same by the same load; each has one core.  The others answer from a dict; kvsd writes to disk, synced,
before it answers a PUT.  Exit status 1 where a promise is broken.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from random import Random
from shutil import which

import click

from benchmarks.answers import deliver
from benchmarks.load import Load, Samples, Wrk, get, rounds, tokens_of, writes_of
from benchmarks.options import Plot, measured
from benchmarks.plots import bars, figure, save
from benchmarks.processes import HOST, SERVER_CORE, Children, Server, free_ports, knows_reactor
from benchmarks.report import Report, compared, ratio

KLEIN, ASGI, NODE = "plain Klein", "uvicorn, bare ASGI", "Node http"
KVSD, KVSD_UVLOOP = "kvsd", "kvsd on uvloop"
NAMES = [KLEIN, ASGI, NODE, KVSD, KVSD_UVLOOP]
KEYS, VALUE, CONNECTIONS, DEPTH = 1000, "x" * 20, 64, 16
GET, PUT, GET_AHEAD, PUT_AHEAD = "GET", "PUT", "GET, 16 ahead", "PUT, 16 ahead"
ASKED = [GET, PUT, GET_AHEAD, PUT_AHEAD]


def servers(children: Children) -> tuple[list[Server], list[str]]:
    """All contestants that are here, and a line for each that is not."""
    found, missing = [children.python(KLEIN, "benchmarks.plain_klein")], []
    try:
        import uvicorn  # noqa: F401, PLC0415 (an extra)

        found.append(children.python(ASGI, "benchmarks.raw_asgi"))
    except ImportError:
        missing.append(f"left out: {ASGI}: uvicorn is not installed (the extra bench has it)")
    if program := which("node"):
        (port,) = free_ports(1)
        script = str(Path(__file__).with_name("node_http.js"))
        pid = children.run("node", [program, script, str(port)], f"{HOST}:{port}", SERVER_CORE)
        found.append(Server(NODE, [f"{HOST}:{port}"], [pid]))
    else:
        missing.append(f"left out: {NODE}: there is no program node")
    found.append(children.kvsd(KVSD, 1, 1))
    if knows_reactor("uvloop"):
        found.append(children.kvsd(KVSD_UVLOOP, 1, 1, reactor="uvloop"))
    else:
        missing.append(f"left out: {KVSD_UVLOOP}: twistd knows no such reactor here")
    return found, missing


def loads(server: Server, random: Random) -> dict[str, Load]:
    """What a server is asked, once every key is there."""
    tokens = tokens_of(server.addresses[0])
    keys = [f"key{random.randrange(KEYS)}" for _ in range(20 * KEYS)]
    reads, writes = [get(key) for key in keys], writes_of(keys, VALUE, tokens)

    def load(name: str, requests: Sequence[bytes], depth: int = 1) -> Load:
        return Load(name, [requests], server.addresses, CONNECTIONS, depth)

    deliver(server.addresses[0], writes_of([f"key{number}" for number in range(KEYS)], VALUE, tokens), DEPTH)
    return {
        GET: load(GET, reads),
        PUT: load(PUT, writes),
        GET_AHEAD: load(GET_AHEAD, reads, DEPTH),
        PUT_AHEAD: load(PUT_AHEAD, writes, DEPTH),
    }


def measure(directory: Path, count: int, seconds: float, tell: Callable[[str], object]) -> tuple[Samples, list[str]]:
    """Start all contestants, have them take their turns, and end them."""
    with Children(directory) as children:
        found, missing = servers(children)
        wrk = Wrk(directory)
        asked = {server.name: loads(server, Random(1)) for server in found}
        warm_up = [partial(wrk.run, server, asked[server.name][what], 1) for what in ASKED for server in found]
        measures = {
            (what, server.name): partial(wrk.run, server, asked[server.name][what], seconds)
            for what in ASKED
            for server in found
        }
        samples = rounds(count, measures, warm_up, tell)
    return samples, missing


def aims(report: Report, samples: Samples) -> None:
    """What is aimed at on uvloop, and no promise."""
    for what, limit in ((GET, 15), (PUT, 10)):
        if (what, KVSD_UVLOOP) in samples:
            value = ratio(samples[what, KVSD_UVLOOP], samples[what, KLEIN])
            report.add(f"{what} on uvloop: {value:.2f} x plain Klein, where {limit} is aimed at")


def promise(report: Report, samples: Samples) -> None:
    """What kvsd has to be, beside the others; on the reactor that is the default."""

    def times(what: str, other: str, limit: float) -> None:
        if (what, other) in samples:
            value = ratio(samples[what, KVSD], samples[what, other])
            report.promise(f"{what}: requests/s of kvsd over those of {other}", value, limit)

    times(GET, KLEIN, 8)
    times(GET, NODE, 1)
    times(PUT, KLEIN, 5)
    times(GET_AHEAD, KLEIN, 25)


def plot(samples: Samples, path: Path) -> None:
    """Rates above, CPU times below."""
    drawing, axes = figure(2, len(ASKED), 15, 5)
    for place, what in enumerate(ASKED):
        bars(axes[place], what, "requests/s", samples, what, NAMES, "rate")
        bars(axes[len(ASKED) + place], "", "CPU µs/request", samples, what, NAMES, "cpu_us")
        if place:
            axes[place].set_yticklabels([])
            axes[len(ASKED) + place].set_yticklabels([])
    save(drawing, path, "One node beside other HTTP servers: 64 connections, one core; only kvsd writes to disk")


@click.command()
@measured("http", rounds=5, seconds=2)
def main(report: Report, directory: Path, count: int, seconds: float) -> Plot:
    """Measure requests a second and CPU time a request of kvsd and of others."""
    samples, missing = measure(directory, count, seconds, report.tell)
    for what in ASKED:
        timed = what in (GET, PUT)  # wrk does not time requests that are sent ahead
        report.add(compared(f"{what}, {CONNECTIONS} connections", what, NAMES, KLEIN, samples, timed=timed))
    aims(report, samples)
    report.no_failures(samples)
    promise(report, samples)
    report.add(*missing)
    return partial(plot, samples)


if __name__ == "__main__":
    main()
