"""
Founding: how an address comes to belong to one data directory for ever.

Founding nodes compute the first configuration, but before one serves, a majority of the view must have *bound* its
address to its instance, durably and once for all.  So a node that lost its disk can't pass for the one it was: the
majority remembers another instance.  It is a majority of the *other* nodes that counts, as a node's own vote is lost
with its disk.
"""

from collections.abc import Mapping

from kvsd.replication.configuration import Configuration
from kvsd.replication.messages import Bind, Bound, Sender
from kvsd.replication.state import State


class Founding:
    """Binds this node's address by asking all others, and theirs when they ask."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._votes: dict[str, bytes] = {}
        """The instance to which each other node has bound this node's address."""
        self._contested: set[str] = set()

    def begin(self, configuration: Configuration) -> None:
        """
        Take a place in a configuration, subject to the consent of a majority.

        A founding that was cut short goes on, as the disk knows the configuration from its beginning.
        """
        state = self._state
        if state.configuration and state.configuration.cluster != configuration.cluster:
            self._votes.clear()
        state.adopt(configuration)
        me = state.identity.address
        if configuration.member(me) and me not in state.bindings:
            state.bind(me, state.identity.instance, founded=False)
        self._count()

    def ask(self, peer: str) -> None:
        """Ask a peer to bind this node's address, unless it has answered."""
        state = self._state
        founding = state.epoch == 1 and state.identity.address in state.bindings
        if founding and not state.founded and peer not in self._votes:
            state.out.send(peer, Bind())

    def bind(self, sender: Sender) -> None:
        """A node wants its address bound."""
        state = self._state
        if not state.configuration or state.epoch > 1 or sender.address not in state.configuration.nodes:
            return
        if sender.address not in state.bindings:
            state.bind(sender.address, sender.instance, founded=False)
        state.out.send(sender.address, Bound(state.bindings[sender.address].instance))

    def bound(self, sender: Sender, message: Bound) -> None:
        """A node says to which instance it has bound this node's address."""
        if sender.address in self._state.liveness.peers:
            self._votes[sender.address] = message.instance
            self._count()

    def _count(self) -> None:
        state = self._state
        mine = state.bindings.get(state.identity.address)
        if state.configuration is None or state.epoch > 1 or mine is None or state.founded:
            return
        others = len(state.configuration.nodes) - 1
        majority = others // 2 + 1 if others else 0
        votes = list(self._votes.values())
        if votes.count(state.identity.instance) >= majority:
            state.bind(state.identity.address, state.identity.instance, founded=True)
            state.out.note("founded", epoch=state.epoch, shard=next(iter(state.roles), None))
        elif len(votes) - votes.count(state.identity.instance) >= majority:
            self._give_up()

    def learn(self, founded: Mapping[str, bytes]) -> None:
        """Instances that a majority has bound are the only ones ever: majorities intersect."""
        state = self._state
        if founded == state.instances:
            return
        nodes = state.configuration.nodes if state.configuration else ()
        for address, instance in founded.items():
            known = state.bindings.get(address)
            if address == state.identity.address:
                if instance != state.identity.instance:
                    self._give_up()
            elif address in nodes and (known is None or not known.founded):
                state.bind(address, instance, founded=True)
            elif known and known.instance != instance and address not in self._contested:
                self._contested.add(address)
                state.out.note("address-contested", address=address)

    def _give_up(self) -> None:
        state = self._state
        if not state.contested:
            state.contested = True
            state.out.note("address-taken", address=state.identity.address)
