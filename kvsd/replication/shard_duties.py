"""
Duties towards shards: learners become members, slots are handed off, sources and the departed are done with.
"""

from collections.abc import Iterator, Mapping
from functools import partial

from kvsd.replication import changes, resharding
from kvsd.replication.configuration import Configuration, Member
from kvsd.replication.duty import Step, Wait
from kvsd.replication.marks import Final
from kvsd.replication.reports import Reports
from kvsd.replication.state import State

STUCK_SECONDS = 10.0
"""For how long a reshard may find nobody to go on with before it is given up."""
SEEN_SECONDS = 2.0
"""Who has not looked for this long has not seen that it was like that all the time."""


class ShardDuties:
    """What should follow for the sake of shards."""

    def __init__(self, state: State, wait: Wait) -> None:
        self._state = state
        self._reports = Reports(state)
        self._wait = wait
        self._stuck: tuple[int, float, float] | None = None
        """The reshard that finds nobody to go on with (its epoch), since when, and when that was last seen."""

    @property
    def _configuration(self) -> Configuration:
        assert self._state.configuration is not None, "duties are seen to in a configuration"
        return self._state.configuration

    def promote(self) -> Iterator[Step]:
        """Make learners members that have all that a member had."""
        for shard, replicas in self._configuration.shards.items():
            for member in replicas.learners:
                if self._is_whole(member):
                    yield (
                        f"made {member.node} a member of {shard}",
                        partial(changes.promote, self._configuration, member),
                    )
                else:
                    self._wait("promote", f"{member.node} has not yet all of {shard}")

    def _is_whole(self, member: Member) -> bool:
        """Whether a learner has said that it has all, and is as good as level with the members."""
        state = self._state
        if member.node == state.identity.address:
            role = state.roles.get(member.shard)
            return role is not None and role.whole
        peer, report = state.liveness.peers.get(member.node), self._reports.vector(member.node, member.shard)
        if peer is None or report is None or member.shard in peer.partial:
            return False
        return _behind(report, self._reports.furthest(member.shard)) <= state.limits.handoff_lag

    def hand_off(self, now: float) -> Iterator[Step]:
        """Hand slots off once they are copied; give a reshard up that nobody can go on with."""
        pending = self._configuration.pending
        if pending is None:
            return
        waits = [why for move in pending.moves for why in self._unready(move.source, move.target, move.tenure)]
        learners = [member for shard in self._configuration.shards.values() for member in shard.learners]
        joining = [member for member in pending.join if member in learners and member.node in self._reports.up()]
        waits += [f"{member.node} is still copying {member.shard}" for member in joining]
        hopeless = [why for move in pending.moves for why in self._hopeless(move.source, move.target)]
        if not waits:
            yield "handed slots off", partial(resharding.hand_off, self._configuration, self._reports.up())
            hopeless = ["its hand-off is refused"]
        else:
            self._wait("hand-off", waits[0])
        if self._is_stuck(pending.started, now, hopeless=bool(hopeless)):
            yield f"gave up the reshard, as {hopeless[0]}", partial(resharding.abort, self._configuration)

    def _is_stuck(self, started: int, now: float, *, hopeless: bool) -> bool:
        """Whether a reshard has found nobody to go on with for long, under the eyes of this node."""
        if not hopeless:
            self._stuck = None
            return False
        if self._stuck is None or self._stuck[0] != started or now - self._stuck[2] > SEEN_SECONDS:
            self._stuck = (started, now, now)
        self._stuck = (started, self._stuck[1], now)
        return now - self._stuck[1] >= STUCK_SECONDS

    def _unready(self, source: str, target: str, tenure: int) -> Iterator[str]:
        """Why a move can't be handed off yet: two live members, or the only one, must have copied it."""
        up = [address for address in self._state.members(target) if address in self._reports.up()]
        ready = [a for a in up if tenure in self._reports.marks(a, target).ready]
        if len(ready) < min(2, max(1, len(up))):
            yield f"{target} is still copying from {source}"
            return
        lag = min(self._lag(address, source, target, tenure) for address in ready)
        if lag > self._state.limits.handoff_lag:
            yield f"{target} is {lag} writes behind {source}"

    def _lag(self, address: str, source: str, target: str, tenure: int) -> int:
        return _behind(self._reports.marks(address, target).covered(tenure, source), self._reports.furthest(source))

    def _hopeless(self, source: str, target: str) -> Iterator[str]:
        for shard in (source, target):
            if not self._reports.up().intersection(self._state.members(shard)):
                yield f"no member of {shard} is up"

    def drain(self) -> Iterator[Step]:
        """Be done with the sources of which nothing can come any more."""
        for tenure, tenancy in sorted(self._configuration.tenures.items()):
            for source, since in sorted(tenancy.sources.items()):
                final = Final(tenure, source, since)
                replicas = self._configuration.shards[tenancy.shard].replicas()
                lacking = [m.node for m in replicas if final not in self._reports.marks(m.node, tenancy.shard).final]
                if lacking:
                    self._wait("drain", f"{lacking[0]} may still lack writes of {source}")
                else:
                    yield (
                        f"{tenancy.shard} has all of {source}",
                        partial(resharding.drain_source, self._configuration, tenure, source),
                    )

    def retire(self) -> Iterator[Step]:
        """Strike out the departed whose writes all others have."""
        for name, shard in sorted(self._configuration.shards.items()):
            for member in shard.departed:
                if self._configuration.importers(name):
                    self._wait("retire", f"others may still lack writes of {name}")
                elif self._is_drained(member):
                    yield f"{member.node} has left {name}", partial(changes.drain_departed, self._configuration, member)
                else:
                    self._wait("retire", f"{member.node} may have writes of {name} that nobody else has")

    def _is_drained(self, member: Member) -> bool:
        """Whether all replicas have all that a departed member wrote."""
        shard, writer = member.shard, member.writer
        own = self._reports.vector(member.node, shard)
        if own is None:
            return self._reports.owes_nothing(member)
        replicas = [m for m in self._configuration.shards[shard].replicas() if m != member]
        reports = [self._reports.vector(m.node, shard) for m in replicas]
        return all(report is not None and report.get(writer, 0) >= own.get(writer, 0) for report in reports)


def _behind(vector: Mapping[bytes, int], furthest: Mapping[bytes, int]) -> int:
    """How many writes a vector lacks."""
    return sum(max(0, counter - vector.get(writer, 0)) for writer, counter in furthest.items())
