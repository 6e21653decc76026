"""
One replica of a shard that is watched while the shard goes about its business.

What is measured is the CPU time of this process for what the replica does, and for what a node does with its effects
inside the core.  It is measured in batches; between two of them the cluster goes on untimed, a tick each: messages
arrive, heartbeats are exchanged, writes get stable, logs end.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from time import process_time
from typing import TypeVar

from benchmarks.replicas import SECRET, Replicas, submit
from kvsd.replication.effects import Reply, Send, Write
from kvsd.replication.requests import Get, Outcome, Put, Request
from kvsd.replication.token import EMPTY
from kvsd.tokens import Tokens
from kvsd.wire import encode_message

T = TypeVar("T")
Case = Callable[[int], float]
"""Carries something out so many times; returns how many seconds of CPU that took."""

BATCH = 256
SESSIONS = 64
WRITES = 8
"""How many writes each member carries out between two batches."""
VALUE = b'"' + b"v" * 98 + b'"'


def in_batches(loops: int, prepare: Callable[[int], Iterable[T]], act: Callable[[T], object]) -> float:
    """Carry something out on so many things, which are prepared untimed, some at a time."""
    seconds = 0.0
    while loops > 0:
        things = list(prepare(min(loops, BATCH)))
        begin = process_time()
        for thing in things:
            act(thing)
        seconds += process_time() - begin
        loops -= BATCH
    return seconds


class Shard:
    """A shard with some keys, one replica of which is watched; sessions carry their tokens from reply to request."""

    def __init__(self, nodes: int = 3, shards: int = 1, keys: int = 1000, listening: int | None = None) -> None:
        self.cluster = Replicas(nodes, shards, listening=listening)
        self.members = self.cluster.members("s0")
        self.site = self.members[0]
        self.replica = self.site.replica
        self.texts = Tokens(self.replica.state, SECRET)
        self.keys = self.cluster.keys_of("s0", keys)
        self.tokens = [EMPTY] * SESSIONS
        self.sent: list[Send] = []
        self.now = self.cluster.now
        self._turn = 0
        for number, key in enumerate(self.keys):
            self.cluster.ask(self.members[number % len(self.members)], Put(key, VALUE, EMPTY))
            if number % BATCH == 0:
                self.go_on(writes=0)
        for _ in range(20):
            self.go_on(writes=0)
        self.sent.clear()

    def next_key(self) -> str:
        """Another key; the order looks random and is always the same."""
        self._turn += 7919
        return self.keys[self._turn % len(self.keys)]

    def go_on(self, writes: int = WRITES) -> None:
        """What happens between two batches: all members write, and time passes."""
        for send in self.sent:
            if send.peer in self.cluster.listening:
                self.site.queues.setdefault(send.peer, []).append(encode_message(send.message))
        self.sent.clear()
        for member in self.members:
            for _ in range(writes):
                self.cluster.ask(member, Put(self.next_key(), VALUE, EMPTY))
        self.cluster.pass_time()
        self.now = self.cluster.now

    def keys_for(self, count: int) -> Iterator[str]:
        """So many keys, after the cluster went on."""
        self.go_on()
        return (self.next_key() for _ in range(count))

    def ask(self, request: Request) -> Outcome:
        """Put a request to the replica as a node does: a read that can be answered at once is no event."""
        if isinstance(request, Get) and (outcome := self.replica.serving.reader.at_once(request, self.now)):
            return outcome
        return self.ask_all([request])[0]

    def ask_all(self, requests: Sequence[Request]) -> list[Outcome]:
        """Put the requests of a turn to the replica and do what a node does with the effects."""
        now = self.now
        outcomes: list[Outcome] = []
        position = 0
        for effect in submit(self.replica, list(enumerate(requests)), now):
            if isinstance(effect, Write):
                position = effect.position
            elif isinstance(effect, Send):
                self.sent.append(effect)
            elif isinstance(effect, Reply):
                outcomes.append(effect.outcome)
        if position:
            self.replica.synced(position, now)
        assert len(outcomes) == len(requests), "the replica answers at once"
        return outcomes
