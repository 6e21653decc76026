"""
The clients that wait for an answer of this node.
"""

from collections.abc import Callable

from twisted.internet.defer import Deferred

from kvsd.replication.effects import Ticket
from kvsd.replication.requests import Outcome


class Askers:
    """
    Whom to tell the outcome of each request under way, by ticket.

    ``gone`` is called with the ticket of one whose asker has left.
    """

    def __init__(self, gone: Callable[[Ticket], None]) -> None:
        self._gone = gone
        self._asked: dict[Ticket, Callable[[Outcome], None]] = {}
        self._drained: list[Deferred[None]] = []
        self._ticket = 0

    def admit(self, answered: Callable[[Outcome], None]) -> Ticket:
        """A new ticket, with whom its outcome is to be told; that may not raise."""
        self._ticket += 1
        self._asked[self._ticket] = answered
        return self._ticket

    def answer(self, ticket: Ticket, outcome: Outcome) -> None:
        """Answer a request; one that nobody waits for any more is let go."""
        answered = self._asked.pop(ticket, None)
        if answered:
            answered(outcome)
            if self._drained:
                self._tell_drained()

    def forget(self, ticket: Ticket) -> None:
        """Nobody waits for an answer any more; where there was one already, nothing happens."""
        if self._asked.pop(ticket, None):
            self._gone(ticket)
            self._tell_drained()

    def drained(self) -> Deferred[None]:
        """Fires once every request was answered."""
        drained: Deferred[None] = Deferred()
        self._drained.append(drained)
        self._tell_drained()
        return drained

    def _tell_drained(self) -> None:
        if not self._asked:
            drained, self._drained = self._drained, []
            for waiter in drained:
                waiter.callback(None)
