"""
How a node is doing, in figures.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Status:
    """
    A moment of a node's life.

    What is said of a replica stands at its default where the node is a member of no shard.
    """

    epoch: int = 0
    """The configuration that is in force here."""
    shard: str | None = None

    live_keys: int = 0
    rows: int = 0
    tombstones: int = 0
    conflicts: int = 0
    """Concurrent writes of one key that had to be settled here, since the node was started."""
    log_ops: int = 0
    log_bytes: int = 0

    holdback_ops: int = 0
    """Writes that arrived before something they depend on."""
    holdback_bytes: int = 0
    holdback_oldest_seconds: float = 0.0
    lag_writes: int = 0
    """Writes that peers report and this replica lacks."""
    lag_seconds: float = 0.0
    """For how long the oldest of these has been missing."""
    unstable_writes: int = 0
    """Writes of which it is not known yet that every member of the shard has them."""
    dropped_ops: int = 0
    """Writes that arrived and were let go for want of room; they are fetched again."""

    members_behind: int = 0
    """Members of its shards that lack what was written more than ten seconds ago, maybe itself among them."""
    waiting: int = 0
    unconfirmed: int = 0
    """Writes that were carried out here and wait until enough replicas have them."""
    forwards_under_way: int = 0
    forwards_total: int = 0
    confirmed_total: int = 0
    """Answers of other nodes that were given again, as these said that they are still so."""

    peers: dict[str, str] = field(default_factory=dict)
    """Each other node by its address: alive, suspect, down or unknown."""
    clock_ahead_ms: int = 0
    """How far this node's clock is ahead of its peers' clocks."""
    storage_full: bool = False
