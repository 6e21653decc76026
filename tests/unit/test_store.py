"""The rows of a replica: which version wins, how many live, and how they are copied while writes go on."""

from collections.abc import Iterable
from itertools import permutations
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication.causality import VersionVector
from kvsd.replication.record import Row
from kvsd.replication.store import RowKey, Store, record_bytes
from tests.builders import A, B, C, make_record, make_row, modest


def contents(store: Store) -> dict[RowKey, Row]:
    """The rows of a store by tenure and key."""
    return {(row.record.tenure, row.record.key): row for row in store}


steps = st.lists(
    st.tuples(st.sampled_from("abcd"), st.sampled_from((A, B, C)), st.integers(1, 9), st.booleans()), max_size=12
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
        self.assertEqual(contents(Store(rows)), contents(Store([*shuffled, *rows])))

    def test_every_order_of_a_conflict(self) -> None:
        """Of versions written at once, every replica keeps the same; the writer decides between equal stamps."""
        rows = [make_row("k", b"1", 5, (A, 1)), make_row("k", b"2", 5, (B, 1)), make_row("k", None, 4, (C, 1))]
        for order in permutations(rows):
            store = Store(order)
            self.assertEqual(rows[1], store.get(0, "k"))
            self.assertEqual((1, {}), (store.live_keys, store.tombstones))

    def test_put_says_whether_the_row_won(self) -> None:
        """A row that loses, or that is there already, is not kept a second time."""
        store = Store()
        row = make_row("k", b"1", 5, (A, 1))
        kept = [store.put(r) for r in (row, row, make_row("k", b"0", 4, (B, 1)), make_row("k", b"2", 6, (B, 2)))]
        self.assertEqual([True, False, False, True], kept)

    def test_tenures_never_meet(self) -> None:
        """Versions of one key from different stays of its slot do not touch each other."""
        old = Row(A, 1, make_record("k", b"old", 9, (A, 1), tenure=1))
        new = Row(A, 2, make_record("k", b"new", 1, (A, 2), tenure=2))
        store = Store([old, new])
        self.assertEqual((old, new, None), (store.get(1, "k"), store.get(2, "k"), store.get(3, "k")))

    def test_conflicts_are_counted(self) -> None:
        """A version that was put over the other is no conflict; one whose author did not know of the other is."""
        store = Store([make_row("k", b"1", 5, (A, 1))])
        store.put(Row(B, 1, make_record("k", b"2", 6, (B, 1), over=5)))
        self.assertEqual(0, store.conflicts)
        store.put(make_row("k", b"3", 4, (C, 1)))
        self.assertEqual(0, store.conflicts, "its author knew of nothing, but the winner's knew of a later one")
        store.put(Row(C, 2, make_record("k", b"4", 7, (C, 2), over=5)))
        self.assertEqual(1, store.conflicts)


class CountTests(SynchronousTestCase):
    """How many keys have a value."""

    @modest
    @given(steps, st.lists(st.sampled_from("abcd"), max_size=4))
    def test_live_keys(self, drawn: list[tuple[str, bytes, int, bool]], dropped: list[str]) -> None:
        """After any writes, deletions and removals the count is that of the keys with a value."""
        store = Store()
        for row in rows_of(drawn):
            store.put(row)
            self.assert_counted(store)
        for key in dropped:
            if store.get(0, key):
                store.drop((0, key))
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
        st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from(("put", "delete", "drop"))), max_size=25),
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
        donor, copy, counter, cursor = Store(rows_of(drawn)), Store(), 100, 0
        while True:
            page, cursor = donor.page(cursor, vector, 10**6, page_rows)
            for row in page:
                copy.put(row)
            if not cursor:
                break
            for key, change in [meanwhile.pop() for _ in range(min(writes_a_page, len(meanwhile)))]:
                counter += 1
                if change != "drop":
                    donor.put(make_row(key, b"w" if change == "put" else None, counter, (A, counter)))
                elif (0, key) in donor.tombstones:
                    donor.drop((0, key))
        expected = {key: row for key, row in contents(donor).items() if vector.get(row.writer, 0) < row.counter}
        copied = contents(copy)
        self.assertEqual(expected, {key: row for key, row in copied.items() if key in contents(donor)})

    def test_bytes_end_a_page(self) -> None:
        """A page ends once it is large enough, and a value larger than a page travels alone."""
        rows = [make_row(f"k{n}", b"x" * 1000, 1, (A, n + 1)) for n in range(5)]
        store, sizes, cursor = Store(rows), [], 0
        while True:
            page, cursor = store.page(cursor, {}, 2 * record_bytes(rows[0].record), 100)
            sizes.append(len(page))
            if not cursor:
                break
        self.assertEqual([2, 2, 1], sizes)
        self.assertEqual(1, len(store.page(0, {}, 1, 100)[0]))

    def test_looking_ends_a_page_too(self) -> None:
        """A page that finds nothing that is lacking ends after so many rows, and says where to go on."""
        store = Store([make_row(f"k{n}", b"v", 1, (A, n + 1)) for n in range(10)])
        page, cursor = store.page(0, {A: 9}, 10**6, 4)
        self.assertEqual(([], 4), (page, cursor))
        page, cursor = store.page(8, {A: 9}, 10**6, 4)
        self.assertEqual((["k9"], 0), ([row.record.key for row in page], cursor))

    def test_empty_store(self) -> None:
        """There is nothing to copy of an empty store, nor beyond the end of any."""
        self.assertEqual(([], 0), Store().page(0, {}, 1, 1))
        self.assertEqual(([], 0), Store([make_row("k", b"v", 1, (A, 1))]).page(1, {}, 1, 1))

    def test_rewriting_keys_takes_no_room(self) -> None:
        """Writing the same keys for ever leaves no trail, and a copy under way does not notice the tidying up."""
        store = Store([make_row(f"k{n}", b"v", 1, (A, n + 1)) for n in range(10)])
        _, cursor = store.page(0, {}, 10**6, 5)
        for counter in range(11, 1011):
            store.put(make_row(f"k{counter % 3}", b"w", counter, (A, counter)))
        self.assertLessEqual(len(store._arrivals), 2 * 10 + 64)
        page, end = store.page(cursor, {}, 10**6, 10**6)
        self.assertEqual((0, {f"k{n}" for n in (0, 1, 2, 5, 6, 7, 8, 9)}), (end, {row.record.key for row in page}))
