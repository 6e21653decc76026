"""
The stamps of tombstones that were dropped: a write that is older than its key's tombstone was must have no effect.
"""

from collections import OrderedDict

from kvsd.replication.record import RowKey


class Collected:
    """
    Stamps by key, of the last tombstones that were dropped; of any other key no more is known than a common bound.

    Only the latest stamp outlives the process; after a start it is the bound for all keys.
    """

    def __init__(self, max_keys: int) -> None:
        self._max_keys = max_keys
        self._stamps: OrderedDict[RowKey, int] = OrderedDict()
        self._bound = 0
        self.latest = 0

    def restore(self, latest: int) -> None:
        """Go by what was kept."""
        self._bound = self.latest = latest

    def raise_to(self, stamp: int) -> None:
        """Elsewhere tombstones of keys that are here now were dropped, up to a stamp."""
        self.latest = max(self.latest, stamp)
        self._bound = max(self._bound, stamp)

    def note(self, key: RowKey, stamp: int) -> None:
        """A key's tombstone was dropped."""
        self.latest = max(self.latest, stamp)
        self._stamps[key] = stamp
        self._stamps.move_to_end(key)
        if len(self._stamps) > self._max_keys:
            self._bound = max(self._bound, self._stamps.popitem(last=False)[1])

    def stamp_of(self, key: RowKey) -> int:
        """A stamp that is not smaller than that of any tombstone of the key that was dropped."""
        return self._stamps.get(key, self._bound)
