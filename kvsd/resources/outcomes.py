"""
What a client is answered: the table from outcomes to replies.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from msgspec import UNSET, Raw, Struct, UnsetType, field
from msgspec.json import Encoder
from msgspec.structs import replace

from kvsd.replication.basis import Confirmed
from kvsd.replication.reader import lasts
from kvsd.replication.requests import (
    Absent,
    Begun,
    Changed,
    Conflict,
    Counted,
    Found,
    KeyRequest,
    MissingWrite,
    Outcome,
    Overloaded,
    Put,
    Refused,
    StorageFull,
    Unassigned,
    Unavailable,
    Unconfirmed,
    Unknown,
    Unmet,
    Written,
)
from kvsd.replication.token import Token
from kvsd.resources.door import RETRY_AFTER, Headers, Reply, error_reply, json_reply

EncodeToken = Callable[[Token], str]
Answer = tuple[str, Reply]
"""The word by which metrics count it, and what is said."""

MAX_KNOWN: Final = 4096
MAX_KNOWN_BYTES: Final = 2048

_encode = Encoder().encode
_WRITER_DIGITS = 4
_ABSENT = "Key does not exist"
_UNMET = "Causal dependencies not satisfied; try again later"
_UNAVAILABLE = "Shard is unavailable; try again later"
_UNASSIGNED = "Node is not assigned to a shard"
_UNCONFIRMED = "Stored on {} of {}, not rolled back"
_FULL = "Storage is full; writes are refused until there is room again"


class _CarriedOut(Struct, gc=False):
    """The body of an answer to what was carried out."""

    result: str
    value: Raw | UnsetType
    durability: dict[str, int] | UnsetType
    token: str = field(name="causal-metadata")
    shard: str = field(name="shard-id")


class Answers:
    """
    Answers to reads; those that have the same outcome, as the reads of one row have, are made once.

    Of these at most so many are remembered, of ordinary size: the oldest goes first.
    """

    def __init__(self, encode: EncodeToken) -> None:
        self._encode = encode
        self._known: OrderedDict[int, tuple[Found, Answer]] = OrderedDict()
        """By the identity of the outcome, which is kept here for as long as it is to be known by that."""

    def to(self, asked: KeyRequest, outcome: Outcome) -> Answer:
        """The answer to a read whose outcome could be had at once."""
        known = self._known.get(id(outcome))
        if known is not None:
            return known[1]
        answer = key_answer(asked, outcome, self._encode)
        if isinstance(outcome, Found) and _is_shared(asked, outcome) and len(answer[1].body) <= MAX_KNOWN_BYTES:
            self._known[id(outcome)] = outcome, answer
            if len(self._known) > MAX_KNOWN:
                self._known.popitem(last=False)
        return answer


def _is_shared(asked: KeyRequest, outcome: Found) -> bool:
    """Whether others are shown the same: who had seen something else has an outcome of its own."""
    return not asked.token.dependencies and asked.token.hlc < outcome.token.hlc


def key_answer(asked: KeyRequest, outcome: Outcome, encode: EncodeToken) -> Answer:
    """The answer to a request about a key."""
    match outcome:
        case Written():
            result = _deed(asked, existed=outcome.existed)
            durability = _durability(outcome) if outcome.of else UNSET
            return result, _carried_out(result, UNSET, durability, outcome, encode)
        case Found():
            return "found", _lasting(_carried_out("found", Raw(outcome.value), UNSET, outcome, encode), outcome)
        case Unconfirmed():
            return "unconfirmed", _unconfirmed_reply(outcome, encode)
        case Absent():
            token = encode(outcome.token)
            fields = {"error": _ABSENT, "causal-metadata": token, "shard-id": outcome.shard}
            return "absent", _lasting(json_reply(404, fields, _token_header(token)), outcome)
        case Unmet():
            return "unmet", _unmet_reply(asked, outcome, encode)
        case _:
            return refusal(outcome)


def refusal(outcome: Outcome) -> Answer:
    """The answer to a request, of whatever kind, that was not carried out."""
    match outcome:
        case Unavailable():
            fields = {"error": _UNAVAILABLE, "shard-id": outcome.shard}
            return "unavailable", json_reply(503, fields, RETRY_AFTER)
        case Unassigned():
            fields = {"error": _UNASSIGNED, "reason": outcome.reason}
            return "unassigned", json_reply(503, fields, RETRY_AFTER)
        case Overloaded():
            return "overloaded", error_reply(503, outcome.reason, RETRY_AFTER)
        case Refused():
            return "bad-request", error_reply(400, outcome.reason)
        case StorageFull():
            return "storage-full", error_reply(507, _FULL)
        case Unknown():
            return "unknown", error_reply(404, outcome.reason)
        case Conflict():
            return "conflict", error_reply(409, outcome.reason)
        case Found() | Written() | Unconfirmed() | Absent() | Confirmed() | Unmet() | Counted() | Changed() | Begun():
            raise AssertionError(f"{type(outcome).__name__} is no answer to what was asked")


def _deed(asked: KeyRequest, *, existed: bool) -> str:
    """What a write did, in the contract's words."""
    assert isinstance(asked, Put), "only a write is carried out as one"
    if asked.value is None:
        return "deleted"
    return "replaced" if existed else "created"


def _carried_out(
    result: str,
    value: Raw | UnsetType,
    durability: dict[str, int] | UnsetType,
    outcome: Found | Written,
    encode: EncodeToken,
) -> Reply:
    token = encode(outcome.token)
    body = _encode(_CarriedOut(result, value, durability, token, outcome.shard))
    return Reply(201 if result == "created" else 200, body, _token_header(token))


def _lasting(reply: Reply, outcome: Found | Absent) -> Reply:
    """The reply to a read, which may be given again."""
    return replace(reply, lasts=True, basis=outcome.basis) if lasts(outcome) else reply


def _unconfirmed_reply(outcome: Unconfirmed, encode: EncodeToken) -> Reply:
    """The 504 that says how far a write came; the client's token is to name it, as it may be read."""
    token = encode(outcome.token)
    error = _UNCONFIRMED.format(outcome.replicas, outcome.of)
    fields = {"error": error, "durability": _durability(outcome), "causal-metadata": token, "shard-id": outcome.shard}
    return json_reply(504, fields, _token_header(token))


def _durability(outcome: Written | Unconfirmed) -> dict[str, int]:
    return {"replicas": outcome.replicas, "of": outcome.of}


def _token_header(token: str) -> Headers:
    return ((b"Causal-Metadata", token.encode()),)


def _unmet_reply(asked: KeyRequest, outcome: Unmet, encode: EncodeToken) -> Reply:
    """The 503 that says what is waited for; the client keeps the token it came with."""
    waiting = [_lack(write) for write in outcome.missing]
    if outcome.epoch_needed:
        waiting.append({"epoch-needed": outcome.epoch_needed, "epoch": outcome.epoch})
    token = encode(asked.token)
    fields = {"error": _UNMET, "waiting-for": waiting, "causal-metadata": token, "shard-id": outcome.shard}
    return json_reply(503, fields, RETRY_AFTER + _token_header(token))


def _lack(write: MissingWrite) -> dict[str, object]:
    return {
        "shard": write.shard,
        "writer": f"{write.node}#{write.writer[:_WRITER_DIGITS]}" if write.node else write.writer,
        "need": write.need,
        "have": write.have,
        "held-by": write.held_by,
        "last-heard-s": None if write.silent is None else round(write.silent, 3),
        "state": write.state,
        "missing-since-s": round(write.since, 3),
    }
