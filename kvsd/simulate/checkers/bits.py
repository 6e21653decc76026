"""
Sets of operations as the bits of an integer: the union of two causal pasts is then one machine-fast operation.
"""

from collections.abc import Iterable, Iterator, Sequence

from kvsd.simulate.history import Number, Operation

Bits = int
"""A set of operations: bit n stands for the operation of number n."""


def bits(numbers: Iterable[Number]) -> Bits:
    """The set of these operations."""
    found = 0
    for number in numbers:
        found |= 1 << number
    return found


def members(some: Bits) -> Iterator[Number]:
    """The operations of a set, the highest number first."""
    while some:
        number = some.bit_length() - 1
        yield number
        some ^= 1 << number


def covered(some: Bits, past: Sequence[Bits]) -> Bits:
    """All that is in the past of one of some operations, given the pasts of all, which are transitively closed."""
    found = 0
    while some:
        number = some.bit_length() - 1
        found |= past[number]
        some &= ~(past[number] | 1 << number)
    return found


def heads(some: Bits, past: Sequence[Bits]) -> Bits:
    """Those of some operations that are in the past of no other of them."""
    return some & ~covered(some, past)


def by_time(operation: Operation) -> tuple[float, Number]:
    """
    Sorts operations so that nothing comes before what it depends on.

    A write is placed where it was asked, a read where it was answered: an answer may show a write that was asked while
    the read was under way.
    """
    if operation.kind == "read" and operation.answered is not None:
        return operation.answered, operation.number
    return operation.asked, operation.number
