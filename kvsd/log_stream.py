"""
Standard output as a stream that never makes its writer wait: what nobody reads is dropped and counted.

A write to a full pipe blocks until somebody reads, and would stop the reactor with it.  So a thread of its own does
the writing, from a queue that is bounded in bytes.  The descriptor itself stays as it is: to make it non-blocking
would do so for all processes that share the terminal or the pipe.
"""

import atexit
import io
import os
import select
import sys
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final

QUEUE_BYTES: Final = 1024 * 1024
ITEM_BYTES: Final = 100
"""Counted for each text beside its own size, so that many small ones have a bound as well."""
LAST_LINES_SECONDS: Final = 1.0
"""How long the end of the process waits for what was written last."""
RETRY_SECONDS: Final = 0.1


class LossyStream(io.TextIOBase):
    """
    A text stream to a file descriptor; ``dropped_lines`` counts the lines that found no room.

    All but the count of what was written is changed under a lock, which is never held while anything waits, and which
    the collector of garbage may take again in the middle of a write: what it finds may be logged.
    """

    encoding = "utf-8"

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self.notice: Callable[[int], str] = dropped_notice
        """Makes the line that tells how many lines are missing before the next one."""
        self.dropped_lines = 0
        self._descriptor = descriptor
        self._told = 0
        self._queue: SimpleQueue[bytes] = SimpleQueue()
        self._accepted = 0
        self._finished = 0
        self._is_ending = False
        self._lock = threading.RLock()
        self._thread = threading.Thread(target=self._drain, name="log", daemon=True)
        self._thread.start()

    def write(self, text: str, /) -> int:
        """Queue a text of whole lines, or drop it and more until there is room for many; return its length."""
        with self._lock:
            missing = self.dropped_lines - self._told
            if self._put(
                (self.notice(missing) if missing else "") + text, QUEUE_BYTES // 2 if missing else QUEUE_BYTES
            ):
                self._told += missing
            else:
                self.dropped_lines += max(1, text.count("\n"))
        if self._is_ending:
            self._is_ending = self.wait_until_written(LAST_LINES_SECONDS)
        return len(text)

    def writable(self) -> bool:
        """Return True: texts are always taken."""
        return True

    def flush(self) -> None:
        """Do nothing, as loggers flush after each line; see `wait_until_written`."""

    def wait_until_written(self, seconds: float) -> bool:
        """Wait until all that was queued is written, so long at the most; return False if it is not."""
        until = time.monotonic() + seconds
        while self._finished < self._accepted and time.monotonic() < until:
            time.sleep(0.001)
        return self._finished >= self._accepted

    def end(self) -> None:
        """Wait for the last lines, and for each that follows, as the process may end after any."""
        self._is_ending = self.wait_until_written(LAST_LINES_SECONDS)

    def _put(self, text: str, room: int) -> bool:
        data = text.encode("utf-8", "backslashreplace")
        if self._accepted - self._finished + len(data) + ITEM_BYTES > room:
            return False
        self._accepted += len(data) + ITEM_BYTES
        self._queue.put(data)
        return True

    def _drain(self) -> None:
        while True:
            data = self._queue.get()
            if not write_all(self._descriptor, data):
                with self._lock:
                    self.dropped_lines += max(1, data.count(b"\n"))
            self._finished += len(data) + ITEM_BYTES


def write_all(descriptor: int, data: bytes) -> bool:
    """Write data, waiting as long as it takes; return False if the file takes no more, as its disk is full or its reader gone."""
    while data:
        written = _write_some(descriptor, data)
        if written is None:
            return False
        data = data[written:]
    return True


def _write_some(descriptor: int, data: bytes) -> int | None:
    """Return how much was written, None if nothing ever will be."""
    try:
        return os.write(descriptor, data)
    except BlockingIOError:  # another process has made the file non-blocking
        select.select([], [descriptor], [], RETRY_SECONDS)
        return 0
    except OSError:
        return None


def dropped_notice(count: int) -> str:
    """Return a line of plain text about lines that were dropped."""
    return f"{count} lines of the log were dropped here: nobody read them\n"


_standard_output: LossyStream | None = None


def make_standard_output_lossy() -> LossyStream:
    """Put a LossyStream in the place of ``sys.stdout``, from now to the end of the process; return it."""
    global _standard_output  # noqa: PLW0603 (there is one standard output)
    if _standard_output is None:
        known = sys.__stdout__
        if known is not None:
            known.flush()
        # Where it was closed at the start, its number may be that of any file by now.
        _standard_output = LossyStream(os.open(os.devnull, os.O_WRONLY) if known is None else known.fileno())
        atexit.register(_standard_output.end)
    sys.stdout = _standard_output
    return _standard_output


def dropped_log_lines() -> int:
    """Return the number of lines of the log that this process has dropped."""
    return _standard_output.dropped_lines if _standard_output else 0


def say_last(text: str) -> None:
    """Write a text to standard error after the last lines of the log; give up after a while where nobody reads."""
    if _standard_output:
        _standard_output.end()
    if sys.__stderr__ is None:
        return
    data = f"{text}\n".encode("utf-8", "backslashreplace")
    writing = threading.Thread(target=write_all, args=(2, data), daemon=True)
    writing.start()
    writing.join(LAST_LINES_SECONDS)
