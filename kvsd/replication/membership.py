"""
Which configuration a node goes by: messages of another cluster are not heard, and those of a later configuration wait
until it is known.
"""

from collections.abc import Iterable

from kvsd.replication.founding import Founding
from kvsd.replication.messages import AskConfiguration, Sender, TellConfiguration
from kvsd.replication.state import State


class Membership:
    """Learns configurations from others and tells them."""

    def __init__(self, state: State, founding: Founding) -> None:
        self._state = state
        self._founding = founding
        self._asked: float | None = None
        self._warned: set[str] = set()

    def seek(self, seeds: Iterable[str]) -> None:
        """Without a configuration: these are the nodes to ask for theirs."""
        self._state.liveness.watch(seeds)

    def admit(self, sender: Sender, now: float, *, silent: bool) -> bool:
        """
        Whether to hear more of a sender than configurations: it is of this cluster, and knows nothing newer.

        One that knows newer is asked for that, one that knows older is told.  Who says nothing (silent) merely has its
        POSTs taken and answered: that is no sign that it works.
        """
        state = self._state
        if state.configuration is None:
            return False
        if sender.cluster != state.configuration.cluster:
            self._meet_stranger(sender)
            return False
        if sender.address in state.liveness.peers and not silent:
            state.liveness.heard(sender.address, now)
        if sender.epoch > state.epoch:
            self.ask(sender.address, now)
            return False
        if sender.epoch < state.epoch:
            self.asked(sender, AskConfiguration(sender.epoch))
        return True

    def _meet_stranger(self, sender: Sender) -> None:
        """A node of another cluster: somebody's settings are wrong, and it may be this node's."""
        state = self._state
        if sender.address not in state.liveness.peers:
            return
        if sender.address not in self._warned:
            self._warned.add(sender.address)
            state.out.note("other-cluster", peer=sender.address)
            if not state.founded:
                state.out.send(sender.address, AskConfiguration(0), after=0)

    def ask(self, address: str, now: float) -> None:
        """Ask a node for its configuration, not more often than heartbeats go."""
        if self._asked is None or now - self._asked >= self._state.limits.heartbeat_seconds:
            self._asked = now
            self._state.out.send(address, AskConfiguration(self._state.epoch), after=0)

    def asked(self, sender: Sender, message: AskConfiguration) -> None:
        """A node asks for a newer configuration; only one that is in force is handed on."""
        state = self._state
        if state.configuration and state.founded and message.epoch < state.epoch:
            state.out.send(sender.address, TellConfiguration(state.configuration))

    def told(self, sender: Sender, message: TellConfiguration) -> None:
        """A configuration newer than this node's, or of a cluster that exists while this node's does not."""
        state, told, mine = self._state, message.configuration, self._state.configuration
        if mine and (state.founded if mine.cluster != told.cluster else mine.epoch >= told.epoch):
            return
        self._founding.begin(told)
        state.out.note("configuration-learnt", epoch=told.epoch, teller=sender.address)
