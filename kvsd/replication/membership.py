"""
How a node comes to its place: founding, heartbeats, and learning the configuration from others.

Founding nodes compute the first configuration, but before one serves, a majority of the view must have *bound* its
address to its instance, durably and once for all.  So a node that lost its disk can't pass for the one it was: the
majority remembers another instance.  A node whose configuration is older than a message's asks for the newer one.
"""

from kvsd.replication.causality import VersionVector
from kvsd.replication.configuration import Configuration
from kvsd.replication.effects import Now
from kvsd.replication.liveness import Peer
from kvsd.replication.messages import (
    AskConfiguration,
    Bind,
    Bound,
    Heartbeat,
    Message,
    Sender,
    TellConfiguration,
)
from kvsd.replication.state import State


class Membership:
    """Binds this node's address, tells and hears heartbeats, and learns configurations."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._confirmed: dict[str, bytes] = {}
        self._seeds: tuple[str, ...] = ()
        self._asked: float | None = None
        self._warned: set[str] = set()

    # Founding

    def found(self, configuration: Configuration) -> None:
        """Start to found a cluster, from a configuration that was computed and that no disk knew better than."""
        state = self._state
        state.adopt(configuration)
        state.bind(state.identity.address, state.identity.instance, founded=False)
        self._count()

    def seek(self, seeds: tuple[str, ...]) -> None:
        """Without a configuration: ask these nodes for theirs, again and again."""
        self._seeds = seeds
        self._state.liveness.watch(seeds)

    def bind(self, sender: Sender) -> None:
        """A peer wants its address bound to its instance."""
        state = self._state
        if not state.configuration or sender.address not in state.configuration.nodes:
            return
        if sender.address not in state.bindings:
            state.bind(sender.address, sender.instance, founded=False)
        state.out.send(sender.address, Bound(state.bindings[sender.address].instance))

    def bound(self, sender: Sender, message: Bound) -> None:
        """A peer says which instance it has bound this node's address to."""
        self._confirmed[sender.address] = message.instance
        self._count()

    def _count(self) -> None:
        state = self._state
        if state.configuration is None or state.founded:
            return
        majority = len(state.configuration.nodes) // 2 + 1
        mine = state.identity.instance
        votes = [*self._confirmed.values(), state.bindings[state.identity.address].instance]
        if votes.count(mine) >= majority:
            state.bind(state.identity.address, mine, founded=True)
            state.out.note("founded", epoch=state.epoch, shard=next(iter(state.roles), None))
        elif len(votes) - votes.count(mine) >= majority and not state.usurped:
            state.usurped = True
            state.out.note("address-taken", address=state.identity.address)

    # Heartbeats

    def tick(self, now: Now) -> None:
        """Send what is due: heartbeats, requests to be bound, requests for a configuration."""
        state = self._state
        interval = state.limits.heartbeat_seconds
        heartbeat = self.heartbeat(now)
        for peer in state.liveness.peers.values():
            if peer.told is None or now.monotonic - peer.told >= interval - state.limits.tick_seconds / 2:
                self._greet(peer, heartbeat, now)

    def _greet(self, peer: Peer, heartbeat: Heartbeat, now: Now) -> None:
        """Send a heartbeat, with what this node still wants of the peer."""
        state = self._state
        peer.told = now.monotonic
        if state.configuration is None:
            state.out.send(peer.address, AskConfiguration(0), after=0)
            return
        state.out.send(peer.address, heartbeat)
        if not state.founded and peer.address not in self._confirmed:
            state.out.send(peer.address, Bind())

    def heartbeat(self, now: Now) -> Heartbeat:
        """What this node says of itself."""
        state = self._state
        return Heartbeat(
            wall_ms=now.wall_ms,
            silent_ms=state.liveness.silences(now.monotonic),
            vectors={shard: dict(role.vector) for shard, role in state.roles.items()},
            founded={address: binding.instance for address, binding in state.bindings.items() if binding.founded},
        )

    def heard(self, sender: Sender, message: Heartbeat, now: Now) -> None:
        """Take in a heartbeat, and answer it where one is about due anyway."""
        state = self._state
        peer = state.liveness.peers.get(sender.address)
        if peer is None:  # a node of no shard: it wants to know who is up, and has nothing to tell
            state.out.send(sender.address, self.heartbeat(now))
            return
        for address, instance in message.founded.items():
            self._learn_founded(address, instance)
        peer.beat(now.monotonic, state.limits.heartbeat_seconds)
        peer.ahead_ms = now.wall_ms - message.wall_ms
        state.liveness.hearsay(message.silent_ms, now.monotonic)
        self._report(peer, sender, message.vectors)
        if peer.told is None or now.monotonic - peer.told > state.limits.heartbeat_seconds / 2:
            self._greet(peer, self.heartbeat(now), now)

    def _learn_founded(self, address: str, instance: bytes) -> None:
        """An instance that a majority has bound is the only one ever: majorities intersect."""
        state = self._state
        if not state.configuration or address not in state.configuration.nodes:
            return
        known = state.bindings.get(address)
        if address == state.identity.address:
            if instance != state.identity.instance and not state.usurped:
                state.usurped = True
                state.out.note("address-taken", address=address)
        elif known is None or not known.founded:
            state.bind(address, instance, founded=True)

    def _report(self, peer: Peer, sender: Sender, vectors: dict[str, VersionVector]) -> None:
        genuine = self._state.is_genuine(sender.address, sender.instance)
        peer.instance, peer.epoch, peer.vectors = sender.instance, sender.epoch, vectors if genuine else {}
        for shard, role in self._state.roles.items():
            if peer.vectors.get(shard, {}).get(role.writer, 0) > role.vector.get(role.writer, 0):
                self._state.out.halt(
                    f"{peer.address} has writes of this node's that this node's disk has not: the data is older than "
                    "what was acknowledged (a stale copy of the data directory?)"
                )

    # Configurations

    def is_current(self, sender: Sender, message: Message, now: float) -> bool:
        """
        Whether a message may be handled: both sides are of one cluster, and the sender knows nothing newer.

        Where the sender knows newer, this node asks for that first; where it knows older, it is told.
        """
        state = self._state
        if isinstance(message, AskConfiguration | TellConfiguration):
            return True
        if state.configuration is None:
            return False
        if sender.cluster != state.configuration.cluster:
            self._stranger(sender)
            return False
        if sender.epoch > state.epoch:
            self.ask(sender.address, now)
            return False
        if sender.epoch < state.epoch:
            self.told(sender, AskConfiguration(sender.epoch))
        return True

    def _stranger(self, sender: Sender) -> None:
        state = self._state
        if sender.address not in self._warned and state.liveness.peers.get(sender.address):
            self._warned.add(sender.address)
            state.out.note("other-cluster", peer=sender.address)
        if not state.founded:
            state.out.send(sender.address, AskConfiguration(0), after=0)

    def ask(self, address: str, now: float) -> None:
        """Ask a node for its configuration, not more often than heartbeats go."""
        if self._asked is None or now - self._asked >= self._state.limits.heartbeat_seconds:
            self._asked = now
            self._state.out.send(address, AskConfiguration(self._state.epoch), after=0)

    def told(self, sender: Sender, message: AskConfiguration) -> None:
        """A node asks for a newer configuration; only one that is in force is handed on."""
        state = self._state
        if state.configuration and state.founded and message.epoch < state.epoch:
            state.out.send(sender.address, TellConfiguration(state.configuration))

    def learn(self, sender: Sender, message: TellConfiguration) -> None:
        """A node tells its configuration: newer than this one's, or of a cluster that exists while this one's doesn't."""
        state, configuration = self._state, message.configuration
        mine = state.configuration
        if mine and mine.cluster != configuration.cluster and state.founded:
            return
        if mine and mine.cluster == configuration.cluster and mine.epoch >= configuration.epoch:
            return
        if mine and mine.cluster != configuration.cluster:
            self._confirmed.clear()
        state.adopt(configuration)
        if configuration.member(state.identity.address) and state.identity.address not in state.bindings:
            state.bind(state.identity.address, state.identity.instance, founded=False)
        state.out.note("configuration-learnt", epoch=configuration.epoch, teller=sender.address)
