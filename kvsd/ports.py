"""
What a node needs from the world around it.

The node declares these two ports and nothing more: a place that keeps bytes and a way to hand bytes to
a peer.  The adapters (:mod:`kvsd.storage`, :mod:`kvsd.transport`) stand one floor above and subclass them,
so a simulated disk or network can stand in for the real one without the node noticing.
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, Protocol

from twisted.internet.defer import Deferred

from kvsd.entries import Entry, Table


class StorageError(Exception):
    """The data can't be used as it is (corrupt, incomplete, another program's); the text says what and where."""


class StorageDamaged(StorageError):
    """The data is not as it was written: with the same data the next start comes to the same end."""


class StorageBusy(StorageError):
    """The data can't be used at this moment, for no fault of its own; the same may succeed later."""


class DiskFull(Exception):
    """A commit was refused for want of space and left nothing behind; a later one may succeed."""


class Storage(Protocol):
    """A durable, ordered set of tables with atomic commits."""

    durable: bool
    """Whether what is committed outlives the process."""

    def load(self, table: Table) -> Iterable[tuple[bytes, bytes]]:
        """
        All entries of a table in the order of their keys (as unsigned bytes), read synchronously.

        Raises StorageError where an entry does not match its checksum.
        """

    def get(self, table: Table, key: bytes) -> bytes | None:
        """
        The value under a key at this moment, None if there is none; read synchronously, at any time before the end.

        All commits that are done are seen, and of those under way each may be, or not yet.  Raises StorageError where
        the value can't be read or does not match its checksum, or where the storage is closed.
        """

    def scan(self, table: Table, start: bytes, end: bytes, at_most: int) -> Sequence[tuple[bytes, bytes]]:
        """The first entries from start to end (without that) in the order of keys, at_most of them; read as by get."""

    def commit(self, changes: Sequence[Entry]) -> Deferred[None]:
        """
        Make all changes durable, or none of them; later changes of a key win over earlier ones.

        The Deferred fires on the reactor thread, once the changes are on disk.  Commits take effect in the order
        of the calls.  Fails with DiskFull (nothing was kept, the next commit may succeed) or with any other
        exception, after which nothing may be assumed about the disk: the caller must stop.
        """

    def has_room(self) -> bool:
        """Whether there is room for more; a commit may still be refused."""

    def close(self) -> Deferred[None]:
        """Wait for commits under way, sync and release the storage.  Calling it again does nothing."""


class PeerUnreachable(Exception):
    """
    A POST to a peer got no answer, or none that could be used; the text says why, ``late`` that its time was up.

    ``other_secret`` says that the peer refused it, as it was made under another secret than the peer's.
    """

    def __init__(self, why: str, *, late: bool = False, other_secret: bool = False) -> None:
        super().__init__(why)
        self.late = late
        self.other_secret = other_secret


class Flow(NamedTuple):
    """Bytes on their way to a peer: a count of those that arrived there or came back, and the bytes still to arrive."""

    carried: int
    waiting: int


NO_FLOW: Final = Flow(0, 0)


class Transport(Protocol):
    """A way to hand bytes to a peer and to get bytes back."""

    def post(self, address: str, body: bytes) -> Deferred[bytes]:
        """
        Hand body to the node at address (``IP:PORT``); fires with the bytes of its answer.

        Fails with PeerUnreachable once nothing has moved for the transport's timeout, neither of the body nor of the
        answer, and then nothing is known about whether the peer got the body: it may even get it later.
        """

    def flow(self, address: str) -> Flow:  # noqa: ARG002 (for those that can tell)
        """Return how far the POSTs to an address have come; nothing where the transport can't tell."""
        return NO_FLOW

    def close(self) -> Deferred[None]:
        """Drop all connections; posts under way fail with PeerUnreachable."""
