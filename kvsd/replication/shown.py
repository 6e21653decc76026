"""
What readers were shown of the rows that are read often.

A reader that has seen nothing newer than a row is shown the same as the one before it, and its token says the same: as
long as the row stands, in the same epoch, by the same reports.  With other reports more may be stable, or less where a
member has to report anew; then the outcome is made anew, and is the one before where it is equal.
"""

from collections import OrderedDict
from typing import Final, NamedTuple

from kvsd.replication.record import Row, RowKey
from kvsd.replication.requests import Found
from kvsd.replication.token import Token

MAX_SHOWN: Final = 4096
MAX_VALUE_BYTES: Final = 1024
MAX_DEPENDENCIES: Final = 16
"""A token that names more writes than that is not kept."""


class _Shown(NamedTuple):
    row: Row
    found: Found
    reports: int


class Shown:
    """The last rows of ordinary size that were shown, at most so many; the oldest goes first."""

    def __init__(self) -> None:
        self._shown: OrderedDict[RowKey, _Shown] = OrderedDict()

    def again(self, key: RowKey, row: Row, token: Token, epoch: int, reports: int) -> Found | None:
        """What a reader with a token may be shown once more, in an epoch and after so many reports; None if not known."""
        shown = self._shown.get(key)
        if shown is None or shown.row is not row or shown.reports != reports or token.dependencies:
            return None
        seen = shown.found.token
        return None if token.hlc > seen.hlc or seen.epoch != epoch else shown.found

    def keep(self, key: RowKey, row: Row, token: Token, found: Found, reports: int) -> Found:
        """
        What a reader with a token is shown of a row: this, or the equal that was shown before.

        It is kept for others, unless it says what the reader had seen beyond the row.
        """
        if token.dependencies or token.hlc > row.record.hlc or not _is_ordinary(found):
            return found
        shown = self._shown.pop(key, None)
        if shown and shown.row is row and shown.found.token == found.token:
            found = shown.found
        self._shown[key] = _Shown(row, found, reports)
        if len(self._shown) > MAX_SHOWN:
            self._shown.popitem(last=False)
        return found


def _is_ordinary(found: Found) -> bool:
    return len(found.value) <= MAX_VALUE_BYTES and sum(map(len, found.token.dependencies.values())) <= MAX_DEPENDENCIES
