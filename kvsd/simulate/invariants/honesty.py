"""
Honesty: what a node says of why a request can't be served is true, and it keeps within its own limits.
"""

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence

from kvsd.replication.effects import Keep, SetConfiguration, SetVector
from kvsd.replication.messages import Forwarded, Message, Sender
from kvsd.replication.replica import Replica
from kvsd.replication.requests import Absent, Found, MissingWrite, Outcome, Unconfirmed, Unmet, Verdict, Written
from kvsd.replication.saved import Saved
from kvsd.simulate.monitor import Invariant, Monitor

HEARD = 100
"""So many answers to requests that were sent on are remembered."""


class Honesty(Invariant):
    """
    Checks explanations when they are given by who lacks something, and not when another node passes them on.

    An event may bring several messages: what one of them is answered may be out of date by the last.  So a node is
    taken to have what it had before the event.
    """

    def __init__(self, monitor: Monitor) -> None:
        super().__init__(monitor)
        self._sources: set[str] = set()
        """The shards from which writes were ever to be taken over."""
        self._had: dict[tuple[Replica, str], Mapping[bytes, int]] = {}
        self._heard: defaultdict[Replica, deque[Verdict]] = defaultdict(lambda: deque(maxlen=HEARD))
        """What a replica was told last by those to whom it had sent requests on."""

    def started(self, replica: Replica, saved: Saved) -> None:
        """What the disk knows."""
        self._had |= {(replica, role.shard): dict(role.vector) for role in saved.roles.values()}

    def hears(self, replica: Replica, sender: Sender, messages: Sequence[Message]) -> None:
        """What others say may be passed on."""
        self._heard[replica].extend(m.outcome for m in messages if isinstance(m, Forwarded))

    def wrote(self, replica: Replica, position: int, changes: Sequence[Keep]) -> None:
        """Vectors are raised."""
        self._had |= {(replica, change.shard): change.vector for change in changes if isinstance(change, SetVector)}
        for change in changes:
            if isinstance(change, SetConfiguration):
                self._sources.update(s for tenancy in change.configuration.tenures.values() for s in tenancy.sources)

    def decided(self, replica: Replica, outcome: Outcome) -> None:
        """Only a founded member serves, and what it says to be missing is."""
        address = replica.state.identity.address
        if isinstance(outcome, Found | Written | Unconfirmed | Absent):
            if not replica.state.founded and replica.state.epoch <= 1:  # one that was removed hands on what came late
                self.accuse("serve-rule", f"{address} serves although it is not founded")
        elif isinstance(outcome, Unmet) and self._is_its_own(replica, outcome):
            for lack in outcome.missing:
                self._check(replica, lack)

    def _is_its_own(self, replica: Replica, outcome: Unmet) -> bool:
        return replica.state.serving(outcome.shard) is not None and outcome not in self._heard[replica]

    def _check(self, replica: Replica, lack: MissingWrite) -> None:
        address, writer = replica.state.identity.address, bytes.fromhex(lack.writer)
        tenures = replica.state.configuration.tenures.values() if replica.state.configuration else ()
        if lack.shard in self._sources or any(lack.shard in tenancy.sources for tenancy in tenures):
            return  # it may be here and not have been taken over yet
        have = self._had.get((replica, lack.shard), {}).get(writer, 0)
        if lack.have < lack.need <= have:
            self.accuse("explanation", f"{address} says that it lacks {lack}, but it has {have}")
        for holder in lack.held_by:
            if (holder, lack.shard) in self.monitor.dropped:
                continue  # it had it, and that its disk is gone is not known everywhere yet
            if holder != lack.node and self.disks(holder).get(lack.shard, {}).get(writer, 0) < lack.need:
                self.accuse("explanation", f"{address} says that {holder} holds {lack}, but it does not")


class Bounds(Invariant):
    """Checks the lengths of queues."""

    def ticked(self, replica: Replica) -> None:
        """No queue is longer than it may be."""
        state, limits = replica.state, replica.state.limits
        lengths = {
            "requests that wait": (len(replica.waiting), limits.waiters),
            "requests sent on": (len(replica.forwards), limits.forwards),
            "questions whether something is still so": (len(replica.confirmations), limits.forwards),
            "writes that wait for replicas": (len(replica.concerns), limits.concerns),
        }
        for role in state.roles.values():
            lengths[f"ops of {role.shard} held back"] = (role.holdback.count, limits.holdback_ops)
        for what, (length, limit) in lengths.items():
            if length > limit:
                self.accuse("bounds", f"{state.identity.address} has {length} {what}, the limit is {limit}")
