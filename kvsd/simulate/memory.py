"""
What a node's clients were told, and are told again while it is so: as the lane does it, with outcomes in the place of bytes.
"""

from typing import NamedTuple

from msgspec.structs import replace

from kvsd.node import Node
from kvsd.replication.basis import Confirm, Confirmed
from kvsd.replication.reader import lasts
from kvsd.replication.replica import Replica
from kvsd.replication.requests import Absent, Found, Get, Outcome
from kvsd.simulate.monitor import Monitor


class _Told(NamedTuple):
    """An outcome that lasts, with the node's outlook and the number of changes of keys when it was last known to be so."""

    outcome: Found | Absent
    outlook: int | None
    changes: int


class Memory:
    """Reads at a node; the monitor learns where what is told again would not be the outcome of a read."""

    def __init__(self, node: Node, replica: Replica, monitor: Monitor) -> None:
        self._node = node
        self._replica = replica
        self._monitor = monitor
        self._told: dict[tuple[str, int, int], _Told] = {}
        """By key, and the epoch and the stamp of a token that depends on nothing."""

    async def read(self, request: Get) -> Outcome:
        """The outcome of a read."""
        name = request.key, request.token.epoch, request.token.hlc
        told = None if request.token.dependencies else self._told.get(name)
        again = await self._again(request, told) if told and told.outlook == self._node.outlook else None
        if again:
            return again
        outcome, at_once = self._node.read(request), True
        if outcome is None:
            outcome, at_once = await self._node.ask(request), False
        if not request.token.dependencies and lasts(outcome) and (at_once or outcome.basis):
            self._told[name] = _Told(outcome, self._node.outlook, self._node.key_changes.count)
        return outcome

    async def _again(self, request: Get, told: _Told) -> Outcome | None:
        """What was told, where it is still so."""
        if told.outcome.basis is None:
            if not self._node.key_changes.unchanged(request.key, told.changes):
                return None
            fresh = self._node.read(request)
            if fresh is not None and fresh != told.outcome:
                self._monitor.accuse("told-again", f"{self._node.address} tells {told.outcome} again, and not {fresh}")
            return told.outcome
        question = Confirm(request.key, told.outcome.basis)
        confirmed = await self._node.ask(question)
        if not isinstance(confirmed, Confirmed) or confirmed.changes is None:
            return None
        self._monitor.confirmed(self._replica, question, confirmed.changes)
        return replace(told.outcome, basis=told.outcome.basis._replace(changes=confirmed.changes))
