"""Messages and records as bytes: all that is said comes back, and nothing else is believed."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kvsd.entries import entries, owner_entry, saved
from kvsd.replication.basis import AskChanges, Basis, Confirmed, TellChanges
from kvsd.replication.configuration import founding_configuration
from kvsd.replication.counts import Count
from kvsd.replication.effects import (
    DropOps,
    DropRole,
    DropRow,
    Keep,
    LogOp,
    SetBindings,
    SetConfiguration,
    SetCount,
    SetMarks,
    SetPromise,
    SetRow,
    SetVector,
)
from kvsd.replication.marks import Final, Marks
from kvsd.replication.messages import (
    Accept,
    Accepted,
    Acknowledged,
    Announce,
    AskConfiguration,
    Ballot,
    Bind,
    Bound,
    Forward,
    Forwarded,
    Heartbeat,
    Import,
    Imported,
    Message,
    Outvoted,
    Prepare,
    Promised,
    Pull,
    PullOps,
    PullRows,
    Push,
    Sender,
    TellConfiguration,
    Vote,
)
from kvsd.replication.occupant import Contested, Forked
from kvsd.replication.placement import slot_of
from kvsd.replication.record import CarriedOut, Op
from kvsd.replication.requests import (
    Absent,
    Begun,
    Changed,
    Conflict,
    Counted,
    CountKeys,
    Found,
    Get,
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
from kvsd.replication.saved import Saved, SavedRole
from kvsd.replication.token import Token
from kvsd.rows import UnreadableRow
from kvsd.wire import EnvelopeCodec, WireError, encode_message
from tests.builders import A, B, make_op, make_record, make_row, modest, tokens
from tests.tables import row_table

Table = list[tuple[bytes, bytes]]

INSTANCE = b"instance-of-node"
SENDER = Sender("10.0.0.1:8090", INSTANCE, "cluster", 3)
RECEIVER = "10.0.0.2:8090"
CONFIGURATION = founding_configuration(["10.0.0.1:8090", RECEIVER], 1)
TOKEN = Token(1, 2, {"s0": {A: 3}})
MARKS = Marks({4: {"s1": {A: 3}}}, (4,), (Final(4, "s1", 2),), 60)
TAKEN_OVER = CarriedOut(make_record(value=None, request="r"), b"digest")
BALLOT = Ballot(3, RECEIVER, 1 << 61)
LACK = MissingWrite("s0", A.hex(), RECEIVER, 5, 4, ["10.0.0.1:8090"], "alive", None, 0.5)

OUTCOMES: list[Outcome] = [
    Found("s0", TOKEN, b'{"a": 1}'),
    Found("s0", TOKEN, b"1", Basis(RECEIVER, 2**40, 7)),
    Confirmed(7),
    Confirmed(None),
    Written("s0", TOKEN, existed=True),
    Written("s0", TOKEN, existed=True, replicas=2, of=3),
    Unconfirmed("s0", TOKEN, existed=False, replicas=1, of=3),
    Absent("s0", TOKEN),
    Unmet("s0", [LACK], 2, 1),
    Unavailable("s0"),
    Unassigned("why"),
    Refused("why"),
    Overloaded("why"),
    StorageFull(),
    Counted(7, 800),
    Changed(anew=False),
    Begun(),
    Unknown("what"),
    Conflict("with what"),
]
MESSAGES: list[Message] = [
    Heartbeat(1, 1_800_000_000_000, 5, {RECEIVER: 12}, {"s0": {A: 1, B: 2}}, {RECEIVER: INSTANCE}, {A: 3}),
    Heartbeat(2, 1, 5, {}, {"s0": {}}, {}, {}, {"s0": MARKS}, ("s0",), meeting=True),
    Bind(),
    Bound(INSTANCE),
    Push([make_op(A, 1), make_op(B, 7, {A: 1}, value=None)]),
    Push([Op("s0", A, 1, 1, {B: 2}, (make_record("k"), make_record("l")), (TAKEN_OVER,), MARKS)]),
    Push([make_op(A, 1)], acknowledge=True),
    Acknowledged("s0", B, A, 7),
    Pull(1 << 61, "s0", {A: 1}, 5, 6),
    PullOps(7, "s0", [make_op(A, 1)], more=True),
    PullRows(7, "s0", 5, 0, [make_row("k", None, 1, (A, 1))], 9, {A: 1}, []),
    PullRows(7, "s0", 5, 9, [], 0, {A: 1}, [TAKEN_OVER], MARKS),
    Forward(1, Get("key", TOKEN, 2.5)),
    Forward(2, Put("k\0/ä", b"null", TOKEN, 0, "request")),
    Forward(3, Put("key", None, TOKEN)),
    Forward(3, Put("key", b"1", TOKEN, concern="majority", within=2.5)),
    Forward(3, Put("key", b"1", TOKEN, concern=3)),
    Forward(4, CountKeys("s0", (0, 4095), 4)),
    Import(1 << 61, "s1", 4, True, {A: 1}, 5, 6),
    Imported(7, "s1", 4, 2, 5, 9, 0, [make_record("k", None)], [TAKEN_OVER], {"s1": {A: 1}}, 70, complete=True),
    Announce(),
    Forked(INSTANCE, 7, "s0", 3),
    Contested(INSTANCE, 7, b"", 250),
    Prepare(1, BALLOT, ("10.0.0.1:8090",)),
    Promised(1, BALLOT, Vote(Ballot(), CONFIGURATION)),
    Accept(1, Vote(BALLOT, CONFIGURATION)),
    Accepted(1, BALLOT),
    Outvoted(1, BALLOT),
    AskConfiguration(0),
    TellConfiguration(CONFIGURATION),
    AskChanges(1, 2**40, 3),
    TellChanges(1, 2**40, 9, {"key": 5, "": 9}),
    TellChanges(1, 2**40, 9, None),
    *(Forwarded(number, outcome) for number, outcome in enumerate(OUTCOMES)),
]

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.binary(max_size=8)
    | st.text("as0:"),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text("as0:", max_size=3), inner, max_size=3),
    max_leaves=12,
)
kinds = st.sampled_from([type(message).__name__ for message in MESSAGES])


class EnvelopeTests(SynchronousTestCase):
    """What nodes POST to each other."""

    def setUp(self) -> None:
        """Make a codec."""
        self.codec = EnvelopeCodec(b"secret")

    def sealed(self, body: bytes) -> bytes:
        """Bytes under a genuine tag."""
        return self.codec._tag(body) + body

    def test_every_kind_of_message(self) -> None:
        """Whatever nodes say to each other arrives as it was said, in its order and with its sender."""
        kinds_tested = {type(message) for message in MESSAGES}
        self.assertEqual(set(Message.__args__), kinds_tested)
        self.assertEqual(set(Outcome.__args__), {type(outcome) for outcome in OUTCOMES})
        raw = self.codec.encode(SENDER, RECEIVER, [encode_message(message) for message in MESSAGES])
        self.assertEqual((SENDER, MESSAGES), self.codec.decode(raw, RECEIVER))

    @modest
    @given(tokens)
    def test_every_token_can_be_forwarded(self, token: Token) -> None:
        """A request travels with any token that a client may have."""
        raw = self.codec.encode(SENDER, RECEIVER, [encode_message(Forward(1, Get("key", token)))])
        self.assertEqual([Forward(1, Get("key", token))], self.codec.decode(raw, RECEIVER)[1])

    def test_empty_envelope(self) -> None:
        """An answer that says nothing is an envelope too."""
        self.assertEqual((SENDER, []), self.codec.decode(self.codec.encode(SENDER, RECEIVER, []), RECEIVER))

    def test_wrong_receiver(self) -> None:
        """A message that was meant for another node is refused, with both names."""
        raw = self.codec.encode(SENDER, RECEIVER, [])
        with self.assertRaises(WireError) as caught:
            self.codec.decode(raw, "10.0.0.3:8090")
        self.assertIn(RECEIVER, str(caught.exception))

    def test_wrong_secret(self) -> None:
        """A message that was made under another secret is refused."""
        raw = self.codec.encode(SENDER, RECEIVER, [])
        for secret in (b"", b"secret2"):
            self.assertRaises(WireError, EnvelopeCodec(secret).decode, raw, RECEIVER)

    def test_every_changed_byte_is_noticed(self) -> None:
        """A message with any byte changed, or cut short anywhere, is refused."""
        raw = self.codec.encode(SENDER, RECEIVER, [encode_message(Push([make_op(A, 1)]))])
        for index in range(len(raw)):
            damaged = raw[:index] + bytes([raw[index] ^ 1]) + raw[index + 1 :]
            self.assertRaises(WireError, self.codec.decode, damaged, RECEIVER)
            self.assertRaises(WireError, self.codec.decode, raw[:index], RECEIVER)

    @modest
    @given(st.binary(max_size=100))
    def test_any_bytes(self, raw: bytes) -> None:
        """Bytes that no node made are refused, and do no worse."""
        self.assertRaises(WireError, self.codec.decode, raw, RECEIVER)

    @modest
    @given(
        st.lists(st.lists(values, max_size=6).flatmap(lambda rest: kinds.map(lambda kind: [kind, *rest])), max_size=2)
    )
    def test_any_values_under_a_genuine_tag(self, said: list[object]) -> None:
        """Whatever stands where a message should, it is a message or the whole is refused."""
        body = msgspec.msgpack.encode(("cluster", 3, "10.0.0.1:8090", INSTANCE, RECEIVER, said))
        try:
            _, messages = self.codec.decode(self.sealed(body), RECEIVER)
        except WireError:
            return
        self.assertEqual(len(said), len(messages))


class DiskTests(SynchronousTestCase):
    """What is kept on disk."""

    def restored(self, *changes: Keep) -> Saved:
        """What is found after these changes were kept, by a node that is the owner."""
        tables: dict[str, dict[bytes, bytes]] = {"meta": {}, "rows": {}, "ops": {}}
        for table, key, value in [owner_entry(INSTANCE, RECEIVER), *entries(changes)]:
            if value is None:
                del tables[table][key]
            else:
                tables[table][key] = value
        self.rows = row_table(lambda: tables["rows"])
        owner, state = saved(*(sorted(tables[name].items()) for name in ("meta", "ops")))
        self.assertEqual((INSTANCE, RECEIVER), owner)
        return state

    def test_everything_comes_back(self) -> None:
        """Each kind of change is found again: configuration, bindings, promise, vectors, marks, rows and ops in order."""
        rows = [make_row("b", b"1", 1, (A, 1)), make_row("a/ä\0", None, 2, (A, 2))]
        bindings = {"10.0.0.1:8090": (INSTANCE, True), RECEIVER: (bytes(16), False)}
        state = self.restored(
            SetConfiguration(CONFIGURATION),
            SetBindings({}),
            SetBindings(bindings),
            *(SetRow(A, row) for row in rows),
            SetCount(A, 0, 7, 1, 0, 0),
            SetCount(A, 0, 7, 2, 1, 150),
            SetCount(A, 1, 7, 1, 1, 150),
            SetCount(A, 1, 7, 0, 0, 0),
            *(LogOp(A, arrival, make_op(A, arrival)) for arrival in (1, 2, 256, 70_000)),
            SetVector(A, "s0", {A: 1}, 50, 0),
            SetVector(A, "s0", {A: 2, B: 9}, 70, 40),
            SetVector(B, "s1", {}, 60, 0),
            SetMarks(B, MARKS),
            SetPromise(1, Ballot(), None),
            SetPromise(2, BALLOT, Vote(BALLOT, CONFIGURATION)),
        )
        self.assertEqual((CONFIGURATION, bindings, 70), (state.configuration, state.bindings, state.hlc))
        self.assertEqual((2, BALLOT, Vote(BALLOT, CONFIGURATION)), state.promise)
        ops = [(arrival, make_op(A, arrival)) for arrival in (1, 2, 256, 70_000)]
        self.assertEqual(SavedRole("s1", {}, marks=MARKS), state.roles[B])
        counts = {(0, 7): Count(2, 1, 150)}
        self.assertEqual(SavedRole("s0", {A: 2, B: 9}, 40, rows[1:], counts, ops), state.roles[A])
        self.assertEqual(rows, [self.rows.get(A, 0, row.record.key) for row in rows])

    def test_what_was_dropped_is_gone(self) -> None:
        """Rows and ops that were dropped are not found, their neighbours are."""
        kept, gone = make_row("k", b"1", 1, (A, 1)), make_row("kk", None, 2, (A, 2))
        state = self.restored(
            SetVector(A, "s0", {A: 2}, 1, 0),
            *(LogOp(A, arrival, make_op(A, arrival)) for arrival in (1, 2, 3)),
            SetRow(A, kept),
            SetRow(A, gone),
            DropRow(A, 0, "kk", tombstone=True),
            DropOps(A, [1, 2]),
        )
        self.assertEqual(SavedRole("s0", {A: 2}, 0, ops=[(3, make_op(A, 3))]), state.roles[A])
        self.assertEqual([kept, None], [self.rows.get(A, 0, key) for key in ("k", "kk")])

    def test_tombstone_that_is_revived(self) -> None:
        """A key that has a value again is no tombstone any more; one that never was one leaves others alone."""
        buried = [make_row(key, None, 1, (A, number)) for number, key in enumerate("ab", 1)]
        state = self.restored(
            SetVector(A, "s0", {A: 3}, 1, 0),
            *(SetRow(A, row) for row in buried),
            SetRow(A, make_row("b", b"1", 2, (A, 3)), revives=True),
            SetRow(A, make_row("c", b"1", 2, (A, 4))),
        )
        self.assertEqual(buried[:1], state.roles[A].tombstones)
        self.assertEqual([None, b"1"], [row and row.record.value for row in (self.rows.get(A, 0, k) for k in "ab")])

    def test_role_that_is_over(self) -> None:
        """Of a replica that was forgotten nothing is found; of marks that are none any more neither."""
        state = self.restored(
            SetVector(A, "s0", {A: 2}, 1, 0),
            SetMarks(A, MARKS),
            SetVector(B, "s1", {B: 1}, 1, 0),
            SetMarks(B, MARKS),
            SetMarks(B, Marks()),
            DropRole(A),
        )
        self.assertEqual({B: SavedRole("s1", {B: 1})}, state.roles)

    def test_rows_in_the_place_of_a_copy(self) -> None:
        """A replica that exchanged its rows with a copy has those of the copy; two never have the same."""
        old, new = make_row("k", None, 1, (A, 1)), make_row("k", None, 2, (A, 2))
        before: list[Keep] = [
            SetVector(A, "s0", {A: 1}, 1, 0),
            SetRow(A, old),
            SetCount(A, 0, 1, 1, 0, 0),
            SetVector(B, "", {}, 2, 0),
            SetRow(B, new),
            SetCount(B, 0, 2, 1, 0, 0),
        ]
        after = [SetVector(B, "", {}, 2, 0, A), SetVector(A, "s0", {A: 2}, 2, 0, B)]
        state = self.restored(*before, *after)
        self.assertEqual(SavedRole("s0", {A: 2}, 0, [new], {(0, 2): Count(1, 0, 0)}, place=B), state.roles[A])
        self.assertEqual(SavedRole("", {}, 0, [old], {(0, 1): Count(1, 0, 0)}, place=A), state.roles[B])
        self.assertRaises(WireError, self.restored, *before, after[1])

    def test_empty_disk(self) -> None:
        """An empty disk has no owner and no state."""
        self.assertEqual((None, Saved()), saved([], []))

    def test_vectors_of_one_write(self) -> None:
        """Of several vectors of a replica only the last is written, in its place among the others."""
        first, other, last = (SetVector(role, "s0", {A: n}, n, 0) for role, n in ((A, 1), (B, 1), (A, 2)))
        row = SetRow(A, make_row("k", b"1", 1, (A, 1)))
        self.assertEqual(list(entries([other, row, last])), list(entries([first, other, row, last])))

    def test_row_that_can_not_be_read(self) -> None:
        """A row that is damaged raises when it is read, alone or with others."""
        [(_, key, row)] = entries([SetRow(A, make_row("k", b"1", 1, (A, 1)))])
        assert row is not None
        rows = row_table(lambda: {key: row[:-1]})
        self.assertRaises(UnreadableRow, rows.get, A, 0, "k")
        self.assertRaises(UnreadableRow, rows.scan, A, 0, slot_of("k"), None, 1)

    def test_what_can_not_be_read(self) -> None:
        """Entries that are damaged, unknown or of nobody are refused, whatever table they are in."""
        [(_, _, row), (_, key, _)] = entries([SetRow(A, make_row("k", None, 1, (A, 1)))])
        [(_, slot, count)] = entries([SetCount(A, 0, 1, 1, 1, 100)])
        [(_, role, vector)] = entries([SetVector(A, "s0", {A: 1}, 1, 0)])
        owner = owner_entry(INSTANCE, RECEIVER)[1:]
        assert row is not None and count is not None and vector is not None and owner[1] is not None
        meta = [(owner[0], owner[1]), (role, vector)]
        saved([*meta, (slot, count), (key, row)], [])
        tables: list[tuple[Table, Table]] = [
            ([*meta, (key, row[:-1])], []),
            ([*meta, (slot, count[:-1])], []),
            ([*meta, (key.replace(A, b"nobody"), row)], []),
            ([*meta, (slot.replace(A, b"nobody"), count)], []),
            (meta, [(A + bytes(8), b"\xc1")]),
            ([*meta, (b"strange", b"")], []),
            ([(owner[0], b"")], []),
            (meta[1:], []),
            ([meta[0], (b"configuration", b"\x80")], []),
        ]
        for bad in tables:
            self.assertRaises(WireError, saved, *bad)
