"""
Causal stability: which writes every replica has, and what may be forgotten for that.

A write that every member of its shard is known to have durably need not stand in tokens any more, a tombstone of that
kind can be dropped once nothing older can still arrive, and logged ops need not be kept for anybody.  Reports count
only from members that are on the same configuration; while one is missing, nothing is stable.  (Baquero, Almeida,
Shoker: "Pure Operation-Based Replicated Data Types", arXiv 1710.04469.)
"""

from itertools import islice

from kvsd.replication.causality import Dependencies, VersionVector, meet
from kvsd.replication.effects import DropOps
from kvsd.replication.record import Row
from kvsd.replication.reports import Reports
from kvsd.replication.role import Role
from kvsd.replication.state import State
from kvsd.replication.token import Token


class Stability:
    """What is stable, by the reports at hand."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._reports = Reports(state)
        self._known: dict[str, VersionVector] = {}
        self._cleaned: float | None = None

    def refresh(self) -> None:
        """Reports have changed."""
        self._known.clear()

    def vector(self, shard: str) -> VersionVector:
        """What every member of the shard is known to have; nothing, while a report is missing."""
        if shard not in self._known:
            self._known[shard] = self._vector(shard)
        return self._known[shard]

    def _vector(self, shard: str) -> VersionVector:
        reports = [self._report(address, shard) for address in self._state.members(shard)]
        return meet(report for report in reports if report is not None) if None not in reports else {}

    def _report(self, address: str, shard: str) -> VersionVector | None:
        if address != self._state.identity.address:
            return self._reports.vector(address, shard)
        role = self._state.roles.get(shard)
        return role.durable if role else None

    def unstable(self, dependencies: Dependencies) -> Dependencies:
        """The dependencies that some replica may still lack; none of a shard that is no more."""
        kept: Dependencies = {}
        for shard, vector in dependencies.items():
            stable = self.vector(shard)
            if rest := {writer: counter for writer, counter in vector.items() if counter > stable.get(writer, 0)}:
                kept[shard] = rest
        return kept

    def pruned(self, token: Token) -> Token:
        """
        The token without what is stable.

        It names this node's epoch, so that a replica on an older configuration, for which other members count, does
        not serve it before it knows better.
        """
        return Token(max(token.epoch, self._state.epoch), token.hlc, self.unstable(token.dependencies))

    def tick(self, now: float) -> None:
        """From time to time truncate logs and drop tombstones."""
        state = self._state
        if self._cleaned is None or now - self._cleaned >= state.limits.upkeep_seconds:
            self._cleaned = now
            self.refresh()
            for role in state.roles.values():
                self._clean(role)

    def _clean(self, role: Role) -> None:
        state, limits = self._state, self._state.limits
        dropped = role.log.truncate(self.vector(role.shard), limits.log_bytes, limits.log_drops)
        if dropped:
            state.out.keep(DropOps(role.writer, dropped))
        for tombstone in self.collectable(role, limits.log_drops):
            state.out.keep(role.collect(tombstone))
            state.dirty.add(role.shard)

    def collectable(self, role: Role, at_most: int) -> list[Row]:
        """
        The tombstones that can be dropped: everybody has them, and nothing older can still come.

        The second half: this replica has all that each member had written by the time of the report that shows the
        tombstone there; what a member writes later has a larger stamp.  And what the deletion depends on is stable in
        its own shard: a reader that finds nothing any more gets no dependencies with that.
        """
        shard, state = role.shard, self._state
        for address in state.members(shard):
            report = self._report(address, shard)
            writer = self._reports.writer(address, shard)
            if report is None or writer is None or role.vector.get(writer, 0) < report.get(writer, 0):
                return []
        stable = self.vector(shard)
        due = (
            row
            for row in role.store.tombstones.values()
            if row.counter <= stable.get(row.writer, 0) and not self.unstable(row.record.dependencies)
        )
        return list(islice(due, at_most))

    def unstable_count(self, role: Role) -> int:
        """How many writes of the role's shard some member is not known to have."""
        stable = self.vector(role.shard)
        return sum(counter - min(counter, stable.get(writer, 0)) for writer, counter in role.vector.items())
