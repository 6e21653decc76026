"""``/kvsd``: what an operator asks of a node: how the cluster is, what is being done to it, what was lost."""

from twisted.web.server import Request

from kvsd.node import Node
from kvsd.replication.requests import AbortReshard
from kvsd.resources.changing import change_reply, read_forgotten
from kvsd.resources.door import RequestLimits, answer, json_reply, new_app
from kvsd.resources.progress import describe_reshard


class Operations:
    """The routes for operators."""

    app = new_app()

    def __init__(self, node: Node, limits: RequestLimits) -> None:
        self._node = node
        self._limits = limits

    @app.route("/kvsd/waiting", methods=["GET"])
    def waiting(self, request: Request) -> bytes:
        """The requests that wait here, and for what."""
        return answer(request, json_reply(200, {"waiting": self._node.insight.waiting()}))

    @app.route("/kvsd/status", methods=["GET"])
    def status(self, request: Request) -> bytes:
        """The node, and the cluster as it sees it."""
        return answer(request, json_reply(200, self._node.oversight.status()))

    @app.route("/kvsd/losses", methods=["GET"])
    def losses(self, request: Request) -> bytes:
        """The writes that were lost with the disks of nodes."""
        return answer(request, json_reply(200, {"losses": self._node.oversight.losses()}))

    @app.route("/kvsd/reshard", methods=["GET"])
    async def reshard(self, request: Request) -> bytes:
        """How far the reshard is that is under way."""
        return answer(request, json_reply(200, {"reshard": await describe_reshard(self._node)}))

    @app.route("/kvsd/reshard", methods=["DELETE"])
    async def abort(self, request: Request) -> bytes:
        """Give up the reshard that is under way; one that was handed off can't be given up."""
        outcome = await self._node.ask(AbortReshard())
        return answer(request, change_reply(outcome, "aborted", "aborted"))

    @app.route("/kvsd/forget", methods=["PUT"])
    async def forget(self, request: Request) -> bytes:
        """Go on for good without a node that is down, or by force without all that are."""
        forgotten = read_forgotten(request, self._limits, self._node.insight.names())
        outcome = await self._node.ask(forgotten)
        return answer(request, change_reply(outcome, "forgotten", "forgotten"))
