"""
Giving: what another replica of a shard pulls.  See :mod:`kvsd.replication.antientropy`.
"""

from kvsd.replication.marks import NO_MARKS, Marks
from kvsd.replication.messages import Pull, PullOps, PullRows
from kvsd.replication.record import Op
from kvsd.replication.reports import Reports
from kvsd.replication.role import Role
from kvsd.replication.state import State


class Giving:
    """Answers the pulls of peers."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._reports = Reports(state)

    def give(self, peer: str, message: Pull) -> None:
        """Answer a pull of who has a place here: a learner counts for stability where it is known as one."""
        role = self._state.roles.get(message.shard)
        if role is None or peer not in self._reports.everyone(message.shard):
            return
        if message.cursor == 0 and role.log.reaches_back_to(message.vector, role.vector):
            ops, more = self._ops(peer, role, message)
            self._state.out.send(peer, PullOps(message.id, role.shard, ops, more))
        else:
            self._give_rows(peer, role, message)

    def _ops(self, peer: str, role: Role, message: Pull) -> tuple[list[Op], bool]:
        """Return a page of ops; none where as much is on its way to the peer, what it asks for maybe among it."""
        if not self._state.slow_ways.has_room(peer):
            return [], False
        return role.log.since(message.vector, self._state.slow_ways.page_bytes(peer))

    def _give_rows(self, peer: str, role: Role, message: Pull) -> None:
        """Send a page of rows; a copy that an earlier run of this process began can't be gone on with."""
        limits, copy, start = self._state.limits, self._state.identity.boot, message.cursor
        if start and message.copy != copy:
            return
        page_bytes = self._state.slow_ways.page_bytes(peer)
        found = role.store.page(message.id, start, message.vector, page_bytes, limits.page_rows)
        if found is None:
            return
        rows, cursor = found
        requests = [] if cursor else role.requests.beyond(message.vector, limits.page_requests)
        marks = NO_MARKS if cursor else role.marks.merged(Marks(forgotten=role.collected.latest))
        page = PullRows(message.id, role.shard, copy, start, rows, cursor, dict(role.vector), requests, marks)
        self._state.out.send(peer, page)
