"""
``/kvs/<key>``: a key is read, written and deleted.

The key is all that comes after ``/kvs/`` in the path, percent-decoded; slashes, plain or not, are a part of it, and so
is anything else that is UTF-8.  There is no empty key: ``/kvs/`` is not found.
"""

from urllib.parse import quote, unquote_to_bytes

from klein import Klein
from twisted.internet.defer import Deferred
from twisted.web.resource import Resource
from twisted.web.server import Request

from kvsd.resources.asking import said_in
from kvsd.resources.desk import Call, Desk
from kvsd.resources.door import Reply, answer, kept_body, new_app


class Keys:
    """The routes of a single key."""

    app = new_app()

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

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
        def gone(_: object) -> None:
            assert isinstance(call, Call), "only who waits can leave"
            call.cancel()

        told: Deferred[Reply] = Deferred(gone)
        said = said_in(request.requestHeaders, request.args or {})
        # The body has no name here: it would be kept until the answer.
        call = self._desk.ask(verb, key, said, kept_body(request, self._desk.limits.max_body_bytes), told.callback)
        return answer(request, await told)


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
