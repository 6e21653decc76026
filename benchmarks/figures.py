"""
The figures of a reshard under traffic, as tables, and which promises they break.
"""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.traffic import Traffic
from kvsd.replication.placement import SLOTS

LONGEST_GAP_SECONDS = 2.0
ANSWER_SECONDS = 2.0
MOVED_AT_MOST = 1.05
BROKEN_SHOWN = 20
WIDTH = 130


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
        if not self.answered.startswith(("200", "504")):  # 504: it goes on, and whoever asked waits no longer
            yield f"{name}: the node that was asked answered {self.answered} after {self.answered_seconds:.1f} s"
        if len(self.after) != self.shards:
            yield f"{name}: there are {len(self.after)} shards after it"
        if self.plan["slots-to-move"] > MOVED_AT_MOST * self.plan["least-slots"]:
            yield f"{name}: {self.plan['slots-to-move']} slots moved, the least possible is {self.plan['least-slots']}"
        if self.gained > MOVED_AT_MOST * self.plan["keys-to-move"]:
            yield f"{name}: shards gained {self.gained} keys, {self.plan['keys-to-move']} were to move"
        if sum(self.after.values()) != keys:
            yield f"{name}: the shards count {sum(self.after.values())} keys after it, {keys} were written"


def reshard_table(moved: Sequence[Moved]) -> Table:
    """What each reshard took and moved."""
    table = Table(
        "reshard", "seconds", "answer after", "slots to move / least", "keys to move / least", "keys gained", "keys/s"
    )
    for each in moved:
        table.add_row(
            f"to {each.shards}",
            f"{each.seconds:.1f}",
            f"{each.answered_seconds:.1f} ({each.answered[:3]})",
            f"{each.plan['slots-to-move']:,} / {each.plan['least-slots']:,}",
            f"{each.plan['keys-to-move']:,} / {each.least_keys:,.0f}",
            f"{each.gained:,}",
            f"{each.plan['keys-to-move'] / each.seconds:,.0f}",
        )
    return table


def stretch_table(stretches: Sequence[Stretch], traffic: Traffic) -> Table:
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


def broken_promises(moves: Sequence[Moved], stretches: Sequence[Stretch], traffic: Traffic, keys: int) -> Iterator[str]:
    """All that was not kept, in words."""
    for moved in moves:
        yield from moved.broken(keys)
    for failure in traffic.failures():
        if failure.how != "503" or failure.seconds > ANSWER_SECONDS:
            yield f"failed after {failure.seconds:.2f} s: {failure.how}: {failure.text}"
    begin, end = stretches[0].begin, stretches[-1].end
    for number, client in enumerate(traffic.clients):
        if (gap := client.diary.longest_gap(begin, end)) > LONGEST_GAP_SECONDS:
            yield f"client {number} had no successful answer for {gap:.2f} s"
    yield from (f"lost or stale: {mistake}" for mistake in traffic.mistakes())


def show(moves: Sequence[Moved], stretches: Sequence[Stretch], traffic: Traffic, keys: int) -> bool:
    """Print the tables and what is broken; says whether all was kept."""
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    console.print(reshard_table(moves))
    for each in moves:
        counts = ", ".join(f"{shard} {count:,}" for shard, count in each.after.items())
        console.print(f"keys after the reshard to {each.shards}: {counts}")
    console.print(stretch_table(stretches, traffic))
    late = [failure.seconds for failure in traffic.failures() if failure.how == "503"]
    slowest = f", the slowest after {max(late):.2f} s" if late else ""
    console.print(f"{len(late)} x 503{slowest}; lost or stale answers: {len(list(traffic.mistakes()))}")
    broken = list(broken_promises(moves, stretches, traffic, keys))
    for line in broken[:BROKEN_SHOWN]:
        console.print(f"BROKEN: {line}", soft_wrap=True)
    if len(broken) > BROKEN_SHOWN:
        console.print(f"… and {len(broken) - BROKEN_SHOWN} more")
    return not broken
