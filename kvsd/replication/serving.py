"""
Serving a request at a replica of the key's shard.

What its token depends on has to be here (:mod:`kvsd.replication.vetting`).  A read is told the version that won
(:mod:`kvsd.replication.reader`); a write takes the next dot of this replica, a stamp beyond everything that its author
has seen, and the token as its dependencies.
"""

from kvsd.replication.broadcast import Broadcast
from kvsd.replication.carried_out import digest
from kvsd.replication.causality import Dependencies, Dot, VersionVector, join
from kvsd.replication.concern import Attempt, Concerns
from kvsd.replication.effects import Now
from kvsd.replication.placement import Tenure
from kvsd.replication.reader import Reader
from kvsd.replication.record import Record, Row
from kvsd.replication.requests import (
    Get,
    KeyRequest,
    Outcome,
    Outdated,
    Overloaded,
    Put,
    Refused,
    StorageFull,
    Written,
)
from kvsd.replication.role import Role
from kvsd.replication.stability import Stability
from kvsd.replication.stamps import CLOCK_AHEAD, STAMP_AHEAD
from kvsd.replication.state import State
from kvsd.replication.token import Token
from kvsd.replication.vetting import Vetting

OTHER_WRITE = "The Idempotency-Key was used for another write of this key"


class Serving:
    """Carries requests out at this node's own roles."""

    def __init__(self, state: State, stability: Stability, broadcast: Broadcast, concerns: Concerns) -> None:
        self._state = state
        self._stability = stability
        self._broadcast = broadcast
        self._concerns = concerns
        self.vetting = Vetting(state)
        self.reader = Reader(state, stability, self.vetting)

    def attempt(self, role: Role, request: KeyRequest, now: Now) -> Attempt:
        """Carry a request out if that can be done now."""
        tenure, _ = self._state.shard_of(request.key)
        if isinstance(request, Get):
            return Attempt(*self.reader.read(role, tenure, request, now))
        refusal = self.vetting.refusal(role, tenure, request.token, now)
        return Attempt(refusal, 0) if refusal else self._write(role, tenure, request, now)

    def _write(self, role: Role, tenure: Tenure, request: Put, now: Now) -> Attempt:
        state, shard = self._state, role.shard
        if refusal := self._concerns.refusal(shard, request):
            return Attempt(refusal, 0)
        row = role.store.get(tenure, request.key)
        if earlier := role.requests.get(request.key, request.request):
            if earlier.digest != digest(request.value):
                return Attempt(Refused(OTHER_WRITE), 0)
            return self._repeated(role, request, earlier.record, row)
        if refusal := self._unwritable(request, now):
            return Attempt(refusal, 0)
        latest = row.record.hlc if row else role.collected.stamp_of((tenure, request.key))
        if 0 < request.stamp <= latest:
            return self._outdated(role, request, row, latest)
        if request.value is None and (row is None or row.record.is_tombstone):
            return Attempt(*self.reader.shown(role, tenure, request.key, request.token))
        record = self._record(role, tenure, request, row, now)
        past = request.token.dependencies
        dependencies = past.get(shard, {})
        if len(past) > bool(dependencies) and self._names_source(tenure, past):
            dependencies = dict(role.vector)
        self._broadcast.issue(role, record, dependencies, acknowledge=request.concern != 1)
        written = Written(shard, having_written(request.token, record), not record.created)
        return Attempt(written, state.out.position, {role.writer: record.origin.counter})

    def _names_source(self, tenure: Tenure, past: Dependencies) -> bool:
        """
        Return True if a token names writes of a shard that may still have some for the tenure.

        Those that are here came by ops of other members, which the token does not name.  An op that names all that its writer
        has comes after them at every replica, so that none shows it without its causes.
        """
        configuration = self._state.configuration
        return configuration is not None and not configuration.tenures[tenure].sources.keys().isdisjoint(past)

    def _repeated(self, role: Role, request: Put, earlier: Record, row: Row | None) -> Attempt:
        """A write that was carried out before: what its client is told now covers what became of it."""
        written = Written(role.shard, self.reader.having_seen(request.token, earlier), not earlier.created)
        return Attempt(written, self._state.out.position, _covered(written, row), repeated=True)

    def _outdated(self, role: Role, request: Put, row: Row | None, latest: int) -> Attempt:
        """
        A write that would lose to what is here already becomes no op.

        Otherwise one could come after a tombstone that beats it is gone everywhere, and bring the key back.  If it
        was tried before it may have come first and been overwritten, as it is now.
        """
        if row is None or not request.tried:
            return Attempt(Outdated(role.shard, latest), 0)
        written = Written(role.shard, self.reader.having_seen(request.token, row.record), existed=True)
        return Attempt(written, self._state.out.position, _covered(written, row), repeated=True)

    def _unwritable(self, request: Put, now: Now) -> Outcome | None:
        if self._state.disk.full:
            return StorageFull()
        if request.stamp and not self._state.stamps.is_credible(request.stamp, now):
            return Overloaded(STAMP_AHEAD)
        return None if self._state.stamps.are_trustworthy() else Overloaded(CLOCK_AHEAD)

    def _record(self, role: Role, tenure: Tenure, request: Put, row: Row | None, now: Now) -> Record:
        """The new version, in the place of a row: under the next dot, stamped beyond all that its author has seen."""
        state = self._state
        state.clock.witness(max(request.token.hlc, request.stamp))
        return Record(
            tenure=tenure,
            key=request.key,
            value=request.value,
            hlc=request.stamp or state.stamps.draw(now),
            origin=Dot(role.shard, role.writer, role.vector.get(role.writer, 0) + 1),
            dependencies=self._stability.unstable(request.token.dependencies),
            epoch=state.epoch,
            request=request.request,
            created=row is None or row.record.is_tombstone,
            over=row.record.hlc if row else 0,
        )


def having_written(token: Token, record: Record) -> Token:
    """The token of a client that wrote a record, which depends on all that the token named and that is not stable."""
    origin, seen = record.origin, dict(record.dependencies)
    seen[origin.shard] = {**seen.get(origin.shard, {}), origin.writer: origin.counter}
    return Token(max(token.epoch, record.epoch), max(token.hlc, record.hlc), seen)


def _covered(written: Written, row: Row | None) -> VersionVector:
    """What a replica has that has a write of before, or what overwrote it, and all that its client's token names."""
    covered = dict(written.token.dependencies.get(written.shard, {}))
    if row:
        join(covered, {row.writer: row.counter})
    return covered
