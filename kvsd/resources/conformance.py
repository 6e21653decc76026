"""
What HTTP itself asks of a request, whatever it is about (RFC 9112, RFC 9110), where Twisted's parser does not look.
"""

import re
from collections.abc import Sequence
from typing import Final

from twisted.web.server import Request

from kvsd.resources.door import Reply, error_reply

CONDITIONAL: Final = "Conditional writes are not supported"

_HOST: Final = re.compile(
    rb"(?:\[[0-9A-Za-z:.%\-_~]{2,80}\]|[0-9A-Za-z\-._~!$&'()*+,;=%]{0,255})(?::[0-9]{0,5})?"  # RFC 9110, 7.2
)


def is_one_host(values: Sequence[bytes]) -> bool:
    """Return True if these values of Host headers name one host, as each request of HTTP/1.1 has to."""
    return len(values) == 1 and _HOST.fullmatch(values[0]) is not None


def refusal(request: Request) -> Reply | None:
    """Return the reply to a request that no resource may carry out; None for all others."""
    headers = request.requestHeaders
    hosts = headers.getRawHeaders(b"Host", ())
    if (hosts or request.clientproto != b"HTTP/1.0") and not is_one_host(hosts):
        return error_reply(400, "Bad request: it must have exactly one Host header, with HOST or HOST:PORT")
    if headers.hasHeader(b"If-Match"):
        return error_reply(501, CONDITIONAL)
    if headers.hasHeader(b"If-None-Match") and request.method not in {b"GET", b"HEAD"}:
        return error_reply(501, CONDITIONAL)
    return None
