"""
What is kept on disk as entries of tables, and back with every byte checked.

Values are msgpack, under keys that sort as the tables are read: rows by replica, tenure, slot and key (:mod:`kvsd.rows`),
ops by replica and order of arrival.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, TypeVar, get_args

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
from kvsd.replication.messages import Ballot, Instance, Vote
from kvsd.replication.occupant import Boot
from kvsd.replication.record import CarriedOut, Op, Row
from kvsd.replication.saved import Saved, SavedRole
from kvsd.replication.token import Epoch, Stamp
from kvsd.rows import row_key, slot_key
from kvsd.wire import UNREADABLE, WireError

T = TypeVar("T")

Table = Literal["meta", "rows", "ops"]
"""The tables of a node; each is an ordered map from bytes to bytes."""
TABLES: tuple[Table, ...] = get_args(Table)
Entry = tuple[Table, bytes, bytes | None]
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


class _Owner(Struct, frozen=True, array_like=True):
    instance: Instance
    address: str


class _RoleRecord(Struct, frozen=True, array_like=True):
    """What a SetVector says, but for its role."""

    shard: str
    vector: VersionVector
    hlc: Stamp
    collected: Stamp
    place: bytes
    issuer: Boot = 0


class _Promise(Struct, frozen=True, array_like=True):
    """What a SetPromise says."""

    epoch: Epoch
    ballot: Ballot
    vote: Vote | None


_encode = msgspec.msgpack.Encoder().encode
_decode_row = msgspec.msgpack.Decoder(Row).decode
_decode_op = msgspec.msgpack.Decoder(Op).decode
_decode_request = msgspec.msgpack.Decoder(CarriedOut).decode
_decode_count = msgspec.msgpack.Decoder(Count).decode


def entries(changes: Sequence[Keep]) -> list[Entry]:
    """The changes as entries of tables; of a replica's vectors, which all go under one name, only the last."""
    vectors = {change.role: change for change in changes if type(change) is SetVector}
    found: list[Entry] = []
    for change in changes:
        if type(change) is SetRow:
            record, value = change.row.record, _encode(change.row)
            key = row_key(change.role, record.tenure, record.key)
            found.append(("rows", key, value))
            if record.value is None:
                found.append(("meta", _TOMBSTONE + key, value))
            elif change.revives:
                found.append(("meta", _TOMBSTONE + key, None))
        elif type(change) is LogOp:
            found.append(("ops", _op_key(change.role, change.arrival), _encode(change.op)))
        elif type(change) is not SetVector or vectors[change.role] is change:
            found += _ENTRIES[type(change)](change)
    return found


def _drop_row(change: DropRow) -> Iterable[Entry]:
    name = row_key(change.role, change.tenure, change.key)
    entry: Entry = "rows", name, None
    return (entry, ("meta", _TOMBSTONE + name, None)) if change.tombstone else (entry,)


def _set_count(change: SetCount) -> Iterable[Entry]:
    count = _encode((change.rows, change.live, change.live_bytes)) if change.rows else None
    return (("meta", _COUNT + slot_key(change.role, change.tenure, change.slot), count),)


def _set_vector(change: SetVector) -> Iterable[Entry]:
    record = _RoleRecord(change.shard, change.vector, change.hlc, change.collected, change.place, change.issuer)
    return (("meta", _ROLE + change.role, _encode(record)),)


def _drop_ops(change: DropOps) -> Iterable[Entry]:
    return [("ops", _op_key(change.role, arrival), None) for arrival in change.arrivals]


def _set_marks(change: SetMarks) -> Iterable[Entry]:
    return (("meta", _MARKS + change.role, _encode(change.marks) if change.marks else None),)


def _drop_role(change: DropRole) -> Iterable[Entry]:
    return ("meta", _MARKS + change.role, None), ("meta", _ROLE + change.role, None)


def _set_request(change: SetRequest) -> Iterable[Entry]:
    return (("meta", _request_key(change.role, change.number), _encode(change.request)),)


def _drop_request(change: DropRequest) -> Iterable[Entry]:
    return (("meta", _request_key(change.role, change.number), None),)


def _set_bindings(change: SetBindings) -> Iterable[Entry]:
    return (("meta", _BINDINGS, _encode(change.bindings)),)


def _set_configuration(change: SetConfiguration) -> Iterable[Entry]:
    return (("meta", _CONFIGURATION, _encode(change.configuration)),)


def _set_promise(change: SetPromise) -> Iterable[Entry]:
    promise = _Promise(change.epoch, change.ballot, change.vote)
    return (("meta", _FORCED if change.ballot.is_forced else _PROMISE, _encode(promise)),)


_ENTRIES: dict[type, Callable[[Any], Iterable[Entry]]] = {
    DropRow: _drop_row,
    SetCount: _set_count,
    SetVector: _set_vector,
    DropOps: _drop_ops,
    SetMarks: _set_marks,
    DropRole: _drop_role,
    SetRequest: _set_request,
    DropRequest: _drop_request,
    SetBindings: _set_bindings,
    SetConfiguration: _set_configuration,
    SetPromise: _set_promise,
}


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
        state.roles[key[len(_ROLE) :]] = SavedRole(
            record.shard, record.vector, record.collected, place=record.place, issuer=record.issuer
        )
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
