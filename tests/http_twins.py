"""Two doors of two equal nodes, one with its lane and one without, to which the same happens."""

import re
from collections import deque

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from typing_extensions import override

from kvsd.metrics import Metrics
from kvsd.node import Node
from kvsd.ports import PeerUnreachable, Transport
from kvsd.replication.configuration import founding_configuration
from kvsd.replication.replica import Replica
from kvsd.replication.saved import Saved
from kvsd.replication.state import Identity
from kvsd.resources.door import RequestLimits
from kvsd.resources.root import make_site
from kvsd.resources.site import Channel
from kvsd.storage.memory_storage import MemoryStorage
from tests.http_case import settle

ADDRESS = "10.0.0.1:8090"
SEND_BUFFER = 64 * 1024
STEP, MAX_STEPS = 0.005, 6
"""Seconds: what is due at several moments is done at these, not at one."""
_DATE = re.compile(rb"\r\nDate: [^\r]+")


class Pipe(StringTransport):
    """
    A connection to a client that may stop to read, with the flow control of TCP.

    What the node writes while the client does not read piles up, and over 64 KiB of it the node is asked to pause; what
    the client sends while the node does not read waits.
    """

    def __init__(self, channel: HTTPChannel) -> None:
        super().__init__()
        self.channel = channel
        self._waiting: deque[bytes] = deque()
        self._gone = False
        self.reads = True
        self.unread = 0
        """Bytes that the node has written while the client did not read."""
        channel.makeConnection(self)

    @override
    def write(self, data: bytes) -> None:
        super().write(data)
        if not self.reads:
            self.unread += len(data)
            if self.unread > SEND_BUFFER and self.producer:
                IPushProducer(self.producer).pauseProducing()

    @override
    def writeSequence(self, data: list[bytes]) -> None:
        self.write(b"".join(data))

    @override
    def unregisterProducer(self) -> None:
        if self.producer:
            super().unregisterProducer()

    @override
    def pauseProducing(self) -> None:
        if self.producerState == "producing":
            super().pauseProducing()

    @override
    def resumeProducing(self) -> None:
        if self.producerState == "paused":
            super().resumeProducing()
        self._deliver()

    def send(self, data: bytes) -> None:
        """The client sends."""
        self._waiting.append(data)
        self._deliver()
        settle(self.channel)

    def read_on(self) -> None:
        """The client reads all there is, and goes on reading."""
        self.reads = True
        full, self.unread = self.unread > SEND_BUFFER, 0
        if full and self.producer:
            IPushProducer(self.producer).resumeProducing()
        settle(self.channel)

    def half_close(self) -> None:
        """The client sends nothing more, and reads on."""
        if not self._gone and not self.disconnecting:
            assert isinstance(self.channel, Channel), self.channel
            self.channel.readConnectionLost()
            settle(self.channel)

    @property
    def waiting_bytes(self) -> int:
        """What the client has sent and the node has not read yet."""
        return sum(map(len, self._waiting))

    def hang_up(self) -> None:
        """The client is gone."""
        if not self._gone:
            self._gone = True
            self.channel.connectionLost(Failure(ConnectionDone()))

    def _deliver(self) -> None:
        while self._waiting and self.producerState == "producing" and not (self.disconnecting or self._gone):
            self.channel.dataReceived(self._waiting.popleft())


class Nobody(Transport):
    """A network without peers."""

    def post(self, address: str, body: bytes) -> Deferred[bytes]:
        """Nobody is there."""
        return fail(PeerUnreachable("nobody is there"))

    def close(self) -> Deferred[None]:
        """There is nothing to close."""
        return succeed(None)


class Counts(Metrics):
    """Metrics that show each request: verb, outcome, seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.counted: list[tuple[str, str, float]] = []
        self.observe_request = lambda *counted: self.counted.append(counted)


class Twin:
    """A node of its own cluster behind its doors, on a clock that stands still, with one connection."""

    def __init__(self, limits: RequestLimits, *, lane: bool) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.replica = Replica(Identity(ADDRESS, b"0123456789abcdef", 1))
        self.crashes: list[str] = []
        self.node = Node(
            self.replica,
            self.clock,
            lambda: int(self.clock.seconds() * 1000),
            MemoryStorage(soon=lambda commit: self.clock.callLater(0.01, commit)),
            Nobody(),
            b"secret",
            self.crashes.append,
        )
        self.node.start(self.replica.start(Saved(), founding_configuration([ADDRESS], 1), (), self.node.now()))
        self.clock.pump([0.05] * 40)
        self.metrics = Counts()
        self.site = make_site(self.node, self.metrics, limits, self.clock, lane=lane)
        self.pipe = self.connect()

    def connect(self) -> Pipe:
        """A new connection."""
        channel = self.site.buildProtocol(None)
        assert isinstance(channel, HTTPChannel)
        return Pipe(channel)

    def seen(self) -> tuple[bytes, bool, bool]:
        """All that the client was answered, the time of day aside; whether the connection is closed or cut off."""
        pipe = self.pipe
        return _DATE.sub(b"", pipe.value()), bool(pipe.disconnecting), bool(pipe.disconnected)

    def done(self) -> tuple[object, ...]:
        """What came of it all: the rows of the store, the counts and times of requests, defects."""
        rows = list(self.replica.state.roles["s0"].store)
        return rows, self.metrics.counted, self.crashes


class Twins:
    """The two of them."""

    def __init__(self, limits: RequestLimits) -> None:
        self.both = Twin(limits, lane=True), Twin(limits, lane=False)

    def connect(self) -> None:
        """The client comes anew."""
        for twin in self.both:
            twin.pipe.hang_up()
            twin.pipe = twin.connect()

    def send(self, data: bytes) -> None:
        """The client sends."""
        for twin in self.both:
            twin.pipe.send(data)

    def advance(self, seconds: float) -> None:
        """Time passes."""
        for twin in self.both:
            for step in (*[STEP] * min(MAX_STEPS, int(seconds / STEP)), max(0, seconds - MAX_STEPS * STEP)):
                twin.clock.advance(step)
                settle(twin.pipe.channel)

    def read(self, on: bool) -> None:
        """The client stops to read, or reads on."""
        for twin in self.both:
            if on:
                twin.pipe.read_on()
            else:
                twin.pipe.reads = False

    def half_close(self) -> None:
        """The client sends nothing more."""
        for twin in self.both:
            twin.pipe.half_close()

    def drain(self) -> None:
        """Both nodes begin to stop."""
        for twin in self.both:
            twin.site.drain()

    def hang_up(self) -> None:
        """The client leaves."""
        for twin in self.both:
            twin.pipe.hang_up()
