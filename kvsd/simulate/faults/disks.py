"""
Faults of disks.
"""

from kvsd.replication.causality import dominates
from kvsd.simulate.disk import Health
from kvsd.simulate.faults.scene import Apply, End, Scene, nothing
from kvsd.simulate.machine import Machine
from kvsd.simulate.plan import Fault

WHILE_IT_RUNS = 0.5
"""Beyond this degree a bit flips in what a process reads as it runs."""
MEETING_SECONDS = 3.5
"""A node that was started again serves, at the latest, after this time."""


def _sick(machine: Machine, field: str, value: float | bool) -> End:
    """Change one thing about a disk's health."""
    setattr(machine.disk.health, field, value)

    def mend() -> None:
        setattr(machine.disk.health, field, getattr(Health(), field))
        machine.disk.go_on()

    return mend


def _slow_disk(scene: Scene, fault: Fault) -> End:
    return _sick(scene.one(fault), "sync", 0.05 + fault.degree)


def _stuck_disk(scene: Scene, fault: Fault) -> End:
    return _sick(scene.one(fault), "stuck", True)


def _full_disk(scene: Scene, fault: Fault) -> End:
    return _sick(scene.one(fault), "full", True)


def _failed_sync(scene: Scene, fault: Fault) -> End:
    return _sick(scene.one(fault), "failing", True)


def _bit_flip(scene: Scene, fault: Fault) -> End | None:
    """Something is read wrongly: when a process that was killed starts again, or as it runs."""
    machine = scene.one(fault)
    if machine.run is None:
        return None
    if fault.degree <= WHILE_IT_RUNS:
        machine.crash()
    machine.disk.health.flipped = True
    machine.start()
    return nothing


def _torn_write(scene: Scene, fault: Fault) -> End | None:
    """A process is killed with writes on their way to a slow disk."""
    machine = scene.one(fault)
    if machine.run is None:
        return None
    mend = _sick(machine, "sync", 0.3)

    def tear() -> None:
        machine.crash()
        mend()
        machine.start()

    scene.clock.after(min(fault.seconds, 0.25 + fault.degree), tear)
    return nothing


def _stale_disk(scene: Scene, fault: Fault) -> End | None:
    """
    A node is started with a backup of its data; when it refuses to go on, the right one is put back.

    Only in a calm, and while all other nodes are well and have its writes: what nobody else remembers can't be told to
    be missing.
    """
    machine = scene.one(fault)
    old = machine.disk.backup
    if old is None or machine.right or not (scene.is_calm() and is_remembered(scene, machine)):
        return None
    if not _is_reported(scene, machine):
        return None
    scene.keep_calm(MEETING_SECONDS)
    scene.distrust()
    machine.put_back(old)
    return nothing


def is_remembered(scene: Scene, machine: Machine) -> bool:
    """Whether all other nodes are well, and every write of a node is on the disk of another member of its shard."""
    now = scene.clock.seconds()
    runs = [other.run for other in scene.machines if other is not machine and other.run]
    if machine.run is None or len(runs) < len(scene.machines) - 1 or any(run.is_busy(now) for run in runs):
        return False
    for shard, role in machine.run.replica.state.roles.items():
        roles = [run.replica.state.roles.get(shard) for run in runs]
        counter = role.vector.get(role.writer, 0)
        if all(other is None or other.durable.get(role.writer, 0) < counter for other in roles):
            return False
    return True


def _is_reported(scene: Scene, machine: Machine) -> bool:
    """
    Whether some other node was told of all that a node holds.

    By what it has not reported yet it leaves writes out of tokens itself, and nobody could tell it that it had that once.
    """
    assert machine.run is not None, "it runs, as all do"
    runs = [other.run for other in scene.machines if other is not machine and other.run]
    peers = [run.replica.state.liveness.peers.get(machine.address) for run in runs]
    roles = machine.run.replica.state.roles.values()
    return all(
        any(peer and peer.reported.get(role.writer, 0) >= sum(role.durable.values()) for peer in peers)
        for role in roles
    )


def _wiped_disk(scene: Scene, fault: Fault) -> End | None:
    """
    A node loses its disk and starts again with an empty one.

    Only in a calm, and while others have all that it has: what is lost with a disk is told of, but can't be had back.
    """
    machine = scene.one(fault)
    if machine.right or not (scene.is_calm() and is_remembered(scene, machine) and _is_copied(scene, machine)):
        return None
    scene.keep_calm(MEETING_SECONDS)
    machine.wipe()
    return nothing


def _is_copied(scene: Scene, machine: Machine) -> bool:
    """Whether nothing changes, and another member of its shard has on disk all that a node has."""
    assert machine.run is not None, "it runs, as all do"
    state = machine.run.replica.state
    runs = [other.run for other in scene.machines if other is not machine and other.run]
    if state.roster is None or any(run.replica.state.configuration != state.configuration for run in runs):
        return False
    configuration = state.roster.configuration
    changing = any(shard.learners or shard.departed for shard in configuration.shards.values())
    if configuration.pending or changing or any(tenancy.sources for tenancy in configuration.tenures.values()):
        return False
    for shard, role in state.roles.items():
        others = [run.replica.state.serving(shard) for run in runs]
        if not any(other and dominates(other.durable, role.vector) for other in others):
            return False
    return True


KINDS: dict[str, Apply] = {
    "slow-disk": _slow_disk,
    "stuck-disk": _stuck_disk,
    "full-disk": _full_disk,
    "failed-sync": _failed_sync,
    "bit-flip": _bit_flip,
    "torn-write": _torn_write,
    "stale-disk": _stale_disk,
    "wiped-disk": _wiped_disk,
}
