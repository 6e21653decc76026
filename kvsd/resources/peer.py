"""``/kvsd/i``: what nodes say to each other."""

from twisted.web.server import Request

from kvsd.node import Node
from kvsd.resources.door import Rejected, Reply, RequestLimits, answer, new_app, read_body
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
