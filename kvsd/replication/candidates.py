"""
Whom to ask: the members of a shard in the order in which a request is best put to them.
"""

from zlib import crc32

from kvsd.replication.configuration import Configuration
from kvsd.replication.marks import NO_MARKS
from kvsd.replication.meeting import Meeting
from kvsd.replication.past import Past
from kvsd.replication.reports import Reports
from kvsd.replication.requests import CountKeys, Get, Put, Question
from kvsd.replication.state import State

TURN_SECONDS = 0.05
"""For how long requests are put to the same member."""


class Candidates:
    """Orders the members that can be used now."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._past = Past(state)
        self._meeting = Meeting(state)
        self._reports = Reports(state)
        self._turns = crc32(state.identity.address.encode())
        """How many turns there were; not all nodes begin with the same member."""
        self._moment = 0
        self._configuration: Configuration | None = None
        self._place = 0
        """This node's among the members of its shard, in that configuration."""

    def in_order(self, shard: str, request: Question) -> list[str]:
        """The members to try: those known to have what the request depends on first, otherwise in turns."""
        others = self._state.others(shard) or self._unmet(shard)
        turn = self._turn(request) % len(others) if others else 0
        in_turn = others[turn:] + others[:turn]
        if self._is_all_one(request):
            return in_turn
        return sorted(
            in_turn, key=lambda address: (not self._is_ready(address, request), not self._holds(address, request))
        )

    def satisfying(self, shard: str, request: Question) -> list[str]:
        """The members that are known to have what the request depends on."""
        in_order = self.in_order(shard, request)
        return [a for a in in_order if self._is_ready(a, request) and self._holds(a, request)]

    def can_be_asked(self, address: str) -> bool:
        """Return True if a request may be put to a node: it can be used, or there was no time yet to meet it."""
        return self._state.usable(address) or (self._meeting.is_on() and self._is_unmet(address))

    def _unmet(self, shard: str) -> list[str]:
        """Return the members to try in the first moments after a start, in which no member can have been met yet."""
        return [a for a in self._state.members(shard) if self._is_unmet(a)] if self._meeting.is_on() else []

    def _is_unmet(self, address: str) -> bool:
        peer = self._state.liveness.peers.get(address)
        return peer is not None and not peer.instance and not peer.suspected

    def _is_all_one(self, request: Question) -> bool:
        """Whether any member will do: nothing of the key has to be copied, and the request depends on nothing."""
        if isinstance(request, CountKeys):
            return True
        return not request.token.dependencies and self._past.is_ready(NO_MARKS, self._state.shard_of(request.key)[0])

    def _is_ready(self, address: str, request: Question) -> bool:
        if isinstance(request, CountKeys):
            return True
        tenure, shard = self._state.shard_of(request.key)
        return self._past.is_ready(self._reports.marks(address, shard), tenure)

    def _holds(self, address: str, request: Question) -> bool:
        if isinstance(request, CountKeys) or not request.token.dependencies:
            return True
        return self._past.holds(address, self._state.shard_of(request.key)[0], request.token)

    def _turn(self, request: Question) -> int:
        """
        Whose turn it is: requests are spread over the members.

        Reads of one node go to one member, as what that one told is confirmed for all of them at once; the members of a
        shard go to different ones.  What else comes in one moment goes to one member, as it shares a POST then; with what
        comes later it is the next one's turn.  But all tries of a request with an id go to the same member.
        """
        if isinstance(request, Get):
            return self._own_place()
        if isinstance(request, Put) and request.request:
            return crc32(request.request.encode())
        moment = int(self._state.now.monotonic / TURN_SECONDS)
        if moment != self._moment:
            self._moment = moment
            self._turns += 1
        return self._turns

    def _own_place(self) -> int:
        configuration, me = self._state.configuration, self._state.identity.address
        if configuration is not self._configuration:
            self._configuration = configuration
            member = configuration.member(me) if configuration else None
            peers = self._state.members(member.shard) if member else []
            self._place = peers.index(me) if me in peers else crc32(me.encode())
        return self._place
