"""
Storage that forgets: the tables of a node in dictionaries, for nodes without a data directory and for tests.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice

from twisted.internet.defer import Deferred, fail

from kvsd.entries import TABLES, Entry, Table
from kvsd.ports import Storage, StorageError


def at_once(action: Callable[[], None]) -> None:
    """Run action now."""
    action()


class MemoryStorage(Storage):
    """
    Tables in memory.  What is committed outlives a restart only if someone hands it on.

    tables is what the storage starts with, such as the ``tables`` of the instance before it.  It is copied, so a
    commit the earlier instance still has under way never reaches the later one.  soon is given a callable for
    each commit and must run all of them, in the order it got them; by default at once.
    """

    durable = False

    def __init__(
        self,
        tables: Mapping[Table, Mapping[bytes, bytes]] | None = None,
        soon: Callable[[Callable[[], None]], object] = at_once,
    ) -> None:
        self.tables: dict[Table, dict[bytes, bytes]] = {table: dict((tables or {}).get(table, {})) for table in TABLES}
        self._orders = {table: _Order(self.tables[table]) for table in TABLES}
        self._soon = soon
        self._closed = False

    def load(self, table: Table) -> Iterable[tuple[bytes, bytes]]:
        """All entries of a table as they are now, in the order of their keys."""
        return sorted(self.tables[table].items())

    def get(self, table: Table, key: bytes) -> bytes | None:
        """The value under a key."""
        self._check_open()
        return self.tables[table].get(key)

    def scan(self, table: Table, start: bytes, end: bytes, at_most: int) -> list[tuple[bytes, bytes]]:
        """The first entries from start to end."""
        self._check_open()
        keys = islice(self._orders[table].between(start, end), at_most)
        return [(key, self.tables[table][key]) for key in keys]

    def commit(self, changes: Sequence[Entry]) -> Deferred[None]:
        """Apply all changes when soon runs them, then fire.  Fails with StorageError once the storage is closed."""
        if self._closed:
            return fail(StorageError("a commit came after the storage was closed"))
        kept = tuple(changes)
        done: Deferred[None] = Deferred()

        def take_effect() -> None:
            for entry in kept:
                self._apply(*entry)
            done.callback(None)

        self._soon(take_effect)
        return done

    def has_room(self) -> bool:
        """Memory is taken to have room."""
        return True

    def close(self) -> Deferred[None]:
        """Refuse further commits; fires after those under way."""
        self._closed = True
        done: Deferred[None] = Deferred()
        self._soon(lambda: done.callback(None))
        return done

    def _check_open(self) -> None:
        if self._closed:
            raise StorageError("something was read after the storage was closed")

    def _apply(self, table: Table, key: bytes, value: bytes | None) -> None:
        self._orders[table].note(key, comes=value is not None)
        if value is None:
            self.tables[table].pop(key, None)
        else:
            self.tables[table][key] = value


class _Order:
    """The keys of a table in their order, brought up to date when somebody asks for it."""

    def __init__(self, table: Mapping[bytes, bytes]) -> None:
        self._table = table
        self._keys: list[bytes] = []
        self._came: set[bytes] = set(table)
        self._went: set[bytes] = set()

    def note(self, key: bytes, *, comes: bool) -> None:
        """A key is about to be set, or to be removed."""
        if comes and key not in self._table:
            (self._went.discard if key in self._went else self._came.add)(key)
        elif not comes and key in self._table:
            (self._came.discard if key in self._came else self._went.add)(key)

    def between(self, start: bytes, end: bytes) -> Iterator[bytes]:
        """The keys from start to end (without that); sorting in a few that came costs little."""
        if 2 * len(self._went) > len(self._keys):
            self._keys = [key for key in self._keys if key not in self._went]
            self._went.clear()
        if self._came:
            self._keys += sorted(self._came)
            self._keys.sort()
            self._came.clear()
        first = bisect_left(self._keys, start)
        last = bisect_left(self._keys, end, first)
        return (self._keys[index] for index in range(first, last) if self._keys[index] not in self._went)
