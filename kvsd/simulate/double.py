"""
Doubles: second processes under the address of a machine, with an empty disk or with a copy of that of the first.

Nobody can reach a double; it can reach everybody, and hears what it is answered.
"""

from collections.abc import Callable
from random import Random

from kvsd.claim import BOOT_BITS, claim, row_table
from kvsd.node import Node
from kvsd.replication.replica import Replica
from kvsd.simulate.clock import Actor, ActorClock
from kvsd.simulate.disk import Disk, SimulatedStorage
from kvsd.simulate.machine import SECRET, Machine
from kvsd.simulate.network import SimulatedTransport

LOOKING_SECONDS = 0.1
RULE = "one-process"


class Double(Actor):
    """
    A run of kvsd that no invariant watches; it is accused if it would serve.

    ``is_known`` says whether the other nodes know of any node at the address: else nobody is there who could tell it that
    another one is heard.
    """

    def __init__(self, machine: Machine, name: str, is_known: Callable[[], bool], *, copied: bool) -> None:
        super().__init__()
        self._is_known = is_known
        world, chance = machine.world, Random(name)
        self._machine, self._copied = machine, copied
        self.ended_by_itself = ""
        """Why it ended by itself, in words; empty while it runs."""
        disk = Disk(world.clock, f"{name} disk")
        if copied:
            disk.tables = {table: dict(entries) for table, entries in machine.disk.tables.items()}
        storage, boot = SimulatedStorage(disk, self), chance.getrandbits(BOOT_BITS)
        world.monitor.doubles.add((machine.address, boot))
        identity, saved = claim(storage, machine.address, chance.randbytes(16), boot, self._died)
        self._replica = Replica(identity, world.limits, row_table(storage))
        transport = SimulatedTransport(world.network, self, machine.address)
        clock = ActorClock(world.clock, self)
        self._node = Node(self._replica, clock, machine.wall_ms, storage, transport, SECRET, self._died)
        machine.copied += copied
        machine.tell(f"has a second process beside it, with {'a copy of its' if copied else 'an empty'} disk")
        self._node.start(self._replica.start(saved, world.founding, world.founding.nodes, self._node.now()))
        self._look()

    def _look(self) -> None:
        """Accuse it if it would serve, and look again a moment later."""
        if self.gone:
            return
        if self._is_known() and not self._replica.routing.assignment.lacking():
            self._machine.world.monitor.accuse(RULE, f"a second process at {self._machine.address} serves")
        self._machine.world.clock.after(LOOKING_SECONDS, self._look, self)

    def _died(self, why: str) -> None:
        self.ended_by_itself = self.ended_by_itself or why
        self.end()

    def end(self) -> None:
        """Kill it."""
        if not self.gone:
            self.gone = True
            self._machine.copied -= self._copied
