"""
What a program of this directory prints and writes: tables, promises kept and broken, and a plot.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import click
from rich.console import Console
from rich.table import Column, Table

from benchmarks.load import Sample, Samples
from benchmarks.processes import LOAD_CORE, ROOT, SERVER_CORE, TICK_SECONDS

WIDTH = 150
PAGE = Path(__file__).with_name("README.md")
SPEED = PAGE.parent.parent / "docs" / "speed.md"


@dataclass
class Sheet:
    """A table: a heading, the names of the columns, the rows; numbers are text by now."""

    title: str
    columns: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)

    def add(self, *cells: str) -> None:
        """One more row."""
        self.rows.append(cells)

    def rich(self) -> Table:
        """For a terminal."""
        first, *others = self.columns
        table = Table(
            first, *(Column(name, justify="right") for name in others), title=self.title, title_justify="left"
        )
        for row in self.rows:
            table.add_row(*row)
        return table

    def markdown(self, *, titled: bool = True) -> str:
        """For a page."""
        lines = [self.columns, ["---", *("---:" for _ in self.columns[1:])], *self.rows]
        title = [f"**{self.title}**", ""] if titled else []
        return "\n".join([*title, *("| " + " | ".join(line) + " |" for line in lines)])


@dataclass(frozen=True)
class Promise:
    """A figure that must not be below (or, with ``at_most``, above) a limit."""

    what: str
    value: float
    limit: float
    at_most: bool = False

    @property
    def kept(self) -> bool:
        """Whether it is."""
        return self.value <= self.limit if self.at_most else self.value >= self.limit

    def __str__(self) -> str:
        bound = "at most" if self.at_most else "at least"
        return f"{'kept' if self.kept else 'BROKEN'}: {self.what}: {self.value:.3g} ({bound} {self.limit:g})"


class Report:
    """What is printed in the end."""

    def __init__(self, name: str, *, markdown: bool, page: bool) -> None:
        self.promises: list[Promise] = []
        self._name = name
        self._markdown = markdown
        self._page = page
        self._began = time.monotonic()
        self._out = Console(width=None if sys.stdout.isatty() else WIDTH)
        self._err = Console(stderr=True, highlight=False)
        self._blocks: list[Sheet | str] = []

    def tell(self, text: str) -> None:
        """Something that is of interest only while the program runs."""
        self._err.print(text, style="dim", soft_wrap=True)

    def add(self, *blocks: Sheet | str) -> None:
        """One more table, or a remark."""
        self._blocks += blocks

    def promise(self, what: str, value: float, limit: float, *, at_most: bool = False) -> None:
        """Something that was promised."""
        self.promises.append(Promise(what, value, limit, at_most))

    def no_failures(self, samples: Samples) -> None:
        """Every request was answered, and by a success; only what was not is mentioned."""
        for (asked, name), some in samples.items():
            if failed := sum(sample.failed for sample in some):
                self.promise(f"{asked}: {name}: requests that were not answered by a success", failed, 0, at_most=True)

    def end(self) -> bool:
        """Print it all, and put it into the page if asked to; says whether every promise was kept."""
        took = time.monotonic() - self._began
        blocks = [f"{conditions()}; {took:.0f} s in all", *self._blocks, *map(str, self.promises)]
        text = as_markdown(blocks)
        if self._page:
            put_into(PAGE, self._name, text)
        if self._page and self.promises:
            put_into(SPEED, self._name, self._kept().markdown(titled=False) + "\n")
        if self._markdown:
            click.echo(text)
        else:
            for block in blocks:
                shown = block if isinstance(block, str) else block.rich()
                self._out.print(shown, soft_wrap=isinstance(block, str), highlight=False, markup=False)
        return all(promise.kept for promise in self.promises)

    def _kept(self) -> Sheet:
        sheet = Sheet(self._name, ("promised", "limit", "measured", ""))
        for each in self.promises:
            limit = f"{'at most' if each.at_most else 'at least'} {each.limit:.3g}"
            sheet.add(each.what, limit, f"{each.value:.3g}", "kept" if each.kept else "**not kept**")
        return sheet


def as_markdown(blocks: Sequence[Sheet | str]) -> str:
    """Tables, and remarks as lists of lines."""
    lines = []
    for before, block in zip([None, *blocks], blocks, strict=False):
        apart = [""] if before is not None and not (isinstance(before, str) and isinstance(block, str)) else []
        lines += [*apart, f"- {block}" if isinstance(block, str) else block.markdown()]
    return "\n".join(lines) + "\n"


def put_into(path: Path, name: str, text: str) -> None:
    """Replace what stands in a page between the two marks of a program."""
    begin, end = f"<!-- {name}: made by the program -->\n", f"<!-- {name}: end -->\n"
    page = path.read_text()
    before, _, rest = page.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise click.ClickException(f"{path} has no place for {name}")
    path.write_text(f"{before}{begin}{text}{end}{after}")


def conditions() -> str:
    """When, what and where."""
    version = ".".join(map(str, sys.version_info[:3]))
    load = os.getloadavg()[0]
    cores = (
        f"servers on core {SERVER_CORE}, load on core {LOAD_CORE}" if SERVER_CORE != LOAD_CORE else "one core for all"
    )
    when = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
    return f"commit {commit()}, {when} UTC, {machine()}, Python {version}, {cores}, load average {load:.1f}"


def machine() -> str:
    """The processor, its cores and the memory, in a few words."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    model = models[0].partition(":")[2].strip() if models else "unknown processor"
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} x {model}, {memory:.0f} GiB"


def commit() -> str:
    """The commit that was measured, with a plus sign where something was changed since."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(ROOT), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "kvsd", "benchmarks/*.py", "benchmarks/*.lua")
    return git("rev-parse", "--short=10", "HEAD") + ("+" if changed else "")


# Figures


def middle(samples: Sequence[Sample], figure: str) -> float:
    """The median of a figure over the rounds."""
    return float(median(getattr(sample, figure) for sample in samples))


def ratio(above: Sequence[Sample], below: Sequence[Sample], figure: str = "rate") -> float:
    """The median of the ratios within each round."""
    return float(median(getattr(a, figure) / getattr(b, figure) for a, b in zip(above, below, strict=True)))


def compared(
    title: str,
    asked: str,
    names: Sequence[str],
    base: str,
    samples: Samples,
    *,
    timed: bool = True,
    unit: str = "request",
) -> Sheet:
    """Rates and CPU times of those that were asked the same, and how many times better each is than ``base``."""
    times = ("p50 ms", "p99 ms") if timed else ()
    sheet = Sheet(title, ("", f"{unit}s/s", f"x {base}", f"CPU µs/{unit}", f"x {base} (CPU)", *times))
    for name in names:
        mine, others = samples.get((asked, name)), samples.get((asked, base))
        if not mine:
            continue
        sheet.add(
            name,
            f"{middle(mine, 'rate'):,.0f}",
            f"{ratio(mine, others):.2f}" if others else "",
            f"{middle(mine, 'cpu_us'):,.1f}",
            f"{ratio(others, mine, 'cpu_us'):.2f}" if others else "",
            *((f"{middle(mine, 'p50_ms'):.2f}", f"{middle(mine, 'p99_ms'):.2f}") if timed else ()),
        )
    return sheet


def tick_error(seconds: float, rate: float) -> float:
    """How far a CPU time may be off, in microseconds a request, since the kernel counts it in ticks."""
    return 1e6 * TICK_SECONDS / (seconds * rate)


def end(report: Report, plot: Callable[[Path], object], path: Path) -> None:
    """Draw, print, and end the program: status 1 where a promise was not kept."""
    try:
        plot(path)
        report.tell(f"plot: {path}")
    except ImportError:
        report.add("no plot: matplotlib is not installed (the extra bench has it)")
    sys.exit(not report.end())
