"""
Anti-entropy: a replica pulls what a peer reports and it lacks.

A pull carries the puller's vector; the answer is the ops beyond it, in the order in which the donor applied them.
Where the donor's log no longer reaches back that far, the answer is a copy of the rows beyond it, in pages that the
puller sets aside and takes over at once after the last one: a part of a copy may lack versions that were superseded,
and is no causal cut.  A member, which has most of it, sets them aside in memory.  A learner asks for a copy of all, and
has it written page by page under a name of its own, by which nobody knows it: taking it over is then a small thing.
What comes of a copy that is given up is forgotten little by little, as it is after a crash; another one begins anew.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from kvsd.replication.causality import VersionVector, copy_id, dominates, missing
from kvsd.replication.limits import Limits
from kvsd.replication.messages import Pull, PullOps, PullRows
from kvsd.replication.record import Row
from kvsd.replication.reports import Reports
from kvsd.replication.role import Role
from kvsd.replication.slow_ways import SlowWays
from kvsd.replication.state import State


@dataclass
class Pulling:
    """A pull under way: for whom, from whom, beyond what, since when (monotonic seconds), where it is, and the rows so far."""

    id: int
    role: Role
    peer: str
    vector: VersionVector
    since: float
    cursor: int = 0
    rows: list[Row] = field(default_factory=list)
    refused: bool = False
    """Whether the peer gave nothing, as much is on its way from it already."""

    def is_late(self, now: float, limits: Limits, slow_ways: SlowWays) -> bool:
        """Return True if no answer is to be expected any more, or the peer may have room for it by now."""
        waited = now - self.since
        if self.refused:
            moving = slow_ways.is_moving(self.peer, now, 2 * limits.heartbeat_seconds)
            return waited > limits.moving_seconds or not moving
        return slow_ways.is_overdue(self.peer, waited - limits.pull_timeout_seconds, now)


class AntiEntropy:
    """Pulls for this node's roles, one at a time for each.  See :mod:`kvsd.replication.giving` for the other side."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._reports = Reports(state)
        self._pulling: dict[str, Pulling] = {}
        self._turn = 0
        self._last_id = state.identity.boot << 32

    def tick(self, now: float) -> None:
        """Pull for every role that has known for a while that it lacks something."""
        for pulling in list(self._pulling.values()):
            late = pulling.is_late(now, self._state.limits, self._state.slow_ways)
            if late or self._state.roles.get(pulling.role.shard) is not pulling.role:
                self._give_up(pulling)
        for role in self._state.roles.values():
            self._judge_learner(role)
            since = self._lacks_since(role, now)
            late = since is not None and now - since >= self._state.limits.pull_grace_seconds
            if late and role.shard not in self._pulling:  # else the turn would pass without anybody being asked
                self.pull(role, self._donors(role), now)

    def _judge_learner(self, role: Role) -> None:
        """
        See whether a learner has all by now that a member had in this configuration.

        Only then may it serve: what it has not got, tokens may lack since before it counted for stability.
        """
        reports = (self._reports.vector(address, role.shard) for address in self._state.members(role.shard))
        if not role.whole and role.target is None:
            role.target = next((report for report in reports if report is not None), None)
        if not role.whole and role.target is not None:
            role.whole = role.copy is None and dominates(role.durable, role.target)

    def _lacks_since(self, role: Role, now: float) -> float | None:
        for address in self._reports.everyone(role.shard):
            if address == self._state.identity.address:
                continue
            reported = self._reports.vector(address, role.shard)
            if not reported or reported == role.vector:  # as a rule, and quickly told
                continue
            for writer, counter in missing(role.vector, reported).items():
                role.reported.note(role.vector, writer, counter, now)
        since = [role.reported.oldest(role.vector), role.holdback.oldest()]
        return min((at for at in since if at is not None), default=None)

    def _donors(self, role: Role) -> list[str]:
        """The members to ask, those that report something missing first, in turns."""
        others = [address for address in self._reports.everyone(role.shard) if self._state.usable(address)]
        self._turn += 1
        turn = self._turn % len(others) if others else 0
        return sorted(others[turn:] + others[:turn], key=lambda address: self._useless(role, address))

    def _useless(self, role: Role, address: str) -> bool:
        return dominates(role.vector, self._reports.vector(address, role.shard) or {})

    def pull(self, role: Role, donors: Sequence[str], now: float) -> None:
        """Pull from the first of the donors that can be used, unless a pull is under way."""
        if role.shard in self._pulling or self._state.disk.full:
            return
        donor = next((address for address in donors if self._state.usable(address)), None)
        if donor:
            self._ask(role, donor, dict(role.vector), now)

    def _ask(self, role: Role, donor: str, vector: VersionVector, now: float) -> None:
        self._last_id += 1
        self._pulling[role.shard] = Pulling(self._last_id, role, donor, vector, now)
        self._state.out.send(donor, Pull(self._last_id, role.shard, vector))

    def abandon(self, peer: str) -> None:
        """Give up pulls from a peer that can't be used any more."""
        for pulling in list(self._pulling.values()):
            if pulling.peer == peer:
                self._give_up(pulling)

    def _give_up(self, pulling: Pulling) -> None:
        """Be done with a pull; what has come of a copy is forgotten."""
        del self._pulling[pulling.role.shard]
        copy, pulling.role.copy = pulling.role.copy, None
        if copy:
            self._state.dissolving.append(copy)

    def pulled_ops(self, peer: str, message: PullOps, *, applied: bool, now: float) -> None:
        """Be done with a pull after its ops were delivered, or go on at once where that led anywhere."""
        pulling = self._pulling.get(message.shard)
        if pulling is None or pulling.id != message.id:
            return
        if not message.ops and self._state.slow_ways.is_moving(peer, now):
            pulling.since, pulling.refused = now, True
            return
        del self._pulling[message.shard]
        if message.more and applied:
            self.pull(self._state.roles[message.shard], [peer], now)

    def pulled_rows(self, peer: str, message: PullRows, now: float) -> Role | None:
        """Set a page aside; after the last one take the copy over and return the role that it changed."""
        role, pulling = self._state.roles.get(message.shard), self._pulling.get(message.shard)
        if pulling is None or (pulling.id, pulling.role, pulling.cursor) != (message.id, role, message.start):
            return None
        role = pulling.role
        if self._state.disk.full or (role.whole and not self._is_credible(message)):
            self._give_up(pulling)
            return None
        if not (role.whole or message.start):
            if pulling.vector:  # there are no such ops any more: a learner takes a copy of all
                self._ask(role, peer, {}, now)
                return None
            role.copy = self._state.new_role("", copy_id(role.writer, pulling.id))
        pulling.cursor, pulling.since = message.cursor, now
        self._set_aside(pulling, message)
        if message.cursor:
            vector = {} if role.copy else dict(role.vector)
            self._state.out.send(peer, Pull(message.id, role.shard, vector, message.copy, message.cursor))
            return None
        return self._take_over(pulling, message)

    def _is_credible(self, message: PullRows) -> bool:
        """Return True if the stamps of a page are credible: a member takes no others, a learner takes what the shard has."""
        stamps, now = self._state.stamps, self._state.now
        latest = max((row.record.hlc for row in message.rows), default=0)
        return stamps.is_credible(latest, now)

    def _set_aside(self, pulling: Pulling, message: PullRows) -> None:
        """Keep a page: the next one is asked for once it is on disk, where it is written."""
        copy, out = pulling.role.copy, self._state.out
        if copy is None:
            pulling.rows += message.rows
            return
        position = out.written + 1
        out.keep_all(copy.take_in(message.rows, position))
        out.keep_all(copy.changes(position))

    def _take_over(self, pulling: Pulling, message: PullRows) -> Role | None:
        """Take a copy over that is whole, unless it lacks what is here."""
        role, out = pulling.role, self._state.out
        copy = role.copy
        self._give_up(pulling)
        if copy:
            if not dominates(message.vector, role.vector):
                return None
            out.keep_all(role.exchange(copy, out.written + 1))
        out.keep_all(role.absorb(pulling.rows, message, out.written + 1))
        self._state.disk.dirty.add(role.shard)
        out.note("copy-taken-over", shard=role.shard, rows=len(role.store) if copy else len(pulling.rows))
        return role
