"""
Repair: logs have no gaps, the answer to a pull leaves none after what the puller has, and a copy is of one piece.
"""

from collections.abc import Iterable, Sequence

from kvsd.replication.messages import Message, PullOps, PullRows, Sender
from kvsd.replication.record import Op
from kvsd.replication.replica import Replica
from kvsd.simulate.monitor import Invariant, Monitor


class Repair(Invariant):
    """Looks at the logs of replicas, and at what comes for one that pulled."""

    def __init__(self, monitor: Monitor) -> None:
        super().__init__(monitor)
        self._copies: dict[tuple[Replica, str, int], int] = {}
        """The copies that are on their way, by who pulls them, from whom, and under which number."""

    def hears(self, replica: Replica, sender: Sender, messages: Sequence[Message]) -> None:
        """Pages of a copy belong together, and ops follow on what is there."""
        for message in messages:
            match message:
                case PullOps():
                    self._check_ops(replica, sender, message)
                case PullRows():
                    pull = (replica, sender.address, message.id)
                    if message.copy != self._copies.setdefault(pull, message.copy):
                        self.accuse("copy-of-one-piece", f"{sender.address} goes on with a copy that it did not begin")
                case _:
                    pass

    def _check_ops(self, replica: Replica, sender: Sender, message: PullOps) -> None:
        """
        The puller may be further by now than when it asked, even after a start: it asks by what it has on disk.

        Not where its disk was lost since.
        """
        role, me = replica.state.roles.get(message.shard), replica.state.identity.address
        gap = _gap(role.vector, message.ops) if role else None
        if gap and self.monitor.trusting and (me, message.shard) not in self.monitor.dropped:
            what = f"{gap.writer.hex()}:{gap.counter}"
            self.accuse("pull-without-gaps", f"{sender.address} gives {what} to {me}, which has not got all before it")

    def ticked(self, replica: Replica) -> None:
        """Of each writer the log holds the last ops, all that there are from the first of them on."""
        for role in replica.state.roles.values():
            first: dict[bytes, int] = {}
            last: dict[bytes, int] = {}
            for op in role.log:
                first.setdefault(op.writer, op.counter - 1)
                last[op.writer] = op.counter
            gap = _gap(first, role.log)
            if gap or any(role.vector.get(writer) != counter for writer, counter in last.items()):
                self.accuse(
                    "log-without-gaps", f"the log of {replica.state.identity.address} lacks ops of {role.shard}"
                )


def _gap(vector: dict[bytes, int], ops: Iterable[Op]) -> Op | None:
    """The first op that neither follows on a vector nor on the ops before it."""
    seen = dict(vector)
    for op in ops:
        if op.counter > seen.get(op.writer, 0) + 1:
            return op
        seen[op.writer] = max(op.counter, seen.get(op.writer, 0))
    return None
