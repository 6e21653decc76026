"""The rows of a replica: which version wins, how many live, and how they are copied while writes go on."""

from collections.abc import Iterable
from itertools import count, permutations
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kvsd.entries import entries
from kvsd.replication.causality import VersionVector
from kvsd.replication.copies import Copies, Place
from kvsd.replication.effects import SetRow
from kvsd.replication.limits import Limits
from kvsd.replication.placement import slot_of
from kvsd.replication.reading import ENTRY_BYTES, SCAN_ROWS, Reading
from kvsd.replication.record import Row, RowKey
from kvsd.replication.store import Store, record_bytes
from kvsd.rows import UnreadableRow
from tests.builders import A, B, C, make_record, make_row, modest
from tests.tables import LaggingStore, pages_of, row_table

KEYS = ("a", "{a}b", "{a}c", "d")
"""Most of them share a slot."""


def contents(store: Store) -> dict[RowKey, Row]:
    """The rows of a store by tenure and key."""
    return {(row.record.tenure, row.record.key): row for row in store}


steps = st.lists(
    st.tuples(st.sampled_from(KEYS), st.sampled_from((A, B, C)), st.integers(1, 9), st.booleans()), max_size=12
)


def rows_of(drawn: Iterable[tuple[str, bytes, int, bool]]) -> list[Row]:
    """Rows with counters that grow for each writer; no two of a key have the same stamp."""
    counters: dict[bytes, int] = {}
    stamps, rows = set(), []
    for key, writer, hlc, deleted in drawn:
        if (key, hlc, writer) not in stamps:
            stamps.add((key, hlc, writer))
            counters[writer] = counters.get(writer, 0) + 1
            rows.append(make_row(key, None if deleted else b"v", hlc, (writer, counters[writer])))
    return rows


class WinnerTests(SynchronousTestCase):
    """The last writer wins, by stamp."""

    @modest
    @given(steps, st.randoms(use_true_random=False))
    def test_order_of_arrival_does_not_matter(self, drawn: list[tuple[str, bytes, int, bool]], random: Random) -> None:
        """Replicas that were given the same rows in any order hold the same."""
        rows = rows_of(drawn)
        shuffled = list(rows)
        random.shuffle(shuffled)
        self.assertEqual(contents(LaggingStore(rows)), contents(LaggingStore([*shuffled, *rows])))

    def test_every_order_of_a_conflict(self) -> None:
        """Of versions written at once, every replica keeps the same; the writer decides between equal stamps."""
        rows = [make_row("k", b"1", 5, (A, 1)), make_row("k", b"2", 5, (B, 1)), make_row("k", None, 4, (C, 1))]
        for order in permutations(rows):
            store = LaggingStore(order)
            self.assertEqual(rows[1], store.get(0, "k"))
            self.assertEqual((1, {}), (store.live_keys, store.tombstones))

    def test_put_says_whether_the_row_won(self) -> None:
        """A row that loses, or that is there already, is not kept a second time."""
        store = LaggingStore()
        row = make_row("k", b"1", 5, (A, 1))
        kept = [store.put(r) for r in (row, row, make_row("k", b"0", 4, (B, 1)), make_row("k", b"2", 6, (B, 2)))]
        self.assertEqual([True, False, False, True], kept)

    def test_tenures_never_meet(self) -> None:
        """Versions of one key from different stays of its slot do not touch each other."""
        old = Row(A, 1, make_record("k", b"old", 9, (A, 1), tenure=1))
        new = Row(A, 2, make_record("k", b"new", 1, (A, 2), tenure=2))
        store = LaggingStore([old, new])
        self.assertEqual((old, new, None), (store.get(1, "k"), store.get(2, "k"), store.get(3, "k")))

    def test_conflicts_are_counted(self) -> None:
        """A version that was put over the other is no conflict; one whose author did not know of the other is."""
        store = LaggingStore([make_row("k", b"1", 5, (A, 1))])
        store.put(Row(B, 1, make_record("k", b"2", 6, (B, 1), over=5)))
        self.assertEqual(0, store.conflicts)
        store.put(make_row("k", b"3", 4, (C, 1)))
        self.assertEqual(0, store.conflicts, "its author knew of nothing, but the winner's knew of a later one")
        store.put(Row(C, 2, make_record("k", b"4", 7, (C, 2), over=5)))
        self.assertEqual(1, store.conflicts)


class CountTests(SynchronousTestCase):
    """How many keys have a value."""

    @modest
    @given(steps, st.lists(st.sampled_from(KEYS), max_size=4))
    def test_live_keys(self, drawn: list[tuple[str, bytes, int, bool]], dropped: list[str]) -> None:
        """After any writes, deletions and removals the count is that of the keys with a value."""
        store = LaggingStore()
        for row in rows_of(drawn):
            store.put(row)
            self.assert_counted(store)
        for key in dropped:
            if found := store.get(0, key):
                store.drop(found)
                self.assert_counted(store)

    def assert_counted(self, store: Store) -> None:
        """The counts agree with the rows."""
        rows = contents(store)
        tombstones = {key: row for key, row in rows.items() if row.record.is_tombstone}
        self.assertEqual(len(rows) - len(tombstones), store.live_keys)
        self.assertEqual((len(rows), tombstones), (len(store), store.tombstones))


class PageTests(SynchronousTestCase):
    """A copy in pages, while writes go on."""

    @modest
    @given(
        steps,
        st.lists(
            st.tuples(st.sampled_from((*KEYS, "e", "{a}f")), st.sampled_from(("put", "delete", "drop"))), max_size=25
        ),
        st.integers(1, 3),
        st.integers(0, 3),
        st.dictionaries(st.sampled_from((A, B, C)), st.integers(1, 4), max_size=3),
    )
    def test_copy_taken_while_writes_go_on(
        self,
        drawn: list[tuple[str, bytes, int, bool]],
        meanwhile: list[tuple[str, str]],
        page_rows: int,
        writes_a_page: int,
        vector: VersionVector,
    ) -> None:
        """Whoever collects all pages ends up with exactly the rows beyond its vector, as they are at the end."""
        donor, copy, counters = LaggingStore(rows_of(drawn)), LaggingStore(), count(101)

        def change() -> None:
            for key, what in [meanwhile.pop() for _ in range(min(writes_a_page, len(meanwhile)))]:
                counter = next(counters)
                if what != "drop":
                    donor.put(make_row(key, b"w" if what == "put" else None, counter, (A, counter)))
                elif tombstone := donor.tombstones.get((0, key)):
                    donor.drop(tombstone)

        for page in pages_of(donor, vector, page_rows, meanwhile=change):
            for row in page:
                copy.put(row)
        expected = {key: row for key, row in contents(donor).items() if vector.get(row.writer, 0) < row.counter}
        copied = contents(copy)
        self.assertEqual(expected, {key: row for key, row in copied.items() if key in contents(donor)})

    def test_bytes_end_a_page(self) -> None:
        """A page ends once it is large enough, and a value larger than a page travels alone."""
        rows = [make_row(f"k{n}", b"x" * 1000, 1, (A, n + 1)) for n in range(5)]
        store = LaggingStore(rows)
        pages = list(pages_of(store, {}, 100, 2 * record_bytes(rows[0].record)))
        self.assertEqual([2, 2, 1], [len(page) for page in pages])
        self.assertEqual([1] * 5, [len(page) for page in pages_of(store, {}, 100, 1)])

    def test_looking_ends_a_page_too(self) -> None:
        """A page that finds nothing that is lacking ends after so many rows, and there are more."""
        store = LaggingStore([make_row(f"k{n}", b"v", 1, (A, n + 1)) for n in range(10)])
        pages = list(pages_of(store, {A: 9}, 4))
        self.assertEqual((3, ["k9"]), (len(pages), [row.record.key for page in pages for row in page]))

    def test_empty_store(self) -> None:
        """There is nothing to copy of an empty store."""
        self.assertEqual(([], 0), LaggingStore().page(1, 0, {}, 1, 1))

    def test_slots(self) -> None:
        """Where only some slots are asked for, no others are read; what changes meanwhile comes all the same."""
        rows = [make_row(f"k{n}", b"v", 1, (A, n + 1)) for n in range(10)]
        store = LaggingStore(rows)
        store.sync()
        slots = sorted({(0, slot_of(row.record.key)) for row in rows[:3]})
        first, cursor = store.page(1, 0, {}, 10**6, 2, slots=slots) or ([], 0)
        changed = make_row("k9", b"w", 2, (A, 11))
        store.put(changed)
        second, end = store.page(1, cursor, {}, 10**6, 100, slots=slots) or ([], 1)
        self.assertEqual((0, {*slots}), (end, store.slots_read))
        self.assertEqual({0, 1, 2, 10}, {row.counter - 1 for row in first + second})

    def test_copy_that_is_not_known(self) -> None:
        """A copy goes on once from each place, and not where another one was, or after a long time."""
        store = LaggingStore([make_row(f"k{n}", b"v", 1, (A, n + 1)) for n in range(10)])
        _, cursor = store.page(1, 0, {}, 10**6, 2) or ([], 0)
        self.assertIsNone(store.page(2, cursor, {}, 10**6, 2))
        self.assertIsNotNone(store.page(1, cursor, {}, 10**6, 2))
        self.assertIsNone(store.page(1, cursor, {}, 10**6, 2))
        _, cursor = store.page(3, 0, {}, 10**6, 2) or ([], 0)
        for _ in range(Limits().copy_ticks + 1):
            store.copies.tick()
        self.assertIsNone(store.page(3, cursor, {}, 10**6, 2))

    def test_changes_take_room_only_during_a_copy(self) -> None:
        """What changes is remembered once a key, as long as somebody copies, and up to a bound, beyond which none can."""
        store = LaggingStore([make_row(f"k{n}", b"v", 1, (A, n + 1)) for n in range(10)])
        self.assertEqual(0, len(store.copies))
        _, cursor = store.page(1, 0, {}, 10**6, 5) or ([], 0)
        for counter in range(11, 1011):
            store.put(make_row(f"k{counter % 3}", b"w", counter, (A, counter)))
        self.assertEqual(3, len(store.copies))
        page, end = store.page(1, cursor, {}, 10**6, 10**6) or ([], 1)
        self.assertEqual(0, end)
        self.assertLessEqual({f"k{n}" for n in range(3)}, {row.record.key for row in page if row.record.value == b"w"})
        store.copies.tick()
        self.assertEqual(0, len(store.copies))
        bounded = Copies(max_changed=2, max_ticks=9)
        number = bounded.set_aside(1, Place(0, None))
        for key in "abc":
            bounded.note((0, key))
        self.assertEqual((None, 0), (bounded.place(1, number), len(bounded)))


class ReadingTests(SynchronousTestCase):
    """Rows on disk, behind those that are not there yet and those that were used lately."""

    @modest
    @given(steps, st.integers(0, 4))
    def test_what_was_applied_is_read(self, drawn: list[tuple[str, bytes, int, bool]], lag: int) -> None:
        """However far the disk is behind, every read sees the version that won, and so does a process started later."""
        rows, expected = rows_of(drawn), {}
        store = LaggingStore(lag=lag)
        for row in rows:
            if store.put(row):
                expected[row.record.key] = row
            self.assertEqual([expected.get(key) for key in KEYS], [store.get(0, key) for key in KEYS])
            self.assertEqual({(0, key): row for key, row in expected.items()}, contents(store))
        again = store.reopened()
        self.assertEqual((contents(store), store.tombstones), (contents(again), again.tombstones))
        self.assertEqual((len(store), store.live_keys), (len(again), again.live_keys))

    def test_many_rows_in_a_slot(self) -> None:
        """A slot with more rows than are read at once is read whole, with what is fresh in its place."""
        keys = [f"{{tag}}{number:04}" for number in range(3 * SCAN_ROWS)]
        store = LaggingStore(make_row(key, b"v", 1, (A, n + 1)) for n, key in enumerate(keys))
        store.sync()
        for number, key in enumerate((keys[0], keys[SCAN_ROWS], keys[-1], "{tag}9", "{tag}"), 5000):
            store.reading.set((0, key), None if number % 2 else make_row(key, b"w", 2, (A, number)), 10**6)
        found = [row.record.key for row in store]
        gone = {keys[SCAN_ROWS], "{tag}9"}
        self.assertEqual(sorted({*keys, "{tag}"} - gone), found)

    def test_memory_is_bounded(self) -> None:
        """The rows that were used last stay in memory, within its bytes, and it is known which keys have no row."""
        rows = [make_row(f"k{n}", b"v", 1, (A, n + 1)) for n in range(5)]
        table = {key: value for _, key, value in entries([SetRow(A, row) for row in rows]) if value}
        reading = Reading(A, row_table(lambda: table), 3 * (ENTRY_BYTES + 3))
        for key in ("k0", "k1", "k2", "k0", "k9"):
            reading.get(0, key)
        table.clear()
        found = [reading.get(0, key) for key in ("k9", "k0", "k2", "k1")]
        self.assertEqual([None, rows[0], rows[2], None], found)
        # Rows that are not durable yet stay, and nothing else stays for that.
        fresh = {key: make_row(key, b"x" * 10**4, 2, (A, 9)) for key in ("large", "k0")}
        for key, row in fresh.items():
            reading.set((0, key), row, 1)
        for number in range(9):
            reading.get(0, f"n{number}")
            self.assertIs(fresh["large"], reading.get(0, "large"))
            self.assertLessEqual(len(reading), 3)
            self.assertLessEqual(reading.bytes, 3 * (ENTRY_BYTES + 3))
        reading.synced(1)
        self.assertEqual((0, 0), (len(reading), reading.bytes), "a value that does not fit takes no room")

    def test_what_can_not_be_read_raises(self) -> None:
        """A row that can't be read is never taken for one that is not there."""
        store = LaggingStore([make_row("k", b"v", 1, (A, 1))], lag=0).reopened()
        store.table = {key: value[:-1] for key, value in store.table.items()}
        self.assertRaises(UnreadableRow, store.get, 0, "k")
        self.assertRaises(UnreadableRow, list, store)
        self.assertRaises(UnreadableRow, store.put, make_row("k", b"w", 2, (A, 2)))
