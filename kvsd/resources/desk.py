"""
The desk: every request about a key is asked, answered and counted here, whichever way it came in.

It says what is answered and not how that leaves: a :class:`~kvsd.resources.door.Reply` is handed to whoever brought
the request.
"""

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from kvsd.metrics import Metrics
from kvsd.node import Node
from kvsd.replication.requests import Get, KeyRequest, Outcome, Overloaded
from kvsd.resources.asking import Said, preferred_wait, read_request
from kvsd.resources.door import Headers, Rejected, Reply, RequestLimits, internal_error, too_large
from kvsd.resources.outcomes import Answer, Answers, key_answer

BUSY = Overloaded("Too many requests are under way at this node; try again later")

_HONOURED = frozenset({"found", "created", "replaced", "deleted", "absent", "unmet", "unconfirmed"})


class Desk:
    """Asks the node about keys, so many requests at a time at the most."""

    def __init__(self, node: Node, metrics: Metrics, limits: RequestLimits, clock: IReactorTime) -> None:
        self.node = node
        self.limits = limits
        self.under_way = 0
        self.seconds = clock.seconds
        self.count = metrics.observe_request
        self._answers = Answers(node.tokens.encode)

    def ask(self, verb: str, key: str, said: Said, body: bytes | None, tell: Callable[[Reply], None]) -> "Call | str":
        """
        Have a request answered: its verb, its key as one percent-encoded segment, what its headers say, and its body.

        No body (None) is one that was too large to be kept.  ``tell`` gets the reply, once: in this call, which returns
        the word then by which metrics count it; or later, or not at all if the call that is returned is cancelled before.
        It may not raise.
        """
        started = self.seconds()
        try:
            if body is None:
                raise too_large(self.limits.max_body_bytes)
            asked = read_request(verb, key, said, body, self.limits, self.node.tokens.decode)
            outcome = self._at_once(asked)
            if outcome is None:
                return Call(self, verb, said, asked, started, tell).begun()
            label, reply = _confirmed(self._answers.to(asked, outcome), said)
        except Rejected as rejected:
            label, reply = "too-large" if rejected.reply.status == 413 else "bad-request", rejected.reply
        except Exception:
            label, reply = "error", internal_error(Failure())
        self.count(verb, label, self.seconds() - started)
        tell(reply)
        return label

    def _at_once(self, asked: KeyRequest) -> Outcome | None:
        """The outcome of a request that nothing has to be begun for."""
        if isinstance(asked, Get) and (outcome := self.node.read(asked)):
            return outcome
        return BUSY if self.under_way >= self.limits.in_flight else None


class Call:
    """A request about a key that is under way at the node."""

    __slots__ = ("_asked", "_desk", "_forget", "_over", "_said", "_started", "_tell", "_verb")

    _forget: Callable[[], None]
    """Tells the node that nobody waits any more."""

    def __init__(
        self, desk: Desk, verb: str, said: Said, asked: KeyRequest, started: float, tell: Callable[[Reply], None]
    ) -> None:
        self._desk = desk
        self._verb = verb
        self._said = said
        self._asked = asked
        self._started = started
        self._tell = tell
        self._over = ""
        """The word by which it was counted, once it was answered or cancelled."""

    def begun(self) -> "Call | str":
        """Put the request to the node; returns the call, or the word by which it was counted if it is over."""
        self._desk.under_way += 1
        try:
            self._forget = self._desk.node.submit(self._asked, self._hear)
        except Exception:
            self._end("error", internal_error(Failure()))
        return self._over or self

    def _hear(self, outcome: Outcome) -> None:
        """The node has an outcome."""
        try:
            label, reply = _confirmed(key_answer(self._asked, outcome, self._desk.node.tokens.encode), self._said)
        except Exception:
            label, reply = "error", internal_error(Failure())
        self._end(label, reply)

    def _end(self, label: str, reply: Reply | None) -> None:
        """This is the answer; None where the client did not wait for it."""
        desk = self._desk
        self._over = label
        desk.under_way -= 1
        desk.count(self._verb, label, desk.seconds() - self._started)
        if reply is not None:
            self._tell(reply)

    def cancel(self) -> None:
        """The client has hung up."""
        if not self._over:
            self._forget()
            self._end("hung-up", None)


def _confirmed(answer: Answer, said: Said) -> Answer:
    """The answer, with the preference that was applied."""
    label, reply = answer
    wait = preferred_wait(said.prefer) if said.prefer else None
    if wait is None or label not in _HONOURED:
        return answer
    return Answer(label, reply._replace(headers=reply.headers + _applied(wait)))


def _applied(wait: int) -> Headers:
    return ((b"Preference-Applied", b"wait=%d" % wait),)
