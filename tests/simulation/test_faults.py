"""Faults: each kind happens, does what it says, and leaves nothing broken behind when it has ended."""

from twisted.trial.unittest import SynchronousTestCase

from kvsd.simulate.disk import Health
from kvsd.simulate.door import Ask
from kvsd.simulate.faults.catalogue import KINDS, in_words
from kvsd.simulate.faults.scene import End, Scene
from kvsd.simulate.machine import Machine
from kvsd.simulate.network import Weather
from kvsd.simulate.plan import Fault
from tests.simulation.small_cluster import SmallCluster

LASTING_SECONDS = 1.0
RECOVERY_SECONDS = 4.5
WRITES = 25
"""So many that there is an old copy of every disk."""


class FaultTests(SynchronousTestCase):
    """A cluster of three nodes, and faults that happen there."""

    def setUp(self) -> None:
        self.small, self.written = SmallCluster(), 0
        self.machines = self.small.machines
        self.network = self.small.cluster.network
        monitor = self.small.cluster.monitor
        self.scene = Scene(self.small.clock, self.network, self.machines, monitor.distrust)

    def apply(self, kind: str, degree: float = 0.5, nodes: tuple[int, ...] = (0, 1)) -> End | None:
        """Have a fault happen; returns what ends it."""
        return KINDS[kind](self.scene, Fault(kind, self.small.clock.seconds(), LASTING_SECONDS, nodes, degree))

    def begin(self, kind: str, degree: float = 0.5, nodes: tuple[int, ...] = (0, 1)) -> End:
        """Have a fault happen that finds something to break."""
        end = self.apply(kind, degree, nodes)
        assert end is not None, f"{kind} found nothing to break"
        return end

    def put(self, number: int, key: str, value: str = "") -> str:
        """Write at a node, by default a value that nobody has written, and wait; returns the kind of the answer."""
        self.written += 1
        return self.small.ask(number, "put", key, value or f"{self.written}").kind

    def crash_for_good(self, number: int) -> None:
        """Have a node down."""
        self.machines[number].kept_down = 1
        self.machines[number].crash()


class EveryKindTests(FaultTests):
    """What holds of all kinds."""

    def suffer(self, kind: str, degree: float) -> None:
        """Have a fault happen while clients write, and end."""
        for number in range(WRITES):
            self.put(number % 3, f"{number % 5}")
        self.small.later(1)  # for reports of what all have
        end = self.begin(kind, degree, (0, 1, 2))
        for number in range(12):
            self.small.call(number % 3, Ask("put", f"{number % 5}", f"{kind} {number}", (), 0.0, ""))
            self.small.later(LASTING_SECONDS / 12)
        end()
        self.small.later(RECOVERY_SECONDS)

    def assert_nothing_is_broken(self, kind: str) -> None:
        """All is as it was."""
        self.assertEqual(Weather(), self.network.weather, kind)
        for machine in self.machines:
            self.assertEqual((Health(), 0, 0.0, 0), _condition(machine), kind)
            assert machine.run is not None, f"{machine.address} is down after {kind}"
            self.assertEqual((False, 0.0), (machine.run.paused, machine.run.lag), kind)
            self.assertEqual([], machine.run.backlog, kind)

    def assert_serves(self, kind: str) -> None:
        """Every node carries out a write."""
        self.assertEqual(["written"] * 3, [self.put(number, f"after {number}") for number in range(3)], kind)
        self.assertEqual([], self.small.complaints(), kind)

    def test_slight_faults(self) -> None:
        """Every kind of fault happens in a slight form, and nothing is broken after it."""
        self.check_all(0.05)

    def test_bad_faults(self) -> None:
        """Every kind of fault happens in a bad form, and nothing is broken after it."""
        self.check_all(0.95)

    def check_all(self, degree: float) -> None:
        """Have all faults happen, one after another, in one cluster; the last is the one that makes disks suspect."""
        for kind in sorted(KINDS, key=lambda kind: kind == "stale-disk"):
            self.suffer(kind, degree)
            self.assert_nothing_is_broken(kind)
            self.assert_serves(kind)

    def test_words(self) -> None:
        """Every kind can be told in a sentence that names it."""
        told = {kind: in_words(self.scene, Fault(kind, 0.0, 1.0, (0, 1, 2), 0.5)) for kind in KINDS}
        self.assertEqual(len(KINDS), len(set(told.values())))
        self.assertEqual([], [kind for kind, text in told.items() if kind not in text or "{" in text])


def _condition(machine: Machine) -> tuple[Health, int, float, int]:
    """What can be wrong with a machine."""
    return machine.disk.health, machine.offset_ms, machine.mute, machine.kept_down


class NothingToBreakTests(FaultTests):
    """Faults that find nothing to break don't count."""

    def test_node_that_is_down(self) -> None:
        """What is down already can't be killed, stopped or slowed down."""
        self.crash_for_good(0)
        kinds = ["crash", "restart", "stop", "pause", "slow-node", "bit-flip", "torn-write", "stale-disk"]
        self.assertEqual([], [kind for kind in kinds if self.apply(kind) is not None])

    def test_power_cut_in_the_dark(self) -> None:
        """Where nothing runs, nothing is lost when the power fails."""
        for number in range(3):
            self.crash_for_good(number)
        self.assertIsNone(self.apply("power-cut"))

    def test_stale_disk_without_an_old_copy(self) -> None:
        """An old copy can't be put back where there is none."""
        self.assertIsNone(self.apply("stale-disk"))

    def test_stale_disk_in_a_storm(self) -> None:
        """An old copy is not put back while the network is bad: who could tell that it is old may be out of reach."""
        for number in range(WRITES):
            self.put(0, f"{number}")
        end = self.begin("loss")
        self.assertIsNone(self.apply("stale-disk"))
        end()
        self.small.later(1)  # for a report of what it has
        self.assertIsNotNone(self.apply("stale-disk"))


class CutTests(FaultTests):
    """Faults that cut links."""

    def cut(self) -> set[tuple[int, int]]:
        """The directions that are cut, as the numbers of the nodes."""
        numbers = {machine.address: number for number, machine in enumerate(self.machines)}
        return {(numbers[one], numbers[other]) for one, other in self.network.weather.cut}

    def test_partition(self) -> None:
        """A partition cuts all links between its sides, in both directions, and no others."""
        self.begin("partition", 0.0, (2, 0))
        self.assertEqual({(2, 0), (0, 2), (2, 1), (1, 2)}, self.cut())

    def test_larger_side(self) -> None:
        """A partition may have several nodes on a side."""
        self.begin("partition", 0.6, (2, 0))
        self.assertEqual({(2, 1), (1, 2), (0, 1), (1, 0)}, self.cut())

    def test_link(self) -> None:
        """A link is cut in both directions."""
        self.begin("cut-link", 0.5, (1, 2))
        self.assertEqual({(1, 2), (2, 1)}, self.cut())

    def test_one_way(self) -> None:
        """A node may hear nothing, or not be heard, by one or by all others."""
        found = set()
        for degree in (0.0, 0.01, 0.98, 0.99):
            end = self.begin("one-way", degree, (0, 1))
            found.add(frozenset(self.cut()))
            end()
        self.assertEqual({frozenset(c) for c in ({(0, 1)}, {(1, 0)}, {(0, 1), (0, 2)}, {(1, 0), (2, 0)})}, found)

    def test_cuts_overlap(self) -> None:
        """A link that two faults have cut is open again when both have ended."""
        ends = [self.begin("cut-link"), self.begin("partition", 0.0, (0, 1))]
        ends[0]()
        self.assertIn((0, 1), self.cut())
        ends[1]()
        self.assertEqual(set(), self.cut())

    def test_ended_after_all_was_mended(self) -> None:
        """What ends when the weather is good already does it no harm."""
        ends = [self.begin("cut-link"), self.begin("slow-link"), self.begin("resets")]
        self.network.weather = Weather()
        for end in ends:
            end()
        self.assertEqual(Weather(), self.network.weather)


class ProcessTests(FaultTests):
    """Faults of processes."""

    def runs(self) -> list[bool]:
        """Which nodes run."""
        return [machine.run is not None for machine in self.machines]

    def test_crash(self) -> None:
        """A node that is killed stays down while the fault lasts, whatever its supervisor wants."""
        end = self.begin("crash")
        self.small.later(5)
        self.assertEqual([False, True, True], self.runs())
        end()
        self.assertEqual([True] * 3, self.runs())

    def test_crashes_overlap(self) -> None:
        """A node that two faults want down comes back when both have ended."""
        first = self.begin("crash")
        self.machines[0].kept_down += 1
        first()
        self.small.later(3)
        self.assertEqual([False, True, True], self.runs())

    def test_restart(self) -> None:
        """A node is killed and runs again at once."""
        before = self.machines[0].run
        self.begin("restart")
        self.assertTrue(self.machines[0].run and self.machines[0].run is not before)

    def test_power_cut(self) -> None:
        """All nodes are gone at once, and come back."""
        self.begin("power-cut", 0.1)
        self.assertEqual([False] * 3, self.runs())
        self.small.later(0.5)
        self.assertEqual([True] * 3, self.runs())

    def test_pause(self) -> None:
        """A node that stands still answers nobody until it goes on."""
        end = self.begin("pause")
        _, answers = self.small.call(0, Ask("get", "a", "", (), 0.0, ""))
        self.small.later(3)
        self.assertEqual([], answers)
        end()
        self.small.later(0.1)
        self.assertEqual(1, len(answers))

    def test_pause_of_a_process_that_ended(self) -> None:
        """The end of a pause does not bring a process back that was killed in it."""
        end = self.begin("pause")
        self.crash_for_good(0)
        end()
        self.small.later(3)
        self.assertEqual([False, True, True], self.runs())

    def test_wrong_clocks(self) -> None:
        """Clocks are a day ahead, a day behind, or wrong by a bit."""
        found = []
        for kind in ("clock-a-day-ahead", "clock-a-day-behind", "clock-a-bit-wrong"):
            end = self.begin(kind, 0.9)
            found.append(self.machines[0].offset_ms)
            end()
        self.assertEqual([86_400_000, -86_400_000, 40_000], found)


class DiskFaultTests(FaultTests):
    """Faults of disks."""

    def test_full_disk(self) -> None:
        """A node with a full disk refuses writes while that lasts."""
        end = self.begin("full-disk")
        self.small.later(0.3)
        self.assertEqual("later", self.put(0, "a"))
        end()
        self.small.later(2)
        self.assertEqual("written", self.put(0, "a"))

    def test_stuck_disk(self) -> None:
        """A write waits for a disk that hangs, and is done when it goes on."""
        end = self.begin("stuck-disk")
        _, answers = self.small.call(0, Ask("put", "a", "1", (), 0.0, ""))
        self.small.later(1)
        self.assertEqual([], answers)
        end()
        self.small.later(0.1)
        self.assertEqual(["written"], [answer.kind for answer in answers])

    def test_torn_write(self) -> None:
        """A node is killed with a write under way; nobody is told that it was done."""
        self.begin("torn-write", 0.0)
        _, answers = self.small.call(0, Ask("put", "a", "1", (), 0.0, ""))
        self.small.later(1)
        self.assertEqual(["none"], [answer.kind for answer in answers])
        self.assertTrue(any("1 unsynced commits lost" in what for what in self.small.told()))

    def test_bit_flip_at_a_start(self) -> None:
        """A node does not start on data that was read wrongly, and starts when it was read again."""
        self.put(0, "a")
        self.begin("bit-flip")
        self.assertIsNone(self.machines[0].run)
        self.small.later(1.1)
        self.assertIsNotNone(self.machines[0].run)

    def test_bit_flip_in_a_row(self) -> None:
        """A node that reads a row wrongly as it runs stops at once, answers nothing, and starts again."""
        keys = [f"key{number}" for number in range(10)]  # more than are cached
        for key in keys:
            self.put(0, key)
        self.small.later(1)
        self.begin("bit-flip", 0.9)
        answers = [answer for key in keys for answer in self.small.call(0, Ask("get", key, "", (), 0.0, ""))[1]]
        self.assertEqual([], answers)
        self.small.later(0.1)
        self.assertIsNone(self.machines[0].run)
        self.small.later(5)
        self.assertEqual("found", self.small.ask(0, "get", keys[0]).kind)
        self.assertEqual([], self.small.complaints())

    def test_stale_disk(self) -> None:
        """A node with an old copy of its data finds that out and ends, before the right one is put back."""
        for number in range(WRITES):
            self.put(0, f"{number}")
        self.small.later(1)
        self.begin("stale-disk")
        self.small.later(5)
        self.assertTrue(any("ends by itself" in what for what in self.small.told()))
        self.assertEqual("found", self.small.ask(0, "get", f"{WRITES - 1}").kind)
        self.assertEqual([], self.small.complaints())
