"""
Whom to ask: the members of a shard in the order in which a request is best put to them.
"""

from kvsd.replication.causality import VersionVector
from kvsd.replication.reports import Reports
from kvsd.replication.requests import CountKeys, Put, Request
from kvsd.replication.state import State


class Candidates:
    """Orders the members that can be used now."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._reports = Reports(state)
        self._turns = 0

    def in_order(self, shard: str, request: Request) -> list[str]:
        """The members to try: those known to have what the request depends on first, otherwise in turns."""
        others = self._state.others(shard)
        turn = self._turn(request) % len(others) if others else 0
        needed = _needed(shard, request)
        return sorted(
            others[turn:] + others[:turn], key=lambda address: not self._reports.holds(address, shard, needed)
        )

    def satisfying(self, shard: str, request: Request) -> list[str]:
        """The members that are known to have what the request depends on."""
        needed = _needed(shard, request)
        return [a for a in self.in_order(shard, request) if self._reports.holds(a, shard, needed)]

    def _turn(self, request: Request) -> int:
        """Spread requests over the members, but send the retries of one request to the same one."""
        if isinstance(request, Put) and request.request:
            return sum(request.request.encode())
        self._turns += 1
        return self._turns


def _needed(shard: str, request: Request) -> VersionVector:
    return {} if isinstance(request, CountKeys) else request.token.dependencies.get(shard, {})
