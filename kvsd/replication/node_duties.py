"""
Duties towards nodes: they are let in, named, given up where their disks are gone, and given a place.
"""

from collections.abc import Iterator, Mapping
from functools import partial

from kvsd.replication import changes
from kvsd.replication.causality import join
from kvsd.replication.configuration import Configuration, shard_number
from kvsd.replication.duty import Step, Wait
from kvsd.replication.losses import Losses
from kvsd.replication.membership import Membership
from kvsd.replication.messages import AskConfiguration
from kvsd.replication.state import State


class NodeDuties:
    """What should follow for the sake of nodes."""

    def __init__(self, state: State, membership: Membership, wait: Wait) -> None:
        self._state = state
        self._membership = membership
        self._losses = Losses(state, wait)
        self._wait = wait

    @property
    def _configuration(self) -> Configuration:
        assert self._state.configuration is not None, "duties are seen to in a configuration"
        return self._state.configuration

    def admit(self) -> Iterator[Step]:
        """Let in the nodes that want to be."""
        for address, (instance, _) in sorted(self._membership.announced.items()):
            if address not in self._configuration.nodes:
                yield f"let {address} in", partial(changes.add_node, self._configuration, address, instance)

    def bind(self) -> Iterator[Step]:
        """Find out which instance a node is that was added by its address alone."""
        for address, instance in self._configuration.nodes.items():
            peer = self._state.liveness.peers.get(address)
            if not instance and peer and peer.instance:
                yield f"bound {address}", partial(changes.bind_node, self._configuration, address, peer.instance)
            elif not instance:
                self._wait("bind", f"{address} was never heard of")

    def ask_invited(self, now: float, *, mine: bool) -> None:
        """
        Ask the nodes that were invited and not heard yet for a sign of life, if that is for this node to do (``mine``).

        Nobody may be there, or nobody of this cluster: the question says who asks, and nothing else.
        """
        for address in self._state.invitations.due(now):
            if mine:
                self._state.out.send(address, AskConfiguration(self._state.epoch), after=0)

    def dismiss(self) -> Iterator[Step]:
        """Take those out of the cluster that were invited long ago and never heard."""
        for address in self._state.invitations.overdue(self._state.now.monotonic):
            yield (
                f"took out {address}, which was never heard",
                partial(changes.remove_node, self._configuration, address, ()),
            )

    def lose(self) -> Iterator[Step]:
        """Give up the writers of a node that came back with an empty disk, be it while it was removed."""
        for address, bound in self._configuration.nodes.items():
            if self._state.is_destroyed(address):
                instance = self._state.liveness.peers[address].instance
                yield (
                    f"took in {address}, whose disk is gone",
                    partial(changes.lose, self._configuration, address, instance, self.known()),
                )
            elif bound and self._has_others(address, bound) and self._is_there(address, bound):
                yield (
                    f"gave up what {address} was before",
                    partial(changes.lose, self._configuration, address, bound, self.known()),
                )

    def _has_others(self, address: str, instance: bytes) -> bool:
        """Whether an address has members of another instance than the one that it is bound to."""
        everyone = self._configuration.everyone()
        return any(member.node == address and member.instance not in (b"", instance) for member in everyone)

    def _is_there(self, address: str, instance: bytes) -> bool:
        """Whether it is this instance that is at an address."""
        identity, peer = self._state.identity, self._state.liveness.peers.get(address)
        if address == identity.address:
            return instance == identity.instance
        return peer is not None and peer.instance == instance

    def known(self) -> Mapping[bytes, int]:
        """Up to which of its writes each writer was heard of."""
        known: dict[bytes, int] = {}
        for role in self._state.roles.values():
            join(known, role.vector)
        for peer in self._state.liveness.peers.values():
            for vector in peer.vectors.values():
                join(known, vector)
        return known

    def settle(self) -> Iterator[Step]:
        """Find out what is left of the writes of a writer whose disk is gone: all who may have some agree by now."""
        for writer, loss in sorted(self._configuration.lost.items()):
            if loss.kept is None:
                kept = self._losses.kept(writer, loss.shard)
                if kept is not None:
                    yield (
                        f"settled the losses of {loss.node} in {loss.shard}",
                        partial(changes.settle, self._configuration, writer, kept),
                    )

    def place(self) -> Iterator[Step]:
        """Give nodes a place that were left out because they were down."""
        configuration = self._configuration
        for address in configuration.absent:
            if self._state.usable(address) or address == self._state.identity.address:
                shard = min(configuration.shard_ids(), key=lambda s: (len(configuration.assigned(s)), shard_number(s)))
                yield (
                    f"gave {address} a place in {shard}",
                    partial(changes.add_learner, self._configuration, shard, address),
                )
