"""``/shard``: which shards there are, who is a member of which, how many keys they have; and how to change that."""

from collections.abc import Sequence

from twisted.web.server import Request

from kvsd.node import Node
from kvsd.replication.configuration import Configuration, ConfigurationError, shard_number
from kvsd.replication.dealing import Layout, NodesUnheard
from kvsd.replication.requests import AddMember, Conflict, Counted, CountKeys, Reshard
from kvsd.resources.changing import change_reply, read_address, read_count, read_count_in_query
from kvsd.resources.door import RETRY_AFTER, Rejected, RequestLimits, answer, error_reply, json_reply, new_app
from kvsd.resources.outcomes import refusal
from kvsd.resources.progress import describe_reshard


class Shards:
    """The routes of the shards."""

    app = new_app()

    def __init__(self, node: Node, limits: RequestLimits) -> None:
        self._node = node
        self._limits = limits

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
        _, reply = refusal(outcome)
        return answer(request, reply)

    def _must_exist(self, shard: str) -> None:
        if shard not in self._node.insight.shard_ids():
            raise Rejected(404, "Shard does not exist")

    # Changes

    @app.route("/shard/add-member/<shard>", methods=["PUT"])
    async def add_member(self, request: Request, shard: str) -> bytes:
        """Have a node replicate a shard."""
        address = read_address(request, self._limits)
        self._must_exist(shard)
        outcome = await self._node.ask(AddMember(shard, address))
        return answer(request, change_reply(outcome, "node added to shard", "node added to shard"))

    @app.route("/shard/reshard", methods=["PUT"])
    async def reshard(self, request: Request) -> bytes:
        """Spread the keys and the nodes over a number of shards."""
        count = read_count(request, self._limits)
        wait = not (request.args and request.args.get(b"wait") == [b"false"])
        outcome = await self._node.ask(Reshard(count, wait))
        if isinstance(outcome, Conflict):
            fields = {"error": outcome.reason, "reshard": await describe_reshard(self._node)}
            return answer(request, json_reply(409, fields))
        return answer(request, change_reply(outcome, "resharded", "resharded"))

    @app.route("/shard/reshard", methods=["GET"])
    async def plan(self, request: Request) -> bytes:
        """What a reshard would come to; nothing is changed."""
        count = read_count_in_query(request)
        if not self._node.insight.shard_ids():
            return answer(request, error_reply(503, "Node knows no configuration yet", RETRY_AFTER))
        try:
            configuration, layout = self._node.oversight.plan(count)
        except NodesUnheard as error:
            return answer(request, error_reply(503, str(error), RETRY_AFTER))
        except ConfigurationError as error:
            raise Rejected(400, str(error)) from None
        return answer(request, json_reply(200, await self._described(count, configuration, layout)))

    async def _described(self, count: int, configuration: Configuration, layout: Layout) -> dict[str, object]:
        moving: dict[tuple[str, str], list[int]] = {}
        for slot, target in enumerate(layout.owners):
            if (source := configuration.owner(slot)[1]) != target:
                moving.setdefault((source, target), []).append(slot)
        moves = []
        for (source, target), slots in sorted(moving.items(), key=lambda move: tuple(map(shard_number, move[0]))):
            counted = await self._node.ask(CountKeys(source, tuple(slots)))
            known = counted if isinstance(counted, Counted) else None
            moves.append(
                {
                    "from": source,
                    "to": target,
                    "slots": len(slots),
                    "keys": known.count if known else None,
                    "bytes": known.bytes if known else None,
                }
            )
        return {
            "shard-count": count,
            "slots-to-move": layout.slots_to_move,
            "least-slots": layout.least,
            "keys-to-move": _total([move["keys"] for move in moves]),
            "bytes-to-move": _total([move["bytes"] for move in moves]),
            "nodes-to-move": [*layout.nodes_to_move, *layout.nodes_to_join],
            "moves": moves,
            "members": layout.shards,
            "fault-tolerance": {
                "before": min(len(configuration.members(shard)) for shard in configuration.shard_ids()) - 1,
                "after": min(len(nodes) for nodes in layout.shards.values()) - 1,
            },
        }


def _total(counts: Sequence[object]) -> int | None:
    """The sum, None where one of them is not known."""
    numbers = [count for count in counts if isinstance(count, int)]
    return sum(numbers) if len(numbers) == len(counts) else None
