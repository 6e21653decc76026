"""
Outcomes of reads that last: the next reader of the key is shown the same, without a look at its row.
"""

from collections import OrderedDict
from typing import Final

from msgspec import Struct

from kvsd.replication.key_changes import KeyChanges
from kvsd.replication.requests import Found, Get
from kvsd.replication.token import Token

MAX_LASTING: Final = 4096
MAX_VALUE_BYTES: Final = 1024


class _Told(Struct, gc=False):
    """An outcome, with the outlook and the number of changes of keys when it was last known to be so."""

    found: Found
    outlook: int
    changes: int


class Lasting:
    """The last ones of ordinary size, at most so many; the oldest goes first."""

    def __init__(self, changes: KeyChanges) -> None:
        self._changes = changes
        self._told: OrderedDict[str, _Told] = OrderedDict()

    def again(self, request: Get, outlook: int, latest: int) -> Found | None:
        """
        What a reader is shown with an outlook, where that is known: one whose token names no writes.

        A stamp in its token that is later than the row's, but not than the ``latest`` that the node has seen, is kept.
        """
        told, token = self._told.get(request.key), request.token
        if told is None or told.outlook != outlook or token.dependencies:
            return None
        if told.changes != self._changes.count:
            if not self._changes.unchanged(request.key, told.changes):
                return None
            told.changes = self._changes.count
        found, seen = told.found, told.found.token
        if token.hlc <= seen.hlc and token.epoch <= seen.epoch:
            return found
        if token.hlc > latest or token.epoch > seen.epoch:
            return None
        return Found(found.shard, Token(seen.epoch, token.hlc), found.value)

    def keep(self, key: str, found: Found, outlook: int) -> None:
        """A row was shown that is durable, to a reader who had seen nothing later, and the outcome lasts."""
        if len(found.value) > MAX_VALUE_BYTES:
            return
        self._told[key] = _Told(found, outlook, self._changes.count)
        self._told.move_to_end(key)
        if len(self._told) > MAX_LASTING:
            self._told.popitem(last=False)
