"""The lane answers what the long way answers: the same bytes, in any pieces, at any pace, have the same consequences."""

from collections.abc import Callable, Iterable
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kvsd.resources.door import RequestLimits
from tests.examples import examples
from tests.http_twins import Twins

LIMITS = RequestLimits(max_body_bytes=300, arrival_seconds=20, idle_seconds=30, discard_bytes=2000)
VALUE = b'{"value": 1}'


def request(line: bytes, *headers: bytes, body: bytes | None = None) -> bytes:
    """A request as it stands on the wire."""
    length = () if body is None else (b"Content-Length: %d" % len(body),)
    return b"\r\n".join((line + b" HTTP/1.1", b"Host: kvsd", *headers, *length, b"", body or b""))


def put(key: bytes, value: bytes, *headers: bytes) -> bytes:
    """A PUT of a value."""
    return request(b"PUT /kvs/" + key, *headers, body=b'{"value": %b}' % value)


HIDDEN = b"GET /kvs/a HTTP/1.1\r\nHost: x\r\n\r\n"
"""A request that must not be taken for one where it is a part of another."""

SPLIT = [
    put(b"a", b"1") + request(b"GET /kvs/a") + request(b"DELETE /kvs/a") + request(b"GET /kvs/a"),
    b"PUT /kvs/a HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (2 * len(HIDDEN)) + HIDDEN * 3,
    b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(HIDDEN) + HIDDEN * 2,
    b"PUT /kvs/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % len(HIDDEN)
    + HIDDEN
    + b"\r\n0\r\n\r\n"
    + HIDDEN,
    b"PUT /kvs/a HTTP/1.1\r\nHost: x\r\nX: y\r\n" + HIDDEN * 2,
    b"GET /view HTTP/1.1\r\n" + HIDDEN * 2,
    b"\r\n" + HIDDEN + b"\r\n" + HIDDEN,
    put(b"a", b"1", b"Connection: close") + HIDDEN,
    put(b"a%20b", b"1") + HIDDEN * 2,
    put(b"a", b"1") + b"nonsense\r\n" + HIDDEN,
]
"""What is cut in two anywhere."""

RIGHT = [
    request(b"GET /kvs/a"),
    request(b"GET /kvs/b", b"Prefer: wait=2"),
    put(b"a", b"1"),
    put(b"a", b"2"),
    put(b"b", b'"text"', b"Idempotency-Key: x"),
    put(b"b", b'"other"', b"Idempotency-Key: x"),
    request(b"DELETE /kvs/a"),
    put(b"a?w=1", b"5"),
    put(b"a?w=majority", b"6", b"Prefer: wait=3"),
    request(b"DELETE /kvs/a?w=2"),
    put(b"b?w=%61ll", b"7"),
    request(b"GET /kvs/b?w=all"),
    request(b"DELETE /kvs/b", b"Connection: keep-alive", b"Accept: */*"),
    request(b"GET /kvs/a", body=b'{"causal-metadata": null}'),
    b"GET /kvs/a HTTP/1.1\r\nHost: x\r\n\r\n",
    request(b"GET /view"),
    request(b"GET /kvs/a%20b"),
    request(b"HEAD /kvs/a"),
    put(b"a", b"3", b"Connection: close"),
    b'PUT /kvs/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{"va\r\n8\r\nlue": 4}\r\n0\r\n\r\n',
    request(b"PUT /kvs/a", b"Expect: 100-continue", body=VALUE),
    request(b"POST /kvsd/i/messages", body=b"forged"),
]
"""Requests that are in order, for the lane and not."""

WRONG = [
    # What is no request about a key, or wrong in itself.
    put(b"a", b"x"), put(b"k" * 51, b"1"), put(b"k" * 300, b"1"), request(b"PUT /kvs/a"), request(b"PUT /kvs/a", body=b"{}"),
    request(b"GET /kvs/a", b"Causal-Metadata: AAAA"), request(b"GET /kvs/a", b"Causal-Metadata: " + b",".join([b"x"] * 17)),
    request(b"GET /kvs/a", b"Causal-Metadata: \xff"), request(b"GET /kvs/a", body=b'{"causal-metadata": 7}'),
    put(b"a", b"1", b"Idempotency-Key:"), put(b"a", b"1", b"Idempotency-Key: a", b"Idempotency-Key: b"), put(b"a", b"[" * 70 + b"]" * 70),
    put(b"a", b'"\xff"'), put(b"a", b'"%b"' % (b"x" * 400)), request(b"GET /kvs/a", b"Prefer: wait=x"), request(b"GET /kvs/"),
    request(b"GET /kvs/."), request(b"GET /kvs/.."), request(b"GET /kvs/.../"), request(b"GET /kvs/a?b"), request(b"GET /kvs/a#b"),
    request(b"GET http://x/kvs/a"), request(b"GET //kvs/a"), request(b"POST /kvs/a", body=b"{}"), request(b"BREW /kvs/a"), request(b"get /kvs/a"),
    request(b"GET /kvsd/i/messages"), request(b"POST /kvsd/i/messages"), request(b"POST /kvsd/i/messages", body=b"x" * 301),
    request(b"POST /kvsd/i/messages", b"Content-Type: application/octet-stream", body=b"x" * 301), request(b"GET /nothing"),
    put(b"a?w=0", b"1"), put(b"a?w=", b"1"), put(b"a?w=most", b"1"), put(b"a?w=2&w=2", b"1"), put(b"a?w=1e1", b"1"), put(b"a?w=999999999", b"1"),
    put(b"a?w=9999999999", b"1"), put(b"a?W=2", b"1"), put(b"a?w=2;w=3", b"1"), put(b"a?w=2#x", b"1"), put(b"a?w=2?w=3", b"1"), put(b"a??w=2", b"1"),
    put(b"a?w=2&", b"1"), put(b"a?w=+2", b"1"), put(b"a%3Fw=2", b"1"), put(b"a?w=Majority", b"1"), request(b"GET /kvs/a?w=nonsense"),
    request(b"POST /kvsd/i/messages?w=2", body=b"x"),
    # Where does it end?
    b"PUT /kvs/a HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\nContent-Length: 12\r\n\r\n" + VALUE,
    b"PUT /kvs/a HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\nContent-Length: 3\r\n\r\n" + VALUE,
    b"PUT /kvs/a HTTP/1.1\r\nHost: x\r\nContent-Length: 12, 12\r\n\r\n" + VALUE,
    b"PUT /kvs/a HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"PUT /kvs/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 12\r\n\r\n0\r\n\r\n",
    b"PUT /kvs/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\nContent-Length: 12\r\n\r\n" + VALUE,
    b"PUT /kvs/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\nContent-Length: 12\r\n\r\n" + VALUE,
    b"PUT /kvs/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\nContent-Length: 12\r\n\r\n" + VALUE,
    b"PUT /kvs/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding\r\n : chunked\r\nContent-Length: 12\r\n\r\n" + VALUE,
    *(b"PUT /kvs/a HTTP/1.1\r\nHost: x\r\nContent-Length:%b\r\n\r\n" % length + VALUE
      for length in (b" +12", b" 1_2", b" 012", b" 0x0c", b" 12 ", b"\t12\t", b"12", b" -12", b" 12.0", b" 1 2", b"", b" ", b" \xb2", b" 12\0",
                     b"\x0b12", b" 99999999999999999999", b" 12;", b' "12"', b" 00", b" 0", b" 1", b" 13", b" 3000")),
    b"PUT /kvs/a HTTP/1.1\r\nHost: x\r\nContent-Length : 12\r\n\r\n" + VALUE,
    b"PUT /kvs/a HTTP/1.1\r\n Content-Length: 12\r\n\r\n" + VALUE,
    b"PUT /kvs/a HTTP/1.1\r\nHost: x\r\n Content-Length: 12\r\n\r\n",
    b"PUT /kvs/a HTTP/1.1\r\nHost: x\r\n\tfolded\r\nContent-Length: 12\r\n\r\n" + VALUE,
    b"PUT /kvs/a HTTP/1.1\r\nHost: x\r\ncontent-length: 12\r\nCONNECTION: KEEP-ALIVE\r\n\r\n" + VALUE,
    b"PUT /kvs/a HTTP/1.1\r\nHost: x\r\nContent_Length: 12\r\n\r\n",
    b"PUT /kvs/a HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\r\n\r\n" + VALUE,
    # Hosts
    b"GET /kvs/a HTTP/1.1\r\n\r\n", b"GET /view HTTP/1.1\r\n\r\n", b"GET /kvs/a HTTP/1.0\r\n\r\n", b"GET /kvs/a HTTP/1.1\r\nX: y\r\n\r\n",
    b"PUT /kvs/a HTTP/1.1\r\nContent-Length: 12\r\n\r\n" + VALUE, b"GET http://x/kvs/a HTTP/1.1\r\n\r\n",
    *(b"PUT /kvs/a HTTP/1.1\r\n%b\r\nContent-Length: 12\r\n\r\n" % hosts + VALUE
      for hosts in (b"Host: x\r\nHost: x", b"Host: x\r\nX: y\r\nhost: y", b"Host:", b"Host: ", b"HOST: x:8090", b"Host: x:", b"Host: [::1]:8090", b"Host: [::1",
                    b"Host: x, y", b"Host: x y", b"Host: u@x", b"Host: x/", b"Host: x:port", b"Host: x:123456", b"Host: \xe9", b"Host: %41_b", b"Host: x\r\n y",
                    b"Host : x", b"Host", b"Host: " + b"x" * 255, b"Host: " + b"x" * 256)),
    *(b"GET /kvs/a HTTP/1.0\r\n%b\r\n\r\n" % hosts for hosts in (b"Host: x", b"Host: x\r\nHost: x", b"Host: x y")),
    # Conditions
    *(line(condition) for condition in (b'If-Match: "x"', b"If-Match: *", b'If-None-Match: "x"', b"if-none-match: *", b"If-None-Match:")
      for line in (lambda header: put(b"a", b"1", header), lambda header: request(b"DELETE /kvs/a", header), lambda header: request(b"GET /kvs/a", header))),
    # Lines
    b"GET /kvs/a HTTP/1.1\n\n", b"GET /kvs/a HTTP/1.1\r\nHost: x\n\r\n", b"GET /kvs/a HTTP/1.1\nHost: x\r\n\r\n", b"GET /kvs/a HTTP/1.1\r\r\n\r\n",
    b"GET /kvs/a HTTP/1.1\r\nHost: x\n\n\r\n", b"GET /kvs/a HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n", b"GET /kvs/a HTTP/1.1\r\nHost: x\r\nX: a\rb\r\n\r\n",
    b"GET /kvs/a HTTP/1.1\r\nHost: x\r\nX: a\nContent-Length: 5\r\n\r\n", b"GET /kvs/a HTTP/1.1\r\nHost: x\r\n: x\r\n\r\n", b"GET /kvs/a HTTP/1.1\r\nHost: x\r\nX\r\n\r\n",
    b"GET /kvs/a HTTP/1.1\r\nHost: x\r\nX y: z\r\n\r\n", b"GET /kvs/a HTTP/1.1\r\nHost: x\r\nX\xe9: z\r\n\r\n", b"GET /kvs/a HTTP/1.1\r\nHost: x\r\nX: \xe9\x7f\x01\r\n\r\n",
    b"GET  /kvs/a HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /kvs/a  HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /kvs/a HTTP/1.1 \r\n\r\n", b" GET /kvs/a HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET\t/kvs/a HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /kvs/a HTTP/1.0\r\n\r\n", b"GET /kvs/a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"GET /kvs/a HTTP/1.2\r\n\r\n", b"GET /kvs/a HTTP/2.0\r\n\r\n", b"GET /kvs/a http/1.1\r\n\r\n", b"GET /kvs/a\r\n\r\n", b"GET /kvs/a HTTP/1.1\r\n",
    b"\r\n", b"\r\n\r\n", b"\r\nGET /kvs/a HTTP/1.1\r\nHost: x\r\n\r\n", b"\r\n\r\nGET /kvs/a HTTP/1.1\r\nHost: x\r\n\r\n", b"\n", b"x", b"\0", b"{}", b" ",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET /kvs/\xe9 HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /kvs/a\0b HTTP/1.1\r\nHost: x\r\n\r\n",
    # Connections
    request(b"GET /kvs/a", b"Connection: close, keep-alive"), request(b"GET /kvs/a", b"Connection: keep-alive close"),
    request(b"GET /kvs/a", b"Connection: keep-alive", b"Connection: close"), request(b"GET /kvs/a", b"Connection: CLOSE"),
    request(b"GET /kvs/a", b"Connection: Upgrade", b"Upgrade: h2c"), request(b"GET /kvs/a", b"Upgrade: websocket"), request(b"GET /kvs/a", b"Connection:"),
    request(b"GET /kvs/a", b"Expect: 100-continue"), request(b"PUT /kvs/a", b"Expect: x", body=VALUE), request(b"GET /kvs/a", b"TE: trailers"),
    # Much
    request(b"GET /kvs/a", *[b"X: y"] * 63), request(b"GET /kvs/a", *[b"X: y"] * 64), request(b"GET /kvs/a", *[b"X: y"] * 499),
    request(b"GET /kvs/a", *[b"X: y"] * 500), request(b"GET /kvs/a", b"X: " + b"y" * 24_000), request(b"GET /kvs/a", b"X: " + b"y" * 33_000),
    request(b"GET /kvs/a", b"X" * 70 + b": y"),
]  # fmt: skip
"""Requests that are not, or that have been read in more ways than one somewhere."""


@st.composite
def bent(draw: st.DrawFn) -> bytes:
    """A request with a byte or a few left out, put in or changed."""
    data = draw(st.sampled_from(RIGHT))
    at = draw(st.integers(0, len(data)))
    gone = draw(st.integers(0, 3))
    new = draw(
        st.sampled_from(
            (
                b"",
                b"\r\n",
                b"\n",
                b"\r",
                b"\0",
                b" ",
                b"\t",
                b":",
                b",",
                b"%",
                b"/",
                b"0",
                b"9",
                b"\r\n\r\n",
                b"\x80",
                b"a",
            )
        )
    )
    return data[:at] + new + data[at + gone :]


pieces = st.lists(
    st.sampled_from(RIGHT) | st.sampled_from(RIGHT) | st.sampled_from(WRONG) | bent(), min_size=1, max_size=6
)
pauses = st.sampled_from((0, 0, 0, 0.005, 0.02, 5, 19, 29.99, 31))


class LaneTests(SynchronousTestCase):
    """Twins, one with a lane and one without, that are told the same."""

    def setUp(self) -> None:
        """Two nodes."""
        self.twins = Twins(LIMITS)

    def assert_same(self, data: bytes) -> None:
        """Both have answered the same, and have closed the connection, or not."""
        one, other = (twin.seen() for twin in self.twins.both)
        self.assertEqual(one, other, data)

    def finish(self, data: bytes) -> None:
        """Both come to the same end."""
        self.twins.read(True)
        self.twins.advance(1)
        self.assert_same(data)
        self.twins.hang_up()
        self.twins.advance(100)
        one, other = (twin.done() for twin in self.twins.both)
        self.assertEqual(one, other, data)
        self.assertEqual(one[2], [])

    def tell(self, data: bytes, splits: Iterable[int], pause: Callable[[], float] = lambda: 0) -> None:
        """Both get data in pieces, on a connection of its own."""
        self.twins.connect()
        cuts = sorted({0, *(cut % (len(data) + 1) for cut in splits), len(data)})
        for start, end in pairwise(cuts):
            self.twins.send(data[start:end])
            self.assert_same(data)
            self.twins.advance(pause())
            self.assert_same(data)

    def test_each_trick(self) -> None:
        """Every known form alone, before a request and after one, and after a write that takes its time."""
        for form in WRONG + RIGHT:
            for data in (form, form + HIDDEN, HIDDEN + form + HIDDEN, RIGHT[2] + form + HIDDEN):
                self.tell(data, [])
                self.finish(data)

    def test_each_split(self) -> None:
        """A request that hides in another one, and some in a row, cut in two anywhere."""
        for data in SPLIT:
            for cut in range(1, len(data)):
                self.tell(data, [cut])
                self.finish(data)

    def test_byte_by_byte(self) -> None:
        """The same in single bytes."""
        for data in SPLIT:
            self.tell(data, range(len(data)))
            self.finish(data)

    def test_hanging_up(self) -> None:
        """A client that leaves at any moment has the same left behind."""
        for pause in (0.0, 0.005, 0.02):
            for data in SPLIT[0], SPLIT[0] * 3:
                self.tell(data, [100], lambda: pause)  # noqa: B023 - it is called at once
                self.twins.hang_up()
                self.finish(data)

    def test_closing_one_side(self) -> None:
        """A client that closes its side at any moment is answered the same, and its connection ends the same."""
        for data in SPLIT[0], SPLIT[1], SPLIT[5], SPLIT[8]:
            for cut in range(0, len(data) + 1, 7):
                for pause in (0.0, 0.005):
                    self.tell(data[:cut], [], lambda: pause)  # noqa: B023 - it is called at once
                    self.twins.half_close()
                    self.assert_same(data[:cut])
                    self.finish(data[:cut])

    def test_node_that_stops(self) -> None:
        """From when a node begins to stop, each connection ends with its next answer, which says so."""
        for data in SPLIT[0], SPLIT[1], SPLIT[7], SPLIT[8]:
            for cut in range(0, len(data) + 1, 7):
                self.twins.connect()
                self.twins.send(data[:cut])
                self.twins.drain()
                self.twins.send(data[cut:])
                self.assert_same(data)
                self.finish(data)

    def test_line_that_does_not_come(self) -> None:
        """A client that dribbles, and never comes to the end of a line, before and after a request."""
        for data in HIDDEN, HIDDEN * 2 + b"GET", b"\r\n" + HIDDEN, put(b"a", b"1") + b"P":
            for length in range(1, 8):
                self.tell(data[:-length] + b"x" * 6, range(len(data) - length, len(data) + 6), lambda: 5.0)
                self.finish(data)

    def test_body_that_does_not_come(self) -> None:
        """A client that stops in the middle of a body, for however long."""
        data = put(b"a", b"1") + HIDDEN
        for pause in (19.0, 21.0, 29.0, 31.0):
            self.tell(data, [data.index(VALUE) + 3], lambda: pause)  # noqa: B023 - it is called at once
            self.finish(data)

    @given(pieces, st.lists(st.integers(0, 3000), max_size=4), st.data())
    @examples(150)
    def test_anything(self, parts: list[bytes], splits: list[int], data: st.DataObject) -> None:
        """Any requests, in any pieces, with any pauses between them."""
        self.twins = Twins(LIMITS)
        whole = b"".join(parts)
        self.tell(whole, splits, lambda: data.draw(pauses))
        self.finish(whole)
