"""
Background duties: what has to be done to the configuration without anybody asking for it.

One node at a time sees to them, the first that is up; should two do so, one of them loses the vote and looks again.
Each duty looks at the configuration and at the reports made under it, and says what should follow, or why it can't be
done yet.
"""

from collections.abc import Callable, Iterator, Mapping

from kvsd.replication.changes import ChangeRefused
from kvsd.replication.configuration import Configuration
from kvsd.replication.duty import Duty, Step
from kvsd.replication.effects import Now
from kvsd.replication.membership import Membership
from kvsd.replication.node_duties import NodeDuties
from kvsd.replication.placement import address_order
from kvsd.replication.reports import Reports
from kvsd.replication.shard_duties import ShardDuties
from kvsd.replication.state import State


class Duties:
    """What should follow the configuration in force."""

    def __init__(self, state: State, membership: Membership) -> None:
        self._state = state
        self.reports = Reports(state)
        self._nodes = NodeDuties(state, membership, self._wait)
        self._shards = ShardDuties(state, self._wait)
        self.log: dict[str, Duty] = {}
        """What was last done here, by the name of the duty."""

    def driver(self) -> str | None:
        """The node that sees to the duties: the first that is up; None where this node knows of none."""
        state = self._state
        if state.configuration is None:
            return None
        up = (
            address
            for address in sorted(state.configuration.nodes, key=address_order)
            if (state.founded if address == state.identity.address else self._is_bound(address))
        )
        return next(up, None)

    def _is_bound(self, address: str) -> bool:
        """Whether a node is up, and knows that it is of the cluster: not one that was removed and is being let in."""
        peer, configuration = self._state.liveness.peers.get(address), self._state.configuration
        known = configuration.nodes.get(address) if configuration else None
        return self._state.usable(address) and peer is not None and peer.instance == known

    def next(self, now: Now) -> Configuration | None:
        """What should follow now, if this node is to see to that."""
        state, configuration = self._state, self._state.configuration
        if self.driver() != state.identity.address or not (configuration and configuration.is_bound()):
            return None
        if state.disk.epoch != state.epoch:
            # What this node wrote before it knew this configuration may not be durable yet, and would not be counted.
            return None
        every: tuple[tuple[str, Iterator[Step]], ...] = (
            ("admit", self._nodes.admit()),
            ("bind", self._nodes.bind()),
            ("dismiss", self._nodes.dismiss()),
            ("lose", self._nodes.lose()),
            ("settle", self._nodes.settle()),
            ("promote", self._shards.promote()),
            ("hand-off", self._shards.hand_off(now.monotonic)),
            ("drain", self._shards.drain()),
            ("retire", self._shards.retire()),
            ("place", self._nodes.place()),
        )
        for name, duty in every:
            record = self.log.setdefault(name, Duty())
            record.blocked = ""
            for what, change in duty:
                if following := self._made(record, what, change):
                    record.last, record.at = what, now.monotonic
                    return following
        return None

    def ask_invited(self, now: Now) -> None:
        """Have the node that sees to the duties ask those that were invited and not heard yet for a sign of life."""
        if self._state.invitations:
            self._nodes.ask_invited(now.monotonic, mine=self.driver() == self._state.identity.address)

    @staticmethod
    def _made(record: Duty, what: str, change: Callable[[], Configuration]) -> Configuration | None:
        try:
            return change()
        except ChangeRefused as refusal:
            record.blocked = f"{what}: {refusal}"
            return None

    def _wait(self, name: str, why: str) -> None:
        self.log.setdefault(name, Duty()).blocked = why

    def live(self) -> set[str]:
        """The nodes that are up."""
        return self.reports.up()

    def known(self) -> Mapping[bytes, int]:
        """Up to which of its writes each writer was heard of."""
        return self._nodes.known()
