"""
Defects of durability: things are said before they are on disk, or the disk is not taken at its word.
"""

from kvsd.journal import Journal
from kvsd.replication.broadcast import Broadcast
from kvsd.replication.giving import Giving
from kvsd.replication.heartbeats import Heartbeats
from kvsd.replication.reader import Reader
from kvsd.replication.reading import Reading
from kvsd.replication.role import Role
from kvsd.replication.serving import Serving
from tests.simulation.mutants.planting import Plant, Planting


def read_before_sync(planting: Planting) -> None:
    """A read shows a version only once it is durable."""
    planting.rewrite(Reader, "shown", ("role.store.reading.position_of(name)", "0"))


def written_before_sync(planting: Planting) -> None:
    """A write is acknowledged only once it is durable."""
    answer = "return Attempt(written, state.out.position, {role"
    planting.rewrite(Serving, "_write", (answer, answer.replace("state.out.position", "0")))


def repeat_before_sync(planting: Planting) -> None:
    """A request that comes again is answered only once its first try is durable."""
    answer = "return Attempt(written, self._state.out.position, _covered(written, row), repeated=True)"
    planting.rewrite(Serving, "_repeated", (answer, answer.replace("self._state.out.position", "0")))


def pushed_before_sync(planting: Planting) -> None:
    """An op goes to other members only once it is durable."""
    planting.rewrite(Broadcast, "send", ("state.out.send(address, push)", "state.out.send(address, push, 0)"))


def given_before_sync(planting: Planting) -> None:
    """Ops are given to who pulls them only once they are durable."""
    planting.rewrite(
        Giving,
        "give",
        ("PullOps(message.id, role.shard, ops, more)", "PullOps(message.id, role.shard, ops, more), 0"),
    )


def reported_before_sync(planting: Planting) -> None:
    """A heartbeat reports what is durable, not all that was applied."""
    planting.rewrite(Heartbeats, "message", ("dict(role.durable)", "dict(role.vector)"))


def latest_vector_taken_for_durable(planting: Planting) -> None:
    """What is durable is the vector of the write that was synced, not the latest one."""
    latest = "(self._vectors.popleft(), (0, dict(self.vector), self.marks))[1]"
    planting.rewrite(Role, "synced", ("self._vectors.popleft()", latest))


def all_rows_taken_for_durable(planting: Planting) -> None:
    """When a write is synced, rows that were changed after it are not durable yet."""
    planting.rewrite(Reading, "synced", ("if at > position:", "if False:"))


def effects_released_early(planting: Planting) -> None:
    """After a commit only those effects leave that waited for it, not those that wait for the next one."""
    planting.rewrite(Journal, "_committed", ("sorted(at for at in self._held if at <= position)", "sorted(self._held)"))


def full_disk_drops_commit(planting: Planting) -> None:
    """A commit that found no room is tried again."""
    planting.rewrite(
        Journal,
        "_failed",
        (
            "self._reactor.callLater(RETRY_SECONDS, self._commit, changes, position)",
            "self._committing = self.refused = False",
        ),
    )


def failed_sync_taken_for_success(planting: Planting) -> None:
    """After a sync that failed nothing may be assumed about the disk."""
    planting.rewrite(
        Journal,
        "_failed",
        ("failure.trap(DiskFull)", "if not failure.check(DiskFull): return self._committed(None, position)"),
    )


def commits_overlap(planting: Planting) -> None:
    """There is one commit under way at a time."""
    planting.rewrite(Journal, "flush", (" and not self._committing", ""))


DEFECTS: list[Plant] = [
    read_before_sync,
    written_before_sync,
    repeat_before_sync,
    pushed_before_sync,
    given_before_sync,
    reported_before_sync,
    latest_vector_taken_for_durable,
    all_rows_taken_for_durable,
    effects_released_early,
    full_disk_drops_commit,
    failed_sync_taken_for_success,
    commits_overlap,
]
