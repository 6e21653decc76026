"""``/shard``: which shards there are, who is a member of which, and how many keys they have."""

from twisted.web.server import Request

from kvsd.node import Node
from kvsd.replication.requests import Counted, CountKeys
from kvsd.resources.door import Rejected, answer, json_reply, new_app
from kvsd.resources.outcomes import refusal


class Shards:
    """The routes of the shards."""

    app = new_app()

    def __init__(self, node: Node) -> None:
        self._node = node

    @app.route("/shard/ids", methods=["GET"])
    def ids(self, request: Request) -> bytes:
        """The ids of all shards."""
        return answer(request, json_reply(200, {"shard-ids": self._node.insight.shard_ids()}))

    @app.route("/shard/node-shard-id", methods=["GET"])
    def node_shard_id(self, request: Request) -> bytes:
        """The shard that this node is a member of, or null."""
        return answer(request, json_reply(200, {"node-shard-id": self._node.insight.shard_of_node()}))

    @app.route("/shard/members/<shard>", methods=["GET"])
    def members(self, request: Request, shard: str) -> bytes:
        """The members of a shard."""
        self._must_exist(shard)
        return answer(request, json_reply(200, {"shard-members": self._node.insight.members(shard)}))

    @app.route("/shard/key-count/<shard>", methods=["GET"])
    async def key_count(self, request: Request, shard: str) -> bytes:
        """The number of live keys of a shard, asked of a member where this node is none."""
        self._must_exist(shard)
        outcome = await self._node.ask(CountKeys(shard))
        if isinstance(outcome, Counted):
            return answer(request, json_reply(200, {"shard-key-count": outcome.count}))
        return answer(request, refusal(outcome).reply)

    def _must_exist(self, shard: str) -> None:
        if shard not in self._node.insight.shard_ids():
            raise Rejected(404, "Shard does not exist")
