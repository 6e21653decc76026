"""
How far a reshard is, shown as it goes: bars at a terminal, lines elsewhere, or JSON.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from rich.progress import BarColumn, Progress, TaskID, TextColumn

from kvsd.ctl.answers import Move, Reshard
from kvsd.ctl.screen import Screen
from kvsd.ctl.words import count, duration, harmless, one_line, things

MOST_MOVES = 12
SHOWN = {"stage": "", "percent": "bold", "rows": "", "rate": "green", "eta": "cyan", "blocker": "yellow"}
EMPTY: dict[str, Any] = dict.fromkeys(SHOWN, "")


class Steps(Protocol):
    """What is told how a reshard goes on."""

    def step(self, reshard: Reshard, said: Any) -> None:
        """It is as far as this; ``said`` is the same in the node's words."""

    def trouble(self, text: str) -> None:
        """Nobody could be asked this time."""

    def done(self) -> None:
        """It has come to its end."""


def percent(part: Reshard | Move) -> float | None:
    """How much is done; None while it is not known how much there is."""
    return min(100.0, part.rows * 100 / part.rows_expected) if part.rows_expected else None


def percent_text(part: Reshard | Move) -> str:
    """How much is done; never 100 % of what is under way still."""
    done = percent(part)
    return "" if done is None else f"{min(99, int(done)) if part.rows < (part.rows_expected or 0) else 100} %"


def rows_text(part: Reshard | Move) -> str:
    """Keys done, of so many."""
    return f"{count(part.rows)}/{count(part.rows_expected)} keys"


def rate_text(part: Reshard | Move) -> str:
    """Keys a second."""
    return "" if part.rate is None else f"{count(part.rate)} keys/s"


def eta_text(part: Reshard | Move) -> str:
    """How long it will take still, where the node has an idea."""
    return "" if part.eta_s is None else f"ETA {duration(part.eta_s)}"


def blockers(reshard: Reshard) -> list[str]:
    """What holds up which move."""
    return [f"{name_of(move)}: {one_line(move.blocker)}" for move in reshard.moves if move.blocker]


def name_of(move: Move) -> str:
    """From where to where."""
    return f"{harmless(move.source)} → {harmless(move.target)}"


def line_of(reshard: Reshard) -> str:
    """How far a reshard is, in one line."""
    parts = [percent_text(reshard), rows_text(reshard), rate_text(reshard), eta_text(reshard)]
    blocked = [f"blocked: {'; '.join(blockers(reshard))}"] if blockers(reshard) else []
    said = ", ".join(filter(None, [*parts, *blocked]))
    return f"Resharding to {things(reshard.shard_count, 'shard')}: {harmless(reshard.stage)}, {said}"


class Lines:
    """One line for each step, where it says something new."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._last = ""

    def step(self, reshard: Reshard, _: Any) -> None:
        """Write how far it is."""
        self._write(line_of(reshard))

    def trouble(self, text: str) -> None:
        """Write what is wrong."""
        self._write(text)

    def done(self) -> None:
        """Nothing more to say."""

    def _write(self, line: str) -> None:
        if line != self._last:
            self._screen.say(line)
        self._last = line


class Documents:
    """A line of JSON for each step."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen

    def step(self, _: Reshard, said: Any) -> None:
        """Write the node's answer."""
        self._screen.document({"reshard": said})

    def trouble(self, text: str) -> None:
        """Write what is wrong."""
        self._screen.document({"trouble": text})

    def done(self) -> None:
        """Nothing more to say."""


class Bars:
    """A bar for the whole, and one for each move that is under way."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._moves: dict[tuple[int, str, str], TaskID] = {}
        self._whole: TaskID | None = None

    def step(self, reshard: Reshard, _: Any) -> None:
        """Move the bars."""
        hidden = len(reshard.moves) - MOST_MOVES
        more = f"and {things(hidden, 'move')} more" if hidden > 0 else ""
        self._show(self._first(), f"to {things(reshard.shard_count, 'shard')}", reshard, more)
        moves = {(move.tenure, move.source, move.target): move for move in reshard.moves[:MOST_MOVES]}
        for key in self._moves.keys() - moves.keys():
            self._progress.remove_task(self._moves.pop(key))
        for key, move in moves.items():
            if key not in self._moves:
                self._moves[key] = self._progress.add_task(name_of(move), total=None, **EMPTY)
            self._show(self._moves[key], name_of(move), move, one_line(move.blocker or ""))

    def trouble(self, text: str) -> None:
        """Say beside the bar for the whole that nobody could be asked."""
        self._progress.update(self._first(), blocker=text)

    def done(self) -> None:
        """Fill the bar for the whole, and leave it alone."""
        for task in self._moves.values():
            self._progress.remove_task(task)
        self._progress.update(self._first(), total=1, completed=1, **{**EMPTY, "stage": "done"})

    def _first(self) -> TaskID:
        """The bar for the whole, which is there once there is something to show."""
        if self._whole is None:
            self._whole = self._progress.add_task("resharding", total=None, **EMPTY)
        return self._whole

    def _show(self, task: TaskID, name: str, part: Reshard | Move, blocker: str) -> None:
        self._progress.update(
            task, description=name, total=part.rows_expected or None, completed=part.rows, stage=harmless(part.stage),
            percent=percent_text(part), rows=rows_text(part), rate=rate_text(part), eta=eta_text(part), blocker=blocker,
        )  # fmt: skip


@contextmanager
def shown(screen: Screen) -> Iterator[Steps]:
    """The way to show steps that suits a screen."""
    if screen.as_json:
        yield Documents(screen)
    elif not screen.fancy:
        yield Lines(screen)
    else:
        texts = [TextColumn(f"{{task.fields[{name}]}}", markup=False, style=style) for name, style in SHOWN.items()]
        name, stage = TextColumn("{task.description}", markup=False), texts.pop(0)
        with Progress(name, BarColumn(20), stage, *texts, console=screen.console) as progress:
            yield Bars(progress)
