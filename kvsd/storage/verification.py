"""
Verification: a thread reads all of a database again and again, slowly, so that damage is found before somebody needs the data.

One page is read at a time, past the cache of blocks, and then the thread rests for as long as the rate wants it.  A page is
small, as nothing else can read the database meanwhile.
"""

from collections.abc import Callable
from threading import Event, Thread
from time import monotonic
from typing import Final, NamedTuple

from kvsd.ports import StorageDamaged, StorageError

PASS_SECONDS: Final = 600.0
"""A pass begins so long after the last one began, or when that has ended."""
RETRY_SECONDS: Final = 10.0
"""After a read that failed without a word of damage."""


class Verified(NamedTuple):
    """A page that is as it was written: where the next one begins (None: that was the last), and how many bytes it has."""

    following: bytes | None
    bytes: int


class Verification:
    """
    Passes over a database, at a rate in bytes a second, until it is stopped or finds damage.

    ``verify`` reads the page from a key on.  All are called in the thread: ``observe`` with the bytes of each page,
    ``failed`` where a page could not be read for another reason than damage, ``damaged`` once, at the end of it all.
    """

    def __init__(
        self,
        verify: Callable[[bytes], Verified],
        rate: int,
        observe: Callable[[int], None],
        failed: Callable[[StorageError], None],
        damaged: Callable[[StorageDamaged], None],
    ) -> None:
        self._verify = verify
        self._rate = rate
        self._observe = observe
        self._failed = failed
        self._damaged = damaged
        self._stopped = Event()
        self._thread = Thread(target=self._run, name="kvsd-verify", daemon=True)

    def start(self) -> None:
        """Begin with the first pass."""
        self._thread.start()

    def stop(self) -> None:
        """End after the page at hand, and wait for that.  Calling it again does nothing, from whatever thread."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        place, begun, pause = b"", monotonic(), 0.0
        while not self._stopped.wait(pause):
            try:
                page = self._verify(place)
            except StorageDamaged as error:
                self._damaged(error)
                return
            except StorageError as error:
                if not self._stopped.is_set():
                    self._failed(error)
                pause = RETRY_SECONDS
                continue
            self._observe(page.bytes)
            pause = page.bytes / self._rate
            if page.following is None:
                pause = max(pause, begun + PASS_SECONDS - monotonic())
                begun = monotonic() + pause
            place = page.following or b""
