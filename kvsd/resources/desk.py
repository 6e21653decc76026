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
from kvsd.replication.requests import KeyRequest, Outcome, Overloaded
from kvsd.resources.asking import Said, preferred_wait, read_request
from kvsd.resources.door import Headers, Rejected, Reply, RequestLimits, internal_error, too_large
from kvsd.resources.outcomes import key_answer

_HONOURED = frozenset({"found", "created", "replaced", "deleted", "absent", "unmet", "unconfirmed"})


class Desk:
    """Asks the node about keys, so many requests at a time at the most."""

    def __init__(self, node: Node, metrics: Metrics, limits: RequestLimits, clock: IReactorTime) -> None:
        self.node = node
        self.limits = limits
        self.under_way = 0
        self.seconds = clock.seconds
        self.count = metrics.observe_request

    def ask(self, verb: str, key: str, said: Said, body: bytes | None, tell: Callable[[Reply], None]) -> "Call":
        """
        Have a request answered: its verb, its key as one percent-encoded segment, what its headers say, and its body.

        No body (None) is one that was too large to be kept.  ``tell`` gets the reply, once: in this call or later, or
        not at all if the call is cancelled before.  It may not raise.
        """
        call = Call(self, verb, said, tell)
        try:
            if body is None:
                raise too_large(self.limits.max_body_bytes)
            asked = call.asked = read_request(verb, key, said, body, self.limits, self.node.tokens.decode)
            if self.under_way >= self.limits.in_flight:
                call.hear(Overloaded("Too many requests are under way at this node; try again later"))
            else:
                self.under_way += 1
                call.under_way = True
                call.forget = self.node.submit(asked, call.hear)
        except Rejected as rejected:
            call.end("too-large" if rejected.reply.status == 413 else "bad-request", rejected.reply)
        except Exception:
            call.end("error", internal_error(Failure()))
        return call


class Call:
    """A request about a key, from its arrival to its answer."""

    __slots__ = ("_desk", "_said", "_started", "_tell", "_verb", "asked", "forget", "over", "under_way")

    asked: KeyRequest
    """What was asked of the node, if it got as far as that."""
    forget: Callable[[], None]
    """Tells the node that nobody waits any more."""

    def __init__(self, desk: Desk, verb: str, said: Said, tell: Callable[[Reply], None]) -> None:
        self._desk = desk
        self._verb = verb
        self._said = said
        self._tell = tell
        self._started = desk.seconds()
        self.under_way = False
        """Whether it counts among the requests that are under way at the node."""
        self.over = False
        """Whether it was answered or cancelled."""

    def hear(self, outcome: Outcome) -> None:
        """The node has an outcome."""
        try:
            label, reply = key_answer(self.asked, outcome, self._desk.node.tokens.encode)
            if self._said.prefer:
                reply = _confirmed(label, reply, self._said)
        except Exception:
            label, reply = "error", internal_error(Failure())
        self.end(label, reply)

    def end(self, label: str, reply: Reply | None) -> None:
        """This is the answer; None where the client did not wait for it."""
        desk = self._desk
        self.over = True
        if self.under_way:
            desk.under_way -= 1
        desk.count(self._verb, label, desk.seconds() - self._started)
        if reply is not None:
            self._tell(reply)

    def cancel(self) -> None:
        """The client has hung up while its request was under way."""
        if not self.over:
            self.forget()
            self.end("hung-up", None)


def _confirmed(label: str, reply: Reply, said: Said) -> Reply:
    """The reply, with the preference that was applied."""
    wait = preferred_wait(said.prefer)
    if wait is None or label not in _HONOURED:
        return reply
    return reply._replace(headers=reply.headers + _applied(wait))


def _applied(wait: int) -> Headers:
    return ((b"Preference-Applied", b"wait=%d" % wait),)
