"""Stand-ins for parts of a node, with the same methods and none of the work."""

from collections.abc import Callable

from twisted.internet.defer import Deferred

from kvsd.insight import Insight
from kvsd.node import Node
from kvsd.replication.basis import Confirm
from kvsd.replication.budget import Budget
from kvsd.replication.causality import Dependencies
from kvsd.replication.key_changes import KeyChanges
from kvsd.replication.requests import Absent, Found, Get, Outcome, Request, Unassigned
from kvsd.replication.token import Token, TokenCodec
from kvsd.status import Status
from kvsd.tokens import Tokens
from kvsd.wire import WireError

BUDGET_BYTES = 64 << 20
WRITER = b"\x01\x02\x03\x04\x05\x06"


def token(counter: int, writer: bytes = WRITER, shard: str = "s0") -> Token:
    """The token of a client that has seen one writer's writes up to counter."""
    dependencies: Dependencies = {shard: {writer: counter}}
    return Token(1, counter, dependencies)


class FakeInsight(Insight):
    """Shows what it is told to show."""

    def __init__(self) -> None:
        self.up = ["10.0.0.1:8090", "10.0.0.2:8090"]
        self.old_names: list[str] = []
        self.shards: dict[str, list[str]] = {"s0": ["10.0.0.1:8090"], "s1": ["10.0.0.2:8090"]}
        self.shard: str | None = "s0"
        self.reasons: list[str] = []
        self.loneliness = ""
        self.laggards: list[str] = []
        self.waiters: list[dict[str, object]] = []
        self.figures = Status()

    def view(self) -> list[str]:
        return self.up

    def names(self) -> set[str]:
        return {*self.up, *self.old_names}

    def shard_ids(self) -> list[str]:
        return list(self.shards)

    def shard_of_node(self) -> str | None:
        return self.shard

    def members(self, shard: str) -> list[str]:
        return self.shards.get(shard, [])

    def behind(self) -> list[str]:
        return self.laggards

    def alone(self) -> str:
        return self.loneliness

    def unready(self) -> list[str]:
        return self.reasons

    def waiting(self) -> list[dict[str, object]]:
        return self.waiters

    def status(self) -> Status:
        return self.figures


class FakeTokens(Tokens):
    """The tokens of a cluster that never changes."""

    def __init__(self) -> None:
        self.codec = TokenCodec(b"secret", "cluster")

    def decode(self, text: str) -> Token:
        return self.codec.decode(text)

    def encode(self, token: Token) -> str:
        return self.codec.encode(token)


class FakeNode(Node):
    """
    Answers every request with ``outcome``, or leaves it open where that is None, as all that is to be confirmed.

    ``asked`` has the requests, ``open`` a Deferred for each that was left open, by which tests answer it, ``given_up``
    the requests that were cancelled; ``failure`` is raised by all that is asked.  Where it is ``quiet`` its outlook is the
    same until tests set another outcome; else it never is; once it is ``stopped`` there is none.
    """

    def __init__(self) -> None:
        self.address = "10.0.0.1:8090"
        self.insight: FakeInsight = FakeInsight()
        self.tokens: FakeTokens = FakeTokens()
        self.quiet = self.stopped = False
        self.key_changes = KeyChanges()
        self._outlook = 0
        self.outcome = Unassigned("it is a fake")
        self.failure: Exception | None = None
        self.asked: list[Request] = []
        self.open: list[Deferred[Outcome]] = []
        self.given_up: list[Request] = []
        self.received: list[bytes] = []
        self.budget = Budget(BUDGET_BYTES)

    @property
    def outcome(self) -> Outcome | None:
        return self._outcome

    @outcome.setter
    def outcome(self, outcome: Outcome | None) -> None:
        self._outcome = outcome
        self._look_out()

    @property
    def outlook(self) -> int | None:  # type: ignore[override]
        if self.stopped:
            return None
        if not self.quiet:
            self._look_out()
        return self._outlook

    def _look_out(self) -> None:
        self._outlook += 1

    def read(self, request: Get) -> Outcome | None:
        if self.failure or not isinstance(self.outcome, Found | Absent):
            return None
        self.asked.append(request)
        return self.outcome

    def submit(self, request: Request, answered: Callable[[Outcome], None], size: int = 0) -> Callable[[], None]:
        self.asked.append(request)
        if self.failure:
            raise self.failure
        if self.outcome is not None and not isinstance(request, Confirm):
            answered(self.outcome)
        else:
            self.open.append(Deferred())
            self.open[-1].addCallback(answered)
        return lambda: self.given_up.append(request)

    def receive(self, body: bytes) -> bytes:
        if body.startswith(b"forged"):
            raise WireError("the message was not made under this cluster's secret")
        self.received.append(body)
        return b"heard: " + body
