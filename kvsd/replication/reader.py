"""
Reading: the version that won, and the client's token, raised by all that this version depends on.
"""

from typing import TypeGuard

from msgspec.structs import replace

from kvsd.replication.assignment import Assignment
from kvsd.replication.basis import AskChanges, Basis, TellChanges
from kvsd.replication.causality import join_dependencies
from kvsd.replication.effects import Now
from kvsd.replication.lasting import Lasting
from kvsd.replication.placement import Tenure
from kvsd.replication.record import Record
from kvsd.replication.requests import Absent, Found, Get, Outcome, Verdict
from kvsd.replication.role import Role
from kvsd.replication.shown import Shown
from kvsd.replication.stability import Stability
from kvsd.replication.state import State
from kvsd.replication.token import Token
from kvsd.replication.vetting import Vetting


class Reader:
    """Reads at this node's own roles; nothing changes by that."""

    def __init__(self, state: State, stability: Stability, vetting: Vetting) -> None:
        self._state = state
        self._stability = stability
        self._vetting = vetting
        self._assignment = Assignment(state)
        self._shown = Shown()
        self._lasting = Lasting(state.key_changes)
        self.outlook = state.identity.boot << 32  # never a number of an earlier run of this process
        """As long as it is the same, an outcome that lasts does so until its key changes."""
        self._grounds = (0, 0, "")

    # What lasts

    def look(self) -> None:
        """
        Something has happened: see whether the outlook is another one.

        It hangs on whether all that tokens leave out is stable still, on the configuration in force, and on what keeps this
        node from serving.
        """
        grounds = self._stability.falls, self._state.epoch, self._assignment.lacking()
        if grounds != self._grounds:
            self._grounds = grounds
            self.outlook += 1

    def lasting(self, outcome: Verdict) -> Verdict:
        """The outcome of a read that could be had at once; with its basis, where it lasts."""
        if not lasts(outcome):
            return outcome
        self.look()
        return replace(outcome, basis=Basis(self._state.identity.address, self.outlook, self._state.key_changes.count))

    def changes_since(self, message: AskChanges) -> TellChanges:
        """What a node is told that wants to confirm what this one told it."""
        self.look()
        changes = self._state.key_changes
        changed = changes.after(message.since) if message.outlook == self.outlook else None
        return TellChanges(message.id, self.outlook, changes.count, changed)

    # Reading

    def at_once(self, request: Get, now: Now) -> Outcome | None:
        """
        The outcome of a read that can be carried out here and now, and that depends on nothing that is not durable yet.

        None where it takes more than that, if only to say why it is refused.
        """
        return self._lasting.again(request, self.outlook, self._state.clock.latest) or self.anew(request, now)

    def anew(self, request: Get, now: Now) -> Outcome | None:
        """The same, from the row."""
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
        found = self._shown.keep(name, row, token, Found(role.shard, seen, row.record.value), reports)
        if not (position or seen.dependencies) and token.hlc <= row.record.hlc:
            self._lasting.keep(key, found, self.outlook)
        return found, position

    def having_seen(self, token: Token, record: Record) -> Token:
        """The token of a client that was shown a record: its dot and all that it depends on, without what is stable."""
        unstable, origin = self._stability.unstable, record.origin
        seen = unstable({origin.shard: {origin.writer: origin.counter}})
        if token.dependencies:
            join_dependencies(seen, unstable(token.dependencies))
        if record.dependencies:
            join_dependencies(seen, unstable(record.dependencies))
        return Token(max(token.epoch, record.epoch, self._state.epoch), max(token.hlc, record.hlc), seen)


def lasts(outcome: Verdict) -> TypeGuard[Found | Absent]:
    """
    Whether the outcome of a read stays the same, with the same outlook, until its key changes.

    It does so unless its token names writes: they may be left out later.
    """
    return (isinstance(outcome, Found) or isinstance(outcome, Absent)) and not outcome.token.dependencies  # noqa: SIM101 - faster
