"""
What is asked of the doors that change the cluster: bodies, parsed and checked once, and answers.
"""

from collections.abc import Container
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field
from twisted.web.server import Request

from kvsd.replication.node_address import address_fault
from kvsd.replication.requests import Begun, Changed, ForgetNode, GiveUp, Outcome
from kvsd.resources.door import Rejected, Reply, RequestLimits, json_reply, read_body, read_json
from kvsd.resources.outcomes import refusal

MAX_DIGITS = 9
NOT_NAMED = "Object missing required field `socket-address`, or with force `socket-addresses`, and not both"


class _Address(Struct):
    address: str = field(name="socket-address")


class _Forgotten(Struct):
    address: str | UnsetType = field(name="socket-address", default=UNSET)
    addresses: list[str] = field(name="socket-addresses", default_factory=list)
    force: bool = False
    accept_loss: bool = field(name="accept-loss", default=False)


class _Count(Struct):
    count: Annotated[int, Meta(ge=1)] = field(name="shard-count")


_address = msgspec.json.Decoder(_Address)
_forgotten = msgspec.json.Decoder(_Forgotten)
_count = msgspec.json.Decoder(_Count)


def read_address(request: Request, limits: RequestLimits, known: Container[str] = ()) -> str:
    """
    The node that a request is about.  Raises Rejected where its body names none.

    ``known`` are names to be taken whatever the check says: nodes may have been named when it was laxer.
    """
    address = read_json(read_body(request, limits.max_body_bytes), _address, limits.max_depth).address
    return _checked(address, known)


def read_forgotten(request: Request, limits: RequestLimits, known: Container[str]) -> ForgetNode | GiveUp:
    """
    Which node is to be forgotten, or which nodes are to be given up by force; ``known`` is as for `read_address`.

    Raises Rejected where the body does not name them, or does not accept the loss.
    """
    body = read_json(read_body(request, limits.max_body_bytes), _forgotten, limits.max_depth)
    named = body.addresses if isinstance(body.address, UnsetType) else [body.address, *body.addresses]
    if not named or (named != body.addresses and body.addresses):
        raise Rejected(400, NOT_NAMED)
    if not body.accept_loss:
        raise Rejected(400, "Forgetting a node loses what only it had: say so with accept-loss true")
    addresses = tuple(dict.fromkeys(_checked(address, known) for address in named))
    if body.force:
        return GiveUp(addresses)
    if len(addresses) > 1:
        raise Rejected(400, "Without force nodes are forgotten one after another")
    return ForgetNode(addresses[0])


def _checked(address: str, known: Container[str]) -> str:
    fault = address_fault(address)
    if fault and address not in known:
        raise Rejected(400, f"socket-address {fault}")
    return address


def read_count(request: Request, limits: RequestLimits) -> int:
    """The number of shards that is asked for.  Raises Rejected where the body has none."""
    return read_json(read_body(request, limits.max_body_bytes), _count, limits.max_depth).count


def read_count_in_query(request: Request) -> int:
    """The number of shards in a query.  Raises Rejected where there is none, or where it is no number from 1."""
    values = request.args.get(b"shard-count", []) if request.args else []
    if len(values) != 1 or not values[0].isdigit() or not (count := int(values[0].lstrip(b"0")[:MAX_DIGITS] or b"0")):
        raise Rejected(400, "shard-count must be given once in the query, as a number from 1")
    return count


def change_reply(outcome: Outcome, result: str, unchanged: str, *, created: bool = False) -> Reply:
    """The reply to a change: ``result`` if it was made, ``unchanged`` if there was nothing to do."""
    if isinstance(outcome, Begun):
        return json_reply(202, {"result": "started", "status": "/kvsd/reshard"})
    if isinstance(outcome, Changed):
        if outcome.anew:
            return json_reply(201 if created else 200, {"result": result})
        return json_reply(200, {"result": unchanged})
    _, reply = refusal(outcome)
    return reply
