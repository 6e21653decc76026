"""
The few forms of HTTP that the lane knows, to the byte.

It is a boundary: two programs that don't agree on where a request ends can be played off against each other.  So a
request is either understood completely, down to the last byte of its head, or it is not one of these; then somebody
else parses it from its first byte.  There is no other case, and nothing is guessed, repaired or skipped.
"""

import re
from typing import Final, NamedTuple

from msgspec import Struct

from kvsd.resources.asking import SAID_NOTHING, Said, preferred_wait
from kvsd.resources.conformance import is_one_host

MAX_HEAD_BYTES: Final = 24 * 1024
MAX_HEADERS: Final = 64
MAX_LENGTH_DIGITS: Final = 7

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_REQUEST = re.compile(
    rb"(?:(GET|PUT|DELETE) /kvs/([0-9A-Za-z\-._~]{1,256})(?:\?w=([0-9A-Za-z]{1,9}))?|POST /kvsd/i/messages) HTTP/1\.1\r\n"
)
_HEADERS = re.compile(rb"(?:%s{1,64}:[\t\x20-\x7e\x80-\xff]*\r\n){0,%d}\r\n" % (_TOKEN, MAX_HEADERS))
_LENGTH = re.compile(rb"0|[1-9][0-9]{0,%d}" % (MAX_LENGTH_DIGITS - 1))
_KEEP_ALIVE: Final = b"keep-alive"

_NOT_HERE: Final = frozenset(
    {b"transfer-encoding", b"expect", b"upgrade", b"trailer", b"te", b"http2-settings", b"if-match", b"if-none-match"}
)
_REMEMBERED_BYTES: Final = 1024


class Fields(NamedTuple):
    """What a block of headers, down to its empty line, says."""

    block: bytes
    length: int
    """Of the body."""
    said: Said


FEWEST_FIELDS: Final = Fields(b"Host: kvsd\r\n\r\n", 0, SAID_NOTHING)


class Whole(Struct, gc=False):
    """A request that is there whole; an empty verb is the POST of another node, an empty key belongs to that."""

    verb: str
    key: str
    said: Said
    body: bytes
    end: int
    """Where the next request begins."""


class Framing:
    """Reads the requests of one connection.  Remembers its last headers, as most clients send the same each time."""

    __slots__ = ("_last", "_max_body_bytes")

    def __init__(self, max_body_bytes: int) -> None:
        self._max_body_bytes = max_body_bytes
        self._last = FEWEST_FIELDS

    def read(self, data: bytes, start: int) -> Whole | int | None:
        """
        The request that begins at start; None where it is none of these forms, or its head is not there whole.

        Where only a part of its body is there: how many bytes it has in all.
        """
        line = _REQUEST.match(data, start)
        if line is None:
            return None
        fields = self._last
        at = line.end()
        if not data.startswith(fields.block, at):
            headers = _HEADERS.match(data, at, start + MAX_HEAD_BYTES)
            read = read_fields(headers.group()) if headers else None
            if read is None or read.length > self._max_body_bytes:
                return None
            fields = read
            if len(fields.block) <= _REMEMBERED_BYTES:
                self._last = fields
        at += len(fields.block)
        end = at + fields.length
        if end > len(data):
            return end - start
        verb, key, concern = line.groups()
        if verb is None:
            return Whole("", "", fields.said, data[at:end], end)
        said = fields.said._replace(concern=(concern,)) if concern else fields.said
        return Whole(verb.decode(), key.decode(), said, data[at:end], end)


def read_fields(block: bytes) -> Fields | None:
    """What a block of well-formed headers says; None where it is not for the lane: unclear, or framed in another way."""
    hosts: list[bytes] = []
    lengths: list[bytes] = []
    metadata: list[bytes] = []
    prefer: list[bytes] = []
    request: list[bytes] = []
    kept = {
        b"host": hosts,
        b"content-length": lengths,
        b"causal-metadata": metadata,
        b"prefer": prefer,
        b"idempotency-key": request,
    }
    for line in block[:-4].split(b"\r\n"):
        name, _, value = line.partition(b":")
        name, value = name.lower(), value.strip(b" \t")
        if name in kept:
            kept[name].append(value)
        elif name in _NOT_HERE or (name == b"connection" and value.lower() != _KEEP_ALIVE):
            return None
    if not is_one_host(hosts) or len(lengths) > 1 or (lengths and not _LENGTH.fullmatch(lengths[0])):
        return None
    said = Said(metadata, preferred_wait(prefer), request) if metadata or prefer or request else SAID_NOTHING
    return Fields(block, int(lengths[0]) if lengths else 0, said)
