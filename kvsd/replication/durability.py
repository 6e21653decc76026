"""
What of a node's state is on its disk by now.
"""

from kvsd.replication.limits import Limits
from kvsd.replication.outbox import Outbox
from kvsd.replication.role import Role


class Durability:
    """Keeps what changed in an event with that event's write, and notices when the disk is done with it."""

    def __init__(self, out: Outbox, roles: dict[str, Role], dissolving: list[Role], limits: Limits) -> None:
        self._out = out
        self._roles = roles
        self._dissolving = dissolving
        self._limits = limits
        self._writing_since: float | None = None
        self._adopted: list[tuple[int, int]] = []
        self.dirty: set[str] = set()
        """The shards whose vectors changed in this event."""
        self.epoch = 0
        """The epoch of the configuration that is on disk: what others are told to be in force here."""
        self.full = False
        """Whether the disk has no room left."""

    def adopted(self, position: int, epoch: int) -> None:
        """A configuration is kept with the write of a position."""
        self._adopted.append((position, epoch))

    def keep_vectors(self, now: float) -> None:
        """Keep, with this event's write, the vectors that changed in it, and how much there is in each slot."""
        for shard in sorted(self.dirty):
            if role := self._roles.get(shard):
                self._out.keep_all(role.changes(self._out.written + 1))
        for role in self._dissolving:
            self._out.keep_all(role.counts())
        self.dirty.clear()
        if self._writing_since is None and self._out.position > self._out.written:
            self._writing_since = now

    def synced(self, position: int, now: float) -> None:
        """Everything up to a position is durable."""
        self._writing_since = None if position == self._out.written else now
        for role in (*self._roles.values(), *self._dissolving):
            role.synced(position)
        while self._adopted and self._adopted[0][0] <= position:
            self.epoch = self._adopted.pop(0)[1]

    def is_stuck(self, now: float) -> bool:
        """Whether the disk has been at a write for so long that this node should not pass for one that works."""
        since = self._writing_since
        return since is not None and not self.full and now - since > self._limits.suspect_seconds
