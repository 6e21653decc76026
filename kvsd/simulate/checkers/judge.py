"""All checkers in one: what is wrong with a run, by what clients saw and what replicas held in the end."""

from collections.abc import Mapping, Sequence

from kvsd.simulate.checkers.arbitration import last_writer_wins
from kvsd.simulate.checkers.bad_patterns import bad_patterns
from kvsd.simulate.checkers.causal_order import CausalOrder
from kvsd.simulate.checkers.final import final_states
from kvsd.simulate.checkers.sessions import session_guarantees
from kvsd.simulate.history import FinalState, History, Number, Violation


def judge(history: History, finals: Sequence[FinalState], stamps: Mapping[Number, int]) -> list[Violation]:
    """
    Every promise that a run broke, at most a few breaches of each; none of a run that is right.

    ``finals`` has all replicas of all shards, after the run has come to rest, or none if nothing is to be said of the
    end; ``stamps`` those under which writes were carried out, as far as they are known.  If a request that was tried
    several times has been carried out several times, each is an operation of its own, with the same value.
    """
    order = CausalOrder(history)
    return [
        *bad_patterns(order),
        *session_guarantees(history),
        *last_writer_wins(order, stamps),
        *final_states(order, finals, stamps),
    ]
