"""HTTP spoken to a node's doors without a network, byte by byte, on a clock that the test moves."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple, cast
from urllib.parse import quote

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http import HTTPChannel
from typing_extensions import override

from kvsd.metrics import Metrics
from kvsd.resources.root import RequestLimits, make_site
from kvsd.resources.site import Channel
from tests.fakes import FakeNode


class Answer(NamedTuple):
    """A reply: status, headers by lower-case name, body."""

    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def body(self) -> Any:
        """The body, which has to be JSON of known length."""
        assert self.headers["content-type"] == "application/json", self
        assert self.headers["content-length"] == str(len(self.content)), self
        return json.loads(self.content)


def request_bytes(
    method: str, target: str, content: bytes | None = None, headers: Mapping[str, str] | None = None
) -> bytes:
    """A request as it stands on the wire."""
    length = {} if content is None else {"Content-Length": str(len(content))}
    lines = {"Host": "kvsd", **length, **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + (content or b"")


def parse_answer(data: bytes, *, head_only: bool = False) -> tuple[Answer, bytes] | None:
    """The first reply in data and what follows it; None where it is not whole yet."""
    head, end, rest = data.partition(b"\r\n\r\n")
    if not end:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    status = int(first.split(" ")[1])
    length = 0 if head_only or status < 200 else int(headers["content-length"])
    if len(rest) < length:
        return None
    return Answer(status, headers, rest[:length]), rest[length:]


class _Transport(StringTransport):
    """A transport that, like one of TCP, lets itself be closed twice."""

    @override
    def unregisterProducer(self) -> None:
        if self.producer:
            super().unregisterProducer()


def settle(channel: HTTPChannel) -> None:
    """Have all done that is due, on the clock of a connection, which stands still."""
    clock = cast(Channel, channel).site.reactor
    assert isinstance(clock, Clock), clock
    while any(call.getTime() <= clock.seconds() for call in clock.getDelayedCalls()):
        clock.advance(0)


class Connection:
    """A client's connection in memory."""

    def __init__(self, channel: HTTPChannel) -> None:
        self.channel = channel
        self.transport = _Transport()
        channel.makeConnection(self.transport)

    def send(self, data: bytes) -> None:
        """Send bytes, and leave the node the time of no moment to take its turns."""
        self.channel.dataReceived(data)
        settle(self.channel)

    def answers(self, *, head_only: bool = False) -> list[Answer]:
        """All replies that have come since the last call."""
        data, answers = self.transport.value(), []
        self.transport.clear()
        while data:
            parsed = parse_answer(data, head_only=head_only)
            assert parsed is not None, f"half an answer: {data!r}"
            answer, data = parsed
            answers.append(answer)
        return answers

    def ask(
        self, method: str, target: str, content: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send a request and take its reply."""
        self.send(request_bytes(method, target, content, headers))
        (answer,) = self.answers(head_only=method == "HEAD")
        return answer

    @property
    def is_closing(self) -> bool:
        """Whether the node has closed the connection."""
        return self.transport.disconnecting

    @property
    def is_cut(self) -> bool:
        """Whether the node has cut the connection off, losing what was still to be sent."""
        return self.transport.disconnected


class HttpCase(SynchronousTestCase):
    """A test case with the doors of a fake node."""

    limits = RequestLimits()

    def setUp(self) -> None:
        self.node = FakeNode()
        self.clock = Clock()
        self.metrics = Metrics()
        self.site = make_site(self.node, self.metrics, self.limits, self.clock)

    def connect(self) -> Connection:
        """A new connection."""
        channel = self.site.buildProtocol(None)
        assert isinstance(channel, HTTPChannel)
        return Connection(channel)

    def ask(
        self, method: str, target: str, content: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request over a connection of its own, and its reply."""
        return self.connect().ask(method, target, content, headers)

    def ask_key(self, method: str, key: str, fields: object = None, headers: Mapping[str, str] | None = None) -> Answer:
        """One request about a key, with the fields as its body."""
        content = None if fields is None else json.dumps(fields).encode()
        return self.ask(method, f"/kvs/{quote(key, safe='')}", content, headers)

    def assert_error(self, answer: Answer, status: int, error: str) -> None:
        """The reply is this error and nothing else."""
        self.assertEqual((answer.status, answer.body), (status, {"error": error}))

    def sample(self, name: str, **labels: str) -> float | None:
        """The value of a metric."""
        return self.metrics.registry.get_sample_value(name, labels)
