"""
A tiny store that keeps all promises, for the checkers to find nothing, and that can be told to break them.

All replicas hold all keys.  A write carries the writes that its author knew and is applied after them; the larger stamp
wins.  A token is what its holder knows: a set of writes (bits of an integer) and the largest stamp.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from random import Random
from typing import Literal, NamedTuple

from kvsd.simulate.history import FinalState, History, Number, Operation, Version

Fault = Literal[
    "no waiting for causes",
    "last to arrive wins",
    "stamps at random",
    "deletions do not last",
    "a replica misses writes",
    "reads bring no causes",
]

REPLICAS = 3
CLIENTS = 6
KEYS = 4


class Token(NamedTuple):
    """What the holder knows."""

    writes: int = 0
    stamp: int = 0

    def joined(self, other: "Token") -> "Token":
        """What two know together."""
        return Token(self.writes | other.writes, max(self.stamp, other.stamp))


class Record(NamedTuple):
    """A write with its stamp, and what its author knew."""

    number: Number
    key: str
    value: str | None
    stamp: int
    causes: Token

    @property
    def token(self) -> Token:
        """What one knows who has seen the write."""
        return self.causes.joined(Token(1 << self.number, self.stamp))


@dataclass
class Replica:
    """One copy: the winning records, what was applied, and what has yet to come."""

    name: str
    faults: Collection[Fault]
    rows: dict[str, Record] = field(default_factory=dict)
    applied: int = 0
    coming: list[Record] = field(default_factory=list)

    def knows(self, token: Token) -> bool:
        """Whether all that a token names was applied here."""
        return "no waiting for causes" in self.faults or not token.writes & ~self.applied

    def apply(self, record: Record) -> None:
        """Take a record; the larger stamp wins."""
        self.applied |= 1 << record.number
        row = self.rows.get(record.key)
        if row is not None and row.stamp > record.stamp and "last to arrive wins" not in self.faults:
            return
        self.rows[record.key] = record

    def deliver(self, record: Record) -> None:
        """A record comes from another replica; it waits for its causes."""
        if self.knows(record.causes):
            self.coming.remove(record)
            self.apply(record)


@dataclass
class Request:
    """What a client has asked and is not answered yet; ``write`` is its number in the history if it is one."""

    client: str
    key: str
    value: str | None
    after: tuple[Number, ...]
    asked: float
    write: Number | None
    heard: bool = True


class ReferenceStore:
    """A run of the store under random clients, from a seed; ``history``, ``finals`` and ``stamps`` are what came of it."""

    def __init__(self, seed: int, operations: int = 120, faults: Collection[Fault] = ()) -> None:
        self._random = Random(seed)
        self._faults = faults
        self._replicas = [Replica(f"n{number}", faults) for number in range(REPLICAS)]
        self._tokens: dict[Number, Token] = {}
        self._last: dict[str, Number] = {}
        self._requests: list[Request] = []
        self._now = 0
        self.history: History = []
        self.stamps: dict[Number, int] = {}
        while len(self.history) < operations:
            self._step()
        self._rest()

    @property
    def finals(self) -> list[FinalState]:
        """What the replicas hold."""
        return [self._final(replica) for replica in self._replicas]

    def _final(self, replica: Replica) -> FinalState:
        rows = {key: Version(row.value, row.stamp) for key, row in sorted(replica.rows.items())}
        return FinalState(replica.name, "s0", rows, sum(row.value is not None for row in rows.values()))

    def _time(self) -> float:
        """Several things happen at the same time, now and then."""
        return self._now // 2 / 10

    def _step(self) -> None:
        self._now += 1
        replica = self._random.choice(self._replicas)
        if replica.coming and self._random.random() < 0.5:
            replica.deliver(self._random.choice(replica.coming))
        client = f"c{self._random.randrange(CLIENTS)}"
        waiting = [request for request in self._requests if request.client == client]
        if waiting:
            self._try(self._random.choice(waiting), replica)
        else:
            self._ask(client)

    def _ask(self, client: str) -> None:
        """Start a request: as a rule with the client's own last token, else with another one's, an old one, or none."""
        after = tuple(number for number in [self._last.get(client)] if number is not None)
        if self._tokens and self._random.random() < 0.15:
            after = tuple(sorted(self._random.choices(list(self._tokens), k=self._random.choice([1, 1, 2]))))
        elif self._random.random() < 0.05:
            after = ()
        key = f"k{self._random.randrange(KEYS)}"
        request = Request(client, key, None, after, self._time(), None)
        if self._random.random() < 0.5:
            request.write = len(self.history)
            request.value = None if self._random.random() < 0.3 else f"v{request.write}"
            request.heard = self._random.random() > 0.1
            self._tell(request, request.value, None)
        self._requests.append(request)

    def _tell(self, request: Request, value: str | None, answered: float | None) -> Number:
        number, kind = len(self.history), "read" if request.write is None else "write"
        assert kind in {"read", "write"}
        operation = Operation(
            number, request.client, "read", request.key, value, request.after, request.asked, answered
        )
        if kind == "write":
            operation.kind = "write"
        self.history.append(operation)
        return number

    def _try(self, request: Request, replica: Replica) -> None:
        """Carry a request out if the replica knows what its token names; or it is lost on the way."""
        token = self._joined(request.after)
        if not replica.knows(token):
            return
        if request.write is not None and not request.heard and self._random.random() < 0.5:
            return
        self._requests.remove(request)
        if request.write is None:
            self._answer(self._read(request, replica, token), request.client)
        else:
            self._write(request, request.write, replica, token)

    def _joined(self, numbers: tuple[Number, ...]) -> Token:
        token = Token()
        for number in numbers:
            token = token.joined(self._tokens[number])
        return token

    def _answer(self, number: Number, client: str) -> None:
        self._last[client] = number

    def _read(self, request: Request, replica: Replica, token: Token) -> Number:
        row = replica.rows.get(request.key)
        number = self._tell(request, row.value if row else None, self._time())
        seen = row is not None and "reads bring no causes" not in self._faults
        self._tokens[number] = token.joined(row.token) if row is not None and seen else token
        return number

    def _write(self, request: Request, number: Number, replica: Replica, token: Token) -> None:
        row = replica.rows.get(request.key)
        stamp = 1 + max([token.stamp, *(held.stamp for held in replica.rows.values())])
        if "stamps at random" in self._faults:
            stamp = self._random.randrange(10**6)
        self.stamps[number] = stamp = stamp * REPLICAS * 10 + int(replica.name[1:])
        record = Record(number, request.key, request.value, stamp, token)
        replica.apply(record)
        if request.value is None and "deletions do not last" in self._faults and row and row.value:
            replica.rows[request.key] = row
        for other in self._replicas:
            if other is not replica and not ("a replica misses writes" in self._faults and number % 5 == 0):
                other.coming.append(record)
        if request.heard:
            self.history[number].answered = self._time()
            self._tokens[number] = record.token
            self._answer(number, request.client)

    def _rest(self) -> None:
        """Deliver all that is under way, and read everything once more after all that was answered."""
        self._now += 100
        while any(replica.coming for replica in self._replicas):
            for replica in self._replicas:
                for record in list(replica.coming):
                    replica.deliver(record)
            if "a replica misses writes" in self._faults:
                break
        after = tuple(sorted(self._tokens))
        for replica in self._replicas:
            for key in range(KEYS):
                request = Request("end", f"k{key}", None, after, self._time(), None)
                self._read(request, replica, self._joined(after))
