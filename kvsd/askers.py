"""
The clients that wait for an answer of this node.
"""

from collections.abc import Callable

from twisted.internet.defer import Deferred

from kvsd.journal import Journal
from kvsd.replication.budget import Budget
from kvsd.replication.effects import Ticket
from kvsd.replication.requests import Outcome, Overloaded

GONE = Overloaded("Nobody waits for this")


class Askers:
    """
    Whom to tell the outcome of each request under way, by ticket.

    ``gone`` is called with the ticket of one whose asker has left.  Where its body is large, it is counted on until all
    that was written by then is durable.
    """

    def __init__(self, gone: Callable[[Ticket], None], journal: Journal, budget: Budget) -> None:
        self._gone = gone
        self._journal = journal
        self._budget = budget
        self._asked: dict[Ticket, Callable[[Outcome], None]] = {}
        self._sizes: dict[Ticket, int] = {}
        """How many bytes of the budget each request has, where its body is large, until nothing holds that any more."""
        self._drained: list[Deferred[None]] = []
        self._ticket = 0

    def admit(self, answered: Callable[[Outcome], None]) -> Ticket:
        """A new ticket, with whom its outcome is to be told; that may not raise."""
        self._ticket += 1
        self._asked[self._ticket] = answered
        return self._ticket

    def weigh(self, ticket: Ticket, size: int) -> None:
        """Note that a request has so many bytes of the budget, which are given back when it is answered or ended."""
        self._sizes[ticket] = size

    def hold(self, size: int) -> None:
        """Count bytes that are in memory, and that no client waits for, until all that was written by now is durable."""
        self._budget.take_anyway(size)
        self._ticket += 1
        self._sizes[self._ticket] = size
        self._journal.answer(self._ticket, GONE)

    def answer(self, ticket: Ticket, outcome: Outcome) -> None:
        """Answer a request; one that nobody waits for any more is let go."""
        if self._sizes and (size := self._sizes.pop(ticket, 0)):
            self._budget.give(size)
        answered = self._asked.pop(ticket, None)
        if answered:
            answered(outcome)
            if self._drained:
                self._tell_drained()

    def forget(self, ticket: Ticket) -> None:
        """Nobody waits for an answer any more; where there was one already, nothing happens."""
        if self._asked.pop(ticket, None):
            self._gone(ticket)
            if ticket in self._sizes:
                self._journal.answer(ticket, GONE)
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
