"""
Defects of the copies that learners take page by page: what is no causal cut is seen, or left behind, or goes missing.
"""

from kvsd.replication.antientropy import AntiEntropy
from kvsd.replication.broadcast import Broadcast
from kvsd.replication.role import Role
from kvsd.replication.state import State
from tests.simulation.mutants.planting import Plant, Planting

_MADE = 'self._state.new_role("", copy_id(role.writer, pulling.id))'


def copy_in_place_of_the_rows(planting: Planting) -> None:
    """The rows of a copy that is not whole are kept under no replica's name."""
    place = _MADE.replace("pulling.id))", "pulling.id), place=role.place)")
    planting.rewrite(AntiEntropy, "pulled_rows", (_MADE, place))


def copy_goes_on_with_another(planting: Planting) -> None:
    """A copy that is begun anew has no rows of the one before it."""
    planting.rewrite(AntiEntropy, "pulled_rows", (_MADE, f"role.copy or {_MADE}"))
    planting.rewrite(AntiEntropy, "tick", ("self._give_up(pulling)", "del self._pulling[pulling.role.shard]"))
    planting.rewrite(AntiEntropy, "abandon", ("self._give_up(pulling)", "del self._pulling[pulling.role.shard]"))


def rows_exchanged_early(planting: Planting) -> None:
    """A copy is taken over after its last page."""
    planting.rewrite(AntiEntropy, "pulled_rows", ("if message.cursor:", "if message.cursor and role.copy is None:"))


def copy_that_lacks_what_is_here(planting: Planting) -> None:
    """A copy takes the place of rows only where it has all of them; ops wait for that."""
    planting.rewrite(AntiEntropy, "_take_over", ("not dominates(message.vector, role.vector)", "False"))
    planting.rewrite(Broadcast, "_is_due", ("role.copy is None and ", ""))
    planting.rewrite(Broadcast, "drain", ("role.copy or ", ""))


def copy_beyond_what_is_here(planting: Planting) -> None:
    """A learner that has something takes a copy of all, not of what it lacks: it takes the place of what is there."""
    planting.rewrite(AntiEntropy, "pulled_rows", ("if pulling.vector:", "if False:"))


def copy_given_up_stays(planting: Planting) -> None:
    """What came of a copy that was given up is forgotten."""
    planting.rewrite(AntiEntropy, "_give_up", ("if copy:", "if False:"))


def half_a_copy_stays_after_a_start(planting: Planting) -> None:
    """What a crash leaves of a copy is forgotten."""
    planting.rewrite(State, "restore", ("self.dissolving += known.values()", "pass"))


def place_not_kept(planting: Planting) -> None:
    """Where the rows of a replica are outlives a crash."""
    planting.rewrite(Role, "changes", ('b"" if self.place == self.writer else self.place', 'b""'))


DEFECTS: list[Plant] = [
    copy_in_place_of_the_rows,
    copy_goes_on_with_another,
    rows_exchanged_early,
    copy_that_lacks_what_is_here,
    copy_beyond_what_is_here,
    copy_given_up_stays,
    half_a_copy_stays_after_a_start,
    place_not_kept,
]
