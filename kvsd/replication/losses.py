"""
Losses: what is left of what a writer wrote whose disk is gone.

Nobody hears the writer any more, so what others have of its writes spreads and does not grow.  Once all who may have some
agree, the rest is gone for good, and a token that names it counts as met.  Until then somebody may still turn up with a
write that such a token speaks of.
"""

from collections.abc import Iterator

from kvsd.replication.causality import dominates
from kvsd.replication.configuration import Configuration, Member, Shard
from kvsd.replication.duty import Wait
from kvsd.replication.marks import Final
from kvsd.replication.placement import Tenure
from kvsd.replication.reports import Reports
from kvsd.replication.state import State

Shown = tuple[int, ...]
"""Up to which of its writes a shard was shown those of each lost writer of another one."""


class Losses:
    """Finds out what is left, by the reports of this epoch."""

    def __init__(self, state: State, wait: Wait) -> None:
        self._state = state
        self._reports = Reports(state)
        self._wait = wait

    @property
    def _configuration(self) -> Configuration:
        assert self._state.configuration is not None, "losses are those of a configuration"
        return self._state.configuration

    def kept(self, writer: bytes, shard: str) -> int | None:
        """Up to which of its writes a lost writer's shard has them; None while that is not certain."""
        held = self._held(writer, shard)
        if held is None:
            return None
        lost = self._lost(shard)
        for importer, tenure, _ in self._configuration.importers(shard):
            shown = self._shown(shard, importer, tenure)
            if shown is None or self._is_on_its_way(shard, importer, tenure, shown):
                return None
            if tenure not in self._configuration.tenures and shown[lost.index(writer)] > held:
                self._wait("settle", f"{importer} has more of {shard} than is left there, and does not serve it yet")
                return None
        return held

    def _held(self, writer: bytes, shard: str) -> int | None:
        """The number of a writer's writes that all have who may write in its shard; no learner may have more."""
        learners = self._configuration.shards.get(shard, Shard()).learners
        holders, others = set[int](), {0}
        for member in self._everyone(shard):
            report = self._reports.vector(member.node, shard)
            if report is None:
                self._wait("settle", f"{member.node} has not said what it has of {shard}")
                return None
            (others if member in learners else holders).add(report.get(writer, 0))
        if len(holders) > 1 or max(others) > max(holders, default=0):
            self._wait("settle", f"the members of {shard} have not yet told each other what they have")
            return None
        return holders.pop() if holders else 0

    def _shown(self, shard: str, importer: str, tenure: Tenure) -> Shown | None:
        """
        What all replicas of a shard that takes over writes were shown of its lost writers; None while they differ.

        What one of them alone was shown comes to the others, and may be more than is left in the writers' shard.
        """
        replicas = self._configuration.shards[importer].replicas()
        alike, departed = set[Shown](), set[Shown]()
        for member in self._everyone(importer):
            if self._reports.vector(member.node, importer) is None:
                self._wait("settle", f"{member.node} has not said what {importer} has of {shard}")
                return None
            (alike if member in replicas else departed).add(self._shown_to(member, shard, tenure))
        if len(alike) != 1 or any(_is_beyond(each, next(iter(alike))) for each in departed):
            self._wait("settle", f"the members of {importer} have not yet told each other what they have of {shard}")
            return None
        return alike.pop()

    def _is_on_its_way(self, shard: str, importer: str, tenure: Tenure, shown: Shown) -> bool:
        """Whether another source has been shown more, in an earlier tenure of the slots, and has not yet handed that on."""
        sources, lineage = self._origin(tenure)
        for other, since in sources.items():
            if other == shard or self._has_all_of(other, importer, tenure, since):
                continue
            for member in self._everyone(other):
                if self._reports.vector(member.node, other) is None:
                    self._wait("settle", f"{member.node} has not said what {other} has of {shard}")
                    return True
                if any(_is_beyond(self._shown_to(member, shard, earlier), shown) for earlier in lineage):
                    self._wait("settle", f"{importer} has not yet all that {other} has of {shard}")
                    return True
        return False

    def _has_all_of(self, source: str, importer: str, tenure: Tenure, since: int) -> bool:
        """Whether all replicas of a shard have all that a source of a tenure has."""
        final, furthest = Final(tenure, source, since), self._reports.furthest(source)
        marks = [self._reports.marks(m.node, importer) for m in self._configuration.shards[importer].replicas()]
        return all(final in each.final or dominates(each.covered(tenure, source), furthest) for each in marks)

    def _shown_to(self, member: Member, shard: str, tenure: Tenure) -> Shown:
        covered = self._reports.marks(member.node, member.shard).covered(tenure, shard)
        return tuple(covered.get(writer, 0) for writer in self._lost(shard))

    def _origin(self, tenure: Tenure) -> tuple[dict[str, int], tuple[Tenure, ...]]:
        """The shards that may still have writes for a tenure, each with the epoch since when, and its earlier tenures."""
        configuration = self._configuration
        if tenancy := configuration.tenures.get(tenure):
            return tenancy.sources, tuple(tenancy.lineage)
        moves = configuration.pending.moves if configuration.pending else ()
        move = next(move for move in moves if move.tenure == tenure)
        return configuration.sources(move), tuple(move.lineage)

    def _lost(self, shard: str) -> list[bytes]:
        """The writers of a shard whose disks are gone, be it settled what is left or not."""
        return [writer for writer, loss in self._configuration.lost.items() if loss.shard == shard]

    def _everyone(self, shard: str) -> Iterator[Member]:
        """All who may have writes of a shard: not who departed without ever having known that it was a member."""
        replicas = self._configuration.shards.get(shard, Shard())
        return (m for m in replicas.everyone() if m not in replicas.departed or not self._reports.owes_nothing(m))


def _is_beyond(one: Shown, other: Shown) -> bool:
    """Whether anything of the one is more than in the other."""
    return any(mine > theirs for mine, theirs in zip(one, other, strict=True))
