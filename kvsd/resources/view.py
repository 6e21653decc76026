"""``/view``: the nodes that are up."""

from twisted.web.server import Request

from kvsd.node import Node
from kvsd.resources.door import answer, json_reply, new_app


class View:
    """The routes of the view."""

    app = new_app()

    def __init__(self, node: Node) -> None:
        self._node = node

    @app.route("/view", methods=["GET"])
    def view(self, request: Request) -> bytes:
        """The addresses of the nodes that are up, sorted."""
        return answer(request, json_reply(200, {"view": self._node.insight.view()}))
