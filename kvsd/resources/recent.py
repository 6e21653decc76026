"""
Answers that are given again, to the byte but for their date, as long as nothing can have changed.

The outcome of a read that can be had at once follows from its bytes and from the node's outlook.  So as long as that is the
same, the same bytes are answered alike.
"""

import time
from collections.abc import Callable
from typing import Final

from msgspec import Struct
from twisted.web.http import datetimeToString

from kvsd.node import Node

GENERATION_BYTES: Final = 8 << 20
MAX_REQUEST_BYTES: Final = 512
MAX_ANSWER_BYTES: Final = 2048
ENTRY_BYTES: Final = 300
"""About what an answer takes on top of its bytes and those of its request."""

_DATE: Final = b"\r\nDate: "


class Given(Struct, gc=False):
    """An answer, the word by which metrics count it, and the second since 1970 at which it is dated."""

    label: str
    answer: bytes
    second: int = 0


class Recent:
    """
    The answers to reads since a node's outlook last changed, by the bytes of the requests.

    There are two generations of so many bytes at the most: what is asked again moves to the young one, and once that is
    full, the old one is let go.  ``clock`` reads the seconds that answers are dated with.
    """

    def __init__(self, node: Node, clock: Callable[[], float] = time.time) -> None:
        self._node = node
        self._clock = clock
        self._outlook = node.outlook
        self._young: dict[bytes, Given] = {}
        self._old: dict[bytes, Given] = {}
        self._bytes = 0
        self._second, self._date = 0, b""

    def get(self, request: bytes) -> Given | None:
        """What a request was answered, if that is known and still so."""
        if self._node.outlook is not self._outlook:
            self._outlook = self._node.outlook
            self._young, self._old, self._bytes = {}, {}, 0
        given = self._young.get(request)
        if given is None:
            given = self._old.get(request)
            if given is None:
                return None
            self._add(request, given)
        second = int(self._clock())
        if given.second != second:
            if self._second != second:
                self._second, self._date = second, datetimeToString(second)
            given.second, given.answer = second, _dated(given.answer, self._date)
        return given

    def keep(self, request: bytes, label: str, answer: bytes) -> None:
        """A read was answered at once, after it was not known; where something has happened since, that is let go."""
        ordinary = len(request) <= MAX_REQUEST_BYTES and len(answer) <= MAX_ANSWER_BYTES
        if ordinary and self._outlook is self._node.outlook:
            self._add(request, Given(label, answer))

    def _add(self, request: bytes, given: Given) -> None:
        self._young[request] = given
        self._bytes += ENTRY_BYTES + len(request) + len(given.answer)
        if self._bytes > GENERATION_BYTES:
            self._young, self._old, self._bytes = {}, self._young, 0


def _dated(answer: bytes, date: bytes) -> bytes:
    """An answer with another date in the place of its own."""
    before, found, rest = answer.partition(_DATE)
    return b"%b%b%b%b" % (before, found, date, rest[rest.index(b"\r\n") :])
