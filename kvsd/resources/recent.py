"""
Answers that are given again, to the byte but for their date, as long as they are so.

An answer that lasts follows from the bytes of the request, from its key's row, and from the outlook of the node that told
it.  So as long as these are the same, the same bytes are answered alike.  Whether they are is known at once of this
node's own answers; of those of another node, that one is to be asked.
"""

import time
from collections.abc import Callable
from typing import Final

from msgspec import Struct
from twisted.web.http import datetimeToString

from kvsd.node import Node
from kvsd.replication.basis import Basis
from kvsd.resources.door import Reply

GENERATION_BYTES: Final = 8 << 20
MAX_REQUEST_BYTES: Final = 512
MAX_ANSWER_BYTES: Final = 2048
ENTRY_BYTES: Final = 400
"""About what an answer takes on top of its bytes and those of its request."""

_DATE: Final = b"\r\nDate: "


class Given(Struct, gc=False):
    """An answer about a key, the word by which metrics count it, and the second since 1970 at which it is dated."""

    label: str
    key: str
    answer: bytes
    outlook: int
    """This node's, and the number of changes of keys, when it was last known to be so."""
    changes: int
    basis: Basis | None = None
    """Where another node gave it: what it rests on there."""
    second: int = 0


class Recent:
    """
    The last answers to reads, by the bytes of the requests.

    There are two generations of so many bytes at the most: what is asked again moves to the young one, and once that is
    full, the old one is let go.  ``clock`` reads the seconds that answers are dated with.
    """

    def __init__(self, node: Node, clock: Callable[[], float] = time.time) -> None:
        self._node = node
        self._changes = node.key_changes
        self._clock = clock
        self._young: dict[bytes, Given] = {}
        self._old: dict[bytes, Given] = {}
        self._bytes = 0
        self._second, self._date = 0, b""

    def get(self, request: bytes) -> Given | None:
        """What a request was answered, if that is known and still so; one with a basis is to be confirmed first."""
        given = self._young.get(request)
        young = given is not None
        if given is None:
            given = self._old.get(request)
        if given is None or given.outlook != self._node.outlook:
            return None
        if given.changes != self._changes.count and given.basis is None:
            if not self._changes.unchanged(given.key, given.changes):
                return None
            given.changes = self._changes.count
        if not young:
            self._add(request, given)
        second = int(self._clock())
        if given.second != second:
            if self._second != second:
                self._second, self._date = second, datetimeToString(second)
            given.second, given.answer = second, _dated(given.answer, self._date)
        return given

    def keep(self, request: bytes, key: str, reply: Reply, answer: bytes) -> None:
        """A reply that lasts was just given to a read of a key, in these bytes."""
        outlook = self._node.outlook
        if outlook is not None and len(request) <= MAX_REQUEST_BYTES and len(answer) <= MAX_ANSWER_BYTES:
            label = "found" if reply.status == 200 else "absent"
            self._add(request, Given(label, key, answer, outlook, self._changes.count, reply.basis))

    def confirmed(self, given: Given, changes: int) -> bytes:
        """The answer of another node, which has confirmed that it was still so after so many changes of its keys."""
        assert given.basis is not None, "another node gave it"
        if given.basis.changes != changes:
            given.basis = given.basis._replace(changes=changes)
        return given.answer

    def forget(self, request: bytes) -> None:
        """What a request was answered is not so any more."""
        if given := self._young.pop(request, None):
            self._bytes -= _size(request, given)
        self._old.pop(request, None)

    def _add(self, request: bytes, given: Given) -> None:
        self.forget(request)
        self._young[request] = given
        self._bytes += _size(request, given)
        if self._bytes > GENERATION_BYTES:
            self._young, self._old, self._bytes = {}, self._young, 0


def _size(request: bytes, given: Given) -> int:
    return ENTRY_BYTES + len(request) + len(given.answer)


def _dated(answer: bytes, date: bytes) -> bytes:
    """An answer with another date in the place of its own."""
    before, found, rest = answer.partition(_DATE)
    return b"%b%b%b%b" % (before, found, date, rest[rest.index(b"\r\n") :])
