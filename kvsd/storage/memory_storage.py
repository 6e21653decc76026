"""
Storage that forgets: the tables of a node in dictionaries, for nodes without a data directory and for tests.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from twisted.internet.defer import Deferred, fail

from kvsd.ports import Change, Storage, StorageError, Table


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
        self.tables: dict[Table, dict[bytes, bytes]] = {table: dict((tables or {}).get(table, {})) for table in Table}
        self._soon = soon
        self._closed = False

    def load(self, table: Table) -> Iterable[tuple[bytes, bytes]]:
        """All entries of a table as they are now, in the order of their keys."""
        return sorted(self.tables[table].items())

    def commit(self, changes: Sequence[Change]) -> Deferred[None]:
        """Apply all changes when soon runs them, then fire.  Fails with StorageError once the storage is closed."""
        if self._closed:
            return fail(StorageError("a commit came after the storage was closed"))
        kept = tuple(changes)
        done: Deferred[None] = Deferred()

        def take_effect() -> None:
            for change in kept:
                self._apply(change)
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

    def _apply(self, change: Change) -> None:
        if change.value is None:
            self.tables[change.table].pop(change.key, None)
        else:
            self.tables[change.table][change.key] = change.value
