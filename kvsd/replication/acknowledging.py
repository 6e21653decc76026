"""
Acknowledgements: a replica tells a writer that waits for it how far it has the writer's ops on its disk.

Only ops that were pushed with that wish are acknowledged, once they are applied and durable, and all of one writer that
one commit made durable in one message.  An op whose push was lost comes by anti-entropy, and is in the next heartbeat.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from kvsd.replication.causality import Counter, Writer
from kvsd.replication.meeting import Meeting
from kvsd.replication.messages import Acknowledged
from kvsd.replication.record import Op
from kvsd.replication.state import State


@dataclass
class Wish:
    """Up to which of its ops a writer waits for acknowledgements, at which node, and what it was told last."""

    shard: str
    peer: str
    counter: Counter
    told: int


class Acknowledging:
    """Who waits for acknowledgements of this node's roles."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._meeting = Meeting(state)
        self._wishes: dict[tuple[Writer, Writer], Wish] = {}
        """By this node's role and the writer that waits."""

    def wished(self, peer: str, ops: Sequence[Op]) -> None:
        """A peer has pushed ops, and waits until they are durable here; some of them may be by now."""
        for op in ops:
            if role := self._state.roles.get(op.shard):
                wish = self._wishes.setdefault((role.writer, op.writer), Wish(op.shard, peer, op.counter, op.counter))
                wish.peer, wish.counter = peer, max(wish.counter, op.counter)
                wish.told = min(wish.told, op.counter - 1)
        self.tell()

    def tell(self) -> None:
        """Acknowledge what is durable by now; nothing before this node has met the others after a start."""
        if not self._wishes or self._meeting.is_on():
            return
        for (name, writer), wish in list(self._wishes.items()):
            role = self._state.roles.get(wish.shard)
            durable = role.durable.get(writer, 0) if role and role.writer == name else None
            if durable is not None and durable > wish.told:
                wish.told = durable
                self._state.out.send(wish.peer, Acknowledged(wish.shard, name, writer, durable), after=0)
            if durable is None or durable >= wish.counter:
                del self._wishes[name, writer]
