"""
The replica, with somebody who looks over its shoulder: every event and every effect is shown to a monitor.
"""

from collections.abc import Iterable, Sequence

from kvsd.replication.configuration import Configuration
from kvsd.replication.effects import Effect, Now, Reply, Ticket
from kvsd.replication.limits import Limits
from kvsd.replication.liveness import Fate
from kvsd.replication.messages import Message, Sender
from kvsd.replication.reader import Reader, lasts
from kvsd.replication.replica import Replica
from kvsd.replication.requests import Get, Outcome, Request
from kvsd.replication.saved import Saved
from kvsd.replication.shelf import Shelf
from kvsd.replication.state import Identity
from kvsd.simulate.monitor import Monitor

NOBODY: Ticket = 0
"""The ticket of an answer that needs none."""


class WatchedReader(Reader):
    """Reads as the reader of a replica does."""

    def __init__(self, replica: "WatchedReplica") -> None:
        super().__init__(replica.state, replica.stability, replica.serving.vetting)
        self._replica = replica
        self._last: tuple[int, int, Get, Outcome] | None = None
        """The outlook and the number of changes of keys at the last read whose outcome lasts, and that."""

    def at_once(self, request: Get, now: Now) -> Outcome | None:
        """A client asks for what can be told at once."""
        outcome = super().at_once(request, now)
        if outcome is not None:
            self._replica.show([Reply(0, NOBODY, outcome)])
            if lasts(outcome):
                self._last = self.outlook, self._replica.state.key_changes.count, request, outcome
        return outcome

    def fault(self) -> str:
        """How an outcome that is to last would be another by now; empty if it would not, or need not be the same."""
        if self._last is None:
            return ""
        outlook, changes, request, outcome = self._last
        if outlook != self.outlook or not self._replica.state.key_changes.unchanged(request.key, changes):
            return ""
        again = self.anew(request, self._replica.state.now)
        return "" if again == outcome else f"{request.key}: {outcome} and then {again}"


class WatchedReplica(Replica):
    """Does what any replica does."""

    def __init__(self, identity: Identity, limits: Limits, shelf: Shelf, monitor: Monitor) -> None:
        super().__init__(identity, limits, shelf)
        self._monitor = monitor
        self.serving.reader = self._reader = WatchedReader(self)

    def start(self, saved: Saved, founding: Configuration | None, seeds: Iterable[str], now: Now) -> list[Effect]:
        """Start, and show what the disk knew."""
        self._monitor.started(self, saved)
        return self.show(super().start(saved, founding, seeds, now))

    def submit(self, asked: Iterable[tuple[Ticket, Request]], now: Now) -> list[Effect]:
        """Clients ask."""
        return self.show(super().submit(asked, now))

    def cancel(self, ticket: Ticket) -> list[Effect]:
        """A client is gone."""
        return self.show(super().cancel(ticket))

    def stop(self, now: Now) -> list[Effect]:
        """The node is about to end."""
        return self.show(super().stop(now))

    def receive(self, sender: Sender, messages: Sequence[Message], now: Now) -> list[Effect]:
        """A peer speaks: first see whether it may say what it says."""
        self._monitor.hears(self, sender, messages)
        return self.show(super().receive(sender, messages, now))

    def tick(self, now: Now) -> list[Effect]:
        """Time passes."""
        effects = self.show(super().tick(now))
        self._monitor.ticked(self)
        return effects

    def posted(self, peer: str, fate: Fate, now: Now) -> list[Effect]:
        """What became of messages."""
        return self.show(super().posted(peer, fate, now))

    def synced(self, position: int, now: Now) -> list[Effect]:
        """The disk speaks."""
        self._monitor.synced(self, position)
        return self.show(super().synced(position, now))

    def storage_full(self, full: bool) -> list[Effect]:
        """The disk speaks of room."""
        return self.show(super().storage_full(full))

    def show(self, effects: list[Effect]) -> list[Effect]:
        """Show effects to the monitor."""
        if effects:
            self._monitor.sees(self, effects)
        if fault := self._reader.fault():
            self._monitor.accuse("outlook", f"{self.state.identity.address} has the same outlook, but {fault}")
        return effects
