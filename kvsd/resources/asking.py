"""
What a client asks of a key: its HTTP request as a request to the node, parsed and checked once.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Final, NamedTuple
from urllib.parse import unquote_to_bytes

import msgspec
from msgspec import Meta, Raw, Struct, field
from twisted.web.http_headers import Headers

from kvsd.replication.record import MAX_REQUEST_ID
from kvsd.replication.requests import Concern, Get, KeyRequest, Put, read_concern
from kvsd.replication.token import EMPTY, Token, TokenError
from kvsd.resources.door import Rejected, RequestLimits, read_json

NO_VALUE: Final = "PUT request does not specify a value"
MAX_TOKENS = 16
MAX_WAIT_SECONDS = 60
MAX_PREFER_BYTES: Final = 8192
"""Of all Prefer headers of a request together; more than that makes no sense, and is ignored like other nonsense."""

_QUOTED_DIGITS = re.compile(r'"([0-9]*)"')
_QUOTED = re.compile(r'"[^"]*"')
_VISIBLE = re.compile(rb"[!-~]{1,%d}" % MAX_REQUEST_ID)


class Said(NamedTuple):
    """What a request's headers and its query say of a key: the values of each that means something, in their order."""

    metadata: Sequence[bytes] = ()
    wait: int | None = None
    """The seconds by Prefer: see :func:`preferred_wait`."""
    request: Sequence[bytes] = ()
    """Idempotency-Key."""
    concern: Sequence[bytes] = ()
    """``w`` of the query."""


SAID_NOTHING: Final = Said()


class _Body(Struct):
    """The fields of a body that mean something, as they stood there, to the byte, without the space around them."""

    value: Raw = Raw()
    metadata: Raw = field(default=Raw(b"null"), name="causal-metadata")


_Texts = Annotated[list[str], Meta(max_length=MAX_TOKENS)]
_Nothing = Annotated[dict[str, None], Meta(max_length=0)]

_body = msgspec.json.Decoder(_Body)
_metadata = msgspec.json.Decoder(str | _Texts | _Nothing | None)
_NO_BODY: Final = _Body()


def said_in(headers: Headers, query: Mapping[bytes, Sequence[bytes]]) -> Said:
    """What headers and a query say that the server has parsed."""
    get = headers.getRawHeaders
    wait = preferred_wait(get(b"Prefer", ()))
    said = Said(get(b"Causal-Metadata", ()), wait, get(b"Idempotency-Key", ()), query.get(b"w", ()))
    return said if wait is not None or any(said) else SAID_NOTHING


def read_request(
    verb: str,
    segment: str,
    said: Said,
    body: bytes,
    limits: RequestLimits,
    decode_token: Callable[[str], Token],
) -> KeyRequest:
    """
    The request that a verb (GET, PUT or DELETE), a key as one percent-encoded segment, headers, query and body make.

    Raises Rejected for one that is wrong in itself.
    """
    key = unescaped(segment) if "%" in segment else segment
    if len(key) > limits.max_key_length:
        raise Rejected(400, "Key is too long")
    if said is SAID_NOTHING and verb == "GET" and not body:
        return Get(key, EMPTY)  # what most requests are
    fields = read_json(body, _body, limits.max_depth) if body else _NO_BODY
    value = None
    if verb == "PUT":
        value = bytes(fields.value)
        if not value:
            raise Rejected(400, NO_VALUE)
    token = read_token(fields.metadata, said.metadata, decode_token)
    if said is SAID_NOTHING:
        return (
            Get(key, token)
            if verb == "GET"
            else Put(key, value, token, concern=limits.concern, capped=limits.concern != 1)
        )
    wait = said.wait
    if verb == "GET":
        return Get(key, token, wait or 0)
    concern = asked_concern(said.concern, limits.concern)
    within = None if concern == 1 else wait
    capped = not said.concern and concern != 1
    return Put(key, value, token, wait or 0, request_id(said.request), concern=concern, within=within, capped=capped)


def unescaped(segment: str) -> str:
    """A key from its percent-encoded form.  Raises Rejected where it is no text."""
    try:
        return unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        raise Rejected(400, "Key is not valid UTF-8") from None


def read_token(metadata: Raw, headers: Sequence[bytes], decode_token: Callable[[str], Token]) -> Token:
    """
    What a client has seen that hands over these tokens, in its body's causal metadata and in Causal-Metadata headers.

    An empty text is no token, and stands for nothing seen, like null.  Raises Rejected where that is not of their form, and for a token that was not issued here.
    """
    try:
        seen = _metadata.decode(metadata)
        if isinstance(seen, str) and not headers:
            return decode_token(seen) if seen else EMPTY  # as most clients have it
        token = EMPTY
        for text in [*([seen] if isinstance(seen, str) else seen or ()), *header_texts(headers)]:
            if not text:
                continue
            other = decode_token(text)
            token = other if token is EMPTY else token.merged(other.epoch, other.hlc, other.dependencies)
        return token
    except msgspec.ValidationError:
        error = f"causal-metadata must be null, a string or a list of at most {MAX_TOKENS} strings"
        raise Rejected(400, error) from None
    except TokenError as error:
        raise Rejected(400, f"causal-metadata is not valid: {error}") from None


def header_texts(values: Sequence[bytes]) -> list[str]:
    """The tokens in a request's Causal-Metadata headers.  Raises Rejected where there are too many."""
    texts = [text.decode("utf-8", "replace").strip() for value in values for text in value.split(b",")]
    if len(texts) > MAX_TOKENS:
        raise Rejected(400, f"Causal-Metadata must hold at most {MAX_TOKENS} tokens")
    return texts


def preferred_wait(lines: Sequence[bytes]) -> int | None:
    """
    The seconds (at most 60) that a client would rather wait than be refused, after RFC 7240; None: it did not say.

    Takes time in proportion to the length, whatever was said.
    """
    if not lines:
        return None
    said = b",".join(lines).decode("latin-1")
    if len(said) > MAX_PREFER_BYTES:
        return None
    # Quotes round a number say nothing, and other quoted text is of no interest here, whatever commas it has.
    text = _QUOTED.sub("", _QUOTED_DIGITS.sub(r"\1", said))
    for preference in text.split(","):
        name, _, value = preference.partition(";")[0].partition("=")
        digits = value.strip()
        if name.strip().lower() == "wait" and digits.isascii() and digits.isdigit():
            digits = digits.lstrip("0")
            return MAX_WAIT_SECONDS if len(digits) > 2 else min(int(digits or "0"), MAX_WAIT_SECONDS)
    return None


def asked_concern(texts: Sequence[bytes], default: Concern) -> Concern:
    """The write concern of a query's values for it, or the default.  Raises Rejected where they are none, or many."""
    if not texts:
        return default
    try:
        return read_concern(b",".join(texts).decode("latin-1"))
    except ValueError as error:
        raise Rejected(400, str(error)) from None


def request_id(values: Sequence[bytes]) -> str:
    """The Idempotency-Key of a request, empty for none.  Raises Rejected where it can't be one."""
    if not values:
        return ""
    if len(values) > 1 or not _VISIBLE.fullmatch(values[0]):
        raise Rejected(400, f"Idempotency-Key must be 1 to {MAX_REQUEST_ID} visible ASCII characters")
    return values[0].decode()
