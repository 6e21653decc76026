"""
Changes of the configuration that a client has asked for.

Whatever node is asked sees to it: it works out what should follow the configuration in force, has that decided, and
looks again where something else was decided instead.  The client is answered when the change is in force and, within
bounds, known to all nodes that are up.
"""

from kvsd.replication.changes import ChangeRefused
from kvsd.replication.configuration import Configuration, ConfigurationError
from kvsd.replication.dealing import NodesUnheard
from kvsd.replication.duties import Duties
from kvsd.replication.effects import Now, Ticket
from kvsd.replication.requests import (
    AddMember,
    Begun,
    Change,
    Changed,
    GiveUp,
    Outcome,
    Overloaded,
    Refused,
    Reshard,
    Unassigned,
)
from kvsd.replication.state import State
from kvsd.replication.wishes import Asked, Wishes

MAX_ASKED = 100
FORMING = "the cluster is forming: not all founding nodes were heard of yet"


class Administration:
    """Sees to changes, one after another."""

    def __init__(self, state: State, duties: Duties) -> None:
        self._state = state
        self._wishes = Wishes(state, duties)
        self._asked: list[Asked] = []

    def __len__(self) -> int:
        """How many changes are waited for here."""
        return len(self._asked)

    def ask(self, ticket: Ticket, change: Change, now: float) -> None:
        """A client asks for a change."""
        if len(self._asked) >= MAX_ASKED:
            refusal = Overloaded("Too many changes are waited for here; try again later")
            self._state.out.answer(ticket, refusal, after=0)
        else:
            self._asked.append(Asked(ticket, change, now))

    def cancel(self, ticket: Ticket) -> None:
        """Nobody waits for the answer any more; what was begun goes on."""
        self._asked = [asked for asked in self._asked if asked.ticket != ticket]

    def expire(self) -> None:
        """The node is about to end: answer everybody."""
        for asked in list(self._asked):
            self._end(asked, asked.outcome or Overloaded("This node is shutting down; ask another one"))

    def refuse(self, outcome: Outcome) -> None:
        """Answer everybody in the same way, as nothing can be changed here any more."""
        for asked in list(self._asked):
            self._end(asked, outcome)

    def next(self, now: Now, *, free: bool) -> Configuration | None:
        """Answer those who can be; returns what should be proposed for the others, if something can be."""
        for asked in list(self._asked):
            if asked.outcome is None and (free or now.monotonic - asked.since >= self._patience(asked.change)):
                following = self._look(asked, now.monotonic)
                if following is not None:
                    asked.proposed = True
                    return following
            if asked in self._asked and asked.outcome is not None and self._is_calm(asked, now.monotonic):
                self._end(asked, asked.outcome)
        return None

    def adopted(self, now: float) -> None:
        """Another configuration is in force: see what it means to whoever has proposed one, before yet another is."""
        for asked in list(self._asked):
            if asked.proposed and asked.outcome is None:
                self._look(asked, now)

    def _end(self, asked: Asked, outcome: Outcome) -> None:
        """Answer: an outcome that speaks of a configuration waits for the disk to know that configuration."""
        self._asked.remove(asked)
        self._state.out.answer(asked.ticket, outcome, 0 if isinstance(outcome, Overloaded | Unassigned) else None)

    def _look(self, asked: Asked, now: float) -> Configuration | None:
        """What should follow for a change; notes its outcome where it is settled."""
        configuration, patience = self._state.configuration, self._patience(asked.change)
        found: Configuration | Outcome | None = None
        if configuration is not None and configuration.is_bound():
            try:
                found = self._wishes.following(asked, configuration)
            except ChangeRefused as refusal:
                found = Refused(str(refusal))
            except NodesUnheard as error:
                found = Overloaded(str(error))
            except ConfigurationError as error:
                found = Refused(str(error))
        if isinstance(found, Configuration):
            if now - asked.since < patience:
                return found
            found = None
        if found is not None:
            asked.outcome, asked.done = found, now
            if not isinstance(found, Changed):
                self._end(asked, found)
        elif now - asked.since >= patience:
            begun = isinstance(asked.change, Reshard) and asked.reshard
            self._end(asked, Begun() if begun else Overloaded(self._why_not(configuration, asked.change)))
        return None

    def _patience(self, change: Change) -> float:
        limits = self._state.limits
        return limits.reshard_seconds if isinstance(change, Reshard) else limits.change_seconds

    @staticmethod
    def _why_not(configuration: Configuration | None, change: Change) -> str:
        if configuration is None or not configuration.is_bound():
            return f"The configuration can't be changed yet: {FORMING}; try again later"
        if isinstance(change, AddMember) and not configuration.nodes.get(change.address, b"."):
            return f"{change.address} was not heard of yet; try again later"
        if isinstance(change, GiveUp):
            return (
                "The nodes could not be given up in time: nobody that is left may have heard of them for some seconds,"
                " and all voters that are left have to agree, none of them started with force=never; try again later"
            )
        return (
            "The change was not decided in time: a majority of the voters"
            f" ({', '.join(configuration.voters())}) has to be up; try again later, or have those forgotten by force"
            " that are gone for good"
        )

    def _is_calm(self, asked: Asked, now: float) -> bool:
        """Whether all nodes that are up go by the configuration in force, and what it set in motion is at rest."""
        state = self._state
        assert state.configuration is not None, "it was changed"
        if now - asked.done >= state.limits.calm_seconds:
            return True
        peers = (state.liveness.peers[address] for address in state.liveness.peers if state.usable(address))
        if state.disk.epoch < state.epoch or any(peer.latest_epoch < state.epoch for peer in peers):
            return False
        if not isinstance(asked.change, Reshard):
            return True
        learning = any(shard.learners for shard in state.configuration.shards.values())
        return not learning and not any(tenancy.sources for tenancy in state.configuration.tenures.values())
