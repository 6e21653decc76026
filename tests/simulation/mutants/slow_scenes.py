"""
A scene, played by hand, for defects that show where a link carries little.
"""

from itertools import permutations

from kvsd.simulate.door import Ask
from tests.simulation.small_cluster import SmallCluster, small_plan

BYTES_PER_SECOND = 30_000
VALUE = "v" * 200_000
ENOUGH_SECONDS = 12.0
"""For the value to cross the link once, with all else that has to."""


def large_value_on_a_narrow_link() -> list[str]:
    """Values that take seven seconds to cross a link, both ways, are there soon after that, once, and nobody is taken to be dead."""
    scene = SmallCluster(small_plan(2))
    addresses = [machine.address for machine in scene.machines]
    scene.cluster.network.weather.narrow.update(dict.fromkeys(permutations(addresses, 2), BYTES_PER_SECOND))
    begun = len(scene.told())
    for number, key in enumerate(("large", "as large")):
        scene.call(number, Ask("put", key, VALUE, (), 0.0, ""))
    scene.later(0.5)
    scene.call(0, Ask("put", "small", "small", (), 0.0, ""))
    scene.later(ENOUGH_SECONDS)
    wrong = scene.complaints()
    for key, number in (("large", 1), ("as large", 0), ("small", 1)):
        if scene.ask(number, "get", key).kind != "found":
            wrong.append(f"{key} did not get there")
    wrong += [what for what in scene.told()[begun:] if "peer suspected" in what]
    both_ways = scene.cluster.network.pipes.flow(*addresses)
    if both_ways.carried + both_ways.waiting > 3 * len(VALUE):
        wrong.append(f"{both_ways.carried} bytes crossed the link, and {both_ways.waiting} are on their way")
    return wrong
