"""
Faults of identity: a second process under the address of a node that is well.
"""

from collections.abc import Collection, Iterator

from kvsd.simulate.disk import Health
from kvsd.simulate.double import RULE, Double
from kvsd.simulate.faults.disks import is_remembered
from kvsd.simulate.faults.scene import Apply, End, Scene
from kvsd.simulate.machine import Machine, Run
from kvsd.simulate.plan import Fault

LASTING_SECONDS = 5.0
"""So long a second process runs: longer than a node is silent before another may take its place."""


def _is_well(scene: Scene, machine: Machine) -> bool:
    """Return True if nothing is wrong with the network, and all nodes run, have healthy disks and hear the one."""
    if not (scene.is_calm() and is_remembered(scene, machine)):
        return False
    healthy = all(other.disk.health == Health() and other.right is None for other in scene.machines)
    runs = [other.run for other in scene.machines if other.run]
    return healthy and not any(run.lag for run in runs) and all(_hears(run, machine) for run in runs)


def _hears(run: Run, machine: Machine) -> bool:
    """Return True if a node goes by the process that runs at a machine."""
    peer = run.replica.state.liveness.peers.get(machine.address)
    process = peer.occupant.process if peer else None
    identity = machine.run.replica.state.identity if machine.run else None
    if peer is None or identity is None:
        return run is machine.run
    return process is not None and process.boot == identity.boot and not peer.suspected


def _double(scene: Scene, fault: Fault, *, copied: bool) -> End | None:
    """
    Start a second process under the address of a node.

    Only in a calm, for where the node can't be heard the other may take its place.
    """
    machine = scene.one(fault)
    if not _is_well(scene, machine) or machine.run is None:
        return None
    first, instance = machine.run, machine.run.replica.state.identity.instance
    scene.keep_calm(LASTING_SECONDS)

    def is_known() -> bool:
        return all(machine.address in nodes for nodes in _known(scene))

    double = Double(machine, f"{machine.world.seed} double at {scene.clock.seconds()}", is_known, copied=copied)

    def judge() -> None:
        if machine.run is first and is_known():
            _judge(scene, machine, instance, double, copied=copied)
        double.end()

    scene.clock.after(LASTING_SECONDS, judge)
    return double.end


def _known(scene: Scene) -> Iterator[Collection[str]]:
    """Give the nodes that each node knows: one that was removed is nobody's peer."""
    for machine in scene.machines:
        if machine.run and (configuration := machine.run.replica.state.configuration):
            yield configuration.nodes


def _judge(scene: Scene, machine: Machine, instance: bytes, double: Double, *, copied: bool) -> None:
    """Accuse the cluster where the node lost its place, and the double where it went on as a copy."""
    accuse = machine.world.monitor.accuse
    for other in scene.machines:
        configuration = other.run.replica.state.configuration if other.run else None
        if configuration and (machine.address, instance) in configuration.superseded:
            accuse(RULE, f"{machine.address} was heard all the time, and another instance has its place")
    if copied and not double.gone:
        accuse(RULE, f"a copy of the disk of {machine.address} ran beside it for {LASTING_SECONDS} s")


def _second_process(scene: Scene, fault: Fault) -> End | None:
    return _double(scene, fault, copied=False)


def _copied_disk(scene: Scene, fault: Fault) -> End | None:
    return _double(scene, fault, copied=True)


KINDS: dict[str, Apply] = {"second-process": _second_process, "copied-disk": _copied_disk}
