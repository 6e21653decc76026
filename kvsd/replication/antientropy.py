"""
Anti-entropy: a replica pulls what a peer reports and it lacks.

A pull carries the puller's vector; the answer is the ops beyond it, in the order in which the donor applied them.
Where the donor's log no longer reaches back that far, the answer is a copy of the rows beyond it, in pages that the
puller sets aside and takes over at once after the last one: a part of a copy may lack versions that were superseded,
and is no causal cut.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from kvsd.replication.causality import dominates, missing
from kvsd.replication.configuration import addresses
from kvsd.replication.marks import NO_MARKS, Marks
from kvsd.replication.messages import Pull, PullOps, PullRows
from kvsd.replication.record import Row
from kvsd.replication.reports import Reports
from kvsd.replication.role import Role
from kvsd.replication.state import State


@dataclass
class Pulling:
    """A pull under way: from whom, since when (monotonic seconds), where it is, and the pages set aside so far."""

    id: int
    peer: str
    since: float
    cursor: int = 0
    rows: list[Row] = field(default_factory=list)


class AntiEntropy:
    """Pulls for this node's roles, one at a time for each, and answers the pulls of peers."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._reports = Reports(state)
        self._pulling: dict[str, Pulling] = {}
        self._turn = 0
        self._last_id = state.identity.boot << 32

    # Pulling

    def tick(self, now: float) -> None:
        """Pull for every role that has known for a while that it lacks something."""
        for role in self._state.roles.values():
            self._judge_learner(role)
            pulling = self._pulling.get(role.shard)
            if pulling and now - pulling.since > self._state.limits.pull_timeout_seconds:
                del self._pulling[role.shard]
            since = self._lacks_since(role, now)
            if since is not None and now - since >= self._state.limits.pull_grace_seconds:
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
            role.whole = dominates(role.durable, role.target)

    def _peers(self, shard: str) -> list[str]:
        """All that may have writes of a shard."""
        roster = self._state.roster
        return addresses(roster.shard(shard).everyone()) if roster else []

    def _lacks_since(self, role: Role, now: float) -> float | None:
        for address in self._peers(role.shard):
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
        others = [address for address in self._peers(role.shard) if self._state.usable(address)]
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
            self._last_id += 1
            self._pulling[role.shard] = Pulling(self._last_id, donor, now)
            self._state.out.send(donor, Pull(self._last_id, role.shard, dict(role.vector)))

    def abandon(self, peer: str) -> None:
        """Give up pulls from a peer that can't be used any more."""
        self._pulling = {shard: pulling for shard, pulling in self._pulling.items() if pulling.peer != peer}

    def pulled_ops(self, peer: str, message: PullOps, *, applied: bool, now: float) -> None:
        """Be done with a pull after its ops were delivered, or go on at once where that led anywhere."""
        pulling = self._pulling.get(message.shard)
        if pulling is None or pulling.id != message.id:
            return
        del self._pulling[message.shard]
        if message.more and applied:
            self.pull(self._state.roles[message.shard], [peer], now)

    def pulled_rows(self, peer: str, message: PullRows, now: float) -> Role | None:
        """Set a page aside; after the last one take the copy over and return the role that it changed."""
        role, pulling = self._state.roles.get(message.shard), self._pulling.get(message.shard)
        if role is None or pulling is None or (pulling.id, pulling.cursor) != (message.id, message.start):
            return None
        pulling.cursor, pulling.since = message.cursor, now
        pulling.rows += message.rows
        if message.cursor:
            pull = Pull(message.id, role.shard, dict(role.vector), message.copy, message.cursor)
            self._state.out.send(peer, pull)
            return None
        del self._pulling[message.shard]
        out = self._state.out
        for change in role.absorb(pulling.rows, message, out.written + 1):
            out.keep(change)
        self._state.disk.dirty.add(role.shard)
        out.note("copy-taken-over", shard=role.shard, rows=len(pulling.rows))
        return role

    # Giving

    def give(self, peer: str, message: Pull) -> None:
        """Answer a pull of who has a place here: a learner counts for stability where it is known as one."""
        role = self._state.roles.get(message.shard)
        if role is None or peer not in self._peers(message.shard):
            return
        if message.cursor == 0 and role.log.reaches_back_to(message.vector, role.vector):
            ops, more = role.log.since(message.vector, self._state.limits.page_bytes)
            self._state.out.send(peer, PullOps(message.id, role.shard, ops, more))
        else:
            self._give_rows(peer, role, message)

    def _give_rows(self, peer: str, role: Role, message: Pull) -> None:
        """Send a page of rows; a copy that an earlier run of this process began can't be gone on with."""
        limits, copy, start = self._state.limits, self._state.identity.boot, message.cursor
        if start and message.copy != copy:
            return
        rows, cursor = role.store.page(start, message.vector, limits.page_bytes, limits.page_rows)
        requests = [] if cursor else role.requests.beyond(message.vector, limits.page_requests)
        marks = NO_MARKS if cursor else role.marks.merged(Marks(forgotten=role.collected.latest))
        page = PullRows(message.id, role.shard, copy, start, rows, cursor, dict(role.vector), requests, marks)
        self._state.out.send(peer, page)
