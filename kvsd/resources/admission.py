"""
Admission: how many connections are open at once.

A process has so many files, and what it needs to go on (the disk's files, connections to peers) has to be among them.
So accepting pauses once a connection's file has a number within the reserve: numbers are given out from the lowest free
one, so all below are in use by then.  Who connects meanwhile waits in the kernel's queue, until a connection ends.
"""

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

RESERVED_FILES: Final = 320
"""How many files are kept for the disk (256), for peers, and for what the process opens now and then."""
ACCEPTED_AT_ONCE: Final = 64
"""How many connections are accepted in a turn at the most: by default they may be any number, beyond all bounds."""
LOG_SECONDS: Final = 60.0

_log = Logger()


class Admission:
    """Count connections, and pause a port while there are too many: more than ``most``, or files beyond the reserve."""

    def __init__(self, most: int, files: int, clock: IReactorTime) -> None:
        self.open = 0
        """How many connections there are."""
        self.paused = False
        self._most = most
        self._last_file = max(files - RESERVED_FILES, files // 2)
        self._seconds = clock.seconds
        self._logged = -LOG_SECONDS
        self._port: Any = None

    def watch(self, port: Any) -> None:
        """Pause this port where that is needed; one that can't be paused accepts all."""
        if not hasattr(port, "stopReading"):
            return
        self._port = port
        if hasattr(port, "numberAccepts"):
            port.doRead = self._bounded(port.doRead)
        if self.paused:
            port.stopReading()

    def opened(self, transport: Any) -> None:
        """Take note of a new connection."""
        self.open += 1
        file = getattr(transport, "fileno", None)
        if self.open >= self._most or (file is not None and file() >= self._last_file):
            self._pause()

    def closed(self) -> None:
        """A connection has ended, and its file is free again."""
        self.open -= 1
        if self.paused and self.open < self._most:
            self.paused = False
            if self._port is not None and self._port.connected:
                self._port.startReading()

    def _pause(self) -> None:
        if self.paused:
            return
        self.paused = True
        if self._port is not None:
            self._port.stopReading()
        if self._seconds() - self._logged >= LOG_SECONDS:
            self._logged = self._seconds()
            _log.warn(
                "accepting pauses: {open} connections are open; new clients wait until one of them ends; allow more"
                " open files (ulimit -n) or connections (--max-connections), or find out who keeps so many open",
                open=self.open,
            )

    def _bounded(self, accept: Callable[[], object]) -> Callable[[], object]:
        """Return a port's way to accept, bounded to what there is room for."""

        def accept_some() -> object:
            room = min(ACCEPTED_AT_ONCE, self._most - self.open)
            self._port.numberAccepts = max(1, min(self._port.numberAccepts, room))
            return accept()

        return accept_some
