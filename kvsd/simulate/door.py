"""
How clients speak with a node: what they would ask over HTTP, and what they would be answered.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from twisted.internet.defer import Deferred

from kvsd.node import Node
from kvsd.replication.requests import (
    Absent,
    Begun,
    Changed,
    Conflict,
    Found,
    Get,
    KeyRequest,
    Outcome,
    Put,
    Refused,
    Unconfirmed,
    Unknown,
    Written,
    read_concern,
)
from kvsd.replication.token import EMPTY, TokenError
from kvsd.simulate.clock import Clock

Verb = Literal["get", "put", "delete"]
Kind = Literal["found", "written", "unconfirmed", "absent", "later", "wrong", "none", "done", "refused"]


class Ask(NamedTuple):
    """What a client asks: a verb, a key, a value to put, the tokens it carries, seconds to wait, an id for retries, a concern."""

    verb: Verb
    key: str
    value: str
    tokens: tuple[str, ...]
    wait: float
    request: str
    w: str = ""


class Answer(NamedTuple):
    """What a client is answered: ``none`` where the connection broke, ``unconfirmed`` where a write has too few replicas."""

    kind: Kind
    value: str = ""
    existed: bool = False
    token: str = ""
    why: str = ""


class Call:
    """A client's request on its way to a node and back, which takes some seconds each way."""

    def __init__(self, clock: Clock, latency: float, answered: Callable[[Answer], None]) -> None:
        self._clock = clock
        self._latency = latency
        self._answered = answered
        self._asked: Deferred[Any] | None = None
        self._over = False
        """Whether the answer is on its way, or none will be."""
        self._left = False
        """Whether the client has hung up."""
        self._hung_up = False
        """Whether the node knows of that."""

    def asked(self, outcome: Deferred[Any]) -> None:
        """The node has it; where the client has hung up since, it learns of that next."""
        self._asked = outcome
        if self._hung_up:
            self._clock.after(0.0, outcome.cancel)

    def end(self, answer: Answer) -> None:
        """The answer, or the news that there will be none, goes to the client."""
        if not self._over:
            self._over = True
            self._clock.after(self._latency, lambda: None if self._left else self._answered(answer))

    def hang_up(self) -> None:
        """The client waits no longer; its node learns of that."""
        self._left = True
        if not self._over:
            self._over = True
            self._clock.after(self._latency, self._cancel)

    def _cancel(self) -> None:
        self._hung_up = True
        if self._asked:
            self._asked.cancel()


def read_ask(node: Node, ask: Ask) -> KeyRequest:
    """The request that a client makes.  Raises TokenError for a token that is none of this cluster's."""
    token = EMPTY
    for text in ask.tokens:
        other = node.tokens.decode(text)
        token = token.merged(other.epoch, other.hlc, other.dependencies)
    if ask.verb == "get":
        return Get(ask.key, token, ask.wait)
    value = ask.value.encode() if ask.verb == "put" else None
    if not ask.w:
        return Put(ask.key, value, token, ask.wait, ask.request)
    concern, within = read_concern(ask.w), ask.wait or None
    return Put(ask.key, value, token, ask.wait, ask.request, concern=concern, within=within)


def tell(node: Node, outcome: Outcome) -> Answer:
    """What the client is told of an outcome."""
    match outcome:
        case Found():
            return Answer("found", value=outcome.value.decode(), token=node.tokens.encode(outcome.token))
        case Written() | Unconfirmed():
            kind: Kind = "written" if isinstance(outcome, Written) else "unconfirmed"
            return Answer(kind, existed=outcome.existed, token=node.tokens.encode(outcome.token))
        case Absent():
            return Answer("absent", token=node.tokens.encode(outcome.token))
        case Refused() if outcome.reason.startswith("w="):
            return Answer("later", why=outcome.reason)  # operators may have left a shard with one member, for a while
        case Refused():
            return Answer("wrong", why=outcome.reason)
        case Changed() | Begun():
            return Answer("done")
        case Unknown() | Conflict():
            return Answer("refused", why=outcome.reason)
        case _:
            return Answer("later", why=str(outcome))


def malformed(error: TokenError) -> Answer:
    """What a client is told whose token is none of this cluster's."""
    return Answer("wrong", why=str(error))
