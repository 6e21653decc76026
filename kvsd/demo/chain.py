"""
A client of the cluster as any program could write one: plain HTTP, the last ``causal-metadata`` in each request,
and patience.

A 503 and a refused connection say that nothing was done: the request is sent again, after a pause of 10·2ⁿ ms, to
another node.  Where an answer fails to come, the request may or may not have been carried out; it is sent again
too, with the same ``Idempotency-Key``, so that a write takes effect once whatever happened to the first.

The requests go through asyncio's streams, not through a client library: the contract gives every reply a
Content-Length, so two calls read it, and a client that costs a fraction of a library's CPU time leaves the rest
of a small machine to the nodes that are to be shown.
"""

import asyncio
import re
import time
import uuid
from collections import Counter
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec

ANSWER_SECONDS = 5.0
FIRST_PAUSE_SECONDS = 0.010
LONGEST_PAUSE_SECONDS = 0.640
TRIES = 52  # about 30 s of pauses: long enough for a node to be killed, restarted and read again
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
CLOSE = re.compile(rb"\r\nconnection: *close\r\n", re.IGNORECASE)


class RefusedError(Exception):
    """There was no connection: the node saw nothing of the request."""


class NoAnswerError(Exception):
    """The request left and no answer came: nobody knows whether it was carried out."""


class GaveUpError(Exception):
    """The last of many tries failed; the text says how."""


class UnexpectedError(Exception):
    """An answer that the contract does not foresee for a well-formed request."""


class Reply(NamedTuple):
    """A node's answer."""

    status: int
    body: dict[str, Any]


@dataclass
class Tally:
    """What all clients saw: how long each operation took, its retries included, and why requests were sent again."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: {"PUT": [], "GET": []})
    retries: Counter[str] = field(default_factory=Counter)


async def together(*coroutines: Coroutine[Any, Any, object]) -> None:
    """Run coroutines at the same time; the first failure ends the others and is raised."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def pause_seconds(attempt: int) -> float:
    """How long to wait after the given attempt, counted from 0."""
    return min(FIRST_PAUSE_SECONDS * 2.0 ** min(attempt, 10), LONGEST_PAUSE_SECONDS)


class Line:
    """One connection to one node, kept open from request to request and opened again where it was lost."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, method: str, path: str, content: bytes = b"", headers: str = "") -> Reply:
        """Send one request and read its answer; raises RefusedError or NoAnswerError."""
        reader, writer = await self._open()
        head = f"{method} {path} HTTP/1.1\r\nHost: {self.address}\r\nContent-Length: {len(content)}\r\n{headers}\r\n"
        answered = False
        # Less work than asyncio.wait_for, which makes a task of every request.
        alarm = asyncio.get_running_loop().call_later(ANSWER_SECONDS, writer.transport.abort)
        try:
            writer.write(head.encode() + content)
            reply = await self._read(reader)
            answered = True
            return reply
        except (OSError, EOFError, ValueError) as error:
            raise NoAnswerError(f"{method} {path} at {self.address}: {error!r}") from error
        finally:
            alarm.cancel()
            if not answered:
                self.close()

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._streams:
            self._streams[1].close()
        self._streams = None

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams and self._streams[0].at_eof():
            self.close()
        if self._streams is None:
            host, _, port = self.address.rpartition(":")
            try:
                opening = asyncio.open_connection(host, int(port))
                self._streams = await asyncio.wait_for(opening, ANSWER_SECONDS)
            except (OSError, asyncio.TimeoutError) as error:
                raise RefusedError(f"{self.address}: {error!r}") from error
        return self._streams

    async def _read(self, reader: asyncio.StreamReader) -> Reply:
        head = await reader.readuntil(b"\r\n\r\n")
        length = LENGTH.search(head)
        if length is None:
            raise ValueError("a reply without Content-Length")
        content = await reader.readexactly(int(length[1]))
        if CLOSE.search(head):
            self.close()
        return Reply(int(head[9:12]), msgspec.json.decode(content))


class Chain:
    """
    One causal chain: every request carries what the last reply returned, whichever node it goes to.

    ``doors`` are the addresses where clients reach the nodes.
    """

    def __init__(self, doors: Sequence[str], random: Random, tally: Tally) -> None:
        self.doors = list(doors)
        self.token: object = None
        self._random = random
        self._tally = tally
        self._lines = {door: Line(door) for door in doors}

    async def put(self, key: str, value: object, *, elsewhere_than: str = "") -> tuple[str, Reply]:
        """Write through a random node; gives the node that answered, and its answer."""
        headers = f"Idempotency-Key: {uuid.uuid4()}\r\n"
        door, reply = await self._insist("PUT", key, {"value": value}, headers, elsewhere_than)
        if reply.status not in (200, 201):
            raise UnexpectedError(f"PUT {key} at {door}: {reply.status} {reply.body}")
        return door, reply

    async def get(self, key: str, *, elsewhere_than: str = "") -> tuple[str, Reply]:
        """Read through a random node; gives the node that answered, and its answer, 200 or 404."""
        door, reply = await self._insist("GET", key, {}, "", elsewhere_than)
        if reply.status not in (200, 404):
            raise UnexpectedError(f"GET {key} at {door}: {reply.status} {reply.body}")
        return door, reply

    def close(self) -> None:
        """Close all connections."""
        for line in self._lines.values():
            line.close()

    def _another(self, last: str) -> str:
        """A random node, not the one that was asked last where there is a choice."""
        return self._random.choice([door for door in self.doors if door != last] or self.doors)

    async def _insist(
        self, method: str, key: str, fields: dict[str, object], headers: str, elsewhere_than: str
    ) -> tuple[str, Reply]:
        """Send a request until it is answered by something other than 503, and take the token of the answer."""
        began = time.perf_counter()
        path = f"/kvs/{quote(key, safe='')}"
        content = msgspec.json.encode({**fields, "causal-metadata": self.token})
        door, trouble = elsewhere_than, ""
        for attempt in range(TRIES):
            door = self._another(door)
            try:
                reply = await self._lines[door].ask(method, path, content, headers)
            except (RefusedError, NoAnswerError) as error:
                trouble = f"{type(error).__name__}: {error}"
                self._tally.retries["refused" if isinstance(error, RefusedError) else "no answer"] += 1
            else:
                if reply.status != 503:
                    self.token = reply.body.get("causal-metadata", self.token)
                    self._tally.seconds[method].append(time.perf_counter() - began)
                    return door, reply
                trouble = f"503 from {door}: {reply.body}"
                self._tally.retries["503"] += 1
            await asyncio.sleep(pause_seconds(attempt))
        raise GaveUpError(f"{method} {key}, after {TRIES} tries: {trouble}")
