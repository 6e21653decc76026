"""
Invitations: who was not heard yet is told nothing, asked seldom, and counted nowhere.
"""

from collections.abc import Sequence

from kvsd.replication.configuration import Configuration
from kvsd.replication.effects import Keep, SetConfiguration
from kvsd.replication.messages import AskConfiguration, Message, Sender
from kvsd.replication.replica import Replica
from kvsd.simulate.monitor import Invariant, Monitor

MOST_INVITED = 64
EARLY_SECONDS = 0.001
"""So much sooner than it may be a question is, where times were added up in another order."""


class Invited(Invariant):
    """Looks at what is sent to nodes that are in the configuration without an instance, and at every configuration."""

    def __init__(self, monitor: Monitor) -> None:
        super().__init__(monitor)
        self._heard: dict[Replica, set[str]] = {}
        """From which addresses each replica has had an envelope."""
        self._asked: dict[tuple[Replica, str], float] = {}

    def hears(self, replica: Replica, sender: Sender, messages: Sequence[Message]) -> None:
        """Who speaks may be spoken to."""
        self._heard.setdefault(replica, set()).add(sender.address)

    def sends(self, replica: Replica, peer: str, message: Message) -> None:
        """A node that was never heard is only asked who it is, and that not too often."""
        configuration = replica.state.configuration
        if configuration is None or not _is_silent(configuration, peer) or peer in self._heard.get(replica, ()):
            return
        now, last = replica.state.now.monotonic, self._asked.get((replica, peer))
        address = replica.state.identity.address
        if not isinstance(message, AskConfiguration):
            self.accuse("invited", f"{address} sends {type(message).__name__} to {peer}, which was never heard")
        elif last is not None and now - last < replica.state.limits.invite_seconds - EARLY_SECONDS:
            self.accuse("invited", f"{address} asks {peer}, which was never heard, again after {now - last:.3f} s")
        self._asked[replica, peer] = now

    def wrote(self, replica: Replica, position: int, changes: Sequence[Keep]) -> None:
        """No configuration counts on a node that was never heard, or has too many of them."""
        for change in changes:
            if isinstance(change, SetConfiguration) and change.configuration.epoch > 1:
                self._check(replica, change.configuration)

    def _check(self, replica: Replica, configuration: Configuration) -> None:
        silent = {node for node, instance in configuration.nodes.items() if not instance}
        places = {member.node for member in configuration.everyone() if not member.instance}
        counted = sorted(places | (silent & {*configuration.voters(), *configuration.absent}))
        if counted:
            self.accuse("invited", f"epoch {configuration.epoch} counts on {counted[0]}, whose instance is not known")
        if len(silent) > MOST_INVITED:
            self.accuse("invited", f"epoch {configuration.epoch} has {len(silent)} nodes that were never heard")


def _is_silent(configuration: Configuration, address: str) -> bool:
    """Return True for a node that was added by its address alone, and has no past in the cluster."""
    if configuration.epoch == 1 or configuration.nodes.get(address) != b"":
        return False
    return all(member.node != address for member in configuration.everyone())
