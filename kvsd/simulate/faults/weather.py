"""
Faults of the network.
"""

from itertools import permutations

from kvsd.simulate.faults.scene import Apply, End, Scene
from kvsd.simulate.network import Network, Weather
from kvsd.simulate.pipes import Direction
from kvsd.simulate.plan import Fault


def _weather(network: Network, field: str, value: float | bool) -> End:
    """Change one thing about the weather; the end of it is good weather."""
    setattr(network.weather, field, value)
    return lambda: setattr(network.weather, field, getattr(Weather(), field))


def _share(field: str, least: float, more: float) -> Apply:
    """A fault that makes a share of all messages suffer something: so many at least, and so many more at the worst."""
    return lambda scene, fault: _weather(scene.network, field, least + more * fault.degree)


def _resets(scene: Scene, fault: Fault) -> End:
    ends = [_weather(scene.network, "loss", 0.05 + 0.3 * fault.degree), _weather(scene.network, "resets", True)]
    return lambda: [end() for end in ends]


def _slow_link(scene: Scene, fault: Fault) -> End:
    one, other = scene.addresses(fault)[:2]
    slow = scene.network.weather.slow
    directions = [(one, other)] if fault.degree < 0.3 else [(one, other), (other, one)]
    slow.update(dict.fromkeys(directions, 0.05 + 2 * fault.degree**2))
    return lambda: [slow.pop(direction, None) for direction in directions]


def _narrow_link(scene: Scene, fault: Fault) -> End:
    """What is large takes seconds, and delays what is small, which gets through all the same."""
    one, other = scene.addresses(fault)[:2]
    narrow = scene.network.weather.narrow
    directions = [(one, other), (other, one)]
    narrow.update(dict.fromkeys(directions, 20_000 + 60_000 * fault.degree))
    return lambda: [narrow.pop(direction, None) for direction in directions]


def _cut(network: Network, directions: list[Direction]) -> End:
    return _broken(network.weather.cut, directions)


def _broken(cut: dict[Direction, int], directions: list[Direction]) -> End:
    for direction in directions:
        cut[direction] = cut.get(direction, 0) + 1

    def mend() -> None:
        for direction in directions:
            cut[direction] = cut.get(direction, 0) - 1
            if cut[direction] <= 0:
                del cut[direction]

    return mend


def _partition(scene: Scene, fault: Fault) -> End:
    """Some nodes on one side, all others on the other."""
    inside = scene.addresses(fault)[: one_side(fault)]
    pairs = permutations([machine.address for machine in scene.machines], 2)
    return _cut(scene.network, [(one, other) for one, other in pairs if (one in inside) != (other in inside)])


def one_side(fault: Fault) -> int:
    """How many of the nodes of a partition are on one side."""
    return 1 + int(fault.degree * len(fault.nodes))


def _cut_link(scene: Scene, fault: Fault) -> End:
    one, other = scene.addresses(fault)[:2]
    return _cut(scene.network, [(one, other), (other, one)])


def _one_way(scene: Scene, fault: Fault) -> End:
    """A node hears nothing, or isn't heard, by some or all others."""
    one = scene.machines[fault.nodes[0]].address
    others = [m.address for m in scene.machines if m.address != one]
    if fault.degree < 0.5:
        others = [scene.machines[fault.nodes[1]].address]
    outward = int(fault.degree * 100) % 2 == 0
    return _cut(scene.network, [(one, other) if outward else (other, one) for other in others])


def _connecting_raises(scene: Scene, fault: Fault) -> End:
    """Nobody, or one other node alone, can so much as begin to connect to a node."""
    one = scene.machines[fault.nodes[0]].address
    others = [m.address for m in scene.machines if m.address != one]
    if fault.degree < 0.5:
        others = [scene.machines[fault.nodes[1]].address]
    return _broken(scene.network.weather.raising, [(other, one) for other in others])


KINDS: dict[str, Apply] = {
    "loss": _share("loss", 0.02, 0.3),
    "doubling": _share("doubling", 0.1, 0.5),
    "overtaking": _share("overtaking", 0.05, 0.3),
    "jitter": _share("jitter", 0.02, 0.3),
    "damage": _share("damage", 0.02, 0.3),
    "misrouting": _share("misrouting", 0.02, 0.2),
    "resets": _resets,
    "slow-link": _slow_link,
    "narrow-link": _narrow_link,
    "partition": _partition,
    "cut-link": _cut_link,
    "one-way": _one_way,
    "connecting-raises": _connecting_raises,
}
