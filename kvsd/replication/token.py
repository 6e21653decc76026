"""
The causal token: what a client has seen, opaque to it, handed from reply to request.

In bytes, then in base64url without padding::

    version:u8 | epoch:varint | hlc:u64 | shards { name:varint | writers { writer:6 bytes | counter:varint } } | tag:12 bytes

Both lists begin with their length as a varint and are sorted.  The tag is an HMAC-SHA256 over all before it, under a
key made from the cluster's secret and its id: a token that was tampered with, or that comes from another cluster, is
told apart before anything of it is believed.
"""

import binascii
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import b2a_base64
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated

from msgspec import Meta, Struct

from kvsd.replication.causality import (
    WRITER_BYTES,
    Dependencies,
    VersionVector,
    copied,
    join_dependencies,
)
from kvsd.replication.hlc import MAX_STAMP
from kvsd.replication.seal import Seal

VERSION = 1
TAG_BYTES = 12
MAX_NUMBER = 2**62
MAX_TOKEN_STAMP = MAX_STAMP - 2**40
"""Well below what records may carry, so that there is room for the stamps that are drawn after it."""
MAX_TOKEN_BYTES = 16 * 1024
_HLC_BYTES = 8
_MAX_VARINT_BYTES = 9
_VERSION = bytes((VERSION,))
_LAST = [bytes((digit,)) for digit in range(0x80)]
_MORE = [bytes((digit | 0x80,)) for digit in range(0x80)]
"""The digits of a varint, as bytes: those that others follow, and the last."""
_URLSAFE = bytes.maketrans(b"+/", b"-_")
_ALPHABET = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")

Epoch = Annotated[int, Meta(ge=0, lt=MAX_NUMBER)]
Stamp = Annotated[int, Meta(ge=0, le=MAX_STAMP)]


class TokenError(ValueError):
    """The causal metadata was not issued by this cluster, or was damaged on its way; the text says how."""


class Token(Struct, frozen=True, array_like=True, gc=False):
    """A client's causal past: the configuration it knows of, the latest stamp in it, and the writes it depends on."""

    epoch: Epoch = 0
    hlc: Stamp = 0
    dependencies: Dependencies = {}

    def merged(self, epoch: int, hlc: int, dependencies: Mapping[str, Mapping[bytes, int]]) -> "Token":
        """The token of a client that has also seen these."""
        merged = copied(self.dependencies)
        join_dependencies(merged, dependencies)
        return Token(max(self.epoch, epoch), max(self.hlc, hlc), merged)


EMPTY = Token()


class TokenCodec:
    """Tokens as text and back, under one key."""

    def __init__(self, secret: bytes, cluster: str) -> None:
        self._tag = Seal(hmac.digest(secret, b"kvsd token " + cluster.encode(), "sha256"), TAG_BYTES).tag

    def encode(self, token: Token) -> str:
        """The token as base64url text."""
        dependencies = token.dependencies
        count, groups = 0, b""
        for shard in dependencies if len(dependencies) < 2 else sorted(dependencies, key=_number_of):
            if vector := dependencies[shard]:
                count += 1
                groups += _name(shard) + _varint(len(vector))
                for writer in sorted(vector):
                    groups += writer + _varint(vector[writer])
        body = _VERSION + _varint(token.epoch) + token.hlc.to_bytes(_HLC_BYTES, "big") + _varint(count) + groups
        return b2a_base64(body + self._tag(body), newline=False).translate(_URLSAFE, b"=").decode()

    def decode(self, text: str) -> Token:
        """
        The token that encode made text from.

        Raises TokenError where this cluster did not issue it.
        """
        raw = _from_base64url(text)
        body, tag = raw[:-TAG_BYTES], raw[-TAG_BYTES:]
        if not body or not hmac.compare_digest(self._tag(body), tag):
            raise TokenError("it was not issued by this cluster")
        if body[0] != VERSION:
            raise TokenError(f"its format {body[0]} is not known here")
        return _Reader(body).token()


def _from_base64url(text: str) -> bytes:
    if len(text) > MAX_TOKEN_BYTES * 4 // 3 + 4:
        raise TokenError(f"it is longer than {MAX_TOKEN_BYTES} bytes")
    encoded = text.encode("utf-8", "replace")
    if not _ALPHABET.issuperset(encoded):
        raise TokenError("it is not base64url text")
    try:
        raw = urlsafe_b64decode(encoded + b"=" * (-len(encoded) % 4))
    except binascii.Error:
        raise TokenError("it is not base64url text") from None
    if urlsafe_b64encode(raw).rstrip(b"=") != encoded:  # one token has one text, down to the unused bits
        raise TokenError("it is not base64url text")
    return raw


def _number_of(shard: str) -> int:
    return int(shard[1:])


@lru_cache(maxsize=1000)
def _name(shard: str) -> bytes:
    return _varint(_number_of(shard))


def _varint(number: int) -> bytes:
    if number < 0x80:
        return _LAST[number]
    digits = b""
    while number >= 0x80:
        digits += _MORE[number & 0x7F]
        number >>= 7
    return digits + _LAST[number]


class _Reader:
    """Reads a token's body from left to right; anything that encode would not have written is a TokenError."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 1

    def token(self) -> Token:
        epoch = self._number(0)
        hlc = int.from_bytes(self._take(_HLC_BYTES), "big")
        if hlc > MAX_TOKEN_STAMP:
            raise TokenError("its stamp is out of range")
        groups: Dependencies = {}
        before = -1
        for _ in range(self._number(0)):
            number = self._number(before + 1)
            groups[f"s{number}"] = self._vector()
            before = number
        if self._at != len(self._body):
            raise TokenError("it has bytes left over")
        return Token(epoch, hlc, groups)

    def _vector(self) -> VersionVector:
        vector: VersionVector = {}
        before = b""
        for _ in range(self._number(1)):
            writer = self._take(WRITER_BYTES)
            if writer <= before:
                raise TokenError("its entries are out of order")
            vector[writer] = self._number(1)
            before = writer
        return vector

    def _take(self, size: int) -> bytes:
        piece = self._body[self._at : self._at + size]
        if len(piece) != size:
            raise TokenError("it is cut short")
        self._at += size
        return piece

    def _number(self, least: int) -> int:
        """A varint from least to 2**62 - 1."""
        number = 0
        for shift in range(0, 7 * _MAX_VARINT_BYTES, 7):
            byte = self._take(1)[0]
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                if not byte and shift:
                    raise TokenError("a number in it is longer than it need be")
                break
        else:
            raise TokenError("a number in it is too large")
        if not least <= number < MAX_NUMBER:
            raise TokenError("a number in it is out of range")
        return number
