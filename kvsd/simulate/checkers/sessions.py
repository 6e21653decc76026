"""
The four session guarantees, each along the lines of tokens.

Terry et al., "Session Guarantees for Weakly Consistent Replicated Data" (PDIS 1994).  A session is an operation with all
that came before it on the way of its token: through ``after`` only, whoever the clients were.  For each operation two
notes are kept.  One is of what its own session did to the versions of keys: which it wrote or read, and which of them
it saw replaced, by a write of its own or by another version that a read showed.  The other is what stood in the notes
of the sessions whose writes it read.  A read breaks a guarantee if it shows a version that its notes say is replaced, or
nothing where they have a version and no deletion is possible.

This sees less than the bad patterns do, which follow causes through any number of sessions; what it sees it sees in
another way.  Winners among concurrent writes are the same for all, hence a version never comes back that a session has
seen replaced, by whatever.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from kvsd.simulate.checkers.bits import Bits, bits, by_time, heads, members
from kvsd.simulate.checkers.telling import few
from kvsd.simulate.checkers.versions import Versions
from kvsd.simulate.history import History, Number, Operation, Violation


class Notes(NamedTuple):
    """Sets of versions: that a session wrote, that it read, that it replaced, and that a read showed replaced."""

    written: Bits = 0
    read: Bits = 0
    replaced_by_writes: Bits = 0
    replaced_by_reads: Bits = 0

    def joined(self, other: "Notes") -> "Notes":
        """The notes of two sessions in one."""
        if other is EMPTY or self is EMPTY:
            return self if other is EMPTY else other
        return Notes(self[0] | other[0], self[1] | other[1], self[2] | other[2], self[3] | other[3])


EMPTY = Notes()

Start = tuple[Bits, Notes, Notes]


@dataclass(frozen=True)
class Guarantee:
    """
    A guarantee: whose writes or reads it is about, the session's own or those of the sessions whose writes it read.
    """

    rule: str
    kind: Literal["write", "read"]
    others: bool
    broken: str

    def versions(self, notes: Notes) -> Bits:
        """The versions that may not be missing."""
        return notes.written if self.kind == "write" else notes.read

    def replaced(self, notes: Notes) -> Bits:
        """The versions that may not be shown any more."""
        return notes.replaced_by_writes if self.kind == "write" else notes.replaced_by_reads


GUARANTEES = [
    Guarantee("read your writes", "write", False, "goes back behind a write of its own session"),
    Guarantee("monotonic reads", "read", False, "goes back behind an earlier read of its session"),
    Guarantee(
        "monotonic writes", "write", True, "has seen a later write of a session, but goes back behind an earlier one"
    ),
    Guarantee("writes follow reads", "read", True, "has seen a write, but goes back behind what its session had read"),
]


def session_guarantees(history: History) -> list[Violation]:
    """The broken guarantees of a history, at most a few of each kind."""
    sessions = Sessions(history)
    return [found for guarantee in GUARANTEES for found in few(sessions.breaches(guarantee))]


class Sessions:
    """The sessions of a history: before each operation its session, as a set, and the two notes that it starts with."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._versions = Versions(history)
        self._before: list[Bits] = [0] * len(history)
        self._own: list[Notes] = [EMPTY] * len(history)
        self._others: list[Notes] = [EMPTY] * len(history)
        self._left: list[tuple[Notes, Notes]] = [(EMPTY, EMPTY)] * len(history)
        self._starts: dict[tuple[Number, ...], Start] = {}
        for operation in sorted(history, key=by_time):
            self._follow(operation)

    # Notes

    def _follow(self, operation: Operation) -> None:
        """Find what an operation starts with, and the notes that it leaves."""
        number, after = operation.number, operation.after
        if after not in self._starts:
            self._starts[after] = self._start(after)
        self._before[number], own, others = self._starts[after]
        self._own[number], self._others[number] = own, others
        self._left[number] = (own.joined(self._done(operation)), others.joined(self._heard(operation)))

    def _start(self, after: tuple[Number, ...]) -> Start:
        """The session after some operations, and the two notes of it."""
        last = after if len(after) < 2 else tuple(members(heads(bits(after), self._before)))
        before, own, others = bits(after), EMPTY, EMPTY
        for number in last:
            before |= self._before[number]
            own, others = own.joined(self._left[number][0]), others.joined(self._left[number][1])
        return before, own, others

    def _seen(self, number: Number, key: str) -> Bits:
        """The versions of a key that the session of an operation wrote or read before it."""
        own = self._own[number]
        return (own.written | own.read) & self._versions.writes[key]

    def _done(self, operation: Operation) -> Notes:
        """What an operation adds to the notes of its session."""
        number, key, shown = operation.number, operation.key, self._versions.shown[operation.number]
        seen = self._seen(number, key)
        if operation.kind == "write":
            return Notes(written=1 << number, replaced_by_writes=seen)
        if operation.value is None:
            return Notes(replaced_by_reads=seen & self._versions.puts[key])
        if shown is None:
            return EMPTY
        return Notes(read=1 << shown, replaced_by_reads=(seen | self._seen(shown, key)) & ~(1 << shown))

    def _heard(self, operation: Operation) -> Notes:
        """What an operation adds to the notes on other sessions: all that came before a write that it shows."""
        shown = self._versions.shown[operation.number]
        return EMPTY if shown is None or operation.kind == "write" else self._own[shown]

    # Breaches

    def breaches(self, guarantee: Guarantee) -> Iterator[Violation]:
        """The reads that break a guarantee."""
        for read in self._history:
            if read.kind == "read" and self._breaks(guarantee, read):
                witness = dict.fromkeys((*self._evidence(guarantee, read), read.number))
                text = f"{read} {guarantee.broken}: " + "; ".join(str(self._history[n]) for n in list(witness)[:-1])
                yield Violation(guarantee.rule, text, tuple(witness))

    def _breaks(self, guarantee: Guarantee, read: Operation) -> bool:
        notes = (self._others if guarantee.others else self._own)[read.number]
        shown = self._versions.shown[read.number]
        if shown is not None:
            return bool(guarantee.replaced(notes) >> shown & 1)
        must_be_there = guarantee.versions(notes) & self._versions.puts[read.key]
        return read.value is None and bool(must_be_there) and not self._may_be_deleted(read)

    def _may_be_deleted(self, read: Operation) -> bool:
        """Whether there is a deletion that a read may show: no later one, and none that is known to be replaced."""
        own, others = self._own[read.number], self._others[read.number]
        replaced = own.replaced_by_writes | own.replaced_by_reads | others.replaced_by_writes | others.replaced_by_reads
        possible = self._versions.deletions_asked(read.key, read.answered) & ~replaced
        return any(not self._before[deletion] >> read.number & 1 for deletion in members(possible))

    # Evidence

    def _evidence(self, guarantee: Guarantee, read: Operation) -> tuple[Number, ...]:
        """The operations that show why a read breaks a guarantee, in the order in which they came."""
        before = self._before[read.number]
        if not guarantee.others:
            return self._reason(before, read, guarantee.kind)
        for number in members(before):
            write = self._versions.shown[number]
            if write is None or write == number:
                continue
            if reason := self._reason(self._before[write], read, guarantee.kind):
                return (*reason, write, number)
        return ()

    def _reason(self, session: Bits, read: Operation, kind: str) -> tuple[Number, ...]:
        """The operation of a session that replaced what a read shows, after those by which that is known."""
        shown = self._versions.shown[read.number]
        for number in members(session):
            operation = self._history[number]
            if (operation.key, operation.kind) != (read.key, kind) or self._versions.shown[number] == shown:
                continue
            other = self._versions.shown[number]
            if shown is None and operation.value is not None:
                return (number,)
            if shown is None:
                continue
            if earlier := self._showing(shown, self._before[number]):
                return (*earlier, number)
            if kind == "read" and other is not None and (earlier := self._showing(shown, self._before[other])):
                return (*earlier, other, number)
        return ()

    def _showing(self, version: Number, session: Bits) -> tuple[Number, ...]:
        """The last operation of a session that shows a version, if there is one."""
        found = next((number for number in members(session) if self._versions.shown[number] == version), None)
        return () if found is None else (found,)
