"""
Defects of causal broadcast: ops come in the wrong order, twice, or without what they depend on.

The core's own assertions against that are taken out too, so that it is the simulator that has to notice.
"""

from kvsd.replication.broadcast import Broadcast
from kvsd.replication.holdback import HoldBack
from kvsd.replication.oplog import OpLog
from kvsd.replication.role import Role
from kvsd.replication.serving import Serving
from tests.simulation.mutants.planting import Plant, Planting

IN_ORDER = "if op.counter != self.vector.get(op.writer, 0) + 1:", "if False:"
AFTER_CAUSES = "if not dominates(self.vector, op.dependencies):", "if False:"
LOGGED = "if run and run[-1].op.counter + 1 != op.counter:", "if False:"
"""Assertions of the core, and nothing in their stead."""


def hold_back_skipped(planting: Planting) -> None:
    """An op that comes before its causes is held back until they are here."""
    planting.rewrite(Role, "apply", IN_ORDER, AFTER_CAUSES)
    planting.rewrite(OpLog, "_keep", LOGGED)
    planting.swap(Broadcast, "_is_due", lambda *_: True)


def dependencies_ignored(planting: Planting) -> None:
    """An op is applied after all that it names as its dependencies, not only after its writer's earlier ops."""
    planting.rewrite(Role, "apply", AFTER_CAUSES)
    planting.rewrite(Broadcast, "_is_due", (" and dominates(role.vector, op.dependencies)", ""))
    planting.rewrite(HoldBack, "_next", (" or not dominates(vector, held.op.dependencies)", ""))


def op_without_dependencies(planting: Planting) -> None:
    """An op names the writes of its shard that its author had seen."""
    planting.rewrite(Serving, "_write", ("past.get(shard, {})", "{}"))


def applied_twice(planting: Planting) -> None:
    """An op that comes again is not applied again."""
    again = "op.counter <= role.vector.get(op.writer, 0)", "op.counter < role.vector.get(op.writer, 0)"
    due = "op.counter == role.vector.get(op.writer, 0) + 1", "op.counter <= role.vector.get(op.writer, 0) + 1"
    planting.rewrite(Role, "apply", IN_ORDER)
    planting.rewrite(OpLog, "_keep", LOGGED)
    planting.rewrite(Broadcast, "_take", again)
    planting.rewrite(Broadcast, "_is_due", due)


def hold_back_not_cleaned_after_copy(planting: Planting) -> None:
    """Ops that were held back leave the queue when a copy brings what they wrote."""
    planting.rewrite(Role, "absorb", ("self.holdback.forget(self.vector)", "pass"))


DEFECTS: list[Plant] = [
    hold_back_skipped,
    dependencies_ignored,
    op_without_dependencies,
    applied_twice,
    hold_back_not_cleaned_after_copy,
]
