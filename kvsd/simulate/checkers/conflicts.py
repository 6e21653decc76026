"""
Conflicts: which of two writes of a key must have won, for a read that knew both to show what it showed.

If replicas agree on the winner of concurrent writes, then some total order of all writes is behind every read, and the
conflicts together with the causal order have no cycle.  A cycle may go through several keys.
"""

from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from kvsd.simulate.checkers.bits import Bits, bits, heads, members
from kvsd.simulate.checkers.causal_order import CausalOrder
from kvsd.simulate.checkers.cycles import from_lowest, shortest_cycle
from kvsd.simulate.history import Number, Violation

STARTS = 40
"""From how many conflicts the shortest cycle is looked for."""


class Conflict(NamedTuple):
    """A write that lost to another one of its key, and the read that tells so."""

    loser: Number
    winner: Number
    read: Number


def conflicts(order: CausalOrder) -> list[Conflict]:
    """What the reads tell beyond the causal order; of losers that come one after another the last one is enough."""
    found: dict[tuple[Number, Number], Conflict] = {}
    for read in order.history:
        winner = order.source(read) if read.kind == "read" else None
        if winner is None:
            continue
        for loser in members(heads(order.known(read) & ~(order.past[winner] | 1 << winner), order.past)):
            if not order.before(winner, loser):
                found.setdefault((loser, winner), Conflict(loser, winner, read.number))
    return sorted(found.values())


def cyclic_cf(order: CausalOrder) -> Iterator[Violation]:
    """CyclicCF: the conflicts contradict each other, or the causal order; cycles that share no conflict."""
    left = on_cycles(order, conflicts(order))
    while left:
        cycle = _shortest(order, left)
        if not cycle:
            return
        yield _violation(order, cycle, left)
        steps = set(zip(cycle, cycle[1:] + cycle[:1], strict=True))
        left = on_cycles(order, [conflict for conflict in left if conflict[:2] not in steps])


def on_cycles(order: CausalOrder, some: list[Conflict]) -> list[Conflict]:
    """Leave out, until there are none, conflicts that nothing leads to."""
    reached: Counter[Number] = Counter(conflict.winner for conflict in some)
    targets, left = bits(reached), some
    while True:
        kept = []
        for conflict in left:
            if targets & (order.past[conflict.loser] | 1 << conflict.loser):
                kept.append(conflict)
                continue
            reached[conflict.winner] -= 1
            if not reached[conflict.winner]:
                targets ^= 1 << conflict.winner
        if len(kept) == len(left):
            return kept
        left = kept


def _shortest(order: CausalOrder, some: list[Conflict]) -> list[Number]:
    """A short cycle of writes, each of which loses to the next or is in its past."""
    winners: dict[Number, list[Number]] = {}
    for conflict in some:
        winners.setdefault(conflict.loser, []).append(conflict.winner)
    losers: Bits = bits(winners)

    @cache
    def successors(number: Number) -> list[Number]:
        later = [loser for loser in members(losers) if order.before(number, loser)]
        return winners.get(number, []) + later

    return from_lowest(shortest_cycle(sorted(winners)[:STARTS], successors))


def _violation(order: CausalOrder, cycle: list[Number], some: list[Conflict]) -> Violation:
    reads = {conflict[:2]: conflict.read for conflict in some}
    steps, witness = [], []
    for number, following in zip(cycle, cycle[1:] + cycle[:1], strict=True):
        witness.append(number)
        if (number, following) in reads:
            witness.append(read := reads[number, following])
            steps.append(f"{order.history[number]} lost to #{following}, for {order.history[read]} knew both")
        else:
            steps.append(f"{order.history[number]} is in the causal past of #{following}")
    return Violation("CyclicCF", f"no order of the writes explains all reads: {'; '.join(steps)}", tuple(witness))
