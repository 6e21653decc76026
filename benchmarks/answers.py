"""
Answers of HTTP/1.1 servers read from the bytes of a connection: as much of the protocol as a load generator needs.
"""

import socket
from collections.abc import Sequence

SUCCESS = (b"HTTP/1.1 200 ", b"HTTP/1.1 201 ")
CRLF = b"\r\n"
LAST_CHUNK = b"0\r\n\r\n"
READ_BYTES = 1 << 18


class RefusedError(Exception):
    """An answer that is no success, or none at all; the text says which."""


class Answers:
    """
    Counts whole answers in what comes in on one connection.

    ``last`` is the head of the latest one, ``refused`` how many were no success.
    """

    def __init__(self) -> None:
        self.last = b""
        self.refused = 0
        self._rest = b""

    def feed(self, received: bytes) -> int:
        """The number of answers that these bytes complete."""
        text = self._rest + received if self._rest else received
        done, start = 0, 0
        while (end := self._end(text, start)) >= 0:
            done, start = done + 1, end
        self._rest = text[start:]
        return done

    def _end(self, text: bytes, start: int) -> int:
        """Where the answer ends that begins at start; -1 where it is not whole."""
        head_end = text.find(b"\r\n\r\n", start)
        if head_end < 0:
            return -1
        head = text[start:head_end]
        at = head.lower().find(b"content-length:")
        if at < 0:
            found = text.find(LAST_CHUNK, head_end)
            end = found + len(LAST_CHUNK) if found >= 0 else -1
        else:
            end = head_end + 4 + int(head[at + 15 :].split(b"\r\n", 1)[0])
            end = end if end <= len(text) else -1
        if end >= 0:
            self.last = head
            self.refused += not head.startswith(SUCCESS)
        return end


def field(head: bytes, name: bytes) -> bytes:
    """A field of an answer's head; empty where it has none."""
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.strip().lower() == name:
            return value.strip()
    return b""


def deliver(address: str, requests: Sequence[bytes], depth: int = 1) -> None:
    """Send each request once on one connection, ``depth`` at a time; raises RefusedError where one is refused."""
    host, _, port = address.rpartition(":")
    answers = Answers()
    with socket.create_connection((host, int(port)), timeout=30.0) as connection:
        for start in range(0, len(requests), depth):
            block = requests[start : start + depth]
            connection.sendall(b"".join(block))
            missing = len(block)
            while missing:
                received = connection.recv(READ_BYTES)
                if not received:
                    raise RefusedError(f"{address} closed the connection")
                missing -= answers.feed(received)
                if answers.refused:
                    raise RefusedError(f"{address}: {answers.last.partition(CRLF)[0].decode('latin-1')}")
