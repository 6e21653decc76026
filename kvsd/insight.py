"""
What can be seen of a node from outside: who is up, who has what, and how it is doing.
"""

from collections.abc import Callable
from dataclasses import replace

from kvsd.replication.effects import Now
from kvsd.replication.placement import address_order
from kvsd.replication.replica import Replica
from kvsd.replication.reports import Reports
from kvsd.replication.role import Role
from kvsd.status import Status

FORKED = (
    "this replica of {shard} holds writes of a process that ran on a copy of the disk of {node}, and not those of {node}"
    " itself: it will not become equal to the others; start this node with an empty data directory"
)


ALONE = (
    "this node serves alone: since its start it has not heard {}; if its data is an old copy, what it acknowledges until then is"
    " lost; start those nodes, or start this one with --alone-after=never to have it wait for them"
)


class Insight:
    """Reads a replica's state and changes nothing."""

    def __init__(self, replica: Replica, now: Callable[[], Now], refusals: Callable[[], list[str]] = list) -> None:
        self._replica = replica
        self._state = replica.state
        self._now = now
        self._refusals = refusals
        self._started = now().monotonic

    def view(self) -> list[str]:
        """The nodes of the cluster that are up, sorted."""
        state, now = self._state, self._now().monotonic
        up = [*state.liveness.view(now), *state.invitations.view(now)]
        nodes = state.configuration.nodes if state.configuration else up
        return sorted((address for address in up if address in nodes), key=address_order)

    def names(self) -> set[str]:
        """Return the names of all nodes of the cluster, and of those that are no more and may still have something to say."""
        configuration = self._state.configuration
        return {*configuration.nodes, *(m.node for m in configuration.everyone())} if configuration else set()

    def shard_ids(self) -> list[str]:
        """The ids of all shards."""
        return self._state.configuration.shard_ids() if self._state.configuration else []

    def shard_of_node(self) -> str | None:
        """The shard that this node is a member of, None if it is of none."""
        configuration = self._state.configuration
        member = configuration.member(self._state.identity.address) if configuration else None
        return member.shard if member and not self._state.usurped else None

    def members(self, shard: str) -> list[str]:
        """The members of a shard and those that are becoming members, sorted; none for an unknown one."""
        return self._state.configuration.assigned(shard) if self._state.configuration else []

    def unready(self) -> list[str]:
        """Why this node can't serve, in words; nothing if it can."""
        reasons = [self._replica.routing.assignment.lacking() or self._meeting()]
        if self._state.disk.full:
            reasons.append("the disk is full: writes are refused")
        reasons += [
            FORKED.format(shard=shard, node=node) for shard, node in sorted(self._replica.broadcast.forked.items())
        ]
        if not self._state.stamps.are_trustworthy():
            reasons.append("this node's clock is too far ahead of its peers': writes are refused")
        return [reason for reason in [*reasons, *self._refusals()] if reason]

    def alone(self) -> str:
        """Return a sentence where this node serves though it has not heard some others since its start; empty as a rule."""
        assignment = self._replica.routing.assignment
        unmet = [] if assignment.lacking() else assignment.unmet()
        return ALONE.format(", ".join(unmet)) if unmet else ""

    def _meeting(self) -> str:
        """
        What a node that has just started still has to do: find out who is up, and fetch what it missed.

        Only for its first seconds: later, that a shard can't be reached is no fault of its own.
        """
        state, now = self._state, self._now().monotonic
        if now - self._started >= state.limits.down_seconds:
            return ""
        if not all(state.others(shard) or len(state.members(shard)) == 1 for shard in self.shard_ids()):
            return "this node has just started and is meeting its peers"
        if any(Reports(state).furthest(shard) != role.vector for shard, role in state.roles.items()):
            return "this node has just started and fetches what it missed"
        return ""

    def behind(self) -> list[str]:
        """The members of this node's shards that stay behind, in words."""
        now, me = self._now().monotonic, self._state.identity.address
        return [
            f"{'this node' if address == me else address} has lacked writes of {shard} for {now - since:.0f} s"
            for (address, shard), since in sorted(self._replica.laggards.behind.items())
        ]

    def waiting(self) -> list[dict[str, object]]:
        """The requests that wait here, and for what."""
        return self._replica.waiting.explained(self._now())

    def status(self) -> Status:
        """How the node is doing, in figures."""
        state, now = self._state, self._now().monotonic
        place = self.shard_of_node()
        role = state.roles.get(place) if place else None
        status = Status(
            epoch=state.epoch,
            peers={address: state.liveness.state(address, now) for address in state.liveness.peers},
            clock_ahead_ms=state.clocks.ahead_ms(),
            storage_full=state.disk.full,
            waiting=len(self._replica.waiting),
            members_behind=len(self._replica.laggards.behind),
            unconfirmed=len(self._replica.concerns),
            forwards_under_way=len(self._replica.forwards),
            forwards_total=self._replica.forwards.total,
            confirmed_total=self._replica.confirmations.total,
            dropped_ops=self._replica.broadcast.dropped,
        )
        return self._with_role(status, role, now) if role else status

    def _with_role(self, status: Status, role: Role, now: float) -> Status:
        oldest = role.holdback.oldest()
        lacks = role.reported.oldest(role.vector)
        return replace(
            status,
            shard=role.shard,
            live_keys=role.store.live_keys_in(self._owned(role.shard)),
            rows=len(role.store),
            tombstones=len(role.store.tombstones),
            conflicts=role.store.conflicts,
            log_ops=len(role.log),
            log_bytes=role.log.size,
            holdback_ops=role.holdback.count,
            holdback_bytes=role.holdback.bytes,
            holdback_oldest_seconds=now - oldest if oldest is not None else 0.0,
            lag_writes=self._lag(role),
            lag_seconds=now - lacks if lacks is not None else 0.0,
            unstable_writes=self._replica.stability.unstable_count(role),
        )

    def _owned(self, shard: str) -> list[tuple[int, int]]:
        return self._state.roster.owned.get(shard, []) if self._state.roster else []

    def _lag(self, role: Role) -> int:
        """How many writes peers report that this replica lacks."""
        furthest = Reports(self._state).furthest(role.shard)
        return sum(max(0, counter - role.vector.get(writer, 0)) for writer, counter in furthest.items())
