"""
Load from this process, where ``wrk`` can't give it: at a constant rate, and in sessions that carry their tokens.

At a constant rate requests are due at moments fixed beforehand, and each latency counts from the moment at which its
request was due, not from that at which it could be sent.  So a server that stalls is charged with all that was due
meanwhile, as by people who don't wait for each other (no coordinated omission).
"""

import gc
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice

from benchmarks.answers import READ_BYTES, Answers, RefusedError
from benchmarks.answers import field as head_field
from benchmarks.load import Sample
from benchmarks.processes import LOAD_CORE, Server, pinned_here

PATIENCE_SECONDS = 10.0


@dataclass
class Line:
    """A connection, and since when the request is due whose answer it waits for."""

    connection: socket.socket
    answers: Answers = field(default_factory=Answers)
    due: float = 0.0


@dataclass(frozen=True)
class Latencies:
    """
    Seconds from due to answered, sorted; and by how much a request was sent late while a connection was idle.

    ``failed`` counts answers that were no success.
    """

    seconds: Sequence[float]
    slips: Sequence[float]
    failed: int

    def quantile(self, share: float) -> float:
        """So many of all were answered within so many seconds."""
        return quantile(self.seconds, share)


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value that a share of a sorted sequence does not exceed."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@contextmanager
def lines(addresses: Sequence[str], count: int) -> Iterator[tuple[select.epoll, dict[int, Line]]]:
    """Connections to all addresses in turn; meanwhile this process stays on the load's core and collects no garbage."""
    opened: dict[int, Line] = {}
    watch = select.epoll()
    gc.disable()
    try:
        for number in range(count):
            host, _, port = addresses[number % len(addresses)].rpartition(":")
            connection = socket.create_connection((host, int(port)), timeout=PATIENCE_SECONDS)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setblocking(False)
            opened[connection.fileno()] = Line(connection)
            watch.register(connection, select.EPOLLIN)
        with pinned_here(LOAD_CORE):
            yield watch, opened
    finally:
        gc.enable()
        watch.close()
        for line in opened.values():
            line.connection.close()


def at_rate(
    addresses: Sequence[str], requests: Sequence[bytes], rate: float, seconds: float, connections: int
) -> Latencies:
    """Requests at a constant rate over connections of which each waits for one answer at a time."""
    with lines(addresses, connections) as (watch, opened):
        return _Constant(watch, opened, requests, rate).run(int(rate * seconds))


class _Constant:
    """One run at a constant rate."""

    def __init__(self, watch: select.epoll, opened: dict[int, Line], requests: Sequence[bytes], rate: float) -> None:
        self._watch, self._lines, self._requests, self._rate = watch, opened, requests, rate
        self._idle = deque(opened.values())
        self._sent = 0
        self._latencies: list[float] = []
        self._slips: list[float] = []
        self._begin = 0.0

    def run(self, count: int) -> Latencies:
        """Send so many requests when they are due, or as soon after as a connection is idle."""
        clock = time.perf_counter
        self._begin = clock()
        patience = self._begin + count / self._rate + PATIENCE_SECONDS
        waited = False
        while len(self._latencies) < count:
            now = clock()
            if now > patience:
                raise RefusedError(f"{count - len(self._latencies)} requests were not answered in time")
            while self._sent < count and self._idle and self._due() <= now:
                self._send(now, waited=waited)
                now = clock()
            waited = not self._idle
            for descriptor, _ in self._watch.poll(0):
                self._receive(self._lines[descriptor])
        return Latencies(sorted(self._latencies), sorted(self._slips), refused(self._lines))

    def _due(self) -> float:
        return self._begin + self._sent / self._rate

    def _send(self, now: float, *, waited: bool) -> None:
        line = self._idle.popleft()
        line.due = self._due()
        line.connection.send(self._requests[self._sent % len(self._requests)])
        if not waited:
            self._slips.append(now - line.due)
        self._sent += 1

    def _receive(self, line: Line) -> None:
        received = line.connection.recv(READ_BYTES)
        if not received:
            raise RefusedError("a connection was closed")
        if line.answers.feed(received):
            self._latencies.append(time.perf_counter() - line.due)
            self._idle.append(line)


def deliver_all(address: str, requests: Iterable[bytes], connections: int = 64, depth: int = 16) -> None:
    """Send each request once, over many connections, ``depth`` at a time; raises RefusedError where one is refused."""
    waiting = iter(requests)
    missing: dict[int, int] = {}

    def go_on(descriptor: int, line: Line) -> None:
        block = list(islice(waiting, depth))
        if block:
            line.connection.setblocking(True)
            line.connection.sendall(b"".join(block))
            line.connection.setblocking(False)
            missing[descriptor] = len(block)

    with lines([address], connections) as (watch, opened):
        for descriptor, line in opened.items():
            go_on(descriptor, line)
        while missing:
            for descriptor, _ in watch.poll(PATIENCE_SECONDS) or [(0, 0)]:
                received = opened[descriptor].connection.recv(READ_BYTES) if descriptor else b""
                if not received:
                    raise RefusedError(f"{address} does not take all that is to be written")
                missing[descriptor] -= opened[descriptor].answers.feed(received)
                if not missing[descriptor]:
                    del missing[descriptor]
                    go_on(descriptor, opened[descriptor])
        if failed := refused(opened):
            raise RefusedError(f"{address} refused {failed} requests")


def refused(opened: dict[int, Line]) -> int:
    """How many answers on all connections were no success."""
    return sum(line.answers.refused for line in opened.values())


Next = Callable[[int, int, bytes], bytes]
"""The request that a session sends next: by its number, how many it sent already, and its token."""


def in_sessions(server: Server, sessions: int, following: Next, seconds: float) -> Sample:
    """Have sessions ask one request after another, each with the token of its last answer."""
    with lines(server.addresses, sessions) as (watch, opened):
        sent = dict.fromkeys(opened, 0)
        number = {descriptor: place for place, descriptor in enumerate(opened)}

        def send(descriptor: int, token: bytes) -> None:
            opened[descriptor].connection.send(following(number[descriptor], sent[descriptor], token))
            sent[descriptor] += 1

        answered, began, before = 0, time.perf_counter(), server.cpu_seconds()
        for descriptor in opened:
            send(descriptor, b"")
        while answered < sum(sent.values()):
            found = watch.poll(PATIENCE_SECONDS)
            if not found:
                raise RefusedError(f"{server.name}: answers did not come in time")
            going_on = time.perf_counter() < began + seconds
            for descriptor, _ in found:
                line = opened[descriptor]
                received = line.connection.recv(READ_BYTES)
                if not received:
                    raise RefusedError(f"{server.name} closed a connection")
                if line.answers.feed(received):
                    answered += 1
                    if going_on:
                        send(descriptor, head_field(line.answers.last, b"causal-metadata"))
        wall, spent = time.perf_counter() - began, server.cpu_seconds() - before
        return Sample(answered / wall, 1e6 * spent / answered, failed=refused(opened))
