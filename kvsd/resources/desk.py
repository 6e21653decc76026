"""
The desk: every request about a key is asked, answered and counted here, whichever way it came in.

It says what is answered and not how that leaves: a :class:`~kvsd.resources.door.Reply` is handed to whoever brought
the request.
"""

from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from kvsd.metrics import Metrics
from kvsd.node import Node, nothing
from kvsd.replication.basis import Basis, Confirm, Confirmed
from kvsd.replication.requests import Get, KeyRequest, Outcome, Overloaded
from kvsd.resources.asking import Said, read_request
from kvsd.resources.door import Rejected, Reply, RequestLimits, internal_error, too_large
from kvsd.resources.outcomes import Answers, key_answer

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
        self.encode = node.tokens.encode
        self._decode = node.tokens.decode
        self._answers = Answers(self.encode)

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
            asked = read_request(verb, key, said, body, self.limits, self._decode)
            outcome = self.node.read(asked) if isinstance(asked, Get) else None
            if outcome is None and self.under_way < self.limits.in_flight:
                return Call(self, verb, said.wait, asked, started, tell).begun(len(body))
            label, reply = self._answers.to(asked, outcome or BUSY)
            if said.wait is not None and label in _HONOURED:
                reply = _confirmed(reply, said.wait)
        except Rejected as rejected:
            label, reply = "too-large" if rejected.reply.status == 413 else "bad-request", rejected.reply
        except Exception:
            label, reply = "error", internal_error(Failure())
        self.count(verb, label, self.seconds() - started)
        tell(reply)
        return label

    def confirm(self, key: str, basis: Basis, tell: Callable[[int | None], None]) -> "Confirmation | None":
        """
        Find out whether another node's answer to a read of a key is still so; None where that can't be asked.

        ``tell`` gets the number of changes after which it is, or None, once: later, or not at all if the confirmation is
        cancelled before.  It may not raise.
        """
        if self.under_way >= self.limits.in_flight:
            return None
        confirmation = Confirmation(self)
        try:
            confirmation.forget = self.node.submit(Confirm(key, basis), confirmation.hear)
        except Exception:
            confirmation.end()  # who asks anew instead is told what is wrong
        if confirmation.over:
            return None
        confirmation.tell = tell
        return confirmation


class Confirmation(Struct, eq=False):
    """A question to the node that is under way."""

    _desk: Desk
    over: bool = False
    forget: Callable[[], None] = nothing
    """Tells the node that nobody waits any more."""
    tell: Callable[[int | None], None] = lambda _: None
    """Is told what came of it, where that was not so at once."""

    def __post_init__(self) -> None:
        self._desk.under_way += 1

    def hear(self, outcome: Outcome) -> None:
        """The node has an outcome."""
        self.end()
        self.tell(outcome.changes if isinstance(outcome, Confirmed) else None)

    def cancel(self) -> None:
        """The client has hung up."""
        if not self.over:
            self.forget()
            self.end()

    def end(self) -> None:
        """It is not under way any more."""
        self.over = True
        self._desk.under_way -= 1


class Call(Struct, eq=False):
    """A request about a key that is under way at the node."""

    _desk: Desk
    _verb: str
    _wait: int | None
    _asked: KeyRequest
    _started: float
    _tell: Callable[[Reply], None]
    _over: str = ""
    """The word by which it was counted, once it was answered or cancelled."""
    _forget: Callable[[], None] = nothing
    """Tells the node that nobody waits any more."""

    def begun(self, size: int) -> "Call | str":
        """
        Put the request, with a body of that size, to the node.

        Returns the call, or the word by which it was counted if it is over.
        """
        self._desk.under_way += 1
        try:
            self._forget = self._desk.node.submit(self._asked, self._hear, size)
        except Exception:
            self._end("error")
            self._tell(internal_error(Failure()))
        return self._over or self

    def _hear(self, outcome: Outcome) -> None:
        """The node has an outcome."""
        try:
            label, reply = key_answer(self._asked, outcome, self._desk.encode)
            if self._wait is not None and label in _HONOURED:
                reply = _confirmed(reply, self._wait)
        except Exception:
            label, reply = "error", internal_error(Failure())
        self._end(label)
        self._tell(reply)

    def _end(self, label: str) -> None:
        """It is not under way any more."""
        desk = self._desk
        self._over = label
        desk.under_way -= 1
        desk.count(self._verb, label, desk.seconds() - self._started)

    def cancel(self) -> None:
        """The client has hung up."""
        if not self._over:
            self._forget()
            self._end("hung-up")


def _confirmed(reply: Reply, wait: int) -> Reply:
    """The reply, with the preference that was applied."""
    return replace(reply, headers=(*reply.headers, (b"Preference-Applied", b"wait=%d" % wait)))
