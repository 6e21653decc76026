"""
All kinds of faults, by name, and in words.
"""

from kvsd.simulate.faults import disks, doubles, majorities, processes, weather
from kvsd.simulate.faults.scene import Apply, Scene
from kvsd.simulate.plan import Fault

KINDS: dict[str, Apply] = {**weather.KINDS, **processes.KINDS, **disks.KINDS, **doubles.KINDS, **majorities.KINDS}

WORDS = {
    "loss": "the network loses messages",
    "doubling": "the network delivers messages twice",
    "overtaking": "the network lets messages overtake each other",
    "jitter": "the network takes its time",
    "damage": "the network damages messages",
    "misrouting": "the network delivers messages to the wrong node",
    "resets": "connections are reset",
    "slow-link": "the link between {one} and {other} is slow",
    "narrow-link": "the link between {one} and {other} carries little",
    "partition": "the network splits: {some} on the one side",
    "cut-link": "the link between {one} and {other} is cut",
    "one-way": "the links of {one} work one way only",
    "connecting-raises": "the system refuses all attempts of others to connect to {one}",
    "crash": "{one} is killed and stays down",
    "restart": "{one} is killed and started again",
    "power-cut": "the power fails everywhere",
    "stop": "{one} is stopped in an orderly way",
    "pause": "{one} stands still",
    "slow-node": "{one} is slow",
    "mute": "clients of {one} don't get its answers",
    "clock-a-day-ahead": "the clock of {one} is a day ahead",
    "clock-a-day-behind": "the clock of {one} is a day behind",
    "clock-a-bit-wrong": "the clock of {one} is a bit wrong",
    "slow-clocks": "the clocks of a minority are slow",
    "clock-jump": "the clock of {one} jumps by ten years",
    "slow-disk": "the disk of {one} is slow",
    "stuck-disk": "the disk of {one} hangs",
    "full-disk": "the disk of {one} is full",
    "failed-sync": "the disk of {one} fails to sync",
    "bit-flip": "a bit flips in what {one} reads next, after a kill or as it runs",
    "torn-write": "{one} is killed while it writes",
    "wiped-disk": "{one} loses its disk",
    "second-process": "a second process with an empty disk speaks as {one}",
    "copied-disk": "a second process with a copy of its disk speaks as {one}",
    "lost-majority": "most nodes lose their disks and stay down, and an operator gives them up",
    "stale-disk": "{one} is started with an old copy of its data",
}


def in_words(scene: Scene, fault: Fault) -> str:
    """What happens, in a sentence."""
    addresses = scene.addresses(fault)
    side = addresses[: weather.one_side(fault)]
    told = WORDS[fault.kind].format(one=addresses[0], other=addresses[1], some=", ".join(side))
    return f"{told} ({fault.kind}, {fault.degree:g})"
