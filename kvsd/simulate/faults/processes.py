"""
Faults of processes, and of the clocks that they read.
"""

from kvsd.simulate.faults.scene import Apply, End, Scene, nothing
from kvsd.simulate.machine import Machine
from kvsd.simulate.plan import Fault

DAY_MS = 86_400_000
LATE_SECONDS = 5.0
"""What a node said of its clock is known everywhere after so long, or is never heard."""
YEAR_MS = 365 * DAY_MS
JUMP_MS = 10 * YEAR_MS


def _down(machine: Machine) -> End:
    machine.kept_down += 1

    def up() -> None:
        machine.kept_down = max(0, machine.kept_down - 1)
        machine.start()

    return up


def _crash(scene: Scene, fault: Fault) -> End | None:
    machine = scene.one(fault)
    if machine.run is None:
        return None
    machine.crash()
    return _down(machine)


def _restart(scene: Scene, fault: Fault) -> End | None:
    """Killed, and started again at once."""
    machine = scene.one(fault)
    if machine.run is None:
        return None
    machine.crash()
    machine.start()
    return nothing


def _power_cut(scene: Scene, fault: Fault) -> End | None:
    """All nodes crash at once, and start again after a moment."""
    running = [machine for machine in scene.machines if machine.run]
    if not running:
        return None
    for machine in running:
        machine.crash()
        scene.clock.after(0.2 + fault.degree, machine.start)
    return nothing


def _stop(scene: Scene, fault: Fault) -> End | None:
    """An orderly end; the supervisor starts it again."""
    machine = scene.one(fault)
    if machine.run is None:
        return None
    machine.stop()
    return nothing


def _pause(scene: Scene, fault: Fault) -> End | None:
    machine = scene.one(fault)
    if machine.run is None:
        return None
    run = machine.run
    run.paused = True
    return lambda: scene.clock.resume(run)


def _slow_node(scene: Scene, fault: Fault) -> End | None:
    """Every event keeps the process busy for a while; a start ends that."""
    run = scene.one(fault).run
    if run is None:
        return None
    run.lag = 0.005 + 0.05 * fault.degree
    return lambda: setattr(run, "lag", 0.0)


def _mute(scene: Scene, fault: Fault) -> End:
    """Clients of a node don't get its answers."""
    machine = scene.one(fault)
    machine.mute = 0.2 + 0.8 * fault.degree
    return lambda: setattr(machine, "mute", 0.0)


def _wrong_clock(machine: Machine, offset_ms: int) -> End:
    machine.offset_ms = offset_ms
    return lambda: setattr(machine, "offset_ms", 0)


def _ahead(scene: Scene, fault: Fault) -> End:
    return _wrong_clock(scene.one(fault), DAY_MS)


def _behind(scene: Scene, fault: Fault) -> End:
    return _wrong_clock(scene.one(fault), -DAY_MS)


def _a_bit(scene: Scene, fault: Fault) -> End:
    return _wrong_clock(scene.one(fault), int((fault.degree - 0.5) * 100_000))


def _slow_clocks(scene: Scene, fault: Fault) -> End | None:
    """The clocks of a minority are slow, all by as much: by two minutes at least, by a day at the worst."""
    some = [scene.machines[number] for number in fault.nodes][: (len(scene.machines) - 1) // 2]
    slow_ms = int(-120_000 - fault.degree**3 * DAY_MS)
    ends = [_wrong_clock(machine, slow_ms) for machine in some]
    return (lambda: [end() for end in ends]) if ends else None


def _jump(scene: Scene, fault: Fault) -> End | None:
    """
    A clock jumps by years, mostly ahead.

    None does while another one is wrong by as much, as two may be a majority, nor while a node may still go by what another
    one said in such a time: that stands still, or a message of it is late.
    """
    others = [machine for machine in scene.machines if machine is not scene.one(fault)]
    if any(abs(other.offset_ms) >= YEAR_MS or (other.run and other.run.paused) for other in others):
        return None
    if scene.right_since and scene.clock.seconds() < scene.right_since + LATE_SECONDS:
        return None
    end = _wrong_clock(scene.one(fault), JUMP_MS if fault.degree < 0.8 else -JUMP_MS)

    def ended() -> None:
        end()
        scene.right_since = scene.clock.seconds()

    return ended


KINDS: dict[str, Apply] = {
    "crash": _crash,
    "restart": _restart,
    "power-cut": _power_cut,
    "stop": _stop,
    "pause": _pause,
    "slow-node": _slow_node,
    "mute": _mute,
    "clock-a-day-ahead": _ahead,
    "clock-a-day-behind": _behind,
    "clock-a-bit-wrong": _a_bit,
    "slow-clocks": _slow_clocks,
    "clock-jump": _jump,
}
