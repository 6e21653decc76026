"""The bounds and intervals of a replica, all in one place; every queue has one."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds in counts and bytes, intervals in seconds."""

    tick_seconds: float = 0.1
    heartbeat_seconds: float = 0.3

    suspect_seconds: float = 1.0
    """A peer that was silent for this long, or for longer than its heartbeats' jitter explains, is avoided."""
    down_seconds: float = 3.0
    """A node of which nobody has heard for this long leaves the view."""
    alone_seconds: float = 3.0
    """For so long a node that was started with data waits for nodes that it has not heard; infinite: until it has."""
    give_up_seconds: float = 5.0
    """Only a node of which nobody has heard for this long can be given up by force."""
    may_force: bool = True
    """Whether this node takes part in giving nodes up by force: one voter that does not is enough against it."""
    invite_seconds: float = 5.0
    """How often a node that was invited and not heard yet is asked for a sign of life, at the most."""
    invited_seconds: float = 600.0
    """For how long a node stays invited without being heard."""
    least_members: int = 1
    """How many replicas this node's default write concern asks for: a reshard that it is asked for makes no smaller shard."""
    damping_seconds: float = 2.0
    """A suspected peer is trusted again once its link has been good for this long."""

    moving_seconds: float = 30.0
    """For how long, beyond its time, an answer is waited for while something moves on a slow link to or from the peer."""
    forward_seconds: float = 4.0
    """
    How long a forwarded request may stay unanswered, on top of the time that its client is ready to wait.

    A member that falls silent is suspected sooner than that, and then the next one is asked at once.
    """
    concern_seconds: float = 5.0
    """For how long an acknowledgement waits for replicas, where its client said nothing of that."""
    moment_seconds: float = 0.1
    """How long a request waits unasked for writes that are on their way from nodes that are alive."""
    pull_grace_seconds: float = 0.2
    """How long a replica lets a push arrive before it pulls what a peer reports."""
    pull_timeout_seconds: float = 2.0
    attempt_seconds: float = 1.0
    """How long an attempt to have a configuration decided may take."""
    change_seconds: float = 10.0
    """How long a change of configuration may take that a client has asked for, before it is told to try again."""
    reshard_seconds: float = 30.0
    """How long whoever asked for a reshard waits for its hand-off; it goes on without that."""
    calm_seconds: float = 3.0
    """For how long after a change is in force its asker waits for all to have heard of it and to be done with it."""
    handoff_lag: int = 200
    """With so many writes to be fetched at the most, slots are handed off."""
    sweep_rows: int = 1_500
    """How many rows are looked at in a tick, whether they are needed."""
    held_envelopes: int = 200
    """How many envelopes with messages of a later configuration wait until that is known."""
    behind_seconds: float = 10.0
    """A member that lacks for longer than this what is known to be written is named as one that is behind."""
    upkeep_seconds: float = 1.0
    """How often tombstones are collected, and short logs truncated."""

    page_bytes: int = 128 * 1024
    page_seconds: float = 0.25
    """A page for a peer whose link is slow has as much as that carries in this time."""
    page_rows: int = 4_000
    """Of a copy: so much is worked off in some 20 ms, for which a client's request waits at the most."""
    page_requests: int = 2_000
    """How many of the latest requests with an id a copy brings along."""
    log_bytes: int = 64 * 1024 * 1024
    log_drops: int = 500
    """How many ops leave a log at a tick, or an eighth of it where that is more; and how many tombstones the store."""
    holdback_ops: int = 10_000
    holdback_bytes: int = 32 * 1024 * 1024
    body_bytes: int = 256 * 1024 * 1024
    """How many bytes of large bodies the node holds at once, in arrival, under way, waiting, forwarded or held."""
    waiters: int = 1_000
    waiter_bytes: int = 64 * 1024 * 1024
    """How many bytes of values the requests that wait may hold: a part of ``body_bytes``, as they may wait for a minute."""
    forwards: int = 10_000
    concerns: int = 10_000
    """How many acknowledgements wait for replicas."""
    requests: int = 65_536
    """How many recent requests with an id are remembered."""
    request_bytes: int = 32 * 1024 * 1024
    """About how much memory these may take: with long keys, ids and tokens fewer are remembered."""

    cache_bytes: int = 32 * 1024 * 1024
    """About how much memory the rows take that were used lately, for each replica."""
    copy_changes: int = 1_000_000
    """With more keys than that changed during a copy, it begins anew."""
    copy_ticks: int = 600
    """A copy that nobody goes on with for so many ticks is given up."""

    collected: int = 65_536
    """Of how many dropped tombstones the stamps are remembered."""

    clock_ahead_ms: int = 60_000
    """A node whose clock is further ahead of its peers' coordinates no writes: it would win every conflict."""
    stamp_ahead_ms: int = 7 * 86_400_000
    """A token whose stamp is this far ahead of this node's clock and of all that it has seen is refused."""
    counter_slack: int = 1_000_000
    """A token that names a write this far beyond all that was heard of can't be genuine."""
