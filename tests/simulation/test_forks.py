"""
Clusters that are forced while they are merely parted: the worst that operators can do.

Whatever they do, each side goes on by itself, in the end one branch is left, all nodes agree on which, and who is of another
one does nothing and keeps all that it has acknowledged.
"""

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication.branches import Kinship, kinship
from kvsd.replication.configuration import Configuration
from kvsd.replication.requests import AddNode, Change, GiveUp, RemoveNode, Reshard
from kvsd.simulate.machine import Machine
from tests.simulation.small_cluster import SmallCluster, small_plan

SHAPES = ((2, 1), (3, 1), (3, 1), (4, 1), (4, 2), (5, 1), (5, 2), (6, 2))
STORM_SECONDS = 22.0
HEALED_SECONDS = 15.0
SEEDS = 12


class Fork:
    """One cluster that parts and is forced; ``written`` are the keys of acknowledged writes, and who acknowledged them."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(f"forks {seed}")
        nodes, shards = self.chance.choice(SHAPES)
        self.small = SmallCluster(small_plan(nodes, shards))
        self.machines = self.small.machines
        self.written: dict[str, Machine] = {}
        self.orders = 0

    def storm(self) -> None:
        """The network parts, maybe elsewhere after a while; clients write, operators give up whom they don't see."""
        clock = self.small.clock
        until, parts_anew = clock.seconds() + STORM_SECONDS, self.chance.random() < 0.3
        self.write()
        side = self.part()
        while clock.seconds() < until:
            self.small.later(self.chance.expovariate(1.5))
            if parts_anew and clock.seconds() > until - STORM_SECONDS / 2:
                side, parts_anew = self.part(), False
            what = self.chance.choices(("write", "order", "restart"), (8, 4, 1))[0]
            if what == "write":
                self.write()
            elif what == "order":
                self.order(side)
            else:
                machine = self.chance.choice(self.machines)
                machine.crash()
                machine.start()

    def part(self) -> set[str]:
        """Cut the cluster into two; returns one of its sides."""
        addresses = [machine.address for machine in self.machines]
        side = set(self.chance.sample(addresses, self.chance.randint(1, len(addresses) - 1)))
        cut = self.small.cluster.network.weather.cut
        cut.clear()
        cut.update({(a, b): 1 for a in addresses for b in addresses if (a in side) != (b in side)})
        return side

    def write(self) -> None:
        """A client writes a key of its own."""
        number, key = self.chance.randrange(len(self.machines)), f"key{len(self.written)}{self.chance.random()}"
        if self.small.ask(number, "put", key, key).kind == "written":
            self.written[key] = self.machines[number]

    def order(self, side: set[str]) -> None:
        """An operator gives up the other side, or asks for some other change."""
        machine = self.chance.choice(self.machines)
        others = [m.address for m in self.machines if (m.address in side) != (machine.address in side)]
        some = self.chance.sample(others, self.chance.randint(1, len(others)))
        changes: list[Change] = [AddNode(f"10.0.1.{self.orders}:8090"), RemoveNode(some[0]), Reshard(1)]
        self.orders += 1
        given_up = GiveUp(tuple(others if self.chance.random() < 0.8 else some))
        machine.ask(given_up if self.chance.random() < 0.7 else self.chance.choice(changes), lambda answer: None)

    def heal(self) -> None:
        """The network is whole."""
        self.small.cluster.network.weather.cut.clear()
        self.small.later(HEALED_SECONDS)

    def begin_anew(self) -> None:
        """The fenced nodes are started with empty disks."""
        fenced = [machine for machine in self.machines if self.fenced(machine)]
        for machine in fenced:
            machine.joins = tuple(other.address for other in self.machines if other not in fenced)
            machine.wipe()
        self.small.later(HEALED_SECONDS)

    # What there is

    def configuration(self, machine: Machine) -> Configuration:
        """What a node goes by."""
        assert machine.run and machine.run.replica.state.configuration, f"{machine.address} does not run"
        return machine.run.replica.state.configuration

    def fenced(self, machine: Machine) -> str:
        """Why a node is fenced, if it is."""
        assert machine.run, f"{machine.address} does not run"
        return machine.run.replica.state.fenced

    def has(self, machine: Machine, key: str) -> bool:
        """Whether a node has a key."""
        assert machine.run, f"{machine.address} does not run"
        return any(row.record.key == key for role in machine.run.replica.state.roles.values() for row in role.store)

    def best(self) -> Configuration:
        """The branch that goes on, as far as it has got."""
        best, *others = (self.configuration(machine) for machine in self.machines)
        for other in others:
            if kinship(best.epoch, best.forced, other.epoch, other.forced) in (Kinship.LATER, Kinship.BEATS):
                best = other
        return best

    def complaints(self) -> list[str]:
        """What is wrong after the healing."""
        best, wrong = self.best(), self.small.complaints()
        given_up = {address for step in best.forced for address, _ in step.given_up}
        for machine in self.machines:
            mine = self.configuration(machine)
            kin = kinship(mine.epoch, mine.forced, best.epoch, best.forced)
            ends = kin is Kinship.BEATS or machine.address in given_up
            if ends != bool(self.fenced(machine)):
                wrong.append(f"{machine.address} is at epoch {mine.epoch}, {kin}; fenced: {self.fenced(machine)}")
            if not ends and mine != best:
                wrong.append(f"{machine.address} is at epoch {mine.epoch} of {best.epoch}")
        wrong += [f"{key} is nowhere" for key in self.written if not any(self.has(m, key) for m in self.machines)]
        return wrong


class ForksTests(SynchronousTestCase):
    """Clusters fork, and are one again."""

    def test_forks(self) -> None:
        """One branch goes on; all others end, and begin anew."""
        forks = ends = 0
        for seed in range(SEEDS):
            fork = Fork(seed)
            fork.storm()
            fork.heal()
            self.assertEqual([], fork.complaints(), f"seed {seed}")
            ended = [fork.configuration(machine) for machine in fork.machines if fork.fenced(machine)]
            best = fork.best()
            kin = [kinship(best.epoch, best.forced, other.epoch, other.forced) for other in ended]
            forks, ends = forks + (Kinship.BEATEN in kin), ends + bool(ended)
            fork.begin_anew()
            self.assertEqual([], [fork.fenced(machine) for machine in fork.machines if fork.fenced(machine)])
            self.assertEqual(1, len({fork.configuration(machine).epoch for machine in fork.machines}), f"seed {seed}")
            self.assertEqual([], fork.small.complaints(), f"seed {seed}")
        self.assertGreater(forks, 0)
        self.assertGreater(ends, forks)
