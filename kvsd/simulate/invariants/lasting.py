"""
What lasts: as long as a node would confirm what it told another one, a read would have the same outcome.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from kvsd.replication.basis import AskChanges, Basis, Confirm
from kvsd.replication.messages import Forwarded, Message, Sender
from kvsd.replication.replica import Replica
from kvsd.replication.requests import Absent, Found, Get
from kvsd.replication.saved import Saved
from kvsd.simulate.monitor import Invariant, Monitor


class Lasting(Invariant):
    """Remembers what nodes told each other of keys, and looks at all of it that one of them would confirm."""

    def __init__(self, monitor: Monitor) -> None:
        super().__init__(monitor)
        self._told: dict[tuple[str, str], dict[str, tuple[Found | Absent, Basis]]] = {}
        """By who told and who was told, for each key the last."""
        self._replicas: dict[str, Replica] = {}
        """Those that were started last, by address."""

    def started(self, replica: Replica, saved: Saved) -> None:
        """Another run begins."""
        self._replicas[replica.state.identity.address] = replica

    def hears(self, replica: Replica, sender: Sender, messages: Sequence[Message]) -> None:
        """An outcome that lasts is told, or a node is asked whether what it told is still so."""
        me = replica.state.identity.address
        for message in messages:
            match message:
                case Forwarded(outcome=Found() | Absent() as outcome) if outcome.basis:
                    if isinstance(asked := replica.forwards.request(message.id), Get):
                        told = self._told.setdefault((sender.address, me), {})
                        told[asked.key] = replace(outcome, basis=None), outcome.basis
                case AskChanges():
                    self._look(replica, sender.address)
                case _:
                    pass

    def _look(self, replica: Replica, asker: str) -> None:
        state, reader, me = replica.state, replica.serving.reader, replica.state.identity.address
        for key, (outcome, basis) in self._told.get((me, asker), {}).items():
            if basis.outlook == reader.outlook and state.key_changes.unchanged(key, basis.changes):
                again = reader.anew(Get(key, outcome.token), state.now)
                if again != outcome:
                    self.accuse("told-again", f"{me} would confirm {outcome} of {key} to {asker}, but it is {again}")

    def confirmed(self, replica: Replica, request: Confirm, changes: int) -> None:
        """Who told it must not have changed the key between then and that change."""
        key, basis = request.key, request.basis
        teller = self._replicas[basis.node]
        if teller.serving.reader.outlook == basis.outlook:
            number = (teller.state.key_changes.after(basis.changes) or {}).get(key)
            if number is not None and number <= changes:
                me = replica.state.identity.address
                self.accuse("told-again", f"{me} confirms {key} of {basis} up to {changes}, but it changed at {number}")
