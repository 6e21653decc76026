"""
Answers that are given again, to the byte, as long as nothing can have changed.

The outcome of a read that can be had at once follows from its bytes and from the state of the node, which changes only in
events.  So until the next event, and while the clock shows the same second, the same bytes are answered alike.
"""

import time
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from kvsd.node import Node

MAX_GIVEN: Final = 4096
MAX_REQUEST_BYTES: Final = 512
MAX_ANSWER_BYTES: Final = 2048


class Given(Struct, frozen=True, gc=False):
    """An answer, and the word by which metrics count it."""

    label: str
    answer: bytes


class Recent:
    """
    The answers to reads since a node's last event, at most so many and of ordinary size, by the bytes of the requests.

    ``clock`` reads the seconds that answers are dated with.
    """

    def __init__(self, node: Node, clock: Callable[[], float] = time.time) -> None:
        self._node = node
        self._clock = clock
        self._given: dict[bytes, Given] = {}
        self._events = node.events
        self._second = 0

    def get(self, request: bytes) -> Given | None:
        """What a request was answered, if that is known and still so."""
        events, second = self._node.events, int(self._clock())
        if events != self._events or second != self._second:
            self._events, self._second = events, second
            self._given.clear()
        return self._given.get(request)

    def keep(self, request: bytes, given: Given) -> None:
        """A read was answered at once, after it was not known; where something has happened since, that is let go."""
        if (
            len(request) <= MAX_REQUEST_BYTES
            and len(given.answer) <= MAX_ANSWER_BYTES
            and len(self._given) < MAX_GIVEN
            and self._events == self._node.events
        ):
            self._given[request] = given
