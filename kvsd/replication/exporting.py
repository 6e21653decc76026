"""
Giving: what another shard asks for that takes over slots of this one.  See :mod:`kvsd.replication.importing`.
"""

from functools import partial

from kvsd.replication.causality import Dependencies, join, meet
from kvsd.replication.meeting import Meeting
from kvsd.replication.messages import Import, Imported
from kvsd.replication.placement import Tenure, TenureSlot, slot_of
from kvsd.replication.record import CarriedOut, Record
from kvsd.replication.reports import Reports
from kvsd.replication.role import Role
from kvsd.replication.roster import Roster
from kvsd.replication.state import State


class Exports:
    """Answers what other shards ask of this node's roles."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._meeting = Meeting(state)
        self._reports = Reports(state)

    def give(self, message: Import, peer: str = "") -> Imported | None:
        """
        The answer to a question; None where this node can't answer it, in the configuration that it knows.

        Nor while it meets the others after a start: the answer may say that there is no more, and its disk be an old copy.
        """
        roster, role = self._state.roster, self._state.roles.get(message.shard)
        if roster is None or not self._is_source(message) or self._meeting.is_on():
            return None
        if role is None:
            return self._nothing(message) if self._owes_nothing(message) else None
        if message.first:
            return self._copy(role, message, peer) if self._is_ready(message.tenure, role) else None
        if message.cursor == 0 and role.log.reaches_back_to(message.vector, role.vector):
            return self._tail(role, message, peer)
        return self._copy(role, message, peer)

    def _is_source(self, message: Import) -> bool:
        roster = self._state.roster
        assert roster is not None, "it is asked in a configuration"
        return any(tenure == message.tenure for _, tenure, _ in roster.importers(message.shard))

    def _owes_nothing(self, message: Import) -> bool:
        """Whether this node was a member only while it was cut off, and so never wrote anything there."""
        roster = self._state.roster
        assert roster is not None, "it is asked in a configuration"
        place = roster.places.get(message.shard)
        if message.first or place is None or place not in roster.shard(message.shard).departed:
            return False
        return self._reports.owes_nothing(place)

    def _nothing(self, message: Import) -> Imported:
        """All that there is where there is nothing, which the puller waits to hear."""
        return self._answer(message, [], [], 0, {}, complete=True)

    def _is_ready(self, tenure: Tenure, role: Role) -> bool:
        """Whether this node serves all slots that are to become part of a tenure."""
        tenures = self._tenures(tenure)
        known = self._state.configuration.tenures if self._state.configuration else {}
        return (
            bool(tenures)
            and self._state.serving(role.shard) is role
            and all(not known[t].lineage or t in role.marks.ready for t in tenures)
        )

    def _tenures(self, tenure: Tenure) -> set[Tenure]:
        """The present tenures of the slots that are to become part of a tenure."""
        roster = self._state.roster
        assert roster is not None, "it is asked in a configuration"
        slots = next((move.slots for move in roster.moves if move.tenure == tenure), ())
        return {roster.configuration.slots[slot] for slot in slots}

    def _tail(self, role: Role, message: Import, peer: str) -> Imported:
        """The writes beyond a vector that concern a tenure, by the log."""
        roster = self._state.roster
        assert roster is not None, "it is asked in a configuration"
        ops, more = role.log.since(message.vector, self._state.slow_ways.page_bytes(peer))
        cover = dict(message.vector)
        for op in ops:
            join(cover, {op.writer: op.counter})
        found = [r for op in ops for r in op.records if roster.concerns(message.tenure, r)]
        requests = [q for op in ops for q in op.requests if roster.concerns(message.tenure, q.record)]
        covered = {role.shard: cover if more else dict(role.vector)}
        return self._answer(message, found, requests, 0, covered, complete=not more)

    def _copy(self, role: Role, message: Import, peer: str) -> Imported | None:
        """A page of rows: all of the slots, or those beyond a vector that concern a tenure."""
        limits, roster, start = self._state.limits, self._state.roster, message.cursor
        assert roster is not None, "it is asked in a configuration"
        if start and message.copy != self._state.identity.boot:
            return None
        wanted = partial(roster.is_present if message.first else roster.concerns, message.tenure)
        slots = slots_for(roster, message.tenure, first=message.first)
        bounds = (self._state.slow_ways.page_bytes(peer), limits.page_rows)
        found = role.store.page(message.id, start, message.vector, *bounds, wanted, slots)
        if found is None:
            return None
        rows, cursor = found
        requests: list[CarriedOut] = []
        if not cursor:
            newest = role.requests.beyond(message.vector, limits.page_requests)
            requests = [request for request in newest if self._is_of(request.record, message.tenure)]
        return self._answer(
            message, [row.record for row in rows], requests, cursor, self._cover(role, message), complete=not cursor
        )

    def _is_of(self, record: Record, tenure: Tenure) -> bool:
        """Whether a record is of a slot that is or will be part of a tenure."""
        roster = self._state.roster
        assert roster is not None, "it is asked in a configuration"
        return roster.tenure_of(slot_of(record.key)) == tenure

    def _cover(self, role: Role, message: Import) -> Dependencies:
        """
        What a copy amounts to: everything here; and of older sources what all tenures of the slots were shown.
        """
        cover: Dependencies = {role.shard: dict(role.vector)}
        if message.first:
            assert self._state.configuration is not None, "it is asked in a configuration"
            known, tenures = self._state.configuration.tenures, self._tenures(message.tenure)
            for source in sorted({source for tenure in tenures for source in known[tenure].sources}):
                shown = [role.marks.covered(t, source) for t in tenures if source in known[t].sources]
                if source != role.shard:
                    cover[source] = meet(shown)
        return cover

    def _answer(
        self,
        message: Import,
        records: list[Record],
        requests: list[CarriedOut],
        cursor: int,
        cover: Dependencies,
        *,
        complete: bool,
    ) -> Imported:
        role = self._state.roles.get(message.shard)
        return Imported(
            id=message.id,
            shard=message.shard,
            tenure=message.tenure,
            epoch=self._state.epoch,
            copy=self._state.identity.boot,
            start=message.cursor,
            cursor=cursor,
            records=records,
            requests=requests,
            cover=cover,
            forgotten=role.collected.latest if role else 0,
            complete=complete,
        )


def slots_for(roster: Roster, tenure: Tenure, *, first: bool) -> list[TenureSlot]:
    """The slots with records that are to become part of a tenure: at present (first), or of its whole lineage."""
    present = roster.configuration.slots
    if move := next((move for move in roster.moves if move.tenure == tenure), None):
        if first:
            return sorted((present[slot], slot) for slot in move.slots)
        return sorted((lineal, slot) for lineal in move.lineage for slot in move.slots)
    tenancy = roster.configuration.tenures.get(tenure)
    if first or tenancy is None:
        return []
    slots = [slot for slot, owner in enumerate(present) if owner == tenure]
    return sorted((lineal, slot) for lineal in tenancy.lineage for slot in slots)
