"""The laws of rows: members that know of the same writes have the same rows, however they came to know of them."""

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication.causality import join
from kvsd.replication.record import Op, Row, RowKey
from kvsd.replication.store import Store
from tests.examples import examples
from tests.histories import (
    WRITES,
    Event,
    History,
    Shard,
    arrivals,
    deliveries,
    dot,
    events,
    histories,
    reach,
)
from tests.members import Member
from tests.tables import LaggingStore, pages_of


def row_of(op: Op) -> Row:
    """The row that an op brings."""
    return Row(op.writer, op.counter, op.record)


def winners(ops: Iterable[Op]) -> dict[RowKey, Row]:
    """Of each key the last version, by stamp and then by writer."""
    ascending = sorted(ops, key=lambda op: (op.record.hlc, op.writer))
    return {(op.record.tenure, op.record.key): row_of(op) for op in ascending}


def rows_in(store: Store) -> dict[RowKey, Row]:
    """The rows of a store by tenure and key."""
    return {(row.record.tenure, row.record.key): row for row in store}


class RowCase(SynchronousTestCase):
    """What is asked of every store."""

    def assert_rows(self, store: Store, expected: dict[RowKey, Row]) -> None:
        """The store has just these rows, and its counts are theirs."""
        tombstones = {key: row for key, row in expected.items() if row.record.value is None}
        self.assertEqual(expected, rows_in(store))
        self.assertEqual({key: store.get(*key) for key in expected}, expected)
        self.assertEqual((len(expected), tombstones), (len(store), store.tombstones))
        self.assertEqual(len(expected) - len(tombstones), store.live_keys)


class StoreLaws(RowCase):
    """The store by itself."""

    @examples(100)
    @given(deliveries)
    def test_last_writer_wins(self, delivery: tuple[History, list[Op]]) -> None:
        """In whatever order rows come, and however often, the last version of each key is there at any time."""
        _, arrived = delivery
        store = LaggingStore()
        for number, op in enumerate(arrived, 1):
            before = rows_in(store)
            self.assertEqual(store.put(row_of(op)), rows_in(store) != before)
            self.assert_rows(store, winners(arrived[:number]))

    @examples(40)
    @given(deliveries, st.sets(st.sampled_from("abc")))
    def test_dropping(self, delivery: tuple[History, list[Op]], dropped: set[str]) -> None:
        """What is dropped is gone, its neighbours stay, and what comes after is there as if nothing had been before."""
        _, arrived = delivery
        store, expected = LaggingStore(map(row_of, arrived)), winners(arrived)
        for key in dropped & {key for _, key in expected}:
            store.drop(expected.pop((0, key)))
            self.assert_rows(store, expected)
        for op in arrived:
            store.put(row_of(op))
        self.assert_rows(store, winners(arrived))

    @examples(60)
    @given(deliveries, st.integers(1, 3), st.integers(0, 2**8 - 1))
    def test_pages(self, delivery: tuple[History, list[Op]], page_rows: int, known: int) -> None:
        """A copy brings, page by page, whatever the other side lacks, each row once, and says when that was all."""
        history, arrived = delivery
        had = [op for bit, op in enumerate(history.ops) if known >> bit & 1]
        vector = reach(had)
        store = LaggingStore(map(row_of, arrived))
        pages = []
        for page in pages_of(store, vector, page_rows):
            self.assertLessEqual(len(page), page_rows)
            pages += page
        lacking = [row for row in store if vector.get(row.writer, 0) < row.counter]
        self.assertEqual(sorted(map(repr, lacking)), sorted(map(repr, pages)))


class RoleLaws(RowCase):
    """A member of the shard, by way of ops and of copies."""

    @examples(50)
    @given(deliveries)
    def test_order_of_ops_does_not_matter(self, delivery: tuple[History, list[Op]]) -> None:
        """In whatever order ops come, the rows are those of the writes that could be applied."""
        history, arrived = delivery
        member = Member(3)
        for number, op in enumerate(arrived, 1):
            member.deliver([op])
            due = history.closed(arrived[:number])
            self.assert_rows(member.role.store, winners(op for op in history.ops if dot(op) in due))
        self.assert_rows(member.role.store, winners(history.ops))

    @examples(60)
    @given(st.data(), histories)
    def test_order_of_rows_does_not_matter(self, data: st.DataObject, history: History) -> None:
        """Copies of any members, with their rows in any order, bring what ops would have brought; and then ops go on."""
        orders = data.draw(st.lists(arrivals(history), min_size=3, max_size=3))
        parts = [order[: data.draw(st.integers(0, len(order)))] for order in orders]
        donors = [Member(number) for number in (3, 3)]
        for donor, part in zip(donors, parts[:2], strict=True):
            donor.deliver(part)
        member = Member(3)
        member.deliver(parts[2])
        vector, had = dict(member.role.vector), history.closed(parts[2])
        for donor, part in zip(donors, parts[:2], strict=True):
            rows = donor.copy(member.role.vector, 2)
            more = data.draw(st.lists(st.sampled_from(rows), max_size=2)) if rows else []
            member.absorb(donor, data.draw(st.permutations([*rows, *more])))
            had = history.closed(
                op for op in history.ops if dot(op) in had | history.closed(part) | set(map(dot, parts[2]))
            )
            join(vector, donor.role.vector)
            join(vector, reach(had))
            self.assertEqual(vector, member.role.vector)
            self.assert_rows(member.role.store, winners(op for op in history.ops if dot(op) in had))
        member.deliver(orders[2])
        self.assert_rows(member.role.store, winners(history.ops))
        self.assertEqual((0, 0), (member.role.holdback.count, member.role.holdback.bytes))


class ShardLaws(RowCase):
    """Three members that write while they hear of and copy each other's writes."""

    @examples(100)
    @given(events(*WRITES, "copy", "truncate", "restart"))
    def test_all_members_have_what_they_know_of(self, happened: list[Event]) -> None:
        """Each member has the rows, the vector and the requests of just those writes that it can know of."""
        shard = Shard()
        for event in happened:
            shard.happen(event)
            known, role = shard.known(event.member), shard.members[event.member].role
            self.assertEqual(reach(known), role.vector)
            self.assert_rows(role.store, winners(known))
            for op in known:
                carried_out = role.requests.get(op.record.key, op.record.request)
                self.assertEqual(op.record.request, carried_out.record.request if carried_out else "")
        for number, member in enumerate(shard.members):
            shard.deliver(number, shard.ops)
            self.assert_rows(member.role.store, winners(shard.ops))
