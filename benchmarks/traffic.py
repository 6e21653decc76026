"""
Clients that read and write without a pause while something happens to the cluster, and miss nothing.

Each key has one writer and its values are numbered, so every answer can be judged: a client never sees a key older
than it has seen it before, and its own keys as it wrote them last.
"""

import asyncio
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random
from typing import NamedTuple
from urllib.parse import quote

import msgspec

from kvsd.demo.chain import Line, NoAnswerError, RefusedError, Reply, together

PAUSE_SECONDS = 0.02
PATIENCE_SECONDS = 60.0
LOADERS = 4
SETTLE_SECONDS = 2.0
VALUE_LENGTH = 100

Advance = Callable[[], object]


class TrafficError(Exception):
    """A request was tried for long and never carried out; the text says how the last try ended."""


class Failure(NamedTuple):
    """A try that was not carried out: when it ended, how, and after how many seconds; the text is for people."""

    when: float
    how: str
    seconds: float
    text: str


@dataclass
class Diary:
    """What became of one client's requests; times are those of ``time.perf_counter``."""

    answered: list[float] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    mistakes: list[str] = field(default_factory=list)

    def longest_gap(self, begin: float, end: float) -> float:
        """The longest time without a successful answer within a stretch of time, its ends included, in seconds."""
        moments = [begin, *(when for when in self.answered if begin <= when <= end), end]
        return max(later - earlier for earlier, later in pairwise(moments))


def key_name(number: int) -> str:
    """The name of a key."""
    return f"row{number}"


def value_of(number: int, version: int) -> str:
    """What the given version of a key says."""
    return f"{version}:{key_name(number)}:".ljust(VALUE_LENGTH, ".")


class Client:
    """
    One client: it writes the keys ``number, number + step …`` below ``keys``, and reads all of them.

    Every request goes to a random node and carries the token of the reply before it.
    """

    def __init__(self, doors: Sequence[str], random: Random, number: int, step: int, keys: int) -> None:
        self.diary = Diary()
        self.versions: dict[int, int] = {}
        """The latest version of each key that this client knows of."""
        self._own = range(number, keys, step)
        self._keys = keys
        self._random = random
        self._token: object = None
        self._lines = [Line(door) for door in doors]

    def close(self) -> None:
        """Close all connections."""
        for line in self._lines:
            line.close()

    async def load(self, advance: Advance) -> None:
        """Write all of its keys for the first time."""
        for number in self._own:
            await self._write(number, 0)
            advance()

    def trust(self) -> None:
        """Expect all of its keys to be there, in their first version."""
        self.versions = dict.fromkeys(self._own, 0)

    async def work(self, stop: asyncio.Event) -> None:
        """Read and write random keys until it is told to stop."""
        while not stop.is_set():
            if self._random.random() < 0.5:
                number = self._random.choice(self._own)
                await self._write(number, self.versions[number] + 1)
            else:
                await self.read(
                    self._random.choice((self._random.choice(self._own), self._random.randrange(self._keys)))
                )

    async def read_back(self, advance: Advance) -> None:
        """Read all of its own keys, and miss those that are gone or old."""
        for number in self._own:
            await self.read(number)
            advance()

    async def read(self, number: int) -> None:
        """Read a key, and note where it is not what it has to be."""
        reply = await self._insist("GET", number, {}, "")
        value, known = reply.body.get("value"), self.versions.get(number, -1)
        version = int(str(value).partition(":")[0]) if reply.status == 200 else -1
        if version < known or (version > known and number in self._own):
            self.diary.mistakes.append(f"{key_name(number)} was seen at version {known}, and now {reply}")
        self.versions[number] = max(version, known)

    async def _write(self, number: int, version: int) -> None:
        headers = f"Idempotency-Key: {uuid.uuid4()}\r\n"
        await self._insist("PUT", number, {"value": value_of(number, version)}, headers)
        self.versions[number] = version

    async def _insist(self, method: str, number: int, fields: dict[str, object], headers: str) -> Reply:
        """Send a request to one node after the other until it is carried out; raises TrafficError in the end."""
        path = f"/kvs/{quote(key_name(number), safe='')}"
        content = msgspec.json.encode({**fields, "causal-metadata": self._token})
        deadline = time.perf_counter() + PATIENCE_SECONDS
        while True:
            line = self._random.choice(self._lines)
            began = time.perf_counter()
            try:
                reply = await line.ask(method, path, content, headers)
                how, text = str(reply.status), str(reply.body)
            except RefusedError as error:
                reply, how, text = None, "refused", str(error)
            except NoAnswerError as error:
                reply, how, text = None, "no answer", str(error)
            now = time.perf_counter()
            if reply and (reply.status in (200, 201) or (method == "GET" and reply.status == 404)):
                self._token = reply.body["causal-metadata"]
                self.diary.answered.append(now)
                return reply
            self.diary.failures.append(Failure(now, how, now - began, f"{method} {path} at {line.address}: {text}"))
            if now > deadline:
                raise TrafficError(f"{method} {path}, for {PATIENCE_SECONDS:g} s: {how}: {text}")
            await asyncio.sleep(PAUSE_SECONDS)


class Traffic:
    """A number of clients that share out the keys among themselves."""

    def __init__(self, doors: Sequence[str], clients: int, keys: int, random: Random) -> None:
        self.clients = [Client(doors, random, number, clients, keys) for number in range(clients)]
        self._doors, self._random, self._keys = doors, random, keys
        self._stop = asyncio.Event()

    def close(self) -> None:
        """Close all connections."""
        for client in self.clients:
            client.close()

    async def load(self, advance: Advance) -> None:
        """Write every key for the first time, by more clients than these; ``advance`` is called after each."""
        lanes = len(self.clients) * LOADERS
        loaders = [Client(self._doors, self._random, lane, lanes, self._keys) for lane in range(lanes)]
        try:
            await together(*(loader.load(advance) for loader in loaders))
        finally:
            for loader in loaders:
                loader.close()
        await asyncio.sleep(SETTLE_SECONDS)
        for client in self.clients:
            client.trust()

    async def work(self) -> None:
        """Keep all clients busy until they are told to stop; raises TrafficError where one gets no further."""
        await together(*(client.work(self._stop) for client in self.clients))

    def stop(self) -> None:
        """Have the clients end with the requests they are at."""
        self._stop.set()

    async def read_back(self, advance: Advance) -> None:
        """Have each client read all keys it wrote; ``advance`` is called after each."""
        await together(*(client.read_back(advance) for client in self.clients))

    def answered(self, begin: float, end: float) -> int:
        """How many requests were carried out in a stretch of time."""
        return sum(begin <= when < end for client in self.clients for when in client.diary.answered)

    def failures(self) -> Iterator[Failure]:
        """All tries that failed."""
        return (failure for client in self.clients for failure in client.diary.failures)

    def mistakes(self) -> Iterator[str]:
        """All answers that can't be right, in words."""
        return (mistake for client in self.clients for mistake in client.diary.mistakes)
