"""
What an operator wants to see: the cluster as this node knows it, what is being done to it, and what would be.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import NamedTuple

from kvsd.insight import Insight
from kvsd.replication.branches import Forced
from kvsd.replication.configuration import Configuration, Move, Shard
from kvsd.replication.dealing import Layout, check_members, deal
from kvsd.replication.effects import Now
from kvsd.replication.placement import address_order
from kvsd.replication.replica import Replica
from kvsd.replication.state import nodes_in_view

Fields = dict[str, object]


class Stretch(NamedTuple):
    """Slots on their way: to a tenure at a shard, from a shard; ``pending`` until they are handed off."""

    tenure: int
    source: str
    target: str
    slots: tuple[int, ...]
    pending: bool


class Oversight:
    """Reads a replica's state and changes nothing."""

    def __init__(self, replica: Replica, insight: Insight, now: Callable[[], Now]) -> None:
        self._replica = replica
        self._insight = insight
        self._state = replica.state
        self._now = now

    # The cluster

    def status(self) -> Fields:
        """The node, the nodes, the shards and the background duties."""
        state, figures, reasons = self._state, self._insight.status(), self._insight.unready()
        configuration = state.configuration
        return {
            "address": state.identity.address,
            "instance": state.identity.instance.hex(),
            "cluster": configuration.cluster if configuration else "",
            "epoch": state.epoch,
            "shard": self._insight.shard_of_node(),
            "fenced": state.fenced or None,
            "forced": [_forced(step) for step in configuration.forced] if configuration else [],
            "ready": not reasons,
            "reasons": reasons,
            "nodes": self._nodes(configuration) if configuration else {},
            "shards": self._shards(configuration) if configuration else {},
            "lag-writes": figures.lag_writes,
            "lag-s": round(figures.lag_seconds, 3),
            "holdback": figures.holdback_ops,
            "unstable": figures.unstable_writes,
            "waiting": figures.waiting,
            "driver": self._replica.duties.driver(),
            "duties": self._duties(),
        }

    def _nodes(self, configuration: Configuration) -> Fields:
        now, liveness = self._now().monotonic, self._state.liveness
        return {
            address: {
                "state": "invited" if address in self._state.invitations else liveness.state(address, now),
                "shard": place.shard if (place := configuration.member(address)) else None,
                "role": _role(configuration.shards.values(), address),
            }
            for address in sorted(configuration.nodes, key=address_order)
        }

    def _shards(self, configuration: Configuration) -> Fields:
        return {
            name: {
                "members": configuration.members(name),
                "learners": [member.node for member in configuration.shards[name].learners],
                "departed": [member.node for member in configuration.shards[name].departed],
                "keys": self._keys(name),
            }
            for name in configuration.shard_ids()
        }

    def _keys(self, shard: str) -> int | None:
        role, roster = self._state.serving(shard), self._state.roster
        return role.store.live_keys_in(roster.owned.get(shard, ())) if role and roster else None

    def _duties(self) -> Fields:
        now = self._now().monotonic
        return {
            name: {
                "last": duty.last or None,
                "ago-s": round(now - duty.at, 1) if duty.last else None,
                "blocked-by": duty.blocked or None,
            }
            for name, duty in self._replica.duties.log.items()
        }

    def losses(self) -> list[Fields]:
        """The writers whose disks are gone, and what of their writes is left."""
        lost = self._state.configuration.lost if self._state.configuration else {}
        return [
            {
                "shard": loss.shard,
                "node": loss.node,
                "writer": writer.hex(),
                "known": loss.known,
                "kept": loss.kept,
                "lost": None if loss.kept is None else max(0, loss.known - loss.kept),
            }
            for writer, loss in sorted(lost.items())
        ]

    # Reshards

    def plan(self, shard_count: int) -> tuple[Configuration, Layout]:
        """
        What a reshard would come to, and the configuration that it starts from.

        Raises ConfigurationError where it can't be, or where this node knows no configuration.
        """
        assert self._state.configuration is not None, "a node that knows no configuration is not asked"
        layout = deal(self._state.configuration, shard_count, self._replica.duties.live(), nodes_in_view(self._state))
        check_members(layout, self._state.limits.least_members)
        return self._state.configuration, layout

    def stretches(self) -> list[Stretch]:
        """What is on its way, or was handed off and may still lack late writes."""
        configuration = self._state.configuration
        if configuration is None:
            return []
        moves: tuple[Move, ...] = configuration.pending.moves if configuration.pending else ()
        found = [Stretch(m.tenure, m.source, m.target, m.slots, pending=True) for m in moves]
        for tenure, tenancy in configuration.tenures.items():
            slots = tuple(slot for slot, owner in enumerate(configuration.slots) if owner == tenure)
            found += [Stretch(tenure, source, tenancy.shard, slots, pending=False) for source in tenancy.sources]
        return found

    def is_pending(self) -> bool:
        """Whether a reshard is being prepared, which may also move nodes alone."""
        return self._state.configuration is not None and self._state.configuration.pending is not None

    def stage(self, stretch: Stretch) -> str:
        """How far it is: ``copy``, ``tail`` or ``drain``."""
        if not stretch.pending:
            return "drain"
        reports, members = self._replica.duties.reports, self._state.members(stretch.target)
        ready = any(stretch.tenure in reports.marks(address, stretch.target).ready for address in members)
        return "tail" if ready else "copy"

    def lag(self, stretch: Stretch) -> int:
        """How many writes of the source the target has not looked at."""
        reports, members = self._replica.duties.reports, self._state.members(stretch.target)
        furthest = reports.furthest(stretch.source)
        shown = [reports.marks(a, stretch.target).covered(stretch.tenure, stretch.source) for a in members]
        lags = [sum(max(0, n - cover.get(writer, 0)) for writer, n in furthest.items()) for cover in shown]
        return min(lags, default=0)

    def blocker(self, stretch: Stretch) -> str | None:
        """What keeps it from going on, in words; None if nothing does."""
        for shard, what in ((stretch.source, "give"), (stretch.target, "take over")):
            if not self._state.others(shard) and self._state.serving(shard) is None and self._state.members(shard):
                return f"no member of {shard} is up, which is to {what} the keys"
        if stretch.pending:
            return None
        departed = self._shard(stretch.source).holders()
        down = [m.node for m in departed if m.node != self._state.identity.address and not self._state.usable(m.node)]
        return f"{down[0]} is down and may have writes that nobody else has" if down else None

    def _shard(self, name: str) -> Shard:
        return self._state.roster.shard(name) if self._state.roster else Shard()

    def reshard(self) -> Fields:
        """The reshard that is under way, but for its moves: to how many shards, since when."""
        configuration = self._state.configuration
        assert configuration is not None, "what is under way is so in a configuration"
        pending, began = configuration.pending, self._replica.imports.began
        return {
            "shard-count": pending.shard_count if pending else len(configuration.shard_ids()),
            "stage": "copy" if pending else "drain",
            "epoch": configuration.epoch,
            "seconds": round(self._now().monotonic - began[1], 1) if began else None,
        }


def _forced(step: Forced) -> Fields:
    return {"epoch": step.epoch, "given-up": [address for address, _ in step.given_up], "voters": step.voters}


def _role(shards: Iterable[Shard], address: str) -> str:
    """What a node is, in a word."""
    places: Counter[str] = Counter()
    for shard in shards:
        for name, members in (("member", shard.members), ("learner", shard.learners), ("departed", shard.departed)):
            places[name] += any(member.node == address for member in members)
    return next((name for name in ("member", "learner", "departed") if places[name]), "none")
