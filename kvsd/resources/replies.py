"""
Replies as bytes, with the same headers in the same order as Twisted's requests give them.
"""

import time
from collections.abc import Callable

from twisted.internet import tcp
from twisted.internet.interfaces import ITransport
from twisted.web.http import RESPONSES, datetimeToString

from kvsd.resources.door import SERVER, Reply


class ReplyWriter:
    """Turns replies into bytes; what stays the same for a second is made once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._heads: dict[tuple[int, bytes], bytes] = {}

    def encode(self, reply: Reply) -> bytes:
        """The bytes of a reply on a connection that goes on."""
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._heads.clear()
        kind = reply.status, reply.content_type
        head = self._heads.get(kind)
        if head is None:
            head = self._heads[kind] = _head(*kind)
        body, more = reply.body, b""
        for header in reply.headers:
            more += b"%b: %b\r\n" % header
        return b"%b%d\r\n%b\r\n%b" % (head, len(body), more, body)


def _head(status: int, content_type: bytes) -> bytes:
    lines = b"HTTP/1.1 %d %b\r\nServer: %b\r\nDate: %b\r\nContent-Type: %b\r\nContent-Length: "
    return lines % (status, RESPONSES[status], SERVER, datetimeToString(), content_type)


def direct_write(transport: ITransport) -> Callable[[bytes], None]:
    """
    A way to write to a transport that does not wait for the reactor's next turn where the socket has room.

    To ask the reactor to tell when a socket can be written to, and to stop that again, costs more than the writing.
    What the socket does not take is left to the transport, and so is all that comes while it has something queued.
    """
    if type(transport) is not tcp.Server:
        return transport.write  # a test's, or one that encrypts: only TCP itself is known to be written to like this

    def write(data: bytes) -> None:
        if transport.dataBuffer or transport._tempDataLen or transport.disconnecting or not transport.connected:
            transport.write(data)
            return
        try:
            sent = transport.socket.send(data)
        except OSError:
            sent = 0  # it is full, or the connection is lost: the transport finds that out by itself
        if sent < len(data):
            transport.write(data[sent:])

    return write
