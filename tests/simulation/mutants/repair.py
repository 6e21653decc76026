"""
Defects of anti-entropy: what was lost is not fetched, or not all of it, or in the wrong way.
"""

from kvsd.replication.antientropy import AntiEntropy
from kvsd.replication.oplog import OpLog
from kvsd.replication.role import Role
from kvsd.replication.store import Store
from tests.simulation.mutants.delivery import LOGGED
from tests.simulation.mutants.planting import Plant, Planting


def lost_answer_awaited_for_ever(planting: Planting) -> None:
    """A pull that gets no answer is tried again."""
    late = "pulling.is_late(now, self._state.limits, self._state.slow_ways)"
    planting.rewrite(AntiEntropy, "tick", (late, "False"))


def never_pulled(planting: Planting) -> None:
    """What others report and a replica lacks is pulled."""
    lacking = "since is not None and now - since >= self._state.limits.pull_grace_seconds"
    planting.rewrite(AntiEntropy, "tick", (lacking, "False"))


def page_taken_for_all(planting: Planting) -> None:
    """A copy is taken over after its last page, not after any page."""
    planting.rewrite(AntiEntropy, "pulled_rows", ("if message.cursor:", "if False:"))


def last_page_taken_for_all(planting: Planting) -> None:
    """Of a copy all pages are taken over."""
    planting.rewrite(AntiEntropy, "_set_aside", ("pulling.rows += message.rows", "pulling.rows = message.rows"))


def page_skips_a_row(planting: Planting) -> None:
    """A page of a copy begins right after the one before it."""
    aside = "self.copies.set_aside(copy, here) if next(ahead, None)"
    planting.rewrite(
        Store, "page", (aside, "self.copies.set_aside(copy, skipped[0]) if (skipped := next(ahead, None))")
    )


def copy_without_rows(planting: Planting) -> None:
    """A copy takes over rows, not only what they amount to."""
    planting.rewrite(Role, "take_in", ("for row in rows:", "for row in ():"))


def copy_not_filtered(planting: Planting) -> None:
    """Rows of a copy that are known already, and may have been deleted and collected since, are left out."""
    planting.rewrite(Role, "take_in", ("if row.counter <= self.vector.get(row.writer, 0):", "if False:"))


def copy_not_compared(planting: Planting) -> None:
    """A row of a copy replaces only what it beats."""
    witness = "self._clock.witness(row.record.hlc)"
    forced = "self.store.reading.set((row.record.tenure, row.record.key), None, position)"
    planting.rewrite(Role, "take_in", (witness, f"{witness}; {forced}"))


def log_kept_over_copy(planting: Planting) -> None:
    """The log holds no ops from before a gap."""
    planting.rewrite(Role, "absorb", ("self.log.clear()", "[]"))
    planting.rewrite(OpLog, "_keep", LOGGED)


def log_skips_an_op(planting: Planting) -> None:
    """The answer to a pull begins with the first op that the puller lacks."""
    planting.rewrite(
        OpLog, "_tail", ("max(0, counter + 1 - run[0].op.counter)", "max(0, counter + 2 - run[0].op.counter)")
    )


def copy_sets_vector_back(planting: Planting) -> None:
    """A copy takes nothing back of what is here and not in the copy."""
    planting.rewrite(Role, "absorb", ("join(self.vector, message.vector)", "self.vector = dict(message.vector)"))


def log_stays_on_disk_after_copy(planting: Planting) -> None:
    """What leaves the log leaves the disk too."""
    planting.rewrite(Role, "absorb", ("yield DropOps(self.writer, self.log.clear())", "self.log.clear()"))
    planting.rewrite(OpLog, "_keep", LOGGED)


def log_said_to_reach_back(planting: Planting) -> None:
    """A log that no longer has a writer's ops does not pass for one that reaches back to them."""
    planting.rewrite(OpLog, "_first", ("if run else counter + 1", "if run else 0"))


DEFECTS: list[Plant] = [
    lost_answer_awaited_for_ever,
    never_pulled,
    page_taken_for_all,
    last_page_taken_for_all,
    page_skips_a_row,
    copy_without_rows,
    copy_not_filtered,
    copy_not_compared,
    log_kept_over_copy,
    log_said_to_reach_back,
    log_skips_an_op,
    copy_sets_vector_back,
    log_stays_on_disk_after_copy,
]
