"""
The budget: how many bytes of large bodies a node holds at once, whatever it does with them.

One number counts all: bodies in arrival, requests that are carried out, that wait, that were forwarded or whose
acknowledgement is kept back, and messages of peers until the disk has them.  Small bodies are bounded by the number of
requests under way and are not counted.  A quarter is for peers alone: a node full of its clients' requests still hears
what would let it finish them.
"""

from collections.abc import Callable
from typing import Final

SMALL_BYTES: Final = 4096
"""A body of up to so many bytes is not counted."""


class Budget:
    """Bytes in use, and bounds on them."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.client_bytes = limit_bytes - limit_bytes // 4
        """With so many bytes in use, nothing more is taken from clients."""
        self.used_bytes = 0
        self.freed: Callable[[], None] | None = None
        """Is called when bytes are given back, while somebody waits for that."""

    def take(self, size: int, *, of_peer: bool = False) -> bool:
        """Take so many bytes into use; return False, taking none, where they are not there."""
        if self.used_bytes + size > (self.limit_bytes if of_peer else self.client_bytes):
            return False
        self.used_bytes += size
        return True

    def take_anyway(self, size: int) -> None:
        """Take so many bytes into use that are in memory already."""
        self.used_bytes += size

    def give(self, size: int) -> None:
        """Give so many bytes back."""
        self.used_bytes -= size
        if self.freed is not None:
            self.freed()
