"""
Strategies for all that is said and kept: any value of any type of message, record, change and configuration.

Every type and every field of it is named here: what is new is missed by :func:`built` or by the tests of the wire until
it has a strategy too.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, get_args

from hypothesis import strategies as st
from msgspec.structs import replace

from kvsd.replication import basis, occupant
from kvsd.replication import messages as said
from kvsd.replication import requests as asked
from kvsd.replication.branches import Forced
from kvsd.replication.causality import Dot
from kvsd.replication.configuration import Configuration, Loss, Member, Move, Pending, Shard, Tenancy
from kvsd.replication.hlc import MAX_STAMP
from kvsd.replication.marks import Final, Marks
from kvsd.replication.messages import Ballot, Message, Sender, Vote
from kvsd.replication.placement import SLOTS
from kvsd.replication.record import MAX_REQUEST_ID, CarriedOut, Op, Record, Row
from kvsd.replication.requests import Question, Verdict
from tests.builders import MAX_COUNTER, MAX_EPOCH, any_dependencies, any_vectors, tokens

T = TypeVar("T")


def built(kind: Callable[..., T], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[T]:
    """Any value of a struct or a named tuple; a field that has no strategy is an error."""
    named: tuple[str, ...] = getattr(kind, "__struct_fields__", ()) or getattr(kind, "_fields", ())
    if set(named) != set(fields):
        raise TypeError(f"{kind}: a strategy for each of {named} is needed, there are some for {tuple(fields)}")
    return st.builds(kind, **fields)


def some(each: st.SearchStrategy[T], most: int = 3) -> st.SearchStrategy[list[T]]:
    """A short list."""
    return st.lists(each, max_size=most)


def several(each: st.SearchStrategy[T], most: int = 3) -> st.SearchStrategy[tuple[T, ...]]:
    """A short tuple."""
    return some(each, most).map(tuple)


# Values

names = st.text(max_size=8)
addresses = st.builds("10.0.{}.{}:{}".format, st.integers(0, 255), st.integers(0, 255), st.integers(1, 65535))
shards = st.integers(0, 20).map("s{}".format)
numbers = st.integers(-(2**63), 2**64 - 1)
"""Whatever can stand where any integer may."""
counts = st.integers(0, MAX_COUNTER)
epochs = st.integers(0, MAX_EPOCH)
stamps = st.integers(0, MAX_STAMP)
seconds = st.floats(0, 3600)
instances = st.binary(min_size=16, max_size=16)
any_writers = st.binary(min_size=6, max_size=6)
counters = st.integers(1, MAX_COUNTER)
tenures = st.integers(0, 2**32 - 1)
values = st.none() | st.binary(max_size=12)
request_ids = st.text(max_size=4) | st.just("i" * MAX_REQUEST_ID)

# Records

dots = built(Dot, shard=shards, writer=any_writers, counter=counters)
records = built(
    Record,
    tenure=tenures,
    key=names,
    value=values,
    hlc=stamps,
    origin=dots,
    dependencies=any_dependencies,
    epoch=epochs,
    request=request_ids,
    created=st.booleans(),
    over=stamps,
)
rows = built(Row, writer=any_writers, counter=counters, record=records)
carried_out = built(CarriedOut, record=records, digest=st.binary(max_size=16))
finals = built(Final, tenure=tenures, shard=shards, since=epochs)
marks = built(
    Marks,
    cover=st.dictionaries(tenures, any_dependencies, max_size=2),
    ready=several(tenures),
    final=several(finals),
    forgotten=stamps,
)
ops = built(
    Op,
    shard=shards,
    writer=any_writers,
    counter=counters,
    epoch=epochs,
    dependencies=any_vectors,
    records=several(records, 2),
    requests=several(carried_out, 2),
    marks=marks,
    boot=counts,
    first=counts,
    before=counts,
)


# Configurations


slots = st.integers(0, SLOTS - 1)
members = built(Member, node=addresses, shard=shards, epoch=epochs, instance=st.just(b"") | instances)
tenancies = built(Tenancy, shard=shards, sources=st.dictionaries(shards, epochs, max_size=2), lineage=several(tenures))
moves = built(Move, tenure=tenures, source=shards, target=shards, slots=several(slots), lineage=several(tenures))
pendings = built(
    Pending, started=epochs, shard_count=counts, moves=several(moves, 2), leave=several(members), join=several(members)
)
forced_steps = built(Forced, epoch=epochs, given_up=several(st.tuples(addresses, instances)), voters=counts)
losses = built(Loss, shard=shards, node=addresses, known=counts, kept=st.none() | counts)


@st.composite
def _places(draw: st.DrawFn, name: str, nodes: Sequence[str], fewest: int) -> Shard:
    """Any shard of this name whose replicas are among these nodes, with so many members at the least."""
    here = members.map(lambda member: replace(member, shard=name))
    placed = st.builds(lambda member, node: replace(member, node=node), here, st.sampled_from(nodes))
    serving = st.lists(placed, min_size=fewest, max_size=4).map(tuple)
    return draw(built(Shard, members=serving, learners=several(placed, 2), departed=several(here, 2)))


@st.composite
def _configurations(draw: st.DrawFn) -> Configuration:
    """Any configuration: nodes that stay or have joined later, slots that have moved or will, and what was lost."""
    nodes = draw(st.lists(addresses, min_size=1, max_size=6, unique=True))
    names_of_shards = draw(st.lists(shards, min_size=1, max_size=3, unique=True))
    owners = names_of_shards[: draw(st.integers(1, len(names_of_shards)))]
    owned = tenancies.flatmap(lambda tenancy: st.sampled_from(owners).map(lambda shard: replace(tenancy, shard=shard)))
    held = draw(st.dictionaries(tenures, owned, min_size=1, max_size=4))
    return draw(
        built(
            Configuration,
            cluster=names,
            epoch=st.integers(1, MAX_EPOCH),
            nodes=st.fixed_dictionaries({node: st.just(b"") | instances for node in nodes}),
            shards=st.fixed_dictionaries({name: _places(name, nodes, name in owners) for name in names_of_shards}),
            slots=st.just(tuple(list(held)[slot % len(held)] for slot in range(SLOTS))),
            tenures=st.just(held),
            next_shard=counts,
            next_tenure=tenures,
            pending=st.none() | pendings,
            lost=st.dictionaries(any_writers, losses, max_size=2),
            absent=several(addresses),
            forced=several(forced_steps),
            superseded=several(st.tuples(addresses, instances)),
        )
    )


configurations = _configurations()
ballots = built(Ballot, round=counts, node=names, boot=counts, given_up=several(addresses))
votes = built(Vote, ballot=ballots, configuration=configurations)

# What clients ask, and what they are answered

REQUESTS: dict[type[Question], st.SearchStrategy[Question]] = {
    asked.Get: built(asked.Get, key=names, token=tokens, wait=seconds),
    asked.Put: built(
        asked.Put,
        key=names,
        value=values,
        token=tokens,
        wait=seconds,
        request=request_ids,
        stamp=stamps,
        tried=st.booleans(),
        concern=st.sampled_from(("majority", "all")) | st.integers(1, 10**asked.MAX_DIGITS - 1),
        within=st.none() | seconds,
        capped=st.booleans(),
    ),
    asked.CountKeys: built(asked.CountKeys, shard=shards, slots=st.none() | several(slots), tenure=st.none() | tenures),
}
lacks = built(
    asked.MissingWrite,
    shard=shards,
    writer=any_writers.map(bytes.hex),
    node=st.just("") | addresses,
    need=counts,
    have=counts,
    held_by=some(addresses),
    state=names,
    silent=st.none() | seconds,
    since=seconds,
)
bases = built(basis.Basis, node=addresses, outlook=counts, changes=counts)
VERDICTS: dict[type[Verdict], st.SearchStrategy[Verdict]] = {
    asked.Found: built(asked.Found, shard=shards, token=tokens, value=st.binary(max_size=12), basis=st.none() | bases),
    asked.Written: built(asked.Written, shard=shards, token=tokens, existed=st.booleans(), replicas=counts, of=counts),
    asked.Unconfirmed: built(
        asked.Unconfirmed, shard=shards, token=tokens, existed=st.booleans(), replicas=counts, of=counts
    ),
    asked.Absent: built(asked.Absent, shard=shards, token=tokens, basis=st.none() | bases),
    basis.Confirmed: built(basis.Confirmed, changes=st.none() | counts),
    asked.Unmet: built(asked.Unmet, shard=shards, missing=some(lacks), epoch_needed=epochs, epoch=epochs),
    asked.Unavailable: built(asked.Unavailable, shard=shards),
    asked.Unassigned: built(asked.Unassigned, reason=names),
    asked.Refused: built(asked.Refused, reason=names),
    asked.Overloaded: built(asked.Overloaded, reason=names),
    asked.StorageFull: built(asked.StorageFull),
    asked.Counted: built(asked.Counted, count=counts, bytes=counts),
    asked.Changed: built(asked.Changed, anew=st.booleans()),
    asked.Begun: built(asked.Begun),
    asked.Unknown: built(asked.Unknown, reason=names),
    asked.Conflict: built(asked.Conflict, reason=names),
    asked.Outdated: built(asked.Outdated, shard=shards, latest=stamps),
}

# What replicas tell each other

MESSAGES: dict[type[Message], st.SearchStrategy[Message]] = {
    said.Heartbeat: built(
        said.Heartbeat,
        epoch=counts,
        wall_ms=counts,
        hlc=stamps,
        silent_ms=st.dictionaries(addresses, counts, max_size=3),
        vectors=st.dictionaries(shards, any_vectors, max_size=2),
        founded=st.dictionaries(addresses, instances, max_size=3),
        reported=st.dictionaries(any_writers, counts, max_size=3),
        marks=st.dictionaries(shards, marks, max_size=2),
        partial=several(shards),
        meeting=st.booleans(),
        slow=several(addresses),
    ),
    said.Bind: built(said.Bind),
    said.Bound: built(said.Bound, instance=instances),
    said.Push: built(said.Push, ops=some(ops, 2), acknowledge=st.booleans()),
    said.Acknowledged: built(said.Acknowledged, shard=shards, role=any_writers, writer=any_writers, counter=counters),
    said.Pull: built(said.Pull, id=numbers, shard=shards, vector=any_vectors, copy=numbers, cursor=counts),
    said.PullOps: built(said.PullOps, id=numbers, shard=shards, ops=some(ops, 2), more=st.booleans()),
    said.PullRows: built(
        said.PullRows,
        id=numbers,
        shard=shards,
        copy=numbers,
        start=counts,
        rows=some(rows, 2),
        cursor=counts,
        vector=any_vectors,
        requests=some(carried_out, 2),
        marks=marks,
    ),
    said.Import: built(
        said.Import,
        id=numbers,
        shard=shards,
        tenure=tenures,
        first=st.booleans(),
        vector=any_vectors,
        copy=numbers,
        cursor=counts,
    ),
    said.Imported: built(
        said.Imported,
        id=numbers,
        shard=shards,
        tenure=tenures,
        epoch=epochs,
        copy=numbers,
        start=counts,
        cursor=counts,
        records=some(records, 2),
        requests=some(carried_out, 2),
        cover=any_dependencies,
        forgotten=stamps,
        complete=st.booleans(),
    ),
    said.Announce: built(said.Announce),
    occupant.Contested: built(
        occupant.Contested, instance=instances, boot=counts, incumbent=instances, silent_ms=counts
    ),
    occupant.Forked: built(occupant.Forked, instance=instances, boot=counts, shard=shards, counter=counters),
    said.Prepare: built(said.Prepare, epoch=epochs, ballot=ballots, replaces=several(addresses)),
    said.Promised: built(said.Promised, epoch=epochs, ballot=ballots, vote=st.none() | votes),
    said.Accept: built(said.Accept, epoch=epochs, vote=votes),
    said.Accepted: built(said.Accepted, epoch=epochs, ballot=ballots),
    said.Outvoted: built(said.Outvoted, epoch=epochs, ballot=ballots),
    said.Forward: built(said.Forward, id=numbers, request=st.one_of(*REQUESTS.values())),
    said.Forwarded: built(said.Forwarded, id=numbers, outcome=st.one_of(*VERDICTS.values())),
    basis.AskChanges: built(basis.AskChanges, id=numbers, outlook=counts, since=counts),
    basis.TellChanges: built(
        basis.TellChanges, id=numbers, outlook=counts, count=counts, changed=st.none() | st.dictionaries(names, counts)
    ),
    said.AskConfiguration: built(said.AskConfiguration, epoch=epochs),
    said.TellConfiguration: built(said.TellConfiguration, configuration=configurations),
}
any_message = st.one_of(*MESSAGES.values())
senders = built(
    Sender,
    address=addresses,
    instance=instances,
    cluster=names,
    epoch=epochs,
    branch=st.binary(max_size=8),
    boot=counts,
)


def kinds_of(union: object) -> set[type]:
    """The types of a union."""
    return set(get_args(union))
