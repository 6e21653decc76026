"""
Who has what, as far as this node knows: by the vectors that members report, and because a writer has what it wrote.
"""

from kvsd.replication.causality import VersionVector, dominates, join
from kvsd.replication.configuration import Member, addresses
from kvsd.replication.marks import NO_MARKS, Marks
from kvsd.replication.state import State


class Reports:
    """The vectors that members reported on this node's configuration."""

    def __init__(self, state: State) -> None:
        self._state = state

    def vector(self, address: str, shard: str) -> VersionVector | None:
        """The vector that a replica last reported, None if it reported none in this epoch; what is durable, for this node."""
        state = self._state
        if address == state.identity.address:
            role = state.roles.get(shard)
            return role.durable if role else None
        peer = state.liveness.peers.get(address)
        return peer.vectors.get(shard) if peer and peer.epoch == state.epoch else None

    def marks(self, address: str, shard: str) -> Marks:
        """The marks that a replica last reported; those that are durable, for this node."""
        state = self._state
        if address == state.identity.address:
            role = state.roles.get(shard)
            return role.durable_marks if role else NO_MARKS
        peer = state.liveness.peers.get(address)
        return peer.marks.get(shard, NO_MARKS) if peer and peer.epoch == state.epoch else NO_MARKS

    def writer(self, address: str, shard: str) -> bytes | None:
        """The writer that a node is in a shard, if that is known."""
        return self._state.roster.writer_of.get((address, shard)) if self._state.roster else None

    def holds(self, address: str, shard: str, needed: VersionVector) -> bool:
        """Whether a member is known to have what is needed: by its report, or because it wrote it."""
        known = dict(self.vector(address, shard) or {})
        writer = self.writer(address, shard)
        if writer in needed:
            join(known, {writer: needed[writer]})
        return dominates(known, needed)

    def everyone(self, shard: str) -> list[str]:
        """All that may have writes of a shard."""
        roster = self._state.roster
        return addresses(roster.shard(shard).everyone()) if roster else []

    def owes_nothing(self, departed: Member) -> bool:
        """
        Whether a departed member never had such a role, having been cut off while it was a member.

        It says in this configuration that it has none, and nobody remembers that it had: its disk may be an old copy.
        """
        state = self._state
        if self._recalled(departed.writer):
            return False
        if departed.node == state.identity.address:
            return departed.shard not in state.roles
        peer = state.liveness.peers.get(departed.node)
        spoke = peer is not None and peer.epoch == state.epoch and peer.instance == departed.instance
        return spoke and peer is not None and peer.met and departed.shard not in peer.vectors

    def _recalled(self, writer: bytes) -> bool:
        """Whether anybody remembers that this replica ever said to hold anything."""
        return any(
            peer.reported.get(writer) or peer.recalls.get(writer) for peer in self._state.liveness.peers.values()
        )

    def furthest(self, shard: str) -> VersionVector:
        """All that is known to have been written in a shard."""
        role = self._state.roles.get(shard)
        furthest = dict(role.vector) if role else {}
        for member in self._state.roster.shard(shard).everyone() if self._state.roster else ():
            join(furthest, self.vector(member.node, shard) or {})
        return furthest

    def up(self) -> set[str]:
        """The nodes of the cluster that are up, as far as this node knows."""
        me, nodes = self._state.identity.address, self._state.configuration.nodes if self._state.configuration else {}
        return {address for address in nodes if address == me or self._state.usable(address)}
