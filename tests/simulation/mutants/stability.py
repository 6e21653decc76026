"""
Defects of stability: something is forgotten that somebody still needs.
"""

from collections.abc import Iterable, Mapping

from kvsd.replication import stability
from kvsd.replication.causality import VersionVector, join
from kvsd.replication.collected import Collected
from kvsd.replication.stability import Stability
from tests.simulation.mutants.planting import Plant, Planting

MEMBERS = "for member in roster.shard(shard).replicas()]"
MINE = "member.node == self._state.identity.address"


def collected_at_once(planting: Planting) -> None:
    """A tombstone is dropped only once every member has it."""
    planting.rewrite(Stability, "collectable", ("row.counter <= stable.get(row.writer, 0)", "True"))


def collected_unheard(planting: Planting) -> None:
    """A tombstone is dropped only where all is known that each member had written before it had the tombstone."""
    planting.rewrite(Stability, "collectable", (" or role.vector.get(writer, 0) < report.get(writer, 0)", ""))


def collected_before_its_causes(planting: Planting) -> None:
    """A tombstone is dropped only once all that the deletion depends on is stable too."""
    planting.rewrite(Stability, "collectable", ("not self.unstable(row.record.dependencies)", "True"))


def collected_stamps_forgotten(planting: Planting) -> None:
    """A write that is older than a tombstone that was dropped has no effect."""
    planting.rewrite(Collected, "stamp_of", ("self._stamps.get(key, self._bound)", "0"))


def collected_bound_not_raised(planting: Planting) -> None:
    """Where the stamps of too many tombstones are to be remembered, the latest that is left out counts for all keys."""
    raised = "self._bound = max(self._bound, self._stamps.popitem(last=False)[1])"
    planting.rewrite(Collected, "note", (raised, "self._stamps.popitem(last=False)"))


def own_vector_taken_for_stable(planting: Planting) -> None:
    """Stable is what every member has, not what this one has."""
    planting.rewrite(Stability, "reported", (MEMBERS, f"{MEMBERS[:-1]} if {MINE} or not self._state.roles]"))


def joined_instead_of_met(planting: Planting) -> None:
    """Stable is what every member has, not what any member has."""

    def joined(vectors: Iterable[Mapping[bytes, int]]) -> VersionVector:
        result: VersionVector = {}
        for vector in vectors:
            join(result, vector)
        return result

    planting.swap(stability, "meet", joined)


def missing_report_ignored(planting: Planting) -> None:
    """While a member's report is missing nothing is stable."""
    planting.rewrite(Stability, "reported", (" if None not in seen else {}", ""))


def only_reachable_members_count(planting: Planting) -> None:
    """A member counts for what is stable also while it can't be reached."""
    reachable = f"{MINE} or self._state.usable(member.node)"
    planting.rewrite(Stability, "reported", (MEMBERS, f"{MEMBERS[:-1]} if {reachable}]"))


def undurable_taken_for_stable(planting: Planting) -> None:
    """Stable is what every member has durably, this one too."""
    report = "self._reports.vector(member.node, shard)"
    applied = "(self._state.roles[shard].vector if shard in self._state.roles else None)"
    planting.rewrite(Stability, "reported", (report, f"{applied} if {MINE} else {report}"))


DEFECTS: list[Plant] = [
    collected_at_once,
    collected_unheard,
    collected_before_its_causes,
    collected_stamps_forgotten,
    collected_bound_not_raised,
    own_vector_taken_for_stable,
    joined_instead_of_met,
    missing_report_ignored,
    only_reachable_members_count,
    undurable_taken_for_stable,
]
