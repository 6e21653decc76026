"""
The desk: every request about a key is asked, answered and counted here, whichever way it came in.

It says what is answered and not how that leaves: a :class:`~kvsd.resources.door.Reply` is handed to whoever brought
the request.
"""

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from kvsd.metrics import Metrics
from kvsd.node import Node, nothing
from kvsd.replication.requests import KeyRequest, Outcome, Overloaded
from kvsd.resources.asking import Said, preferred_wait, read_request
from kvsd.resources.door import Headers, Rejected, Reply, RequestLimits, internal_error, too_large
from kvsd.resources.outcomes import Answer, key_answer

_HONOURED = frozenset({"found", "created", "replaced", "deleted", "absent", "unmet", "unconfirmed"})


class Desk:
    """Asks the node about keys, so many requests at a time at the most."""

    def __init__(self, node: Node, metrics: Metrics, limits: RequestLimits, clock: IReactorTime) -> None:
        self.node = node
        self.limits = limits
        self.under_way = 0
        self._metrics = metrics
        self._seconds = clock.seconds

    def ask(self, verb: str, key: str, said: Said, body: bytes | None, tell: Callable[[Reply], None]) -> "Call":
        """
        Have a request answered: its verb, its key as one percent-encoded segment, what its headers say, and its body.

        No body (None) is one that was too large to be kept.  ``tell`` gets the reply, once: in this call or later, or
        not at all if the call is cancelled before.  It may not raise.
        """
        call = Call(self, verb, said, tell, self._seconds())
        call.begin(key, body)
        return call

    def count(self, verb: str, label: str, started: float) -> None:
        """Count a request that is over."""
        self._metrics.observe_request(verb, label, self._seconds() - started)


class Call:
    """A request about a key, from its arrival to its answer."""

    __slots__ = ("_asked", "_desk", "_forget", "_said", "_started", "_tell", "_under_way", "_verb", "over")

    _asked: KeyRequest

    def __init__(self, desk: Desk, verb: str, said: Said, tell: Callable[[Reply], None], started: float) -> None:
        self._desk = desk
        self._verb = verb
        self._said = said
        self._tell = tell
        self._started = started
        self._forget: Callable[[], None] = nothing
        self._under_way = False
        self.over = False
        """Whether it was answered or cancelled."""

    def begin(self, key: str, body: bytes | None) -> None:
        """Read the request, and ask the node."""
        desk = self._desk
        try:
            if body is None:
                raise too_large(desk.limits.max_body_bytes)
            self._asked = read_request(self._verb, key, self._said, body, desk.limits, desk.node.tokens.decode)
            if desk.under_way >= desk.limits.in_flight:
                self._hear(Overloaded("Too many requests are under way at this node; try again later"))
                return
            self._under_way = True
            desk.under_way += 1
            self._forget = desk.node.submit(self._asked, self._hear)
        except Rejected as rejected:
            self._end("too-large" if rejected.reply.status == 413 else "bad-request", rejected.reply)
        except Exception:
            self._end("error", internal_error(Failure()))

    def cancel(self) -> None:
        """The client has hung up."""
        if not self.over:
            self._forget()
            self._count("hung-up")

    def _hear(self, outcome: Outcome) -> None:
        try:
            answer = key_answer(self._asked, outcome, self._desk.node.tokens.encode)
            label, reply = answer if not self._said.prefer else _confirmed(answer, self._said)
        except Exception:
            label, reply = "error", internal_error(Failure())
        self._end(label, reply)

    def _end(self, label: str, reply: Reply) -> None:
        self._count(label)
        self._tell(reply)

    def _count(self, label: str) -> None:
        self.over = True
        if self._under_way:
            self._desk.under_way -= 1
        self._desk.count(self._verb, label, self._started)


def _confirmed(answer: Answer, said: Said) -> Answer:
    """The answer, with the preference that was applied to it."""
    label, reply = answer
    wait = preferred_wait(said.prefer)
    if wait is None or label not in _HONOURED:
        return answer
    return Answer(label, reply._replace(headers=reply.headers + _applied(wait)))


def _applied(wait: int) -> Headers:
    return ((b"Preference-Applied", b"wait=%d" % wait),)
