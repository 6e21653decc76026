"""
Defects of rows on disk: a read sees something else than what was applied, or what is kept beside the rows is wrong.
"""

from kvsd.replication.copies import Copies
from kvsd.replication.reading import Reading
from kvsd.replication.role import Role
from kvsd.replication.store import Store
from tests.simulation.mutants.planting import Plant, Planting


def fresh_rows_not_read(planting: Planting) -> None:
    """A read sees what was applied, also where it is not on the disk yet."""
    fresh = "fresh := self._fresh.get(name)"
    planting.rewrite(Reading, "get", (fresh, f"({fresh}) and False"))


def fresh_rows_not_listed(planting: Planting) -> None:
    """A listing has what was applied, also where it is not on the disk yet."""
    planting.rewrite(Reading, "in_slot", ("fresh.get(slot, {}).items()", "()"))


def cache_of_old_rows(planting: Planting) -> None:
    """What was read once is not read again where another row has taken its place."""
    planting.rewrite(Reading, "synced", ("self._keep(key, row)", "pass"))


def counts_not_restored(planting: Planting) -> None:
    """After a start it is known how much there is in each slot."""
    planting.rewrite(Store, "restore", ("self.counts.restore(counts)", "pass"))


def counts_not_kept(planting: Planting) -> None:
    """Counts are on the disk."""
    planting.rewrite(Role, "counts", ("in self.store.counts.take_changed()", "in ()"))


def counts_kept_later(planting: Planting) -> None:
    """Counts are on the disk with the very rows that they count, not some time after them."""
    planting.rewrite(Role, "changes", ("yield from self.counts()", "yield from ()"))


def tombstones_not_restored(planting: Planting) -> None:
    """After a start it is known which keys are deleted, so that they can be forgotten in the end."""
    planting.rewrite(Store, "restore", ("for row in tombstones", "for row in ()"))


def revived_key_stays_buried(planting: Planting) -> None:
    """A key that has a value again is no tombstone on the disk any more."""
    planting.rewrite(Role, "_put", ("SetRow(self.place, row, revives)", "SetRow(self.place, row)"))


def changes_left_out_of_copies(planting: Planting) -> None:
    """What changes behind the place where a copy is comes again at its end."""
    planting.rewrite(Copies, "note", ("if not self._places:", "if True:"))


def place_of_another_copy(planting: Planting) -> None:
    """A copy brings again what changed since its own beginning, not since its last page."""
    planting.rewrite(
        Store, "page", ("set_aside(copy, here)", "set_aside(copy, here._replace(since=self.copies._changes))")
    )


DEFECTS: list[Plant] = [
    fresh_rows_not_read,
    fresh_rows_not_listed,
    cache_of_old_rows,
    counts_not_restored,
    counts_not_kept,
    counts_kept_later,
    tombstones_not_restored,
    revived_key_stays_buried,
    changes_left_out_of_copies,
    place_of_another_copy,
]
