"""
Confirming: whether what another node told of a key is still so.

The node that told is asked which keys have changed there since; that is much less than to have every read carried out
there.  The answer is as fresh as that of a read would be: it was made after the question came.  All that is to be
confirmed in one event shares a message for each node.
"""

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from kvsd.replication.basis import AskChanges, Confirm, Confirmed, TellChanges
from kvsd.replication.effects import Now, Ticket
from kvsd.replication.state import State

MAX_HEARD: Final = 4096
"""Of so many keys of a node at the most it is remembered that they have changed."""
UNCONFIRMED: Final = Confirmed(None)


class Heard:
    """What is known of the changes at a node with some outlook: all of those after ``floor`` up to ``ceiling``."""

    def __init__(self, outlook: int, count: int) -> None:
        self.outlook = outlook
        self.floor = self.ceiling = count
        self._last: dict[str, int] = {}
        """The number of each key's last change."""

    def learn(self, since: int, count: int, changed: dict[str, int]) -> None:
        """These are the keys that changed after one number, up to another."""
        if count < self.floor:
            return  # what lies between is not known, and what is later is of more use
        if since > self.ceiling:
            self.floor, self._last = since, {}
        self.floor, self.ceiling = min(self.floor, since), max(self.ceiling, count)
        for key, number in changed.items():
            self._last[key] = max(number, self._last.get(key, 0))
        if len(self._last) > MAX_HEARD:
            self.floor, self._last = self.ceiling, {}

    def confirms(self, request: Confirm) -> bool:
        """Whether the request's key is known to be as it was, up to the last change that was heard of."""
        _, outlook, count = request.basis
        return outlook == self.outlook and self.floor <= count and self._last.get(request.key, 0) <= count


class Question(Struct, eq=False):
    """What is under way to a node: who waits for it, and until when (monotonic seconds)."""

    peer: str
    outlook: int
    since: int
    deadline: float
    asked: dict[Ticket, Confirm]


class Confirmations:
    """What this node's clients were told by other nodes, and may be told again."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._heard: dict[str, Heard] = {}
        """By the address of the node."""
        self._asked: dict[str, dict[Ticket, Confirm]] = {}
        """What is asked in the event at hand, by the address of the node that is to confirm it."""
        self._under_way: dict[int, Question] = {}
        self._questions: dict[Ticket, Question] = {}
        """The question that each ticket shares, so that a client that hangs up costs one look-up, however many ask."""
        self._count = state.identity.boot << 32  # never a number of an earlier run of this process
        self.total = 0
        """How often something was confirmed."""

    def __len__(self) -> int:
        """How many questions to other nodes are under way."""
        return len(self._under_way)

    def ask(self, ticket: Ticket, request: Confirm) -> None:
        """Somebody wants something confirmed; :meth:`send` is to follow in the same event."""
        self._asked.setdefault(request.basis.node, {})[ticket] = request

    def send(self, now: Now) -> None:
        """Ask the nodes, of each what concerns one outlook of it: the one it had when it told the last of it."""
        asked, self._asked = self._asked, {}
        for peer, requests in asked.items():
            if not self._state.usable(peer) or len(self._under_way) >= self._state.limits.forwards:
                self._give_up(requests)
                continue
            outlook = requests[next(reversed(requests))].basis.outlook
            since = self._since(peer, outlook, requests.values())
            self._count += 1
            deadline = now.monotonic + self._state.limits.forward_seconds
            question = self._under_way[self._count] = Question(peer, outlook, since, deadline, requests)
            self._questions.update(dict.fromkeys(requests, question))
            self._state.out.send(peer, AskChanges(self._count, outlook, since), after=0)

    def _since(self, peer: str, outlook: int, requests: Iterable[Confirm]) -> int:
        """After which change all changes are wanted: what is known already is not, unless something older is concerned."""
        oldest = min(request.basis.changes for request in requests if request.basis.outlook == outlook)
        heard = self._heard.get(peer)
        return oldest if heard is None or heard.outlook != outlook or oldest < heard.floor else heard.ceiling

    def told(self, peer: str, message: TellChanges) -> None:
        """A node has answered."""
        question = self._under_way.get(message.id)
        if question is None or question.peer != peer:
            return
        del self._under_way[message.id]
        heard = self._heard.get(peer)
        if message.changed is None or message.outlook != question.outlook:
            heard = self._heard[peer] = Heard(message.outlook, message.count)
        else:
            if heard is None or heard.outlook != message.outlook:
                heard = self._heard[peer] = Heard(message.outlook, question.since)
            heard.learn(question.since, message.count, message.changed)
        still = Confirmed(heard.ceiling)
        for ticket, request in question.asked.items():
            del self._questions[ticket]
            is_so = heard.confirms(request)
            self.total += is_so
            self._state.out.answer(ticket, still if is_so else UNCONFIRMED, after=0)

    def failed(self, peer: str) -> None:
        """A node can't be used any more."""
        self._heard.pop(peer, None)
        self._end([number for number, question in self._under_way.items() if question.peer == peer])

    def tick(self, now: Now) -> None:
        """Answer those whose time is up."""
        self._end([number for number, question in self._under_way.items() if question.deadline <= now.monotonic])

    def cancel(self, ticket: Ticket) -> None:
        """Nobody waits for the answer any more."""
        if question := self._questions.pop(ticket, None):
            del question.asked[ticket]

    def _end(self, numbers: list[int]) -> None:
        for number in numbers:
            self._give_up(self._under_way.pop(number).asked)

    def _give_up(self, asked: Iterable[Ticket]) -> None:
        for ticket in asked:
            self._questions.pop(ticket, None)
            self._state.out.answer(ticket, UNCONFIRMED, after=0)
