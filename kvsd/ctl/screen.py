"""
Where all output goes: for people at a terminal, for people and logs elsewhere, or as JSON.

A sheet is a table before it is known how it is shown: with rules and colours at a terminal, as bare columns else.
"""

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

NOTHING = "-"
GAP = "  "
MARKS = ">~"
FOLDED_WIDTH = 12
UNBOUNDED_WIDTH = 10_000

Cell = str | Text


@dataclass
class Sheet:
    """
    Rows under columns.

    A column whose name begins with ``>`` is set to the right; only one whose name begins with ``~`` may be folded
    where the terminal is narrow.  Where that is not enough, columns of ``spare`` are left out, the first first.
    """

    columns: list[str]
    spare: tuple[str, ...] = ()
    rows: list[list[Cell]] = field(default_factory=list)

    def add(self, *cells: Cell | None) -> None:
        """Add a row; None and empty text become a dash."""
        self.rows.append([cell or NOTHING for cell in cells])

    def ruled(self) -> Table:
        """The sheet with rules, for a terminal."""
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
        for name, width in zip(self.columns, self._widths(), strict=True):
            table.add_column(
                name.lstrip(MARKS),
                justify="right" if name.startswith(">") else "left",
                min_width=min(width, FOLDED_WIDTH) if name.startswith("~") else width,
            )
        for row in self.rows:
            table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))
        return table

    def without(self, name: str) -> "Sheet":
        """The sheet without one of its columns."""
        place = self.columns.index(name)
        rows = [row[:place] + row[place + 1 :] for row in self.rows]
        return Sheet(self.columns[:place] + self.columns[place + 1 :], self.spare, rows)

    def lines(self) -> Iterator[str]:
        """The sheet as plain lines."""
        widths = self._widths()
        for row in self._texts():
            cells = [
                cell.rjust(width) if name.startswith(">") else cell.ljust(width)
                for cell, width, name in zip(row, widths, self.columns, strict=True)
            ]
            yield GAP.join(cells).rstrip()

    def _texts(self) -> list[list[str]]:
        return [[name.lstrip(MARKS) for name in self.columns], *([str(cell) for cell in row] for row in self.rows)]

    def _widths(self) -> list[int]:
        return [max(map(len, column)) for column in zip(*self._texts(), strict=True)]


def at_terminal() -> bool:
    """Whether somebody looks at the output as it comes."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


class Screen:
    """The output of one command."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self.fancy = at_terminal() and not as_json
        self.console = Console(highlight=False)
        self._begun = False
        self._after_sheet = False

    def document(self, content: Any) -> None:
        """Write a line of JSON; text is taken for JSON already."""
        click.echo(content if isinstance(content, str) else json.dumps(content, ensure_ascii=False))

    def say(self, *parts: str | Text | Sheet) -> None:
        """Write lines and sheets, with an empty line around each sheet."""
        for part in parts:
            sheet = isinstance(part, Sheet)
            if self._after_sheet or (sheet and self._begun):
                click.echo()
            self._begun, self._after_sheet = True, sheet
            self._write(part)

    def _write(self, part: str | Text | Sheet) -> None:
        match part:
            case Sheet() if self.fancy:
                table, spare = part.ruled(), list(part.spare)
                while spare and self._needed(table) > self.console.width:
                    part = part.without(spare.pop(0))
                    table = part.ruled()
                # A sheet that is too wide even so runs on at the edge of the terminal.
                width = max(self.console.width, self._needed(table))
                self.console.print(table, width=width, crop=False, soft_wrap=True)
            case Sheet():
                click.echo("\n".join(part.lines()))
            case _ if self.fancy:
                self.console.print(Text(part) if isinstance(part, str) else part)
            case _:
                click.echo(str(part))

    def _needed(self, table: Table) -> int:
        """How wide a table is at the least."""
        unbounded = self.console.options.update(max_width=UNBOUNDED_WIDTH)
        return self.console.measure(table, options=unbounded).minimum

    def can_ask(self) -> bool:
        """Whether a question would find somebody to answer it."""
        return self.fancy and sys.stdin.isatty()
