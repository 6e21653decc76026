"""
What of a token's past a replica has to have for a key, and what of that it lacks.

It is the writes of the replica's own shard, and those of shards that the key's slot came from, as long as these may
still have some that were not taken over.  All else has no bearing on the key and is never waited for.
"""

from collections.abc import Mapping

from kvsd.replication.causality import Dependencies, dominates, join, missing
from kvsd.replication.marks import Final, Marks
from kvsd.replication.placement import Tenure
from kvsd.replication.reports import Reports
from kvsd.replication.role import Role
from kvsd.replication.state import State
from kvsd.replication.token import Token


class Past:
    """Judges tokens by the configuration in force."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._reports = Reports(state)

    def needed(self, tenure: Tenure, token: Token) -> Dependencies:
        """What a replica of a tenure's shard has to have for a token; not what is lost for good."""
        configuration = self._state.configuration
        assert configuration is not None, "tokens are judged in a configuration"
        tenancy = configuration.tenures[tenure]
        needed: Dependencies = {}
        for shard in {tenancy.shard, *tenancy.sources} & token.dependencies.keys():
            for writer, counter in token.dependencies[shard].items():
                loss = configuration.lost.get(writer)
                left = counter if loss is None or loss.kept is None else min(counter, loss.kept)
                if left:
                    needed.setdefault(shard, {})[writer] = left
        return needed

    def lacking(self, role: Role, tenure: Tenure, token: Token) -> Dependencies:
        """What this node's role lacks of that."""
        assert self._state.configuration is not None, "tokens are judged in a configuration"
        tenancy = self._state.configuration.tenures[tenure]
        if not tenancy.sources and dominates(role.vector, token.dependencies.get(tenancy.shard, {})):
            return {}  # as a rule, and quickly told
        needed = self.needed(tenure, token)
        return self._beyond(tenure, needed, role.vector, role.marks) if needed else {}

    def holds(self, address: str, tenure: Tenure, token: Token) -> bool:
        """Whether a member is known to have all of that: by its report, or because it wrote it."""
        needed = self.needed(tenure, token)
        shard = self._shard(tenure)
        known = dict(self._reports.vector(address, shard) or {})
        writer = self._reports.writer(address, shard)
        own = needed.get(shard, {})
        if writer in own:
            join(known, {writer: own[writer]})
        return not self._beyond(tenure, needed, known, self._reports.marks(address, shard))

    def is_ready(self, marks: Marks, tenure: Tenure) -> bool:
        """Whether a replica with these marks has a complete copy of a tenure."""
        assert self._state.configuration is not None, "tokens are judged in a configuration"
        return not self._state.configuration.tenures[tenure].lineage or tenure in marks.ready

    def _shard(self, tenure: Tenure) -> str:
        assert self._state.configuration is not None, "tokens are judged in a configuration"
        return self._state.configuration.tenures[tenure].shard

    def _beyond(self, tenure: Tenure, needed: Dependencies, vector: Mapping[bytes, int], marks: Marks) -> Dependencies:
        assert self._state.configuration is not None, "tokens are judged in a configuration"
        tenancy = self._state.configuration.tenures[tenure]
        lacking: Dependencies = {}
        for shard, entries in needed.items():
            rest = {}
            if shard == tenancy.shard and not dominates(vector, entries):
                rest = missing(vector, entries)
            since = tenancy.sources.get(shard)
            if since is not None and Final(tenure, shard, since) not in marks.final:
                join(rest, missing(marks.covered(tenure, shard), entries))
            if rest:
                lacking[shard] = rest
        return lacking
