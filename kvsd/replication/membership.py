"""
Which configuration a node goes by: messages of another cluster are not heard, and those of a later configuration wait
until it is known.
"""

from collections import deque
from collections.abc import Iterable, Sequence

from kvsd.replication.effects import Now
from kvsd.replication.forks import Forks
from kvsd.replication.founding import Founding
from kvsd.replication.messages import Announce, AskConfiguration, Bind, Message, Sender, TellConfiguration
from kvsd.replication.state import State

Held = tuple[Sender, Sequence[Message]]

MAX_ANNOUNCED = 64
"""So many nodes are let in at a time; others that want to be say so again."""


class Membership:
    """Learns configurations from others and tells them."""

    def __init__(self, state: State, founding: Founding) -> None:
        self._state = state
        self._founding = founding
        self._asked: float | None = None
        self._warned: set[str] = set()
        self._forks = Forks(state)
        self._told: dict[str, tuple[int, float]] = {}
        """Which nodes were last told which epoch, and when (monotonic seconds)."""
        self._held: deque[Held] = deque(maxlen=state.limits.held_envelopes)
        self._wants_in = True
        """Whether this node asks to be let in: until it was, or was in when it started; not when it is removed."""
        self.announced: dict[str, tuple[bytes, float]] = {}
        """Nodes that want to be let in: their instances, and when (monotonic seconds) they last said so."""

    def seek(self, seeds: Iterable[str]) -> None:
        """Without a configuration: these are the nodes to ask for theirs."""
        self._state.liveness.watch(seeds, self._state.now.monotonic)

    def admit(self, sender: Sender, messages: Sequence[Message], now: float, *, silent: bool) -> bool:
        """
        Whether to hear more of a sender than configurations: it is of this cluster, and knows nothing newer.

        One that knows newer is asked for that, and what it says is kept until then; one that knows older is told.  Who
        says nothing (silent) merely has its POSTs taken and answered: that is no sign that it works.
        """
        state = self._state
        if state.configuration is None:
            self._answer_invitation(sender, now)
            return False
        if sender.cluster != state.configuration.cluster:
            self._meet_stranger(sender)
            return False
        if not self._forks.is_kin(sender):
            self._meet_fork(sender, now)
            return False
        certain = self._forks.is_certain(sender)
        if certain:
            state.meet(sender.address)
        peer = state.liveness.peers.get(sender.address)
        if peer and certain:
            peer.latest_epoch = max(peer.latest_epoch, sender.epoch)
            if not silent:
                state.liveness.heard(sender.address, now)
        if sender.epoch > state.epoch:
            self.ask(sender.address, now)
            if messages and self._is_node(sender.address):
                self._held.append((sender, messages))
            return False
        if sender.epoch < state.epoch:
            self._tell(sender, now)
        elif state.founded:
            self._wants_in = False
        return True

    def meet_claimant(self, sender: Sender, messages: Sequence[Message]) -> None:
        """Tell a claimant of another node's address to which instance that is bound; it is not heard."""
        configuration = self._state.configuration
        if configuration is None or sender.cluster != configuration.cluster:
            return
        if sender.epoch < self._state.epoch:
            self._tell(sender, self._state.now.monotonic)
        elif any(isinstance(message, Bind) for message in messages):
            self._founding.bind(sender)

    def release(self) -> list[Held]:
        """What was kept until the configuration was known that is known now; not what turns out to be of another branch."""
        due = [held for held in self._held if held[0].epoch <= self._state.epoch and self._forks.is_kin(held[0])]
        waiting = [held for held in self._held if held[0].epoch > self._state.epoch]
        self._held.clear()
        self._held.extend(waiting)
        return due

    def _is_node(self, address: str) -> bool:
        """Return True if a node is of the cluster, or may have something to say: of others nothing is remembered."""
        return address in self._state.liveness.peers or address in self._state.invitations

    def _answer_invitation(self, sender: Sender, now: float) -> None:
        """A node of a cluster has asked for a sign of life of this one, which knows of no cluster: ask for its own."""
        if sender.cluster:
            self.ask(sender.address, now)

    def _meet_stranger(self, sender: Sender) -> None:
        """A node of another cluster: somebody's settings are wrong, and it may be this node's."""
        state = self._state
        if not self._is_node(sender.address):
            return
        if sender.address not in self._warned and sender.cluster:
            self._warned.add(sender.address)
            state.out.note("other-cluster", peer=sender.address)
            if not state.founded:
                state.out.send(sender.address, AskConfiguration(0), after=0)

    def _meet_fork(self, sender: Sender, now: float) -> None:
        """A node of another branch: one of the two has to end, and both know which once they know both configurations."""
        self._forks.meet(sender)
        self._tell(sender, now)

    # Configurations

    def ask(self, address: str, now: float) -> None:
        """Ask a node for its configuration, not more often than heartbeats go."""
        if self._asked is None or now - self._asked >= self._state.limits.tick_seconds:
            self._asked = now
            self._state.out.send(address, AskConfiguration(self._state.epoch), after=0)

    def _tell(self, sender: Sender, now: float) -> None:
        """Tell an older node, not more often than heartbeats go: its disk may be slow to keep what it knows already."""
        if not self._is_node(sender.address):
            self.asked(sender, AskConfiguration(0))
            return
        epoch, at = self._told.get(sender.address, (0, now))
        if epoch < self._state.epoch or now - at >= self._state.limits.heartbeat_seconds:
            self._told[sender.address] = (self._state.epoch, now)
            self.asked(sender, AskConfiguration(0))

    def asked(self, sender: Sender, message: AskConfiguration) -> None:
        """A node asks for a newer configuration; only one that is in force is handed on."""
        state = self._state
        if state.configuration and (state.founded or state.epoch > 1) and message.epoch < state.epoch:
            state.out.send(sender.address, TellConfiguration(state.configuration))

    def told(self, sender: Sender, message: TellConfiguration) -> None:
        """A configuration newer than this node's, or of a cluster that exists while this node's does not."""
        state, told, mine = self._state, message.configuration, self._state.configuration
        if mine and mine.cluster == told.cluster:
            if not self._forks.is_followed_by(mine, told):
                if self._forks.beats(mine, told):
                    self._meet_fork(sender, state.now.monotonic)
                return
        elif mine and state.founded:
            return
        if told.epoch == 1:
            self._founding.begin(told)
        else:
            state.adopt(told)
        state.out.note("configuration-learnt", epoch=told.epoch, teller=sender.address)

    # Being let in

    def tick(self, now: Now) -> None:
        """Ask to be let in, where this node was started and is in no configuration."""
        state = self._state
        if self._wants_in and state.configuration and state.identity.address not in state.configuration.nodes:
            for address in state.liveness.peers:
                state.out.send(address, Announce(), after=0)
        self._forks.seek_given_up(now.monotonic)
        old = [a for a, (_, at) in self.announced.items() if now.monotonic - at > state.limits.down_seconds]
        for address in old:
            del self.announced[address]

    def announce(self, sender: Sender, now: float) -> None:
        """A node wants to be let in."""
        nodes = self._state.configuration.nodes if self._state.configuration else {}
        if sender.address not in nodes and (sender.address in self.announced or len(self.announced) < MAX_ANNOUNCED):
            self.announced[sender.address] = (sender.instance, now)
