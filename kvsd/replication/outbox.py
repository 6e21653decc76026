"""
What one event leads to, collected in order: changes to keep, messages to send, answers to give.

All changes of an event are one write, so a crash keeps either all of it or nothing.  Every effect carries the
position of the write that must be durable before it may leave.
"""

from collections.abc import Iterable
from typing import NamedTuple

from kvsd.replication.effects import Effect, Halt, Keep, Note, Reply, Send, Ticket, Write
from kvsd.replication.invariant import InvariantBroken
from kvsd.replication.messages import Forwarded, Message
from kvsd.replication.requests import Outcome, Outdated, Unavailable, Verdict


class Remote(NamedTuple):
    """A peer that forwarded a client's request, and its number for it."""

    peer: str
    id: int


Asker = Ticket | Remote
"""Whom an outcome is for: a client of this node or of another one."""


class Outbox:
    """The effects of the event at hand."""

    def __init__(self) -> None:
        self.written = 0
        """The position of the last write that was handed out."""
        self._changes: list[Keep] = []
        self._effects: list[Effect] = []
        self._unplaced: list[int] = []
        """The places in the list of messages and answers that go after changes of this event, of which there were none yet."""

    @property
    def position(self) -> int:
        """The position that makes everything so far durable, the changes of this event among it."""
        return self.written + 1 if self._changes else self.written

    def is_empty(self) -> bool:
        """Whether the event at hand leads to nothing."""
        return not self._changes and not self._effects

    def keep(self, change: Keep) -> int:
        """Make a change durable with this event's write; returns the position of that."""
        self._changes.append(change)
        return self.written + 1

    def keep_all(self, changes: Iterable[Keep]) -> None:
        """Make changes durable with this event's write."""
        self._changes += changes

    def send(self, peer: str, message: Message, after: int | None = None) -> None:
        """Send a message after a position, which by default is everything of this event and before it."""
        if after is None and not self._changes:
            self._unplaced.append(len(self._effects))
        self._effects.append(Send(self.position if after is None else after, peer, message))

    def answer(self, asker: Asker, outcome: Verdict, after: int | None = None) -> None:
        """
        Give the outcome to whoever asked, after a position, which by default is everything of this event and before it.

        An outcome that no crash of this node makes untrue, such as a refusal, need not wait, and says so by position 0.
        """
        if isinstance(asker, Remote):
            self.send(asker.peer, Forwarded(asker.id, outcome), after)
        elif isinstance(outcome, Outdated):  # it may have been carried out elsewhere: a new stamp would repeat it
            self._reply(asker, Unavailable(outcome.shard), after)
        else:
            self._reply(asker, outcome, after)

    def _reply(self, ticket: Ticket, outcome: Outcome, after: int | None) -> None:
        if after is None:
            after = self.position
            if not self._changes:
                self._unplaced.append(len(self._effects))
        self._effects.append(Reply(after, ticket, outcome))

    def note(self, event: str, **facts: object) -> None:
        """Tell the operator."""
        self._effects.append(Note(event, facts))

    def halt(self, reason: str) -> None:
        """Stop the process."""
        self._effects.append(Halt(reason))

    def take(self) -> list[Effect]:
        """The effects of the event, its write first, and an empty outbox for the next event."""
        effects = self._effects
        if self._changes:
            self.written += 1
            for place in self._unplaced:
                effect = effects[place]
                if isinstance(effect, Send):
                    effects[place] = Send(self.written, effect.peer, effect.message)
                elif isinstance(effect, Reply):
                    effects[place] = Reply(self.written, effect.ticket, effect.outcome)
                else:
                    raise InvariantBroken("only messages and answers are placed later")
            effects = [Write(self.written, self._changes), *effects]
            self._changes = []
        self._effects, self._unplaced = [], []
        return effects
