"""
The checkers against the definition of what they check, on small histories in which anything goes.

The definition is taken at its word: a history is convergent if for some choice of deletions to explain the reads that
found nothing there is an order without a cycle.  All choices are tried.
"""

from collections.abc import Iterator
from itertools import product
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from kvsd.simulate.checkers.bad_patterns import bad_patterns
from kvsd.simulate.checkers.causal_order import CausalOrder
from kvsd.simulate.checkers.sessions import session_guarantees
from kvsd.simulate.history import History, Number
from tests.simulation.tale import Tale

HISTORIES = 400

Explanation = dict[Number, Number | None]
Order = list[list[bool]]


def anything(random: Random) -> Tale:
    """A history of random operations, whose reads show random values; some have no deletions."""
    tale, deletions = Tale(), random.choice([0, 0, 0.3, 0.5])
    for number in range(random.choice([8, 10])):
        client, key = random.choice("ABC"), random.choice("xy")
        answered = [operation.number for operation in tale.history if operation.answered is not None]
        after = tuple(random.sample(answered, min(len(answered), 2))) if random.random() < 0.15 else None
        if random.random() < 0.45:
            value = None if random.random() < deletions else f"{number}"
            tale.write(client, key, value, after, lost=random.random() < 0.1)
        else:
            values = [op.value for op in tale.history if (op.kind, op.key) == ("write", key)]
            tale.read(client, key, random.choice([*values, None]), after)
    return tale


def explanations(history: History) -> Iterator[Explanation]:
    """All ways to explain what reads show: a value by its write, nothing by a deletion or by the initial state."""
    choices: list[list[Number | None]] = []
    reads = [operation for operation in history if operation.kind == "read"]
    for read in reads:
        writes = [op.number for op in history if (op.kind, op.key, op.value) == ("write", read.key, read.value)]
        in_time = [write for write in writes if history[write].asked <= (read.answered or 0)]
        choices.append([*in_time, None] if read.value is None else [*in_time])
    for choice in product(*choices):
        yield dict(zip([read.number for read in reads], choice, strict=True))


def closed(order: Order) -> bool:
    """Close an order transitively; says whether it has no cycle."""
    everything = range(len(order))
    for middle, first in product(everything, everything):
        if order[first][middle]:
            order[first] = [a or b for a, b in zip(order[first], order[middle], strict=True)]
    return not any(order[number][number] for number in everything)


def holds(history: History, explanation: Explanation, convergent: bool) -> bool:
    """Whether a history is causally consistent, or convergent, if its reads are explained in this way."""
    causal = [[False] * len(history) for _ in history]
    for operation in history:
        for earlier in (*operation.after, explanation.get(operation.number)):
            if earlier is not None:
                causal[earlier][operation.number] = True
    if not closed(causal):
        return False
    order = [list(row) for row in causal]
    for read, shown in explanation.items():
        for write in history:
            if write.kind == "read" or write.key != history[read].key or write.number == shown:
                continue
            if causal[write.number][read]:
                if shown is None or causal[shown][write.number]:
                    return False
                order[write.number][shown] = True
    return not convergent or closed(order)


def consistent(history: History, convergent: bool) -> bool:
    """Whether some explanation of the reads is good enough."""
    return any(holds(history, explanation, convergent) for explanation in explanations(history))


class DefinitionTests(SynchronousTestCase):
    """The checkers say what the definition says."""

    def setUp(self) -> None:
        """Histories, and what the definition says of them."""
        self.histories = [anything(Random(seed)).history for seed in range(HISTORIES)]
        self.causal = [consistent(history, convergent=False) for history in self.histories]
        self.convergent = [consistent(history, convergent=True) for history in self.histories]

    def test_never_too_strict(self) -> None:
        """No history is accused that some explanation of its reads excuses."""
        for history, causal, convergent in zip(self.histories, self.causal, self.convergent, strict=True):
            rules = {found.rule for found in bad_patterns(CausalOrder(history))}
            self.assertFalse(causal and rules - {"CyclicCF"}, history)
            self.assertFalse(convergent and rules, history)
            self.assertFalse(convergent and session_guarantees(history), history)

    def test_never_too_lax(self) -> None:
        """Without deletions, which look alike, every bad history is found, and of the right kind."""
        judged = 0
        for history, causal, convergent in zip(self.histories, self.causal, self.convergent, strict=True):
            if all(operation.value is not None for operation in history if operation.kind == "write"):
                rules = {found.rule for found in bad_patterns(CausalOrder(history))}
                self.assertEqual(causal, not rules - {"CyclicCF"}, history)
                self.assertEqual(convergent, not rules, history)
                judged += 1
        self.assertGreater(judged, HISTORIES / 4)

    def test_both_kinds(self) -> None:
        """There are enough good histories and bad ones, and some in between."""
        counts = [sum(self.convergent), HISTORIES - sum(self.causal), sum(self.causal) - sum(self.convergent)]
        for count, expected in zip(counts, (HISTORIES / 4, HISTORIES / 4, 2), strict=True):
            self.assertGreaterEqual(count, expected)
