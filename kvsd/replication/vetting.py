"""
Vetting a request's token: may it name what it names, and is what it depends on here?
"""

from kvsd.replication.causality import VersionVector, dominates
from kvsd.replication.configuration import shard_number
from kvsd.replication.effects import Now
from kvsd.replication.past import Past
from kvsd.replication.placement import Tenure
from kvsd.replication.reports import Reports
from kvsd.replication.requests import MissingWrite, Outcome, Overloaded, Refused, Unmet
from kvsd.replication.role import Role
from kvsd.replication.state import State
from kvsd.replication.token import EMPTY, MAX_NUMBER, Token

NOT_ISSUED = "The causal metadata names a write that this cluster has not issued"


class Vetting:
    """Judges tokens by what this node knows."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._reports = Reports(state)
        self._past = Past(state)

    def refusal(self, role: Role, tenure: Tenure, token: Token, now: Now) -> Outcome | None:
        """Why a request with a token can't be carried out at a role, or not yet."""
        if self._is_plain(role, tenure, token):
            return None
        return self.vet(role.shard, token, now) or self._unmet(role, tenure, token, now.monotonic)

    def passes(self, role: Role, tenure: Tenure, token: Token, now: Now) -> bool:
        """Whether nothing of that is in the way; in contrast to refusal, it is not even noted what is lacking."""
        plain = self._is_plain(role, tenure, token)
        return plain or not (self.vet(role.shard, token, now) or self._lacking(role, tenure, token))

    def _is_plain(self, role: Role, tenure: Tenure, token: Token) -> bool:
        """Whether a token names nothing but what is here of the role's own shard: so it is as a rule, and quickly told."""
        state, past = self._state, token.dependencies
        if token is EMPTY:
            return True  # who has seen nothing can be told anything
        if token.epoch > state.epoch or token.hlc > state.clock.latest:
            return False
        if not past:
            return True
        vector = past.get(role.shard)
        if vector is None or len(past) > 1 or not dominates(role.vector, vector):
            return False
        assert state.configuration is not None, "requests are served only in a configuration"
        known = state.epoch > 1 or vector.keys() <= state.writers.keys()
        return known and not state.configuration.tenures[tenure].sources

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
        lacking = self._lacking(role, tenure, token)
        if not lacking:
            return None
        return Unmet(role.shard, [self._explain(role, tenure, *entry, now) for entry in sorted(lacking)])

    def _lacking(self, role: Role, tenure: Tenure, token: Token) -> set[tuple[str, bytes, int]]:
        """What of a token's past is not here, or of writers that this node can't judge yet: shard, writer, counter."""
        if not token.dependencies:
            return set()
        needed = self._past.lacking(role, tenure, token)
        lacking = {(s, writer, counter) for s, vector in needed.items() for writer, counter in vector.items()}
        if self._state.epoch == 1:
            for s, vector in token.dependencies.items():
                lacking |= {(s, w, n) for w, n in vector.items() if w not in self._state.writers}
        return lacking

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


def _had(role: Role, tenure: Tenure, shard: str, writer: bytes, need: int) -> int:
    """Up to where a writer's writes are here: as the shard's own, or as far as they were taken over."""
    own = role.vector.get(writer, 0) if shard == role.shard else need
    return own if own < need else role.marks.covered(tenure, shard).get(writer, 0)
