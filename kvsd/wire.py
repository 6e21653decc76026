"""
Messages and records as bytes, and back with every byte checked.

What nodes POST to each other is an *envelope*: a tag of 16 bytes (HMAC-SHA256 under the cluster's secret), then
msgpack.  What is kept on disk is msgpack under keys that sort as the tables are read: rows by replica, tenure, slot and
key (:mod:`kvsd.rows`), ops by replica and order of arrival.
"""

import hmac
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Literal, TypeVar

import msgspec
from msgspec import Struct

from kvsd.replication.causality import WRITER_BYTES, VersionVector
from kvsd.replication.configuration import Configuration
from kvsd.replication.counts import Count
from kvsd.replication.effects import (
    DropOps,
    DropRequest,
    DropRole,
    DropRow,
    Keep,
    LogOp,
    OfNode,
    OfRole,
    OfRows,
    SetBindings,
    SetConfiguration,
    SetCount,
    SetMarks,
    SetPromise,
    SetRequest,
    SetRow,
    SetVector,
)
from kvsd.replication.marks import Marks
from kvsd.replication.messages import Ballot, Branch, Instance, Message, Sender, Vote
from kvsd.replication.record import CarriedOut, Op, Row
from kvsd.replication.saved import Saved, SavedRole
from kvsd.replication.seal import Seal
from kvsd.replication.token import Epoch, Stamp
from kvsd.rows import row_key, slot_key

TAG_BYTES = 16
UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)
"""What a decoder may raise: for the wrong shape, for text that is not UTF-8, for nesting without end."""

T = TypeVar("T")

TableName = Literal["meta", "rows", "ops"]
Entry = tuple[TableName, bytes, bytes | None]
"""A table, a key, and the value to be kept under it (None: nothing any more)."""

_CONFIGURATION = b"configuration"
_BINDINGS = b"bindings"
_OWNER = b"owner"
_ROLE = b"role/"
_PROMISE = b"promise"
_FORCED = b"promise/forced"
_REQUEST = b"seen/"  # after the roles, in the order in which a table is read
_MARKS = b"taken/"  # likewise
_COUNT = b"slots/"  # likewise
_TOMBSTONE = b"tombs/"  # likewise


class WireError(ValueError):
    """Bytes that no node of this cluster wrote, or that were damaged; the text says how."""


class Envelope(Struct, frozen=True, array_like=True):
    """What one POST carries: who says what to whom, and on which configuration."""

    cluster: str
    epoch: Epoch
    sender: str
    instance: Instance
    receiver: str
    messages: list[Message]
    branch: Branch = b""


class _Owner(Struct, frozen=True, array_like=True):
    instance: Instance
    address: str


class _RoleRecord(Struct, frozen=True, array_like=True):
    shard: str
    vector: VersionVector
    hlc: Stamp
    collected: Stamp
    place: bytes


class _Promise(Struct, frozen=True, array_like=True):
    epoch: Epoch
    ballot: Ballot
    vote: Vote | None


_encode = msgspec.msgpack.Encoder().encode
_decode_envelope = msgspec.msgpack.Decoder(Envelope).decode
_decode_row = msgspec.msgpack.Decoder(Row).decode
_decode_op = msgspec.msgpack.Decoder(Op).decode
_decode_request = msgspec.msgpack.Decoder(CarriedOut).decode
_decode_count = msgspec.msgpack.Decoder(Count).decode


def encode_message(message: Message) -> bytes:
    """A message's bytes, to be put into any number of envelopes."""
    return _encode(message)


class EnvelopeCodec:
    """Envelopes as bytes and back, under the cluster's secret."""

    def __init__(self, secret: bytes) -> None:
        self._tag = Seal(hmac.digest(secret, b"kvsd envelope", "sha256"), TAG_BYTES).tag

    def encode(self, sender: Sender, receiver: str, messages: list[bytes]) -> bytes:
        """The bytes of an envelope with messages that are encoded already."""
        raws = [msgspec.Raw(message) for message in messages]
        body = _encode((sender.cluster, sender.epoch, sender.address, sender.instance, receiver, raws, sender.branch))
        return self._tag(body) + body

    def decode(self, raw: bytes, receiver: str) -> tuple[Sender, list[Message]]:
        """
        Who sent an envelope, and what it says.

        Raises WireError where it was not made under this secret, or not for this receiver.
        """
        tag, body = raw[:TAG_BYTES], raw[TAG_BYTES:]
        if not hmac.compare_digest(tag, self._tag(body)):
            raise WireError("the message was not made under this cluster's secret")
        try:
            envelope = _decode_envelope(body)
        except UNREADABLE as error:
            raise WireError(f"the message can't be read: {error}") from None
        if envelope.receiver != receiver:
            raise WireError(f"the message is for {envelope.receiver}, this is {receiver}")
        sender = Sender(envelope.sender, envelope.instance, envelope.cluster, envelope.epoch, envelope.branch)
        return sender, envelope.messages


# On disk


def entries(changes: Iterable[Keep]) -> Iterator[Entry]:
    """The changes as entries of tables."""
    for change in changes:
        if isinstance(change, OfRows):
            yield from _of_rows(change)
        else:
            yield from _of_node(change) if isinstance(change, OfNode) else _of_role(change)


def _of_rows(change: OfRows) -> Iterator[Entry]:
    match change:
        case SetRow(role, row, revives):
            name, encoded = row_key(role, row.record.tenure, row.record.key), _encode(row)
            yield "rows", name, encoded
            if row.record.is_tombstone:
                yield "meta", _TOMBSTONE + name, encoded
            elif revives:
                yield "meta", _TOMBSTONE + name, None
        case DropRow(role, tenure, key, tombstone):
            name = row_key(role, tenure, key)
            yield "rows", name, None
            if tombstone:
                yield "meta", _TOMBSTONE + name, None
        case SetCount(role, tenure, slot, rows, live, live_bytes):
            yield "meta", _COUNT + slot_key(role, tenure, slot), _encode((rows, live, live_bytes)) if rows else None


def _of_role(change: OfRole) -> Iterator[Entry]:
    match change:
        case LogOp(role, arrival, op):
            yield "ops", _op_key(role, arrival), _encode(op)
        case DropOps(role, arrivals):
            for arrival in arrivals:
                yield "ops", _op_key(role, arrival), None
        case SetVector(role, shard, vector, hlc, collected, place):
            yield "meta", _ROLE + role, _encode(_RoleRecord(shard, vector, hlc, collected, place))
        case SetMarks(role, marks):
            yield "meta", _MARKS + role, _encode(marks) if marks else None
        case DropRole(role):
            yield "meta", _MARKS + role, None
            yield "meta", _ROLE + role, None
        case SetRequest(role, number, request):
            yield "meta", _request_key(role, number), _encode(request)
        case DropRequest(role, number):
            yield "meta", _request_key(role, number), None


def _of_node(change: OfNode) -> Iterator[Entry]:
    match change:
        case SetBindings(bindings):
            yield "meta", _BINDINGS, _encode(bindings)
        case SetConfiguration(configuration):
            yield "meta", _CONFIGURATION, _encode(configuration)
        case SetPromise(epoch, ballot, vote):
            yield "meta", _FORCED if ballot.is_forced else _PROMISE, _encode(_Promise(epoch, ballot, vote))


def owner_entry(instance: bytes, address: str) -> Entry:
    """The entry that says whose data this is: a node's, under the name of this data directory (16 bytes)."""
    return "meta", _OWNER, _encode(_Owner(instance, address))


def _request_key(role: bytes, number: int) -> bytes:
    return _REQUEST + role + number.to_bytes(8, "big")


def _op_key(role: bytes, arrival: int) -> bytes:
    return role + arrival.to_bytes(8, "big")


def saved(
    meta: Iterable[tuple[bytes, bytes]], ops: Iterable[tuple[bytes, bytes]]
) -> tuple[tuple[bytes, str] | None, Saved]:
    """
    What two tables of a node hold: the instance and address of its owner (None: they are empty) and its state.

    Raises WireError where an entry can't be read, or where the data has no owner.
    """
    state = Saved()
    owner = None
    for key, value in meta:
        if key == _OWNER:
            record = _read("owner", msgspec.msgpack.Decoder(_Owner).decode, value)
            owner = record.instance, record.address
        else:
            _take_meta(state, key, value)
    if len({role.place or writer for writer, role in state.roles.items()}) < len(state.roles):
        raise WireError("the data has two replicas that keep their rows in one place")
    for key, value in ops:
        arrival = int.from_bytes(key[WRITER_BYTES:], "big")
        _role(state.roles, key).ops.append((arrival, _read("op", _decode_op, value)))
    if owner is None and state != Saved():
        raise WireError("the data names no owner")
    return owner, state


def _take_meta(state: Saved, key: bytes, value: bytes) -> None:
    if key == _CONFIGURATION:
        state.configuration = _read("configuration", msgspec.msgpack.Decoder(Configuration).decode, value)
    elif key == _BINDINGS:
        bindings = msgspec.msgpack.Decoder(dict[str, tuple[Instance, bool]])
        state.bindings = _read("bindings", bindings.decode, value)
    elif key == _PROMISE:
        promise = _read("promise", msgspec.msgpack.Decoder(_Promise).decode, value)
        state.promise = promise.epoch, promise.ballot, promise.vote
    elif key == _FORCED:
        promise = _read("promise", msgspec.msgpack.Decoder(_Promise).decode, value)
        state.forced = promise.epoch, promise.ballot, promise.vote
    elif key.startswith(_MARKS):
        _role(state.roles, key[len(_MARKS) :]).marks = _read("mark", msgspec.msgpack.Decoder(Marks).decode, value)
    elif key.startswith(_ROLE):
        record = _read("role", msgspec.msgpack.Decoder(_RoleRecord).decode, value)
        state.hlc = max(state.hlc, record.hlc)
        state.roles[key[len(_ROLE) :]] = SavedRole(record.shard, record.vector, record.collected, place=record.place)
    elif key.startswith(_REQUEST):
        role, number = _role(state.roles, key[len(_REQUEST) :]), int.from_bytes(key[-8:], "big")
        role.requests.append((number, _read("request", _decode_request, value)))
    elif key.startswith(_TOMBSTONE):
        _at(state, key[len(_TOMBSTONE) :]).tombstones.append(_read("tombstone", _decode_row, value))
    elif key.startswith(_COUNT):
        name = key[len(_COUNT) :]
        slot = int.from_bytes(name[WRITER_BYTES:-2], "big"), int.from_bytes(name[-2:], "big")
        _at(state, name).counts[slot] = _read("count", _decode_count, value)
    else:
        raise WireError(f"the data has an entry that is not known here: {key[:16]!r}")


def _at(state: Saved, key: bytes) -> SavedRole:
    """The role whose rows are kept under a name, with which a key begins."""
    return _role({role.place or writer: role for writer, role in state.roles.items()}, key)


def _role(roles: Mapping[bytes, SavedRole], key: bytes) -> SavedRole:
    role = roles.get(key[:WRITER_BYTES])
    if role is None:
        raise WireError(f"the data has entries of a replica that it does not name: {key[:WRITER_BYTES].hex()}")
    return role


def _read(what: str, decode: Callable[[bytes], T], value: bytes) -> T:
    try:
        return decode(value)
    except UNREADABLE as error:
        raise WireError(f"a {what} can't be read: {error}") from None
