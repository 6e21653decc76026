"""
A client that knows HTTP/1.1 to the letter and nothing of kvsd but its contract.

It speaks through a plain socket, since a client library would straighten out the very requests that are to be
tried: odd paths, bodies in pieces, several requests at once.  Every answer is checked for what the contract promises
of all of them before a test sees it.
"""

import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple
from urllib.parse import quote

WAIT_SECONDS = 10.0
POLL_SECONDS = 0.05


class Answer(NamedTuple):
    """A reply: status, headers by lower-case name, decoded body."""

    status: int
    headers: Mapping[str, str]
    body: dict[str, Any]

    @property
    def said(self) -> tuple[int, dict[str, Any]]:
        """Status and body without the token, which has no fixed text; that it was there is told by a True."""
        fields = {name: True if name == "causal-metadata" else value for name, value in self.body.items()}
        return self.status, fields

    @property
    def token(self) -> Any:
        """What the next request of the chain has to carry."""
        return self.body["causal-metadata"]


class Door:
    """One connection to one node."""

    def __init__(self, address: str, timeout_seconds: float = WAIT_SECONDS) -> None:
        host, _, port = address.rpartition(":")
        self.address = address
        self._socket = socket.create_connection((host, int(port)), timeout_seconds)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""

    def __enter__(self) -> "Door":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Send bytes; a node that has answered and closed before it had them all is not complained about here."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self._socket.sendall(data)

    def receive_head(self) -> tuple[int, dict[str, str]]:
        """Wait for the head of a reply; raises EOFError where the connection ends instead."""
        head, _, self._received = self._until(lambda data: b"\r\n\r\n" in data).partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return int(first.split(" ")[1]), headers

    def receive(self) -> Answer:
        """Wait for a reply and check what all replies have to be."""
        status, headers = self.receive_head()
        assert headers.get("content-type") == "application/json", f"{status}: Content-Type in {headers}"
        assert "content-length" in headers, f"{status}: no Content-Length in {headers}"
        length = int(headers["content-length"])
        data = self._until(lambda data: len(data) >= length)
        content, self._received = data[:length], data[length:]
        body = json.loads(content)
        assert isinstance(body, dict), f"{status}: {body!r} is not an object"
        assert (status >= 400) == ("error" in body), f"{status} does not go with {body}"
        assert "Traceback" not in content.decode(), f"{status}: a stack trace: {body}"
        assert status != 503 or "retry-after" in headers, f"503 without Retry-After: {body}"
        return Answer(status, headers, body)

    def ask(
        self,
        method: str,
        target: str,
        fields: Any = None,
        *,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request with the fields as its JSON body, or with any bytes, or none, and wait for its answer."""
        self.send(request(method, target, fields, content=content, headers=headers))
        return self.receive()

    def _until(self, enough: Callable[[bytes], bool]) -> bytes:
        while not enough(self._received):
            data = self._socket.recv(65536)
            if not data:
                raise EOFError(f"{self.address} closed the connection after {self._received!r}")
            self._received += data
        return self._received


def request(
    method: str,
    target: str,
    fields: Any = None,
    *,
    content: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """The bytes of a request."""
    if content is None:
        content = b"" if fields is None else json.dumps(fields).encode()
    lines = {"Host": "kvsd", **({"Content-Length": str(len(content))} if content else {}), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode() + content


def chunked(method: str, target: str, content: bytes, size: int) -> bytes:
    """The bytes of a request whose body comes in chunks of unannounced number."""
    pieces = [content[start : start + size] for start in range(0, len(content), size)]
    body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    head = f"{method} {target} HTTP/1.1\r\nHost: kvsd\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head.encode() + body + b"0\r\n\r\n"


def ask(address: str, method: str, target: str, fields: Any = None, **more: Any) -> Answer:
    """One request over a connection of its own."""
    with Door(address) as door:
        return door.ask(method, target, fields, **more)


def path(key: str) -> str:
    """The path of a key, with everything but letters and digits escaped."""
    return f"/kvs/{quote(key, safe='')}"


def put(address: str, key: str, value: Any, token: Any = None, **more: Any) -> Answer:
    """Write a key over a connection of its own."""
    return ask(address, "PUT", path(key), {"value": value, "causal-metadata": token}, **more)


def get(address: str, key: str, token: Any = None, **more: Any) -> Answer:
    """Read a key over a connection of its own."""
    return ask(address, "GET", path(key), {"causal-metadata": token}, **more)


def delete(address: str, key: str, token: Any = None, **more: Any) -> Answer:
    """Delete a key over a connection of its own."""
    return ask(address, "DELETE", path(key), {"causal-metadata": token}, **more)


def patiently(act: Callable[..., Answer], *arguments: Any, tries: int = 7, **more: Any) -> Answer:
    """Put, get or delete, again while the answer is 503, with pauses of 10·2ⁿ ms; gives the last answer."""
    answer = act(*arguments, **more)
    for attempt in range(tries - 1):
        if answer.status != 503:
            break
        time.sleep(0.010 * 2**attempt)
        answer = act(*arguments, **more)
    return answer


def until(what: str, condition: Callable[[], bool], seconds: float) -> float:
    """Wait until a condition holds and give the seconds that took; raises AssertionError where it takes too long."""
    began = time.monotonic()
    while True:
        # A node that is not there, or says something else than the answer asked for, may yet come round.
        with suppress(OSError, EOFError, LookupError):
            if condition():
                return time.monotonic() - began
        assert time.monotonic() - began < seconds, f"not within {seconds:g} s: {what}"
        time.sleep(POLL_SECONDS)


def until_found(address: str, key: str, token: Any, seconds: float) -> float:
    """Wait until a node shows a key to the bearer of a token, and give the seconds that took."""
    return until(f"{key} at {address}", lambda: get(address, key, token).status == 200, seconds)


def names(prefix: str) -> Iterator[str]:
    """Keys that no other test uses."""
    number = 0
    while True:
        number += 1
        yield f"{prefix}-{number}"
