"""
The clients that wait for an answer of this node.
"""

from collections.abc import Callable

from twisted.internet.defer import Deferred

from kvsd.replication.effects import Ticket
from kvsd.replication.requests import Outcome


class Askers:
    """A Deferred for each request under way, by ticket; ``gone`` is called with the ticket of one that was cancelled."""

    def __init__(self, gone: Callable[[Ticket], None]) -> None:
        self._gone = gone
        self._asked: dict[Ticket, Deferred[Outcome]] = {}
        self._drained: list[Deferred[None]] = []
        self._ticket = 0

    def admit(self) -> tuple[Ticket, Deferred[Outcome]]:
        """A new ticket and the Deferred that its answer will fire."""
        self._ticket += 1
        ticket = self._ticket
        answered: Deferred[Outcome] = Deferred(lambda _: self._forget(ticket))
        self._asked[ticket] = answered
        return ticket, answered

    def answer(self, ticket: Ticket, outcome: Outcome) -> None:
        """Answer a request; one that nobody waits for any more is let go."""
        answered = self._asked.pop(ticket, None)
        if answered:
            answered.callback(outcome)
            self._tell_drained()

    def drained(self) -> Deferred[None]:
        """Fires once every request was answered."""
        drained: Deferred[None] = Deferred()
        self._drained.append(drained)
        self._tell_drained()
        return drained

    def _forget(self, ticket: Ticket) -> None:
        if self._asked.pop(ticket, None):
            self._gone(ticket)
            self._tell_drained()

    def _tell_drained(self) -> None:
        if not self._asked:
            drained, self._drained = self._drained, []
            for waiter in drained:
                waiter.callback(None)
