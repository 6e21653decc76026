"""
The last writer wins: every write has a stamp, the version with the largest one is shown, and stamps extend causality.
"""

from collections.abc import Iterator, Mapping

from kvsd.simulate.checkers.bits import Bits, bits, heads, members
from kvsd.simulate.checkers.causal_order import CausalOrder
from kvsd.simulate.checkers.telling import few
from kvsd.simulate.history import Number, Operation, Violation

RULE = "last writer wins"


def last_writer_wins(order: CausalOrder, stamps: Mapping[Number, int]) -> list[Violation]:
    """
    Writes whose stamps contradict causality, and reads that show another version than the winner of those they know.

    What is not known by its stamp is taken to be right.
    """
    stamped = bits(stamps)
    return [
        *few(_stamps_against_causality(order, stamps, stamped)),
        *few(_reads_of_losers(order, stamps, stamped)),
    ]


def _known(order: CausalOrder, operation: Operation, stamped: Bits) -> Iterator[Number]:
    """Of the stamped writes of its key that an operation knew, the last ones: earlier ones have smaller stamps."""
    return members(heads(order.known(operation) & stamped, order.past))


def _stamps_against_causality(order: CausalOrder, stamps: Mapping[Number, int], stamped: Bits) -> Iterator[Violation]:
    for write in order.history:
        if write.kind == "write" and write.number in stamps:
            for earlier in _known(order, write, stamped):
                if stamps[earlier] >= stamps[write.number]:
                    text = (
                        f"{write} has the stamp {stamps[write.number]}, which does not exceed {stamps[earlier]},"
                        f" that of {order.history[earlier]} in its causal past"
                    )
                    yield Violation(RULE, text, (earlier, write.number))


def _reads_of_losers(order: CausalOrder, stamps: Mapping[Number, int], stamped: Bits) -> Iterator[Violation]:
    for read in order.history:
        shown = _possibly_shown(order, read)
        if not shown or shown & ~stamped:
            continue
        best = max(stamps[write] for write in members(shown))
        for known in _known(order, read, stamped):
            if stamps[known] > best:
                text = f"{read}, with {order.history[known]} in its causal past, of the larger stamp {stamps[known]} > {best}"
                yield Violation(RULE, text, (known, read.number))


def _possibly_shown(order: CausalOrder, read: Operation) -> Bits:
    """The writes that a read may show; none, where it may have found nothing for want of any."""
    if read.kind == "write":
        return 0
    shown = order.versions.shown[read.number]
    return order.explained_by.get(read.number, 0) if shown is None else 1 << shown
