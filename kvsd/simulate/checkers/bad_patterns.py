"""
The patterns that no causally consistent history has.

A history is causally consistent if and only if none of the first four is in it, and causally convergent (all agree on
the order of concurrent writes of a key) if and only if the fifth is not in it either: Bouajjani, Enea, Guerraoui and
Hamza, "On Verifying Causal Consistency" (POPL 2017).  The names are theirs.  A deletion is a write here; a read that
finds nothing and can be explained by several deletions is not used against anybody.
"""

from collections.abc import Callable, Iterator

from kvsd.simulate.checkers.bits import covered, heads, members
from kvsd.simulate.checkers.causal_order import CausalOrder
from kvsd.simulate.checkers.conflicts import cyclic_cf
from kvsd.simulate.checkers.cycles import from_lowest, shortest_cycle
from kvsd.simulate.checkers.telling import few
from kvsd.simulate.history import Operation, Violation

Pattern = Callable[[CausalOrder], Iterator[Violation]]


def bad_patterns(order: CausalOrder) -> list[Violation]:
    """
    The bad patterns of a history, at most a few of each kind.

    Of one whose causal order has a cycle nothing else is told: before and after mean nothing in it.
    """
    found = [*few(thin_air_read(order)), *cyclic_co(order)]
    if any(violation.rule == "CyclicCO" for violation in found):
        return found
    patterns: list[Pattern] = [write_co_init_read, write_co_read, cyclic_cf]
    return found + [violation for pattern in patterns for violation in few(pattern(order))]


def _reads(order: CausalOrder) -> Iterator[Operation]:
    return (operation for operation in order.history if operation.kind == "read")


def thin_air_read(order: CausalOrder) -> Iterator[Violation]:
    """ThinAirRead: a value that nobody wrote, or that was asked to be written only after it had been read."""
    for read in _reads(order):
        source = order.versions.shown[read.number]
        if read.value is not None and not order.versions.somebody_wrote(read.key, read.value):
            yield Violation("ThinAirRead", f"nobody wrote what {read} shows", (read.number,))
        elif source is not None and read.answered is not None and order.history[source].asked > read.answered:
            text = f"{read} shows what was written only later, by {order.history[source]}"
            yield Violation("ThinAirRead", text, (source, read.number))


def cyclic_co(order: CausalOrder) -> Iterator[Violation]:
    """CyclicCO: an operation is in its own causal past."""
    on_cycles = [number for number, past in enumerate(order.past) if past >> number & 1]
    cycle = shortest_cycle(on_cycles, lambda number: order.direct(order.history[number]))[::-1]
    if on_cycles:
        witness = tuple(from_lowest(cycle or on_cycles))
        text = " -> ".join(str(order.history[number]) for number in witness)
        yield Violation(
            "CyclicCO", f"each of these comes causally before the next, the last before the first: {text}", witness
        )


def write_co_init_read(order: CausalOrder) -> Iterator[Violation]:
    """WriteCOInitRead: a read finds nothing, with a write of the key in its past that no deletion can have undone."""
    for number, possible in sorted(order.explained_by.items()):
        if not possible:
            read = order.history[number]
            write = next(members(heads(order.known(read), order.past)))
            text = f"{read}, with {order.history[write]} in its causal past and no deletion that can have undone that"
            yield Violation("WriteCOInitRead", text, (write, number))


def write_co_read(order: CausalOrder) -> Iterator[Violation]:
    """WriteCORead: a read shows a version that was causally overwritten in its past."""
    for read in _reads(order):
        source, known = order.versions.shown[read.number], order.known(read)
        if source is not None and covered(known, order.past) >> source & 1:
            newer = next(write for write in members(known) if order.before(source, write))
            text = f"{read}, with {order.history[newer]} in its causal past, which overwrote {order.history[source]}"
            yield Violation("WriteCORead", text, (source, newer, read.number))
