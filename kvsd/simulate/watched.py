"""
The replica, with somebody who looks over its shoulder: every event and every effect is shown to a monitor.
"""

from collections.abc import Iterable, Sequence

from kvsd.replication.configuration import Configuration
from kvsd.replication.effects import Effect, Now, Ticket
from kvsd.replication.limits import Limits
from kvsd.replication.liveness import Fate
from kvsd.replication.messages import Message, Sender
from kvsd.replication.replica import Replica
from kvsd.replication.requests import Request
from kvsd.replication.saved import Saved
from kvsd.replication.shelf import Shelf
from kvsd.replication.state import Identity
from kvsd.simulate.monitor import Monitor


class WatchedReplica(Replica):
    """Does what any replica does."""

    def __init__(self, identity: Identity, limits: Limits, shelf: Shelf, monitor: Monitor) -> None:
        super().__init__(identity, limits, shelf)
        self._monitor = monitor

    def start(self, saved: Saved, founding: Configuration | None, seeds: Iterable[str], now: Now) -> list[Effect]:
        """Start, and show what the disk knew."""
        self._monitor.started(self, saved)
        return self._shown(super().start(saved, founding, seeds, now))

    def submit(self, ticket: Ticket, request: Request, now: Now) -> list[Effect]:
        """A client asks."""
        return self._shown(super().submit(ticket, request, now))

    def cancel(self, ticket: Ticket) -> list[Effect]:
        """A client is gone."""
        return self._shown(super().cancel(ticket))

    def stop(self, now: Now) -> list[Effect]:
        """The node is about to end."""
        return self._shown(super().stop(now))

    def receive(self, sender: Sender, messages: Sequence[Message], now: Now) -> list[Effect]:
        """A peer speaks: first see whether it may say what it says."""
        self._monitor.hears(self, sender, messages)
        return self._shown(super().receive(sender, messages, now))

    def tick(self, now: Now) -> list[Effect]:
        """Time passes."""
        effects = self._shown(super().tick(now))
        self._monitor.ticked(self)
        return effects

    def posted(self, peer: str, fate: Fate, now: Now) -> list[Effect]:
        """What became of messages."""
        return self._shown(super().posted(peer, fate, now))

    def synced(self, position: int, now: Now) -> list[Effect]:
        """The disk speaks."""
        self._monitor.synced(self, position)
        return self._shown(super().synced(position, now))

    def storage_full(self, full: bool) -> list[Effect]:
        """The disk speaks of room."""
        return self._shown(super().storage_full(full))

    def _shown(self, effects: list[Effect]) -> list[Effect]:
        if effects:
            self._monitor.sees(self, effects)
        return effects
