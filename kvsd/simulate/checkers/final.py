"""
What replicas held in the end: all of a shard the same, no acknowledged write lost, and nothing deleted come back.

The tombstone of a deletion may have been collected: a key without a row is as absent as one with a tombstone.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from kvsd.simulate.checkers.bits import Bits, bits, covered, members
from kvsd.simulate.checkers.causal_order import CausalOrder
from kvsd.simulate.checkers.telling import few
from kvsd.simulate.history import FinalState, Number, Version, Violation


class Ending(NamedTuple):
    """
    The end of a run: the causal order of what went before, all replicas of all shards, and the stamps that are known.

    ``versions`` has what replicas held of each key, every version with one replica that held it; None stands for no
    row at any replica.  ``happened`` are the writes that are certain to have been carried out: those acknowledged, and
    those that somebody read.
    """

    order: CausalOrder
    states: Sequence[FinalState]
    stamps: Mapping[Number, int]
    versions: Mapping[str, Mapping[Version | None, str]]
    happened: Bits


Rule = Callable[[Ending], Iterator[Violation]]


def final_states(order: CausalOrder, states: Sequence[FinalState], stamps: Mapping[Number, int]) -> list[Violation]:
    """What is wrong with the end of a run, at most a few of each kind; without a replica there is no saying."""
    if not states:
        return []
    ending = Ending(order, states, stamps, _held(order, states), _happened(order))
    rules: list[Rule] = [convergence, count, unwritten, overwritten, superseded, missing]
    return [violation for rule in rules for violation in few(rule(ending))]


def _held(order: CausalOrder, states: Sequence[FinalState]) -> Mapping[str, Mapping[Version | None, str]]:
    held: defaultdict[str, dict[Version | None, str]] = defaultdict(dict)
    for state in states:
        for key, version in state.rows.items():
            held[key].setdefault(version, state.node)
    for key in order.versions.writes:
        if not held[key]:
            held[key][None] = "any replica"
    return held


def _happened(order: CausalOrder) -> Bits:
    acknowledged = bits(op.number for op in order.history if op.kind == "write" and op.answered is not None)
    return acknowledged | bits(s for op in order.history if op.kind == "read" and (s := order.source(op)) is not None)


def _held_versions(ending: Ending) -> Iterator[tuple[str, Version | None, str]]:
    for key, versions in sorted(ending.versions.items()):
        for version, node in versions.items():
            yield key, version, node


def _holding(node: str, key: str, version: Version | None) -> str:
    what = "nothing" if version is None or version.value is None else version.value
    return f"{node} holds {what} of {key} in the end" + (f", under the stamp {version.stamp}" if version else "")


def live(state: FinalState) -> dict[str, Version]:
    """The rows of a replica that are no tombstones."""
    return {key: version for key, version in state.rows.items() if version.value is not None}


def convergence(ending: Ending) -> Iterator[Violation]:
    """Replicas of a shard hold the same live rows."""
    first: dict[str, FinalState] = {}
    for state in ending.states:
        other = first.setdefault(state.shard, state)
        mine, others = live(state), live(other)
        for key in sorted(mine.keys() | others.keys()):
            if mine.get(key) != others.get(key):
                here, there = _holding(state.node, key, mine.get(key)), _holding(other.node, key, others.get(key))
                yield Violation("convergence", f"replicas of {state.shard} differ: {there}, {here}")


def count(ending: Ending) -> Iterator[Violation]:
    """A replica counts as many live keys as it holds."""
    for state in ending.states:
        if state.live_keys != (rows := len(live(state))):
            yield Violation("convergence", f"{state.node} counts {state.live_keys} live keys, but holds {rows}")


def unwritten(ending: Ending) -> Iterator[Violation]:
    """Every value was written by someone."""
    for key, version, node in _held_versions(ending):
        value = version.value if version else None
        if value is not None and not ending.order.versions.somebody_wrote(key, value):
            yield Violation("unwritten value", f"{_holding(node, key, version)}, which nobody wrote")


def overwritten(ending: Ending) -> Iterator[Violation]:
    """No value is there that a write that happened had overwritten; if that is a deletion, the value has come back."""
    order = ending.order
    for key, version, node in _held_versions(ending):
        write = order.versions.writer(key, version.value) if version else None
        later = ending.happened & order.versions.writes[key]
        newer = [number for number in members(later) if write is not None and order.before(write, number)]
        if newer and write is not None:
            deletion = next((number for number in newer if order.history[number].value is None), None)
            culprit = newer[0] if deletion is None else deletion
            rule = "lost write" if deletion is None else "deleted value back"
            text = (
                f"{_holding(node, key, version)}, by {order.history[write]}, which {order.history[culprit]} overwrote"
            )
            yield Violation(rule, text, (write, culprit))


def superseded(ending: Ending) -> Iterator[Violation]:
    """No row has a smaller stamp than a write of its key that happened."""
    for key, version, node in _held_versions(ending):
        happened = ending.happened & ending.order.versions.writes[key]
        stamped = [number for number in members(happened) if number in ending.stamps]
        best = max(stamped, key=ending.stamps.__getitem__, default=None)
        if version and best is not None and version.stamp < ending.stamps[best]:
            text = f"{ending.order.history[best]} under the larger stamp {ending.stamps[best]} is lost"
            yield Violation("lost write", f"{_holding(node, key, version)}: {text}", (best,))


def missing(ending: Ending) -> Iterator[Violation]:
    """A key with a put that happened is absent only if there is a deletion that can have won."""
    versions = ending.order.versions
    for key, version, node in _held_versions(ending):
        if version is None or version.value is None:
            happened = ending.happened & versions.writes[key]
            undone = covered(happened, ending.order.past)
            for put in members(happened & versions.puts[key] & ~undone):
                if not any(_may_beat(ending, deletion, put) for deletion in members(versions.deletions[key] & ~undone)):
                    text = (
                        f"{_holding(node, key, version)}: {ending.order.history[put]} is lost, no deletion can have won"
                    )
                    yield Violation("lost write", text, (put,))


def _may_beat(ending: Ending, deletion: Number, put: Number) -> bool:
    """Whether a deletion may have the larger stamp."""
    stamps = ending.stamps
    return deletion not in stamps or put not in stamps or stamps[deletion] >= stamps[put]
