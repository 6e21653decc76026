"""
Honesty: what a node says of why a request can't be served is true, and it keeps within its own limits.
"""

from kvsd.replication.replica import Replica
from kvsd.replication.requests import Absent, Found, MissingWrite, Outcome, Unmet, Written
from kvsd.simulate.monitor import Invariant


class Honesty(Invariant):
    """Checks explanations when they are given."""

    def decided(self, replica: Replica, outcome: Outcome) -> None:
        """Only a founded member serves, and what it says to be missing is."""
        address = replica.state.identity.address
        if isinstance(outcome, Found | Written | Absent):
            if not replica.state.founded:
                self.accuse("serve-rule", f"{address} serves although it is not founded")
        elif isinstance(outcome, Unmet) and outcome.shard in replica.state.roles:
            for lack in outcome.missing:
                self._check(replica, lack)

    def _check(self, replica: Replica, lack: MissingWrite) -> None:
        address, role = replica.state.identity.address, replica.state.roles.get(lack.shard)
        writer = bytes.fromhex(lack.writer)
        have = role.vector.get(writer, 0) if role else 0
        if role and lack.have < lack.need <= have:
            self.accuse("explanation", f"{address} says that it lacks {lack}, but it has {have}")
        for holder in lack.held_by:
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
        }
        for role in state.roles.values():
            lengths[f"ops of {role.shard} held back"] = (role.holdback.count, limits.holdback_ops)
        for what, (length, limit) in lengths.items():
            if length > limit:
                self.accuse("bounds", f"{state.identity.address} has {length} {what}, the limit is {limit}")
