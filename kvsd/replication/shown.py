"""
What readers were shown of the rows that are read often.

A reader that has seen nothing newer than a row is shown the same as the one before it, and its token says the same: as
long as the row stands, in the same epoch.  Where something in that token was not stable yet, only until the next
reports come, so that tokens get shorter as soon as they can.
"""

from typing import Final, NamedTuple

from kvsd.replication.record import Row, RowKey
from kvsd.replication.requests import Found
from kvsd.replication.token import Token

MAX_SHOWN: Final = 4096
MAX_VALUE_BYTES: Final = 1024


class _Shown(NamedTuple):
    row: Row
    found: Found
    reports: int


class Shown:
    """The last rows of ordinary size that were shown, at most so many; the oldest goes first."""

    def __init__(self) -> None:
        self._shown: dict[RowKey, _Shown] = {}

    def again(self, key: RowKey, row: Row, token: Token, epoch: int, reports: int) -> Found | None:
        """What a reader with a token may be shown once more, in an epoch and after so many reports; None if not known."""
        shown = self._shown.get(key)
        if shown is None or shown.row is not row or token.dependencies:
            return None
        seen = shown.found.token
        if token.hlc > seen.hlc or seen.epoch != epoch or (seen.dependencies and shown.reports != reports):
            return None
        return shown.found

    def keep(self, key: RowKey, row: Row, token: Token, found: Found, reports: int) -> None:
        """A reader with a token was shown a row."""
        value, stamp = row.record.value, row.record.hlc
        if value is None or len(value) > MAX_VALUE_BYTES or token.dependencies or token.hlc > stamp:
            return
        self._shown.pop(key, None)
        self._shown[key] = _Shown(row, found, reports)
        if len(self._shown) > MAX_SHOWN:
            del self._shown[next(iter(self._shown))]
