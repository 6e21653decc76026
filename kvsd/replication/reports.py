"""
Who has what, as far as this node knows: by the vectors that members report, and because a writer has what it wrote.
"""

from kvsd.replication.causality import VersionVector, dominates, join
from kvsd.replication.state import State


class Reports:
    """The vectors that members reported on this node's configuration."""

    def __init__(self, state: State) -> None:
        self._state = state

    def vector(self, address: str, shard: str) -> VersionVector | None:
        """The vector that a member last reported, None if it reported none in this epoch."""
        peer = self._state.liveness.peers.get(address)
        return peer.vectors.get(shard) if peer and peer.epoch == self._state.epoch else None

    def writer(self, address: str, shard: str) -> bytes | None:
        """The writer that a node is in a shard, if that is known."""
        members = self._state.writers.items()
        return next((writer for writer, m in members if (m.node, m.shard) == (address, shard)), None)

    def holds(self, address: str, shard: str, needed: VersionVector) -> bool:
        """Whether a member is known to have what is needed: by its report, or because it wrote it."""
        known = dict(self.vector(address, shard) or {})
        writer = self.writer(address, shard)
        if writer in needed:
            join(known, {writer: needed[writer]})
        return dominates(known, needed)

    def furthest(self, shard: str) -> VersionVector:
        """All that is known to have been written in a shard."""
        role = self._state.roles.get(shard)
        furthest = dict(role.vector) if role else {}
        for address in self._state.members(shard):
            join(furthest, self.vector(address, shard) or {})
        return furthest
