"""``/view``: the nodes that are up; nodes are added and removed."""

from twisted.web.server import Request

from kvsd.node import Node
from kvsd.replication.requests import AddNode, RemoveNode
from kvsd.resources.changing import change_reply, read_address
from kvsd.resources.door import RequestLimits, answer, json_reply, new_app


class View:
    """The routes of the view."""

    app = new_app()

    def __init__(self, node: Node, limits: RequestLimits) -> None:
        self._node = node
        self._limits = limits

    @app.route("/view", methods=["GET"])
    def view(self, request: Request) -> bytes:
        """The addresses of the nodes that are up, sorted."""
        return answer(request, json_reply(200, {"view": self._node.insight.view()}))

    @app.route("/view", methods=["PUT"])
    async def add(self, request: Request) -> bytes:
        """Let a node into the cluster."""
        outcome = await self._node.ask(AddNode(read_address(request, self._limits)))
        return answer(request, change_reply(outcome, "added", "already present", created=True))

    @app.route("/view", methods=["DELETE"])
    async def remove(self, request: Request) -> bytes:
        """Remove a node from the cluster."""
        address = read_address(request, self._limits, self._node.insight.names())
        outcome = await self._node.ask(RemoveNode(address))
        return answer(request, change_reply(outcome, "deleted", "deleted"))
