"""
``python -m benchmarks.storage``: the disk of a node, beside a bare file that is appended to and synced.

Each commit is waited for before the next one.  CPU time is that of this process with all threads of the database.
"""

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import click
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from zope.interface import implementer

from benchmarks.generator import quantile
from benchmarks.load import Measure, Sample, Samples, rounds
from benchmarks.options import Plot, measured
from benchmarks.plots import COLORS, curves, figure, save
from benchmarks.processes import SERVER_CORE, pinned_here
from benchmarks.report import Report, Sheet, compared, middle
from kvsd.entries import Entry
from kvsd.storage.datadir import read_boot_id
from kvsd.storage.rocks_storage import RocksStorage

KVSD, FILE = "kvsd's storage", "append and fdatasync"
BATCHES = (1, 10, 100, 1000)
VALUE = b"v" * 100
KEYS = 100_000
LOAD, OPEN = "read all", "open"


@implementer(IReactorFromThreads)
class Turns:
    """What a reactor is to a storage: calls from its thread are carried out in the thread that waits for them."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[Callable[[], object]] = SimpleQueue()

    def callFromThread(self, callable: Callable[..., Any], *args: object, **kwargs: object) -> None:  # noqa: A002, N802
        """Keep a call for whoever waits."""
        self._calls.put(partial(callable, *args, **kwargs))

    def wait(self, done: "Deferred[None]") -> None:
        """Carry out calls until something is done; raises what it failed with."""
        outcome: list[Any] = []
        done.addBoth(outcome.append)
        while not outcome:
            self._calls.get()()
        if outcome[0] is not None:
            outcome[0].raiseException()


class Disk:
    """The contestants, in directories of one file system."""

    def __init__(self, directory: Path, seconds: float, entries: int) -> None:
        self._seconds = seconds
        self._entries = entries
        self._turns = Turns()
        self._written = 0
        self._full = directory / "full"
        self._storage = RocksStorage(directory / "kvsd", self._turns, boot_id=read_boot_id())
        self._file = os.open(directory / "file", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        full = self._opened()
        for start in range(0, entries, 1000):
            self._turns.wait(full.commit([self._change(number) for number in range(start, start + 1000)]))
        self._turns.wait(full.close())

    def close(self) -> None:
        """Close all."""
        self._turns.wait(self._storage.close())
        os.close(self._file)

    def measures(self) -> dict[tuple[str, str], Measure]:
        """All that is measured."""
        found: dict[tuple[str, str], Measure] = {}
        for batch in BATCHES:
            found[str(batch), KVSD] = partial(self._repeated, partial(self._commit, batch), batch)
            found[str(batch), FILE] = partial(self._repeated, partial(self._append, batch), batch)
        found[OPEN, KVSD] = self._open
        found[LOAD, KVSD] = self._read
        return found

    def _repeated(self, once: Callable[[], None], batch: int) -> Sample:
        began, cpu = time.perf_counter(), time.process_time()
        times: list[float] = []
        while (now := time.perf_counter()) < began + self._seconds:
            once()
            times.append(time.perf_counter() - now)
        wall, cpu = time.perf_counter() - began, time.process_time() - cpu
        times.sort()
        changes = batch * len(times)
        return Sample(changes / wall, 1e6 * cpu / changes, 1e3 * quantile(times, 0.5), 1e3 * quantile(times, 0.99))

    def _change(self, number: int) -> Entry:
        return "rows", b"key%d" % (number % KEYS), VALUE

    def _numbers(self, batch: int) -> range:
        self._written += batch
        return range(self._written - batch, self._written)

    def _commit(self, batch: int) -> None:
        self._turns.wait(self._storage.commit([self._change(number) for number in self._numbers(batch)]))

    def _append(self, batch: int) -> None:
        changes = [self._change(number) for number in self._numbers(batch)]
        os.write(self._file, b"".join([key + VALUE for _, key, _ in changes]))
        os.fdatasync(self._file)

    def _opened(self) -> RocksStorage:
        return RocksStorage(self._full, self._turns, boot_id=read_boot_id())

    def _open(self) -> Sample:
        return self._timed(lambda _: 1)

    def _read(self) -> Sample:
        return self._timed(lambda storage: sum(1 for _ in storage.load("rows")))

    def _timed(self, what: Callable[[RocksStorage], int]) -> Sample:
        began, cpu = time.perf_counter(), time.process_time()
        storage = self._opened()
        count = what(storage)
        wall, cpu = time.perf_counter() - began, time.process_time() - cpu
        self._turns.wait(storage.close())
        return Sample(count / wall, 1e6 * cpu / count, 1e3 * wall, 1e3 * wall)


def plot(samples: Samples, path: Path) -> None:
    """Changes a second, and CPU time a change, by the size of a batch."""
    drawing, axes = figure(1, 2, 11, 4.2)
    for axis, kind, title in zip(axes, ("rate", "cpu_us"), ("Changes/s, synced", "CPU µs a change"), strict=True):
        for name in (KVSD, FILE):
            points = {float(batch): [getattr(each, kind) for each in samples[str(batch), name]] for batch in BATCHES}
            curves(axis, name, points, COLORS[0 if name == FILE else 3], logarithmic=True)
        axis.set_title(title)
        axis.set_xlabel("changes a commit")
        axis.legend()
    save(drawing, path, "The disk of a node: entries of 100 bytes, one commit after another")


@click.command()
@measured("storage", rounds=5, seconds=0.5, needs=())
@click.option("--entries", default=100_000, show_default=True, help="Entries of the database that is opened and read.")
def main(report: Report, directory: Path, count: int, seconds: float, entries: int) -> Plot:
    """Measure commits, and what opening and reading takes."""
    with pinned_here(SERVER_CORE):
        disk = Disk(directory, seconds, entries)
        measures = disk.measures()
        samples = rounds(count, measures, measures.values(), report.tell)
        disk.close()
    for batch in BATCHES:
        title = f"{batch:,} a commit"
        report.add(compared(title, str(batch), [FILE, KVSD], FILE, samples, unit="change"))
    sheet = Sheet(f"A database of {entries:,} entries of 100 bytes", ("", "ms", "CPU ms"))
    for what in (OPEN, LOAD):
        took = samples[what, KVSD]
        each = 1 if what == OPEN else entries
        sheet.add(
            f"{what}" if what == OPEN else "open and read all",
            f"{middle(took, 'p50_ms'):,.1f}",
            f"{middle(took, 'cpu_us') * each / 1e3:,.1f}",
        )
    report.add(sheet)
    return partial(plot, samples)


if __name__ == "__main__":
    main()
