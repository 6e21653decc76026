"""
The monitor of a run: shown every event and every effect of every replica, it has the invariants look at them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

from kvsd.replication.basis import Confirm
from kvsd.replication.effects import Effect, Keep, Note, Reply, Send, Write
from kvsd.replication.messages import Forwarded, Message, Sender
from kvsd.replication.record import Row
from kvsd.replication.replica import Replica
from kvsd.replication.requests import Outcome, Outdated
from kvsd.replication.saved import Saved
from kvsd.simulate.history import Violation
from kvsd.simulate.trace import Trace

Vector = Mapping[bytes, int]
Disks = Callable[[str], Mapping[str, Vector]]
"""By the address of a node: what its disk holds, as a vector for each shard."""

MAX_ACCUSATIONS = 20
ALL_ROWS = 1_000_000


def rows_on_disk(replica: Replica, saved: Saved) -> Iterator[tuple[bytes, Row]]:
    """The rows that a replica finds on its disk when it starts, each with the name under which it is kept."""
    for writer, role in saved.roles.items():
        place = role.place or writer
        for tenure, slot in role.counts:
            yield from ((place, row) for row in replica.state.shelf.scan(place, tenure, slot, None, ALL_ROWS))


class Invariant:
    """Something that must always hold; what it has no opinion on it lets pass."""

    def __init__(self, monitor: "Monitor") -> None:
        self.monitor = monitor
        self.accuse = monitor.accuse
        self.disks = monitor.disks

    def started(self, replica: Replica, saved: Saved) -> None:
        """A replica starts with what its disk knew."""

    def wrote(self, replica: Replica, position: int, changes: Sequence[Keep]) -> None:
        """A replica wants these to be kept."""

    def synced(self, replica: Replica, position: int) -> None:
        """A replica is told that everything up to a position is durable."""

    def hears(self, replica: Replica, sender: Sender, messages: Sequence[Message]) -> None:
        """A replica is about to hear messages."""

    def decided(self, replica: Replica, outcome: Outcome) -> None:
        """A replica has decided what becomes of a request; nobody was told yet."""

    def answered(self, replica: Replica, outcome: Outcome) -> None:
        """A client is told an outcome by its node."""

    def confirmed(self, replica: Replica, request: Confirm, changes: int) -> None:
        """A replica says that what another one told is still so, after so many changes there."""

    def ticked(self, replica: Replica) -> None:
        """Time has passed at a replica."""

    def sends(self, replica: Replica, peer: str, message: Message) -> None:
        """A replica wants a message to be sent to an address."""


HOOKS = ("started", "wrote", "synced", "hears", "decided", "answered", "confirmed", "ticked", "sends")
"""The methods of an invariant."""


class Monitor:
    """Shows everything to everyone and remembers what was broken."""

    def __init__(self, trace: Trace, disks: Disks) -> None:
        self.violations: list[Violation] = []
        self.disks = disks
        self.trusting = True
        """Whether disks hold what they once held; not where an old copy was put back."""
        self.dropped: set[tuple[str, str]] = set()
        """The addresses and shards of replicas that are no more; what they said may still be on its way."""
        self.doubles: set[tuple[str, int]] = set()
        """Second processes under an address that has one, by address and boot: what they say is not the first's."""
        self._trace = trace
        self._concerned: dict[str, list[Invariant]] = {name: [] for name in HOOKS}
        """For each kind of event, the invariants that have an opinion on it."""

    def watch_for(self, invariant: Invariant) -> None:
        """From now on, check an invariant."""
        for name, concerned in self._concerned.items():
            if getattr(type(invariant), name) is not getattr(Invariant, name):
                concerned.append(invariant)

    def distrust(self) -> None:
        """From now on, disks may have been put back in time."""
        self.trusting = False

    def accuse(self, rule: str, text: str) -> None:
        """An invariant was broken."""
        if len(self.violations) < MAX_ACCUSATIONS:
            self.violations.append(Violation(rule, text))
            self._trace.tell((), f"VIOLATION {rule}: {text}")

    # What is shown

    def started(self, replica: Replica, saved: Saved) -> None:
        """A replica starts."""
        for invariant in self._concerned["started"]:
            invariant.started(replica, saved)

    def hears(self, replica: Replica, sender: Sender, messages: Sequence[Message]) -> None:
        """A replica is about to hear messages."""
        if (sender.address, sender.boot) in self.doubles:
            return
        for invariant in self._concerned["hears"]:
            invariant.hears(replica, sender, messages)

    def synced(self, replica: Replica, position: int) -> None:
        """A replica is told of what is durable."""
        for invariant in self._concerned["synced"]:
            invariant.synced(replica, position)

    def ticked(self, replica: Replica) -> None:
        """Time has passed at a replica."""
        for invariant in self._concerned["ticked"]:
            invariant.ticked(replica)

    def confirmed(self, replica: Replica, request: Confirm, changes: int) -> None:
        """What another replica told is said to be still so."""
        for invariant in self._concerned["confirmed"]:
            invariant.confirmed(replica, request, changes)

    def answered(self, replica: Replica, outcome: Outcome) -> None:
        """A client is told an outcome."""
        for invariant in self._concerned["answered"]:
            invariant.answered(replica, outcome)

    def sees(self, replica: Replica, effects: Sequence[Effect]) -> None:
        """A replica wants something done: what it decided comes first, as it may be by what it had before."""
        for effect in effects:
            match effect:
                case Send(_, _, Forwarded(outcome=outcome)) | Reply(outcome=outcome):
                    if not isinstance(outcome, Outdated):
                        self._decided(replica, outcome)
                case Note(event, facts):
                    told = ", ".join(f"{name} {fact}" for name, fact in facts.items())
                    self._trace.tell((replica.state.identity.address,), f"notes: {event.replace('-', ' ')} ({told})")
                case _:
                    pass
        for effect in effects:
            if isinstance(effect, Send):
                for invariant in self._concerned["sends"]:
                    invariant.sends(replica, effect.peer, effect.message)
        if isinstance(effects[0], Write):
            for invariant in self._concerned["wrote"]:
                invariant.wrote(replica, effects[0].position, effects[0].changes)

    def _decided(self, replica: Replica, outcome: Outcome) -> None:
        for invariant in self._concerned["decided"]:
            invariant.decided(replica, outcome)
