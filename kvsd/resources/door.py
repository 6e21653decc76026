"""
The door: JSON in, JSON out, errors as answers, once for all routes.

A route is a method of a class with an ``app = new_app()``.  It returns what :func:`answer` returns, or raises
:class:`Rejected` for a request that is wrong in itself.  Whatever else it raises is logged with its traceback and
answered by 500, of which the client learns nothing.

Bodies are read with msgspec.  It checks the syntax of what it skips, but neither its depth nor that it is UTF-8, so
these two are looked at here, before anything recursive sees the body.
"""

import re
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from itertools import accumulate
from typing import Final, TypeVar

import msgspec
from klein import Klein
from msgspec import Struct
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.server import Request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from kvsd.replication.basis import Basis
from kvsd.replication.requests import Concern

T = TypeVar("T")

Headers = tuple[tuple[bytes, bytes], ...]

SERVER: Final = b"kvsd"
"""What every answer says in its Server header."""
JSON: Final = b"application/json"
OCTETS: Final = b"application/octet-stream"
NO_BODY: Final = "Request body is missing: a JSON object is expected"
BLANK_BODY: Final = "Request body is blank: a JSON object is expected"
RETRY_AFTER: Final[Headers] = ((b"Retry-After", b"1"),)

_log = Logger()
_encode = msgspec.json.Encoder().encode

_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")  # as signed bytes: one down, one up
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_PAIR = re.compile(rb"\\u[dD][89abAB]..\\u[dD][c-fC-F]..")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


@dataclass(frozen=True)
class RequestLimits:
    """What a request may take: characters, bytes, levels, seconds."""

    max_key_length: int = 50
    max_body_bytes: int = 1 << 20
    max_depth: int = 64
    peer_body_bytes: int = 8 << 20
    """The largest body of a POST from another node."""
    in_flight: int = 2000
    """How many key-value requests may be under way at once."""
    max_connections: int = 10_000
    """How many connections may be open at once."""
    open_files: int = 1 << 20
    """How many files the process may have open."""
    concern: Concern = 1
    """How many replicas are to have a write whose client says nothing of that."""

    idle_seconds: float = 60.0
    """A connection without a request under way and without a byte for this long is closed."""
    arrival_seconds: float = 60.0
    """How long a request may take to arrive whole."""
    discard_bytes: int = 64 << 20
    """How much of a body that is too large is read and thrown away to keep its connection usable."""
    discard_seconds: float = 1.0
    """How long such a body may pause before its client is answered without the rest."""
    half_closed_seconds: float = 10.0
    """How long a client that has closed its side of the connection is still waited for with its answers."""
    linger_seconds: float = 2.0
    """How long a client that was answered early may go on sending before it is cut off."""


class Reply(Struct, frozen=True, gc=False):
    """All that is said in answer to a request."""

    status: int
    body: bytes
    headers: Headers = ()
    content_type: bytes = JSON
    lasts: bool = False
    """Whether it is said again to the same request, by the node whose outlook stays the same, until the key changes."""
    basis: Basis | None = None
    """What that rests on, where another node told it."""


class Rejected(Exception):
    """A request that is wrong in itself, with the reply that says so."""

    def __init__(self, status: int, error: str) -> None:
        super().__init__(error)
        self.reply = error_reply(status, error)


def json_reply(status: int, fields: Mapping[str, object], headers: Headers = ()) -> Reply:
    """A reply whose body is a JSON object."""
    return Reply(status, _encode(fields), headers)


def error_reply(status: int, error: str, headers: Headers = ()) -> Reply:
    """A reply that says what is wrong."""
    return json_reply(status, {"error": error}, headers)


def not_found() -> Reply:
    """The reply where there is nothing under the path."""
    return error_reply(404, "Not found: there is nothing under this path")


def too_large(max_bytes: int) -> Rejected:
    """A request with a body of more than max_bytes."""
    return Rejected(413, f"Request body is too large: the limit is {max_bytes} bytes")


def no_room() -> Reply:
    """The reply where too many bytes of bodies are in arrival or under way."""
    return error_reply(503, "Too many bytes of requests are under way at this node; try again later", RETRY_AFTER)


def answer(request: IRequest, reply: Reply) -> bytes:
    """Set a request's status and headers for a reply, and return the body that is to be written."""
    request.setResponseCode(reply.status)
    request.setHeader(b"Content-Type", reply.content_type)
    request.setHeader(b"Content-Length", b"%d" % len(reply.body))
    for name, value in reply.headers:
        request.setHeader(name, value)
    return reply.body


def new_app() -> Klein:
    """A Klein application that redirects nobody and answers errors as JSON."""
    app = Klein()
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    app.handle_errors(Exception)(_failed)
    return app


def _failed(self: object, request: IRequest, failure: Failure) -> bytes:
    """What a route is answered by that did not return."""
    match failure.value:
        case Rejected(reply=reply):
            return answer(request, reply)
        case NotFound():
            return answer(request, not_found())
        case MethodNotAllowed(valid_methods=methods):
            allowed = ", ".join(sorted(methods or ()))
            error = f"Method not allowed here; allowed: {allowed}"
            return answer(request, error_reply(405, error, ((b"Allow", allowed.encode()),)))
        case HTTPException(code=int(code), name=name):
            return answer(request, error_reply(code, name))
        case _:
            return answer(request, internal_error(failure))


def internal_error(failure: Failure) -> Reply:
    """Log a failure that nobody expected; the reply tells nothing of it."""
    _log.failure("a request failed", failure=failure)
    return error_reply(500, "Internal error; the node's log has more")


# Bodies


class Discarded(BytesIO):
    """Stands for the body of a request that was too large to be kept."""


def kept_body(request: Request, max_bytes: int) -> bytes | None:
    """Take the body out of a request, which keeps it no longer; None where it has more than max_bytes."""
    content = request.content
    if content is None:
        return b""
    body = content.read()
    content.seek(0)
    content.truncate()
    return None if isinstance(content, Discarded) or len(body) > max_bytes else body


def read_body(request: Request, max_bytes: int) -> bytes:
    """The body of a request.  Raises Rejected where it has more than max_bytes."""
    body = kept_body(request, max_bytes)
    if body is None:
        raise too_large(max_bytes)
    return body


def read_json(body: bytes, decoder: msgspec.json.Decoder[T], max_depth: int) -> T:
    """
    The value of a JSON text.

    Raises Rejected, with a text that says what and where but quotes nothing of the body.
    """
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError as error:
            raise Rejected(400, f"Request body is not UTF-8 (byte {error.start})") from None
    is_nested = b"[" in body or body.find(b"{", 1) >= 0  # most are not, and to count brackets takes many times longer
    if is_nested and body.count(b"[") + body.count(b"{") > max_depth and _is_deeper(body, max_depth):
        raise Rejected(400, f"Request body is nested over {max_depth} deep")
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise Rejected(400, f"Request body is not as it should be: {error}") from None
    except (msgspec.DecodeError, RecursionError) as error:
        if not body or body.isspace():
            raise Rejected(400, BLANK_BODY if body else NO_BODY) from None
        raise Rejected(400, f"Request body is not valid JSON: {_complaint(body, error)}") from None


def _complaint(body: bytes, error: Exception) -> str:
    """What is wrong with a JSON text; msgspec has no good words for a string that is no text."""
    if _SURROGATE.search(_PAIR.sub(b"", body.replace(b"\\\\", b""))):
        return "a \\u escape is half of a surrogate pair"
    return str(error).removeprefix("JSON is malformed: ")


def _is_deeper(body: bytes, max_depth: int) -> bool:
    """
    Whether brackets outside of strings are nested over max_depth deep.

    All of it is done by a few operations over the whole body at once, and nothing recurses: a mebibyte of brackets
    costs some 50 ms, any ordinary body next to nothing.  Text that is no JSON may be judged wrongly, but the parser
    stops at what is wrong before it gets to what comes after.
    """
    outside = b"".join(body.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2])
    steps = array("b", outside.translate(_STEPS, _NO_BRACKETS))
    return max(accumulate(steps), default=0) > max_depth
