"""
Defects of a start: what a node knew before is not taken up again, or an old copy of it is.
"""

from kvsd.replication.assignment import Assignment
from kvsd.replication.carried_out import Requests
from kvsd.replication.collected import Collected
from kvsd.replication.heartbeats import Heartbeats
from kvsd.replication.importing import Imports
from kvsd.replication.oplog import OpLog
from kvsd.replication.role import Role
from kvsd.replication.state import State
from tests.simulation.mutants.delivery import LOGGED
from tests.simulation.mutants.planting import Plant, Planting


def counter_reused(planting: Planting) -> None:
    """A dot names one write for ever: a start does not set a writer's counter back."""
    whole = "self.vector, self.durable = dict(saved.vector), dict(saved.vector)"
    back = "self.vector.update({self.writer: n - 1 for n in [self.vector.pop(self.writer, 0)] if n > 1})"
    planting.rewrite(Role, "restore", (whole, f"{whole}; {back}"))
    planting.rewrite(OpLog, "_keep", LOGGED)
    planting.swap(Heartbeats, "_remember", lambda *_: None)  # else the peers would stop it


def clock_not_restored(planting: Planting) -> None:
    """After a start, stamps go on after the latest one that was drawn or seen before."""
    planting.rewrite(State, "restore", ("self.clock.witness(saved.hlc)", "pass"))


def requests_not_kept(planting: Planting) -> None:
    """Requests that were carried out are remembered over a start."""
    planting.rewrite(Requests, "learn", ("yield SetRequest(self._role, self._number, request)", "yield from ()"))


def collected_not_restored(planting: Planting) -> None:
    """Over a start it is remembered how late the tombstones were that were dropped."""
    planting.swap(Collected, "restore", lambda *_: None)


def old_disk_not_noticed(planting: Planting) -> None:
    """A node whose peers have writes of its own that its disk has not goes no further."""
    planting.swap(Heartbeats, "_remember", lambda *_: None)


def served_before_meeting(planting: Planting) -> None:
    """A node that was started again serves only when others have had the time to say that they remember more of it."""
    planting.rewrite(Assignment, "is_meeting", ("self._meeting.is_on()", "False"))


def reported_before_meeting(planting: Planting) -> None:
    """A node says nothing of what it has before it has met the others."""
    planting.rewrite(Heartbeats, "message", ("{} if meeting else ", ""))


def imported_before_meeting(planting: Planting) -> None:
    """A node issues what it takes over from another shard only when it has met the others after a start."""
    planting.rewrite(Imports, "_can_issue", (" and not self._meeting.is_on()", ""))


ON_OLD_DISKS: list[Plant] = [old_disk_not_noticed, served_before_meeting, reported_before_meeting]
"""Defects that show only where disks are put back in time."""
AMONG_CHANGES: list[Plant] = [imported_before_meeting]
"""Defects that show only while the cluster changes."""
DEFECTS: list[Plant] = [counter_reused, clock_not_restored, requests_not_kept, collected_not_restored]
