"""
Reading: the version that won, and the client's token, raised by all that this version depends on.
"""

from kvsd.replication.assignment import Assignment
from kvsd.replication.causality import join_dependencies
from kvsd.replication.effects import Now
from kvsd.replication.placement import Tenure
from kvsd.replication.record import Record
from kvsd.replication.requests import Absent, Found, Get, Outcome
from kvsd.replication.role import Role
from kvsd.replication.shown import Shown
from kvsd.replication.stability import Stability
from kvsd.replication.state import State
from kvsd.replication.token import Token
from kvsd.replication.vetting import Vetting

Outlook = tuple[int, int, int, str]
"""What the outcomes of reads follow from, by a few numbers."""


class Reader:
    """Reads at this node's own roles; nothing changes by that."""

    def __init__(self, state: State, stability: Stability, vetting: Vetting) -> None:
        self._state = state
        self._stability = stability
        self._vetting = vetting
        self._assignment = Assignment(state)
        self._shown = Shown()
        self._outlook: Outlook = (0, 0, 0, "")

    def outlook(self) -> Outlook:
        """
        As long as this is the same object, the outcomes of reads that can be had at once stay the same.

        They follow from the last write, as all that is kept changes with one; the reports by which tokens leave out what is
        stable; the configuration in force; and what keeps this node from serving.
        """
        state = self._state
        outlook = state.out.written, self._stability.reports, state.epoch, self._assignment.lacking()
        if outlook != self._outlook:
            self._outlook = outlook
        return self._outlook

    def at_once(self, request: Get, now: Now) -> Outcome | None:
        """
        The outcome of a read that can be carried out here and now, and that depends on nothing that is not durable yet.

        None where it takes more than that, if only to say why it is refused.
        """
        role = None if self._assignment.lacking() else self._assignment.role_of(request.key)
        if role is None:
            return None
        tenure, _ = self._state.shard_of(request.key)
        if not self._vetting.passes(role, tenure, request.token, now):
            return None
        outcome, after = self.shown(role, tenure, request.key, request.token)
        return None if after else outcome

    def read(self, role: Role, tenure: Tenure, request: Get, now: Now) -> tuple[Outcome, int]:
        """The outcome of a read of a key that is in a tenure, and the position that it depends on."""
        refusal = self._vetting.refusal(role, tenure, request.token, now)
        return (refusal, 0) if refusal else self.shown(role, tenure, request.key, request.token)

    def shown(self, role: Role, tenure: Tenure, key: str, token: Token) -> tuple[Outcome, int]:
        """What a client with a token is shown of a key, and the position that it depends on."""
        state, name, row = self._state, (tenure, key), role.store.get(tenure, key)
        if row is None:
            return Absent(role.shard, self._stability.pruned(token)), 0
        position = role.store.reading.position_of(name)
        reports = self._stability.reports
        if found := self._shown.again(name, row, token, state.epoch, reports):
            return found, position
        seen = self.having_seen(token, row.record)
        if row.record.value is None:
            return Absent(role.shard, seen), position
        return self._shown.keep(name, row, token, Found(role.shard, seen, row.record.value), reports), position

    def having_seen(self, token: Token, record: Record) -> Token:
        """The token of a client that was shown a record: its dot and all that it depends on, without what is stable."""
        unstable, origin = self._stability.unstable, record.origin
        seen = unstable({origin.shard: {origin.writer: origin.counter}})
        if token.dependencies:
            join_dependencies(seen, unstable(token.dependencies))
        if record.dependencies:
            join_dependencies(seen, unstable(record.dependencies))
        return Token(max(token.epoch, record.epoch, self._state.epoch), max(token.hlc, record.hlc), seen)
