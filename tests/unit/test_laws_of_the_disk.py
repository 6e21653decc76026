"""The laws of what is kept: all of it is found again after a crash, and no other bytes are believed."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kvsd.entries import Entry, entries, owner_entry, saved
from kvsd.replication.configuration import Configuration
from kvsd.replication.counts import Count
from kvsd.replication.effects import (
    DropOps,
    DropRequest,
    DropRole,
    DropRow,
    Keep,
    LogOp,
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
from kvsd.replication.limits import Limits
from kvsd.replication.marks import NO_MARKS, Marks
from kvsd.replication.messages import Ballot, Vote
from kvsd.replication.placement import TenureSlot, slot_of
from kvsd.replication.record import CarriedOut, Op, Row, RowKey
from kvsd.replication.saved import Saved, SavedRole
from kvsd.wire import WireError
from tests.builders import A, B, make_op, make_record
from tests.examples import examples
from tests.histories import KEYS, WRITES, Event, Shard, events
from tests.strategies import (
    addresses,
    any_writers,
    ballots,
    built,
    configurations,
    counts,
    epochs,
    instances,
    kinds_of,
    marks,
    shards,
    some,
    stamps,
    values,
    votes,
)
from tests.tables import row_table

Pair = tuple[bytes, bytes]
Tables = tuple[list[Pair], list[Pair]]
"""The entries of the tables that are read at start."""

ROLES = (b"anna-1", b"role/\0", b"\0\0\0\0\0\0", b"owner\xff")
"""Few, so that changes often meet; some look like other keys."""

roles = st.sampled_from(ROLES)
row_tenures, row_keys = st.sampled_from((1, 256, 2**32 - 1)), st.sampled_from(("", "a", "aa", "ä\0", "\0"))
arrivals = st.sampled_from((1, 2, 255, 256, 2**40))
numbers = st.integers(1, 99)
slots = st.sampled_from((0, 255, 256, 4095))
kept_rows = st.builds(
    lambda tenure, key, number, value: Row(A, number, make_record(key, value, number, (A, number), tenure=tenure)),
    row_tenures,
    row_keys,
    numbers,
    values,
)
"""Simple ones: that any record comes back is a law of the wire."""
kept_ops = numbers.map(lambda number: make_op(B, number, {A: number}))
kept_requests = numbers.map(lambda number: CarriedOut(make_record(value=None, request=f"r{number}"), b"digest"))
vectors = st.dictionaries(any_writers, numbers, max_size=2)
own_place = st.just(b"")
KEEPS: dict[type[Keep], st.SearchStrategy[Keep]] = {
    SetRow: built(SetRow, role=roles, row=kept_rows, revives=st.booleans()),
    DropRow: built(DropRow, role=roles, tenure=row_tenures, key=row_keys, tombstone=st.booleans()),
    SetCount: built(
        SetCount, role=roles, tenure=row_tenures, slot=slots, rows=st.integers(0, 2), live=numbers, live_bytes=numbers
    ),
    LogOp: built(LogOp, role=roles, arrival=arrivals, op=kept_ops),
    DropOps: built(DropOps, role=roles, arrivals=some(arrivals)),
    SetVector: built(
        SetVector,
        role=roles,
        shard=shards,
        vector=vectors,
        hlc=stamps,
        collected=stamps,
        place=own_place,
        issuer=counts,
    ),
    SetMarks: built(SetMarks, role=roles, marks=st.just(NO_MARKS) | marks),
    DropRole: built(DropRole, role=roles),
    SetRequest: built(SetRequest, role=roles, number=arrivals, request=kept_requests),
    DropRequest: built(DropRequest, role=roles, number=arrivals),
    SetBindings: built(
        SetBindings, bindings=st.dictionaries(addresses, st.tuples(instances, st.booleans()), max_size=3)
    ),
    SetConfiguration: built(SetConfiguration, configuration=configurations),
    SetPromise: built(SetPromise, epoch=epochs, ballot=ballots, vote=st.none() | votes),
}
row_changes = KEEPS[SetRow] | KEEPS[DropRow] | KEEPS[SetCount]
role_changes = KEEPS[SetVector] | KEEPS[SetMarks] | KEEPS[DropRole] | KEEPS[SetRow] | KEEPS[LogOp] | KEEPS[SetRequest]
numbered_changes = KEEPS[LogOp] | KEEPS[DropOps] | KEEPS[SetRequest] | KEEPS[DropRequest]
changes = (
    st.lists(st.one_of(*KEEPS.values()), max_size=10)
    | st.lists(row_changes, min_size=5, max_size=12)
    | st.lists(numbered_changes, min_size=5, max_size=12)
    | st.lists(role_changes, min_size=5, max_size=12)
)
everyone = st.tuples(
    *(
        built(
            SetVector,
            role=st.just(role),
            shard=shards,
            vector=vectors,
            hlc=stamps,
            collected=stamps,
            place=own_place,
            issuer=counts,
        )
        for role in ROLES
    )
)
"""Each role's vector, without which nothing of it can be found."""


@dataclass
class KeptRole:
    """What should be found of a role, by the names under which it is kept."""

    vector: SetVector
    rows: dict[RowKey, Row] = field(default_factory=dict)
    tombstones: dict[RowKey, Row] = field(default_factory=dict)
    counts: dict[TenureSlot, Count] = field(default_factory=dict)
    ops: dict[int, Op] = field(default_factory=dict)
    requests: dict[int, CarriedOut] = field(default_factory=dict)
    marks: Marks = NO_MARKS

    def keep(self, change: OfRows) -> None:
        """Make a change to rows and what is kept beside them."""
        match change:
            case SetRow(_, row, revives):
                self.rows[row.record.tenure, row.record.key] = row
                if row.record.is_tombstone:
                    self.tombstones[row.record.tenure, row.record.key] = row
                elif revives:
                    self.tombstones.pop((row.record.tenure, row.record.key), None)
            case DropRow(_, tenure, key, tombstone):
                self.rows.pop((tenure, key), None)
                if tombstone:
                    self.tombstones.pop((tenure, key), None)
            case SetCount(_, tenure, slot, rows, live, live_bytes):
                self.counts[tenure, slot] = Count(rows, live, live_bytes)
                if not rows:
                    del self.counts[tenure, slot]

    def keep_numbered(self, change: LogOp | DropOps | SetRequest | DropRequest) -> None:
        """Make a change to what has numbers."""
        match change:
            case LogOp(_, arrival, op):
                self.ops[arrival] = op
            case DropOps(_, dropped):
                for arrival in dropped:
                    self.ops.pop(arrival, None)
            case SetRequest(_, number, request):
                self.requests[number] = request
            case DropRequest(_, number):
                self.requests.pop(number, None)

    def found(self) -> SavedRole:
        """The role as it is found: tombstones by tenure, slot and key, ops and requests by number."""
        names = sorted(self.tombstones, key=lambda name: (name[0], slot_of(name[1]), name[1].encode()))
        ops, requests = sorted(self.ops.items()), sorted(self.requests.items())
        tombstones = [self.tombstones[name] for name in names]
        kept = self.vector
        return SavedRole(
            kept.shard,
            kept.vector,
            kept.collected,
            tombstones,
            self.counts,
            ops,
            requests,
            self.marks,
            issuer=kept.issuer,
        )


@dataclass
class Kept:
    """What should be found on a disk, kept the simplest way."""

    roles: dict[bytes, KeptRole] = field(default_factory=dict)
    bindings: dict[str, tuple[bytes, bool]] = field(default_factory=dict)
    configuration: Configuration | None = None
    promise: tuple[int, Ballot, Vote | None] | None = None
    forced: tuple[int, Ballot, Vote | None] | None = None

    def keep(self, change: Keep) -> None:
        """Make a change."""
        match change:
            case SetBindings(bindings):
                self.bindings = bindings
            case SetConfiguration(configuration):
                self.configuration = configuration
            case SetPromise(epoch, ballot, vote):
                kind = "forced" if ballot.given_up else "promise"
                setattr(self, kind, (epoch, ballot, vote))
            case SetVector(role):
                known = self.roles.setdefault(role, KeptRole(change))
                known.vector = change
            case SetMarks(role, shown):
                self.roles[role].marks = shown
            case DropRole(role):
                del self.roles[role]
            case SetRow() | DropRow() | SetCount():
                self.roles[change.role].keep(change)
            case _:
                self.roles[change.role].keep_numbered(change)

    def before(self, change: Keep) -> Iterator[Keep]:
        """What a node does first: it names a replica before it keeps anything else of it, and forgets it last."""
        role = getattr(change, "role", None)
        if role and role not in self.roles and not isinstance(change, SetVector):
            yield SetVector(role, "s0", {}, 0, 0)
        elif isinstance(change, DropRole):
            kept = self.roles[change.role]
            yield from [DropRow(change.role, *key, tombstone=True) for key in {**kept.rows, **kept.tombstones}]
            yield from [SetCount(change.role, *slot, 0, 0, 0) for slot in kept.counts]
            yield DropOps(change.role, list(kept.ops))
            yield from [DropRequest(change.role, number) for number in kept.requests]

    def found(self) -> Saved:
        """All of it, as it is found."""
        hlc = max((role.vector.hlc for role in self.roles.values()), default=0)
        by_role = {role: kept.found() for role, kept in self.roles.items()}
        return Saved(self.configuration, self.bindings, hlc, by_role, self.promise, self.forced)


def possible(drawn: Iterable[Keep]) -> Iterator[Keep]:
    """The changes, with what a node makes before some of them."""
    kept = Kept()
    for drawn_change in drawn:
        for change in (*kept.before(drawn_change), drawn_change):
            kept.keep(change)
            yield change


def all_tables_of(written: Iterable[Entry]) -> dict[str, dict[bytes, bytes]]:
    """The tables after these entries were written."""
    tables: dict[str, dict[bytes, bytes]] = {"meta": {}, "rows": {}, "ops": {}}
    for table, key, value in written:
        if value is None:
            tables[table].pop(key, None)
        else:
            tables[table][key] = value
    return tables


def tables_of(written: Iterable[Entry]) -> Tables:
    """The tables that are read at start, in the order of their keys."""
    tables = all_tables_of(written)
    meta, logged = (sorted(tables[table].items()) for table in ("meta", "ops"))
    return meta, logged


def _key(row: Row) -> str:
    return row.record.key


OWNER = owner_entry(b"instance-of-node", "10.0.0.1:8090")
NAMES = (
    *(b"", b"configuration", b"bindings", b"promise", b"promise/forced", b"owner"),
    *(b"role/", b"seen/", b"taken/", b"slots/", b"tombs/"),
)
prefixes = st.sampled_from((*NAMES, *ROLES))
pairs = st.tuples(st.builds(bytes.__add__, prefixes, st.binary(max_size=14) | roles), st.binary(max_size=18))
full_tables = st.builds(
    lambda first, more: tables_of([OWNER, *entries([*possible([*first, *more])])]), everyone, changes
)


@st.composite
def damaged(draw: st.DrawFn) -> Tables:
    """Genuine tables with one key or value changed, cut or made longer, put into any table."""
    tables = draw(full_tables)
    every = [(table, pair) for table in tables for pair in table]
    table, pair = draw(st.sampled_from(every))
    side = draw(st.integers(0, 1))
    other = draw(st.sampled_from([b"\0", b"\xff", b"\xc0", b"\x90", b"\x80", draw(st.sampled_from(every))[1][side]]))
    at = draw(st.integers(0, len(pair[side])))
    changed = pair[side][:at] + other + pair[side][at + draw(st.integers(0, 40)) :]
    table.remove(pair)
    draw(st.sampled_from(tables)).append((changed, pair[1]) if side == 0 else (pair[0], changed))
    return tables


class DiskLaws(SynchronousTestCase):
    """Changes as entries of tables, and back."""

    def test_every_kind_is_drawn(self) -> None:
        """No kind of change is left out; a new one needs a strategy first."""
        self.assertEqual(kinds_of(Keep), set(KEEPS))

    @examples(150)
    @given(everyone, changes)
    def test_what_was_kept_is_found(self, first: tuple[SetVector, ...], more: list[Keep]) -> None:
        """Just that is found which was kept last and not dropped since, in order; data without an owner is refused."""
        kept, made = Kept(), list(possible([*first, *more]))
        for change in made:
            kept.keep(change)
        owner, state = saved(*tables_of([OWNER, *entries(made)]))
        self.assertEqual((b"instance-of-node", "10.0.0.1:8090"), owner)
        self.assertEqual(kept.found(), state)
        if state != Saved():
            self.assertRaises(WireError, saved, *tables_of(entries(made)))
        self.assert_rows(kept, all_tables_of(entries(made))["rows"])

    def assert_rows(self, kept: Kept, table: dict[bytes, bytes]) -> None:
        """Just the rows that were kept are read, one by one and by slots."""
        rows = row_table(lambda: table)
        for role, found in kept.roles.items():
            for name, row in found.rows.items():
                slot = name[0], slot_of(name[1])
                beside = sorted((row for key, row in found.rows.items() if (key[0], slot_of(key[1])) == slot), key=_key)
                self.assertEqual((row, beside), (rows.get(role, *name), rows.scan(role, *slot, None, 99)))
                self.assertEqual(beside[:1], rows.scan(role, *slot, None, 1))
                behind = [other for other in beside if other.record.key > name[1]]
                self.assertEqual(behind, rows.scan(role, *slot, name[1], 99))
        self.assertEqual(len(table), sum(len(found.rows) for found in kept.roles.values()))

    @examples(100)
    @given(some(pairs), some(pairs))
    def test_any_bytes(self, meta: list[Pair], logged: list[Pair]) -> None:
        """Bytes that no node wrote, under whatever keys, are refused at the worst."""
        try:
            saved(meta, logged)
        except WireError:
            return
        self.assertEqual(([], []), (meta, logged), "nothing but emptiness is a state that nobody wrote")

    @examples(120)
    @given(damaged())
    def test_any_damage(self, tables: Tables) -> None:
        """Entries that were damaged, or got into another place, are refused at the worst, or are a state all the same."""
        try:
            owner, state = saved(*tables)
        except WireError:
            return
        self.assertIsInstance(owner, tuple)
        self.assertIsInstance(state, Saved)


class RestartLaws(SynchronousTestCase):
    """Whole members of a shard, after any events."""

    @examples(60)
    @given(events(*WRITES, "copy", "truncate", "collect", "restart"), st.integers(1, 5))
    def test_a_member_that_starts_again_is_the_same(self, happened: list[Event], most: int) -> None:
        """After a crash a member has the rows, log, vector, requests and clock that it had; only what waited is gone."""
        shard = Shard(Limits(requests=most, collected=most))
        for event in happened:
            shard.happen(event)
        for before in shard.members:
            after = before.restarted()
            self.assertEqual(before.rows(), after.rows())
            self.assertEqual(before.role.store.tombstones, after.role.store.tombstones)
            for slot in {*before.role.store.counts.slots(), *after.role.store.counts.slots()}:
                self.assertEqual(before.role.store.counts[slot], after.role.store.counts[slot])
            self.assertEqual(list(before.role.log), list(after.role.log))
            self.assertEqual(before.role.log.size, after.role.log.size)
            self.assertEqual((before.role.vector,) * 2, (after.role.vector, after.role.durable))
            self.assertEqual(before.role.collected.latest, after.role.collected.latest)
            self.assertEqual(before.state.clock.latest, after.state.clock.latest)
            for op in shard.ops:
                name = op.record.key, op.record.request
                self.assertEqual(before.role.requests.get(*name), after.role.requests.get(*name))
            for key in (*KEYS, "another"):
                known, bound = (member.role.collected.stamp_of((0, key)) for member in (before, after))
                self.assertLessEqual(known, bound)
            self.assertEqual(0, after.role.holdback.count)
