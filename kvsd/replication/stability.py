"""
Causal stability: which writes every replica has, and what may be forgotten for that.

A write that every member of its shard is known to have durably need not stand in tokens any more, a tombstone of that
kind can be dropped once nothing older can still arrive, and logged ops need not be kept for anybody.  Reports count
only from members that are on the same configuration; while one is missing, nothing is stable.  (Baquero, Almeida,
Shoker: "Pure Operation-Based Replicated Data Types", arXiv 1710.04469.)
"""

from collections.abc import Collection
from itertools import islice

from kvsd.replication.causality import Dependencies, VersionVector, dominates, meet
from kvsd.replication.effects import DropOps
from kvsd.replication.marks import Final, Marks
from kvsd.replication.placement import slot_of
from kvsd.replication.record import Record, Row
from kvsd.replication.reports import Reports
from kvsd.replication.role import Role
from kvsd.replication.state import State
from kvsd.replication.token import Token

LOG_SHARE = 8
"""Of a log at most the eighth part leaves it at a tick, where that is more than a few."""

_EVERYTHING: VersionVector = {b"": 0}
"""In the place of the vector of who was shown all that there ever will be."""


class Stability:
    """What is stable, by the reports at hand."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._reports = Reports(state)
        self._known: dict[str, VersionVector] = {}
        self.reports = 0
        """How often reports changed what is stable: while that stays the same, so does what tokens leave out."""
        self.falls = 0
        """How often something was not stable any more: while that stays the same, what tokens left out is left out."""
        self._marks: list[Marks] = []
        """This node's own, as they were when that was last looked at."""
        self._cleaned: float | None = None

    def refresh(self, about: Collection[str] | None = None) -> None:
        """Reports may have changed, or whose reports count; those about some shards only, where these are given."""
        shards = self._state.configuration.shards if self._state.configuration else {}
        known = {
            shard: self.reported(shard) if about is None or shard in about else before
            for shard, before in self._known.items()
            if shard in shards
        }
        if known != self._known:
            self.reports += 1
            self.falls += not all(dominates(known.get(shard, {}), before) for shard, before in self._known.items())
            self._known = known

    def synced(self) -> None:
        """More of this node's own is durable.  More writes have time until the next reports; other marks may say less."""
        marks = [role.durable_marks for role in self._state.roles.values()]
        if marks != self._marks:
            self._marks = marks
            self.refresh()

    def vector(self, shard: str) -> VersionVector:
        """What every member of the shard is known to have; nothing, while a report is missing."""
        known = self._known.get(shard)
        if known is None:
            known = self._known[shard] = self.reported(shard)
        return known

    def reported(self, shard: str) -> VersionVector:
        """That, by the reports that there are now."""
        roster = self._state.roster
        if roster is None:
            return {}
        seen = [self._reports.vector(member.node, shard) for member in roster.shard(shard).replicas()]
        seen += [
            self._shown(member.node, importer, Final(tenure, shard, since))
            for importer, tenure, since in roster.importers(shard)
            for member in roster.shard(importer).replicas()
        ]
        seen = [vector for vector in seen if vector is not _EVERYTHING]
        return meet(vector for vector in seen if vector is not None) if None not in seen else {}

    def _shown(self, address: str, importer: str, final: Final) -> VersionVector | None:
        """What a replica that takes over writes of another shard was shown of them; None if that is not known."""
        if self._reports.vector(address, importer) is None:
            return None
        marks = self._reports.marks(address, importer)
        return _EVERYTHING if final in marks.final else dict(marks.covered(final.tenure, final.shard))

    def unstable(self, dependencies: Dependencies) -> Dependencies:
        """The dependencies that some replica may still lack; none of a shard that is no more, and none that is lost."""
        kept: Dependencies = {}
        configuration = self._state.configuration
        assert configuration is not None, "what is stable is asked in a configuration"
        for shard, vector in dependencies.items():
            if shard in configuration.shards:
                stable, left = self.vector(shard), self._left(vector) if configuration.lost else vector
                if rest := {writer: counter for writer, counter in left.items() if counter > stable.get(writer, 0)}:
                    kept[shard] = rest
        return kept

    def _left(self, vector: VersionVector) -> VersionVector:
        """The last of each writer's writes up to a counter that is not lost for good."""
        assert self._state.configuration is not None, "what is stable is asked in a configuration"
        lost = self._state.configuration.lost
        kept = {writer: lost[writer].kept for writer in vector if writer in lost}
        return {w: counter if (left := kept.get(w)) is None else min(counter, left) for w, counter in vector.items()}

    def pruned(self, token: Token) -> Token:
        """
        The token without what is stable.

        It names this node's epoch, so that a replica on an older configuration, for which other members count, does
        not serve it before it knows better.
        """
        epoch = self._state.epoch
        if token.epoch >= epoch and not token.dependencies:
            return token
        return Token(max(token.epoch, epoch), token.hlc, self.unstable(token.dependencies))

    def tick(self, now: float) -> None:
        """
        From time to time truncate logs and drop tombstones; at once again where there were more than are dropped at a time.

        A log that is not short loses some ops at every tick: requests would wait for all those of a second.
        """
        state, limits = self._state, self._state.limits
        is_due = self._cleaned is None or now - self._cleaned >= limits.upkeep_seconds
        if is_due:
            self.refresh()  # it hangs on a little more than the reports of others: on what this node has itself, for one
        for role in state.roles.values():
            if is_due or len(role.log) > limits.log_drops:
                fits = role.log.size <= limits.log_bytes
                at_most = max(limits.log_drops, len(role.log) // LOG_SHARE) if fits else len(role.log)
                if dropped := role.log.truncate(self.vector(role.shard), limits.log_bytes, at_most):
                    state.out.keep(DropOps(role.writer, dropped))
        if is_due:
            is_clean = [self._collect(role) for role in state.roles.values()]
            self._cleaned = now if all(is_clean) else None

    def _collect(self, role: Role) -> bool:
        """Drop some tombstones; says whether those were all."""
        state, at_most = self._state, self._state.limits.log_drops
        tombstones = self.collectable(role, at_most)
        for tombstone in tombstones:
            state.out.keep(role.collect(tombstone, state.out.written + 1))
            state.disk.dirty.add(role.shard)
        return len(tombstones) < at_most

    def collectable(self, role: Role, at_most: int) -> list[Row]:
        """
        The tombstones that can be dropped: everybody has them, and nothing older can still come.

        The second half: this replica has all that each member had written by the time of the report that shows the
        tombstone there; what a member writes later has a larger stamp.  And what the deletion depends on is stable in
        its own shard: a reader that finds nothing any more gets no dependencies with that.
        """
        shard, state = role.shard, self._state
        if self._is_unsettled(shard):
            return []
        for address in state.members(shard):
            report = self._reports.vector(address, shard)
            writer = self._reports.writer(address, shard)
            if report is None or writer is None or role.vector.get(writer, 0) < report.get(writer, 0):
                return []
        stable = self.vector(shard)
        due = (
            row
            for row in role.store.tombstones.values()
            if row.counter <= stable.get(row.writer, 0)
            and self._is_settled(row.record)
            and not self.unstable(row.record.dependencies)
        )
        return list(islice(due, at_most))

    def _is_unsettled(self, shard: str) -> bool:
        """Whether writes of a shard may still turn up at a node that is no member any more."""
        roster = self._state.roster
        if roster is None or shard not in roster.served or roster.shard(shard).departed:
            return True
        return any(loss.shard == shard and loss.kept is None for loss in roster.configuration.lost.values())

    def _is_settled(self, record: Record) -> bool:
        """Whether no other shard can still have writes for the key of a record, which is of the tenure at present."""
        configuration = self._state.configuration
        assert configuration is not None, "a role exists only in a configuration"
        tenure = configuration.slots[slot_of(record.key)]
        return record.tenure == tenure and not configuration.tenures[tenure].sources

    def unstable_count(self, role: Role) -> int:
        """How many writes of the role's shard some member is not known to have."""
        stable = self.vector(role.shard)
        return sum(counter - min(counter, stable.get(writer, 0)) for writer, counter in role.vector.items())
