"""
Which keys have changed lately, by the order in which they did.

Who remembers what was told of a key, here or at another node, can learn by that whether it is still so.
"""

from collections import OrderedDict
from itertools import takewhile
from typing import Final

MAX_KEYS: Final = 4096
MAX_TOLD: Final = 1000
"""Of so many keys at the most it is told that they have changed; where there are more, all may have."""


class KeyChanges:
    """Counts the changes of rows; of the keys that changed last it knows which change that was."""

    def __init__(self) -> None:
        self.count = 0
        self._since = 0
        """All changes after this one are known."""
        self._last: OrderedDict[str, int] = OrderedDict()
        """The number of each key's last change, in the order of these."""

    def note(self, key: str) -> None:
        """A key's row has changed."""
        last = self._last
        self.count += 1
        last[key] = self.count
        last.move_to_end(key)
        if len(last) > MAX_KEYS:
            _, self._since = last.popitem(last=False)

    def note_all(self) -> None:
        """Any row may have changed."""
        self.count += 1
        self._since = self.count
        self._last.clear()

    def unchanged(self, key: str, count: int) -> bool:
        """Whether a key is known to be as it was after so many changes."""
        return count >= self._since and self._last.get(key, 0) <= count

    def after(self, count: int) -> dict[str, int] | None:
        """The keys that changed after so many changes, with the number of the last change of each; None where any may have."""
        if count < self._since:
            return None
        if count == self.count:
            return {}
        found = dict(takewhile(lambda change: change[1] > count, reversed(self._last.items())))
        return found if len(found) <= MAX_TOLD else None
