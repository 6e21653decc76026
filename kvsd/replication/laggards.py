"""
Laggards: members of this node's shards that stay behind.

From time to time a mark is set for each member: all that is known to be written in the shard.  Who reports to have that
is level with the mark, and gets the next one.  Who does not for long is behind, until it is level with a mark in time.
A member that is down is no laggard: it is told of as that.
"""

from collections.abc import Mapping

from kvsd.replication.causality import VersionVector, dominates
from kvsd.replication.reports import Reports
from kvsd.replication.state import State

Place = tuple[str, str]
"""A member's address, and a shard."""


class Laggards:
    """Watches whether the members keep up; times are monotonic seconds."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._reports = Reports(state)
        self._looked = 0.0
        self._marks: dict[Place, tuple[float, VersionVector]] = {}
        """For each member when its mark was set, and the mark."""
        self.behind: dict[Place, float] = {}
        """Who is behind, and since when."""

    def tick(self, now: float) -> None:
        """Look how far the members have come, now and then."""
        state = self._state
        if now - self._looked < state.limits.upkeep_seconds:
            return
        self._looked = now
        marks, self._marks = self._marks, {}
        for shard in state.roles:
            written = self._reports.furthest(shard)
            for address in state.members(shard):
                if state.liveness.state(address, now) in {"alive", "suspect"}:
                    since, mark = marks.get((address, shard), (now, written))
                    self._marks[address, shard] = self._judge((address, shard), since, mark, written)
        for place in self.behind.keys() - self._marks.keys():
            del self.behind[place]

    def _judge(
        self, place: Place, since: float, mark: VersionVector, written: VersionVector
    ) -> tuple[float, VersionVector]:
        """See whether a member is level with its mark, or late; returns when its mark was set, and the mark."""
        has: Mapping[bytes, int] = self._reports.vector(*place) or {}
        in_time = self._looked - since <= self._state.limits.behind_seconds
        address, shard = place
        if not dominates(has, mark):
            if not in_time and place not in self.behind:
                self.behind[place] = since
                lacks = sum(max(0, count - has.get(writer, 0)) for writer, count in written.items())
                self._state.out.note("member-behind", peer=address, shard=shard, lacks=lacks)
            return since, mark
        if in_time and self.behind.pop(place, None) is not None:
            self._state.out.note("member-caught-up", peer=address, shard=shard)
        return self._looked, written
