"""
The causal order that a history tells of: what each operation had in its past.

An operation comes after those whose token it carried and, if it is a read, after the write that it shows; and all that
transitively.  A read of an absent key shows the initial state or some deletion, there is no telling which.  But with a
write of the key in its past it must be a deletion, and whatever all deletions that are possible have in their pasts is
in the past of the read too.

Pasts are only ever too small, never too large, so that nobody is accused who did nothing wrong.
"""

from kvsd.simulate.checkers.bits import Bits, by_time, covered, members
from kvsd.simulate.checkers.versions import Versions
from kvsd.simulate.history import History, Number, Operation


class CausalOrder:
    """
    The causal past of every operation of a history.

    ``past`` has the set of operations before each; an operation in its own past is on a cycle.  ``explained_by`` has for
    each read that found nothing with a write of the key in its past the deletions that may have been the reason.
    """

    def __init__(self, history: History) -> None:
        self.history = history
        self.versions = Versions(history)
        self.past: list[Bits] = [0] * len(history)
        self.explained_by: dict[Number, Bits] = {}
        sequence = sorted(history, key=by_time)
        while self._extend(sequence):
            pass

    def before(self, first: Number, second: Number) -> bool:
        """Whether one operation is in the past of another."""
        return bool(self.past[second] >> first & 1)

    def known(self, operation: Operation) -> Bits:
        """The writes of an operation's key that are in its past."""
        return self.past[operation.number] & self.versions.writes[operation.key]

    def source(self, read: Operation) -> Number | None:
        """The write that a read shows, where that is certain; the only deletion that can explain it is."""
        possible = self.explained_by.get(read.number, 0)
        if possible and not possible & (possible - 1):
            return possible.bit_length() - 1
        return self.versions.shown[read.number]

    def direct(self, operation: Operation) -> tuple[Number, ...]:
        """What an operation comes right after: those whose token it carried, and the write that it shows."""
        source = self.source(operation)
        return operation.after if source is None or operation.kind == "write" else (*operation.after, source)

    def _extend(self, sequence: list[Operation]) -> bool:
        """
        Let every past grow by what is known now; says whether one did.

        In the order of time once is enough for all but histories in which something is read before it was written.
        """
        grown = False
        unions: dict[tuple[Number, ...], Bits] = {}
        for operation in sequence:
            if operation.after not in unions:
                unions[operation.after] = self._union(operation.after)
            past = self.past[operation.number] | unions[operation.after]
            shown = self.versions.shown[operation.number]
            if shown is None and operation.value is None:
                past = self._with_deletion(operation, past)
            elif shown is not None and shown != operation.number:
                past |= self.past[shown] | 1 << shown
            grown = grown or past != self.past[operation.number]
            self.past[operation.number] = past
        return grown

    def _union(self, numbers: tuple[Number, ...]) -> Bits:
        past = 0
        for number in numbers:
            past |= self.past[number] | 1 << number
        return past

    def _with_deletion(self, read: Operation, past: Bits) -> Bits:
        """The past of a read that found nothing, with what all possible deletions bring."""
        writes = self.versions.writes[read.key]
        while past & writes:
            possible = self._possible_deletions(read, past & writes)
            self.explained_by[read.number] = possible
            if not possible:
                return past
            common = -1
            for deletion in members(possible):
                common &= self.past[deletion] | 1 << deletion
            if not common & ~past:
                return past
            past |= common
        return past

    def _possible_deletions(self, read: Operation, known: Bits) -> Bits:
        """The deletions that a read with these writes of the key in its past may show."""
        possible = self.versions.deletions_asked(read.key, read.answered) & ~covered(known, self.past)
        for deletion in members(possible):
            if self.before(read.number, deletion):
                possible ^= 1 << deletion
        return possible
