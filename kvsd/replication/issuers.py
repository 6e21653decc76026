"""
Issuers: which process issued the ops of each writer, so that two processes on copies of one disk are told apart.

Of the ops of one writer those of each process are a stretch without gaps, and stretches follow one another.  Each op names
its process, the number of the first op that this could issue, and the process that issued the one before that.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from kvsd.replication.causality import Writer
from kvsd.replication.record import Op


class Issuer(NamedTuple):
    """A process, by its boot, and the counter of the first op of a writer that it could issue."""

    boot: int
    first: int


class Issuers:
    """The processes that issued the last op of each writer that a replica has, and what its own ops say of theirs."""

    def __init__(self) -> None:
        self.known: dict[Writer, Issuer] = {}
        """The process that issued the last op of each writer, where that is known."""
        self.first = 1
        """The counter of the first op that this process could issue."""
        self.before = 0
        """The boot of the process that issued the op before that; 0 where it is not known, or there is none."""

    def restore(self, writer: Writer, counter: int, issuer: int, ops: Iterable[Op]) -> None:
        """Take up what was kept: the last own op of a writer, the process that issued it (0: not known), and the log."""
        for op in ops:
            self.note(op)
        if issuer:
            self.known[writer] = Issuer(issuer, 0)
        self.first, self.before = counter + 1, self.boot_of(writer)

    def boot_of(self, writer: Writer) -> int:
        """Return the boot of the process that issued the last op of a writer, 0 where it is not known."""
        known = self.known.get(writer)
        return known.boot if known else 0

    def note(self, op: Op) -> None:
        """Remember which process issued the last op of a writer."""
        known = self.known.get(op.writer)
        if op.boot and (known is None or known.boot != op.boot):
            self.known[op.writer] = Issuer(op.boot, op.first)

    def forget(self, writers: Iterable[Writer]) -> None:
        """Forget who issued the last ops of some writers: a copy of rows, which replaces them, does not say."""
        for writer in writers:
            self.known.pop(writer, None)

    def is_forked(self, op: Op, vector: Mapping[Writer, int]) -> bool:
        """Return True if another process, on a copy of the writer's disk, issued what is here under the same numbers."""
        known = self.known.get(op.writer)
        if known is None or not op.boot or op.boot == known.boot:
            return False
        seen = vector.get(op.writer, 0)
        if op.counter <= seen:
            return op.counter >= known.first
        return op.first <= seen or (op.first == seen + 1 and op.before not in (0, known.boot))
