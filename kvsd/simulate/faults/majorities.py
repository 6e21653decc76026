"""
The fault that most voters are gone for good, and an operator who knows it.
"""

from collections.abc import Mapping, Sequence

from kvsd.replication.causality import dominates
from kvsd.replication.configuration import Configuration
from kvsd.replication.replica import Replica
from kvsd.replication.requests import GiveUp
from kvsd.simulate.door import Answer
from kvsd.simulate.faults.scene import Apply, End, Scene
from kvsd.simulate.machine import Machine
from kvsd.simulate.plan import Fault

WORK_SECONDS = 12.0
"""For so long nothing else goes wrong: it takes 5 s of silence, and then some for the change."""
ASK_SECONDS = 2.0
"""The operator asks so often, somebody else each time, until it is done."""


def _lost_majority(scene: Scene, fault: Fault) -> End | None:
    """
    All nodes but one of each shard lose their disks and stay down, until an operator has had them given up.

    Only in a calm, while nothing changes, and where those that are left have all that there is.
    """
    runs = {machine.address: machine.run for machine in scene.machines if machine.run and not machine.right}
    replicas = {address: run.replica for address, run in runs.items() if not run.is_busy(scene.clock.seconds())}
    configuration = (
        replicas[scene.one(fault).address].state.configuration if len(replicas) == len(scene.machines) else None
    )
    if configuration is None or not scene.is_calm() or not _is_at_rest(configuration, list(replicas.values())):
        return None
    members = [configuration.members(shard) for shard in configuration.shard_ids()]
    left = {addresses[int(fault.degree * len(addresses)) % len(addresses)] for addresses in members}
    if 2 * len(left & set(configuration.voters())) > len(configuration.voters()) or not _have_all(left, replicas):
        return None
    gone = [machine for machine in scene.machines if machine.address not in left]
    scene.keep_calm(WORK_SECONDS)
    for machine in gone:
        machine.kept_down += 1
        machine.joins = tuple(sorted(left))
        machine.wipe()
    _Operator(scene, [machine for machine in scene.machines if machine.address in left], gone, configuration).ask()

    def back() -> None:
        for machine in gone:
            machine.kept_down = max(0, machine.kept_down - 1)
            machine.start()

    return back


def _is_at_rest(configuration: Configuration, replicas: Sequence[Replica]) -> bool:
    """Whether all nodes go by one configuration, and nothing is to follow it."""
    if configuration.pending or any(tenancy.sources for tenancy in configuration.tenures.values()):
        return False
    if any(shard.learners or shard.departed for shard in configuration.shards.values()):
        return False
    return all(
        replica.state.configuration == configuration and replica.state.disk.epoch == configuration.epoch
        for replica in replicas
    )


def _have_all(left: set[str], replicas: Mapping[str, Replica]) -> bool:
    """Whether some nodes have on disk all that any node has."""
    for address, replica in replicas.items():
        for shard, role in replica.state.roles.items():
            others = [replicas[other].state.roles.get(shard) for other in left if other != address]
            if address not in left and not any(other and dominates(other.durable, role.vector) for other in others):
                return False
    return True


class _Operator:
    """Asks one node after another to give up those that are gone, until it is done."""

    def __init__(self, scene: Scene, left: list[Machine], gone: list[Machine], configuration: Configuration) -> None:
        self._scene = scene
        self._left = left
        self._change = GiveUp(tuple(machine.address for machine in gone if machine.address in configuration.nodes))
        self._until = scene.clock.seconds() + WORK_SECONDS
        self._times = 0

    def ask(self) -> None:
        """Ask the next node."""
        machine = self._left[self._times % len(self._left)]
        self._times += 1
        machine.ask(self._change, self._hear)

    def _hear(self, answer: Answer) -> None:
        if answer.kind != "done" and self._scene.clock.seconds() < self._until:
            self._scene.clock.after(ASK_SECONDS, self.ask)


KINDS: dict[str, Apply] = {"lost-majority": _lost_majority}
