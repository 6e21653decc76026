"""
``/kvs/<key>``: a key is read, written and deleted.

The key is all that comes after ``/kvs/`` in the path, percent-decoded; slashes, plain or not, are a part of it, and so
is anything else that is UTF-8.  There is no empty key: ``/kvs/`` is not found.
"""

from urllib.parse import quote, unquote_to_bytes

from klein import Klein
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.web.resource import Resource
from twisted.web.server import Request

from kvsd.metrics import Metrics
from kvsd.node import Node
from kvsd.replication.requests import KeyRequest, Overloaded
from kvsd.resources.asking import preferred_wait, read_request
from kvsd.resources.door import Headers, Rejected, RequestLimits, answer, new_app, read_body
from kvsd.resources.outcomes import Answer, key_answer

_HONOURED = frozenset({"found", "created", "replaced", "deleted", "absent", "unmet"})


class Keys:
    """The routes of a single key."""

    app = new_app()

    def __init__(self, node: Node, metrics: Metrics, limits: RequestLimits, clock: IReactorTime) -> None:
        self._node = node
        self._metrics = metrics
        self._limits = limits
        self._clock = clock
        self._under_way = 0

    @app.route("/kvs/<key>", methods=["GET"])
    async def read(self, request: Request, key: str) -> bytes:
        """The value of a key."""
        return await self._serve("GET", request, key)

    @app.route("/kvs/<key>", methods=["PUT"])
    async def write(self, request: Request, key: str) -> bytes:
        """Give a key a value."""
        return await self._serve("PUT", request, key)

    @app.route("/kvs/<key>", methods=["DELETE"])
    async def delete(self, request: Request, key: str) -> bytes:
        """Take a key's value away."""
        return await self._serve("DELETE", request, key)

    async def _serve(self, verb: str, request: Request, key: str) -> bytes:
        """Answer a request, and count it by its outcome, whatever that is."""
        started = self._clock.seconds()
        label = "error"
        try:
            label, reply = await self._answer(verb, request, key)
            return answer(request, reply)
        except Rejected as rejected:
            label = "too-large" if rejected.reply.status == 413 else "bad-request"
            raise
        except CancelledError:
            label = "hung-up"
            raise
        finally:
            self._metrics.observe_request(verb, label, self._clock.seconds() - started)

    async def _answer(self, verb: str, request: Request, key: str) -> Answer:
        node, headers = self._node, request.requestHeaders
        body = read_body(request, self._limits.max_body_bytes)
        asked = read_request(verb, key, headers, body, self._limits, node.tokens.decode)
        label, reply = await self._ask(asked)
        wait = preferred_wait(headers)
        if wait is not None and label in _HONOURED:
            reply = reply._replace(headers=reply.headers + _applied(wait))
        return Answer(label, reply)

    async def _ask(self, asked: KeyRequest) -> Answer:
        node = self._node
        if self._under_way >= self._limits.in_flight:
            outcome = Overloaded("Too many requests are under way at this node; try again later")
            return key_answer(asked, outcome, node.tokens.encode)
        self._under_way += 1
        try:
            return key_answer(asked, await node.ask(asked), node.tokens.encode)
        finally:
            self._under_way -= 1


def _applied(wait: int) -> Headers:
    return ((b"Preference-Applied", b"wait=%d" % wait),)


class KeyPath(Resource):
    """
    Hands requests on to a Klein application with their keys as one path segment, percent-encoded anew.

    Were it given the key as it is, Klein would take a slash in it for one of the path, and refuse bytes that are not
    UTF-8 in a way of its own.
    """

    isLeaf = True  # noqa: N815 (Twisted's name)

    def __init__(self, app: Klein) -> None:
        super().__init__()
        self._klein = app.resource()

    def render(self, request: Request) -> object:
        """Have a request answered whose path begins with a segment for this resource."""
        _, _, key = request.path[1:].partition(b"/")
        request.postpath = [b"kvs", quote(unquote_to_bytes(key), safe="").encode()]
        return self._klein.render(request)
