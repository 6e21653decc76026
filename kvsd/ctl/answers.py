"""
The nodes' answers to an operator's questions, in the forms that ``docs/api.md`` gives them.

What a node may not know is null, and what it leaves out stands at its default, so that kvsctl gets along with nodes
of other versions.
"""

import msgspec


class NodeSeen(msgspec.Struct, rename="kebab", frozen=True):
    """How one node sees another: its state, the shard it belongs to, and what it is there."""

    state: str = "unknown"
    shard: str | None = None
    role: str = "none"


class ShardSeen(msgspec.Struct, rename="kebab", frozen=True):
    """The nodes of a shard, and how many keys it has; null where the asked node is no member."""

    members: list[str] = []
    learners: list[str] = []
    departed: list[str] = []
    keys: int | None = None


class Duty(msgspec.Struct, rename="kebab", frozen=True):
    """What a node does in the background: what it did last, seconds since then, and what it waits for."""

    last: str | None = None
    ago_s: float | None = None
    blocked_by: str | None = None


class Step(msgspec.Struct, rename="kebab", frozen=True):
    """A change that was forced: the epoch that it led to, and the nodes that were given up."""

    epoch: int
    given_up: list[str] = []


class Status(msgspec.Struct, rename="kebab", frozen=True):
    """A node's own state, and the cluster as it sees it."""

    address: str
    epoch: int = 0
    cluster: str = ""
    shard: str | None = None
    ready: bool = False
    forced: list[Step] = []
    reasons: list[str] = []
    nodes: dict[str, NodeSeen] = {}
    shards: dict[str, ShardSeen] = {}
    lag_writes: int = 0
    lag_s: float = 0.0
    holdback: int = 0
    unstable: int = 0
    waiting: int = 0
    duties: dict[str, Duty] = {}


class PlannedMove(msgspec.Struct, rename={"source": "from", "target": "to"}, frozen=True):
    """What one shard gives to another."""

    source: str
    target: str
    slots: int
    keys: int | None = None
    bytes: int | None = None


class FaultTolerance(msgspec.Struct, rename="kebab", frozen=True):
    """How many nodes may fail in the weakest shard while it still serves."""

    before: int | None = None
    after: int | None = None


class Plan(msgspec.Struct, rename="kebab", frozen=True):
    """What a reshard would do."""

    shard_count: int
    slots_to_move: int = 0
    least_slots: int | None = None
    keys_to_move: int | None = None
    bytes_to_move: int | None = None
    nodes_to_move: list[str] = []
    moves: list[PlannedMove] = []
    members: dict[str, list[str]] = {}
    fault_tolerance: FaultTolerance = FaultTolerance()

    @property
    def empty(self) -> bool:
        """Whether nothing would change its place."""
        return not self.slots_to_move and not self.nodes_to_move


MOVE_NAMES = {"source": "from", "target": "to", "rows_expected": "rows-expected", "eta_s": "eta-s"}


class Move(msgspec.Struct, rename=MOVE_NAMES, frozen=True):
    """How far one shard is with taking over slots of another."""

    source: str
    target: str
    tenure: int = 0
    slots: int = 0
    rows: int = 0
    rows_expected: int | None = None
    lag: int = 0
    rate: float | None = None
    eta_s: float | None = None
    stage: str = ""
    blocker: str | None = None


class Reshard(msgspec.Struct, rename="kebab", frozen=True):
    """How far a reshard is; rows are keys and tombstones, the rate is rows a second."""

    shard_count: int
    stage: str = ""
    epoch: int = 0
    seconds: float | None = None
    moves: list[Move] = []
    rows: int = 0
    rows_expected: int | None = None
    rate: float | None = None
    eta_s: float | None = None


class ReshardAnswer(msgspec.Struct, frozen=True):
    """The reshard that is under way, if there is one."""

    reshard: Reshard | None = None


class Loss(msgspec.Struct, frozen=True):
    """A writer of a node that was given up: how many of its writes were known, kept and lost; null: nobody knows."""

    shard: str
    node: str
    writer: str = ""
    known: int | None = None
    kept: int | None = None
    lost: int | None = None


class Losses(msgspec.Struct, frozen=True):
    """All that was given up."""

    losses: list[Loss] = []


class Found(msgspec.Struct, frozen=True):
    """A value that was read, as the JSON text that came."""

    value: msgspec.Raw
