"""``/kvsd/i``: what nodes say to each other."""

from twisted.web.server import Request

from kvsd.node import Node
from kvsd.resources.door import OCTETS, Reply, RequestLimits, answer, error_reply, new_app, read_body
from kvsd.wire import OtherSecret, WireError


def hear(node: Node, body: bytes) -> Reply:
    """Take messages of another node in; the reply carries what there is to say to it."""
    try:
        return Reply(200, node.receive(body), content_type=OCTETS)
    except OtherSecret as error:
        return error_reply(403, str(error))
    except WireError as error:
        return error_reply(400, str(error))


class Peers:
    """The routes between nodes."""

    app = new_app()

    def __init__(self, node: Node, limits: RequestLimits) -> None:
        self._node = node
        self._limits = limits

    @app.route("/kvsd/i/messages", methods=["POST"])
    def messages(self, request: Request) -> bytes:
        """What another node has to say."""
        return answer(request, hear(self._node, read_body(request, self._limits.peer_body_bytes)))
