"""``/kvsd``: what nodes say to each other, and what a node can tell of the requests that wait at it."""

from twisted.web.server import Request

from kvsd.node import Node
from kvsd.resources.door import Rejected, Reply, RequestLimits, answer, json_reply, new_app, read_body
from kvsd.wire import WireError


class Peers:
    """The routes between nodes."""

    app = new_app()

    def __init__(self, node: Node, limits: RequestLimits) -> None:
        self._node = node
        self._limits = limits

    @app.route("/kvsd/i/messages", methods=["POST"])
    def messages(self, request: Request) -> bytes:
        """Take messages of another node in; the answer carries what there is to say to it."""
        body = read_body(request, self._limits.peer_body_bytes)
        try:
            said = self._node.receive(body)
        except WireError as error:
            raise Rejected(400, str(error)) from None
        return answer(request, Reply(200, said, content_type=b"application/octet-stream"))

    @app.route("/kvsd/waiting", methods=["GET"])
    def waiting(self, request: Request) -> bytes:
        """The requests that wait here, and for what."""
        return answer(request, json_reply(200, {"waiting": self._node.insight.waiting()}))
