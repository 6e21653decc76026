"""
Serving a request at a replica of the key's shard: is what its token depends on here, and what is the answer.

A read returns the version that won and raises the client's token by all that this version depends on; a write takes
the next dot of this replica, a stamp beyond everything that its author has seen, and the token as its dependencies.
"""

from kvsd.replication.broadcast import Broadcast
from kvsd.replication.carried_out import digest
from kvsd.replication.causality import Dot, VersionVector, join, join_dependencies
from kvsd.replication.concern import Attempt, Concerns
from kvsd.replication.configuration import shard_number
from kvsd.replication.effects import Now
from kvsd.replication.past import Past
from kvsd.replication.placement import Tenure
from kvsd.replication.record import Record, Row
from kvsd.replication.reports import Reports
from kvsd.replication.requests import (
    Absent,
    Found,
    Get,
    KeyRequest,
    MissingWrite,
    Outcome,
    Outdated,
    Overloaded,
    Put,
    Refused,
    StorageFull,
    Unmet,
    Written,
)
from kvsd.replication.role import Role
from kvsd.replication.stability import Stability
from kvsd.replication.stamps import CLOCK_AHEAD
from kvsd.replication.state import State
from kvsd.replication.token import MAX_NUMBER, Token

OTHER_WRITE = "The Idempotency-Key was used for another write of this key"
NOT_ISSUED = "The causal metadata names a write that this cluster has not issued"


class Serving:
    """Carries requests out at this node's own roles."""

    def __init__(self, state: State, stability: Stability, broadcast: Broadcast, concerns: Concerns) -> None:
        self._state = state
        self._reports = Reports(state)
        self._past = Past(state)
        self._stability = stability
        self._broadcast = broadcast
        self._concerns = concerns

    def attempt(self, role: Role, request: KeyRequest, now: Now) -> Attempt:
        """Carry a request out if that can be done now."""
        tenure, _ = self._state.shard_of(request.key)
        refusal = self.vet(role.shard, request.token, now) or self._unmet(role, tenure, request.token, now.monotonic)
        if refusal:
            return Attempt(refusal, 0)
        if isinstance(request, Get):
            return self._get(role, tenure, request)
        return self._write(role, tenure, request, now)

    # Whether

    def vet(self, shard: str, token: Token, now: Now) -> Outcome | None:
        """Refuse a token that names what can't be; one of a later configuration than this node's is unmet."""
        state = self._state
        assert state.configuration is not None, "requests are served only in a configuration"
        if token.epoch > state.epoch:
            return Unmet(shard, [], token.epoch, state.epoch)
        if not state.stamps.is_credible(token.hlc, now):
            return Overloaded("The stamp of the causal metadata is far ahead of all clocks here; try again later")
        for group, vector in token.dependencies.items():
            if shard_number(group) >= state.configuration.next_shard or not self._are_issued(group, vector):
                return Refused(NOT_ISSUED)
        return None

    def _are_issued(self, shard: str, vector: VersionVector) -> bool:
        """Whether a genuine token may name these writes of a shard: those that are here were issued, as everybody knows."""
        role = self._state.roles.get(shard)
        here = role.vector if role else {}
        beyond = [(writer, n) for writer, n in vector.items() if n > here.get(writer, 0)]
        return not beyond or all(n <= self._credible_counter(shard, writer) for writer, n in beyond)

    def _is_over(self, shard: str, writer: bytes) -> bool:
        """Whether a writer that is none of the configuration's is no more, and not merely one that is not known yet."""
        configuration = self._state.configuration
        assert configuration is not None, "requests are served only in a configuration"
        return writer not in configuration.lost and shard in configuration.shards and configuration.is_bound()

    def _credible_counter(self, shard: str, writer: bytes) -> int:
        """
        The furthest counter that a genuine token may name of a writer, by the word of the writer's own node.

        Of a writer that is no more, every member of its shard has all; a departed one may not.
        """
        member, role = self._state.writers.get(writer), self._state.roles.get(shard)
        if member is None and self._is_over(shard, writer):
            serving, first = self._state.serving(shard), self._state.epoch == 1
            return serving.vector.get(writer, 0) if serving and serving.whole else 0 if first else MAX_NUMBER
        reported = self._reports.vector(member.node, shard) if member else None
        if role and role.writer == writer:
            reported = role.vector
        return MAX_NUMBER if reported is None else reported.get(writer, 0) + self._state.limits.counter_slack

    def _unmet(self, role: Role, tenure: Tenure, token: Token, now: float) -> Unmet | None:
        """What of a token's past is not here, or of writers that this node can't judge yet."""
        if not token.dependencies:
            return None
        lacking = self._past.lacking(role, tenure, token)
        unknown = {(s, writer, counter) for s, vector in lacking.items() for writer, counter in vector.items()}
        if self._state.epoch == 1:
            for s, vector in token.dependencies.items():
                unknown |= {(s, w, n) for w, n in vector.items() if w not in self._state.writers}
        if not unknown:
            return None
        return Unmet(role.shard, [self._explain(role, tenure, *entry, now) for entry in sorted(unknown)])

    def _explain(self, role: Role, tenure: Tenure, shard: str, writer: bytes, need: int, now: float) -> MissingWrite:
        state = self._state
        member = state.writers.get(writer)
        node = member.node if member else ""
        peer = state.liveness.peers.get(node)
        silent = peer.silent(now) if peer else None
        since = role.asked.note(role.vector, writer, need, now) if member and shard == role.shard else now
        return MissingWrite(
            shard=shard,
            writer=writer.hex(),
            node=node,
            need=need,
            have=_had(role, tenure, shard, writer, need),
            held_by=[
                address for address in state.members(shard) if self._reports.holds(address, shard, {writer: need})
            ],
            state=state.liveness.state(node, now),
            silent=None if silent is None else round(silent, 3),
            since=round(now - since, 3),
        )

    # What

    def _get(self, role: Role, tenure: Tenure, request: Get) -> Attempt:
        shard, row = role.shard, role.store.get(tenure, request.key)
        if row is None:
            return Attempt(Absent(shard, self._stability.pruned(request.token)), 0)
        record = row.record
        token = self._having_seen(request.token, record)
        position = role.store.reading.position_of((tenure, request.key))
        if record.value is None:
            return Attempt(Absent(shard, token), position)
        return Attempt(Found(shard, token, record.value), position)

    def _having_seen(self, token: Token, record: Record) -> Token:
        """The token of a client that was shown a record: its dot and all that it depends on, without what is stable."""
        unstable, origin = self._stability.unstable, record.origin
        seen = unstable(token.dependencies)
        if record.dependencies:
            join_dependencies(seen, unstable(record.dependencies))
        join_dependencies(seen, unstable({origin.shard: {origin.writer: origin.counter}}))
        return Token(max(token.epoch, record.epoch, self._state.epoch), max(token.hlc, record.hlc), seen)

    def _write(self, role: Role, tenure: Tenure, request: Put, now: Now) -> Attempt:
        state, shard = self._state, role.shard
        if refusal := self._concerns.refusal(shard, request.concern):
            return Attempt(refusal, 0)
        row = role.store.get(tenure, request.key)
        if earlier := role.requests.get(request.key, request.request):
            if earlier.digest != digest(request.value):
                return Attempt(Refused(OTHER_WRITE), 0)
            return self._repeated(role, request, earlier.record, row)
        if refusal := self._unwritable():
            return Attempt(refusal, 0)
        latest = row.record.hlc if row else role.collected.stamp_of((tenure, request.key))
        if 0 < request.stamp <= latest:
            return self._outdated(role, request, row, latest)
        if request.value is None and (row is None or row.record.is_tombstone):
            return self._get(role, tenure, Get(request.key, request.token))
        record = self._record(role, tenure, request, row, now)
        dependencies = request.token.dependencies.get(shard, {})
        self._broadcast.issue(role, record, dependencies, acknowledge=request.concern != 1)
        written = Written(shard, having_written(request.token, record), not record.created)
        return Attempt(written, state.out.position, {role.writer: record.origin.counter})

    def _repeated(self, role: Role, request: Put, earlier: Record, row: Row | None) -> Attempt:
        """A write that was carried out before: what its client is told now covers what became of it."""
        written = Written(role.shard, self._having_seen(request.token, earlier), not earlier.created)
        return Attempt(written, self._state.out.position, _covered(written, row), repeated=True)

    def _outdated(self, role: Role, request: Put, row: Row | None, latest: int) -> Attempt:
        """
        A write that would lose to what is here already becomes no op.

        Otherwise one could come after a tombstone that beats it is gone everywhere, and bring the key back.  If it
        was tried before it may have come first and been overwritten, as it is now.
        """
        if row is None or not request.tried:
            return Attempt(Outdated(role.shard, latest), 0)
        written = Written(role.shard, self._having_seen(request.token, row.record), existed=True)
        return Attempt(written, self._state.out.position, _covered(written, row), repeated=True)

    def _unwritable(self) -> Outcome | None:
        if self._state.disk.full:
            return StorageFull()
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


def _had(role: Role, tenure: Tenure, shard: str, writer: bytes, need: int) -> int:
    """Up to where a writer's writes are here: as the shard's own, or as far as they were taken over."""
    own = role.vector.get(writer, 0) if shard == role.shard else need
    return own if own < need else role.marks.covered(tenure, shard).get(writer, 0)
