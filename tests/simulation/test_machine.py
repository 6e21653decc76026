"""Simulated machines: what a process does there, what becomes of it, and what outlives it."""

from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication.effects import Halt, Now
from kvsd.replication.replica import Replica
from kvsd.replication.requests import Outcome
from kvsd.simulate.door import Ask
from kvsd.simulate.machine import REVIVAL_SECONDS, Machine
from kvsd.simulate.monitor import Invariant
from tests.simulation.small_cluster import SmallCluster

PUT = Ask("put", "tea", "oolong", (), 0.0, "")


class MachineTests(SynchronousTestCase):
    """Three machines with a cluster of one shard."""

    def setUp(self) -> None:
        self.small = SmallCluster()
        self.machine = self.small.machines[0]

    def assert_good(self) -> None:
        """Nothing was broken."""
        self.assertEqual([], self.small.complaints())

    def put(self, number: int = 0, key: str = "tea", value: str = "oolong") -> str:
        """Write a value; returns the token."""
        answer = self.small.ask(number, "put", key, value)
        self.assertEqual("written", answer.kind)
        return answer.token

    def value(self, number: int, key: str = "tea", token: str = "") -> str:
        """Read a key; returns the value, or the kind of another answer."""
        answer = self.small.ask(number, "get", key, tokens=(token,) if token else ())
        return answer.value or answer.kind


class ServiceTests(MachineTests):
    """Machines serve clients."""

    def test_founding(self) -> None:
        """Machines that are started found a cluster."""
        self.assertTrue(all(m.run and m.run.replica.state.founded for m in self.small.machines))
        self.assertEqual(3, len([what for what in self.small.told() if "founded" in what]))
        self.assert_good()

    def test_service(self) -> None:
        """What is written at one node can be read at every node."""
        token = self.put()
        self.assertEqual(["oolong"] * 3, [self.value(number, token=token) for number in range(3)])
        self.assertEqual("absent", self.value(0, "coffee"))
        self.assert_good()

    def test_what_a_write_replaced(self) -> None:
        """A client is told whether there was a value before."""
        asked = [("put", "1"), ("put", "2"), ("delete", ""), ("put", "3")]
        answers = [self.small.ask(0, verb, "k", value) for verb, value in asked]  # type: ignore[arg-type]
        self.assertEqual([False, True, True, False], [answer.existed for answer in answers])
        self.assertEqual("absent", self.small.ask(0, "delete", "none").kind)

    def test_tokens(self) -> None:
        """Several tokens are merged; one that is none of this cluster's is refused."""
        first, second = self.put(0, "a"), self.put(1, "b")
        self.assertEqual("found", self.small.ask(2, "get", "a", tokens=(first, second)).kind)
        wrong = self.small.ask(0, "get", "a", tokens=("nonsense",))
        self.assertEqual(("wrong", "it was not issued by this cluster"), (wrong.kind, wrong.why))

    def test_later(self) -> None:
        """A node that can't serve now says so."""
        self.machine.disk.health.full = True
        self.small.later(1)
        self.assertEqual("later", self.small.ask(0, "put", "a", "1").kind)

    def test_nobody_listens(self) -> None:
        """Where nothing runs, a client is refused at once."""
        self.machine.crash()
        answer = self.small.ask(0, "get", "tea")
        self.assertEqual(("none", "nobody listens there"), (answer.kind, answer.why))

    def test_broken_connection(self) -> None:
        """A client that waits for an answer when the process ends hears that the connection broke."""
        self.machine.disk.health.stuck = True
        _, answers = self.small.call(0, PUT)
        self.small.later(0.1)
        self.assertEqual([], answers)
        self.machine.crash()
        self.small.later(0.1)
        self.assertEqual([("none", "the connection broke")], [(answer.kind, answer.why) for answer in answers])

    def test_answer_on_its_way(self) -> None:
        """An answer that has left the node arrives though the process ends then."""
        small, machine = self.small, self.machine

        class Crash(Invariant):
            def answered(self, replica: Replica, outcome: Outcome) -> None:
                small.clock.after(0.0, machine.crash)

        small.cluster.monitor.watch_for(Crash(small.cluster.monitor))
        self.assertEqual("written", small.ask(0, "put", "tea", "oolong").kind)
        self.assertIsNone(machine.run)


class HangUpTests(MachineTests):
    """A client that hangs up hears nothing, and its node learns of it."""

    def waiting(self) -> int:
        """How many requests wait at the machine, or were sent on, for what they depend on."""
        assert self.machine.run is not None
        replica = self.machine.run.replica
        return len(replica.waiting) + len(replica.forwards)

    def patient(self) -> Ask:
        """A request that has to wait for a write of another node, of which nothing comes."""
        cut = self.small.cluster.network.weather.cut
        for other in self.small.machines[1:]:
            cut[other.address, self.machine.address] = 1
            cut[self.machine.address, other.address] = 1
        return Ask("get", "tea", "", (self.put(1),), 60.0, "")

    def test_hang_up(self) -> None:
        """A request that waits is forgotten by the node when its client hangs up."""
        call, answers = self.small.call(0, self.patient())
        self.small.later(1)
        self.assertEqual(1, self.waiting())
        call.hang_up()
        self.small.later(0.1)
        self.assertEqual((0, []), (self.waiting(), answers))

    def test_hang_up_before_the_node_has_it(self) -> None:
        """A node that gets to a request after its client has hung up lets go of it."""
        ask, run = self.patient(), self.machine.run
        assert run is not None
        run.paused = True
        call, answers = self.small.call(0, ask)
        self.small.later(0.5)
        call.hang_up()
        self.small.later(0.5)
        self.small.clock.resume(run)
        self.small.later(0.5)
        self.assertEqual((0, []), (self.waiting(), answers))

    def test_hang_up_with_the_answer_on_its_way(self) -> None:
        """A client that has hung up does not hear an answer that was under way."""
        call, answers = self.small.call(0, PUT)
        self.small.clock.after(0.004, call.hang_up)
        self.small.later(1)
        self.assertEqual([], answers)
        self.assertEqual("oolong", self.value(0))

    def test_a_write_may_happen_all_the_same(self) -> None:
        """Hanging up does not undo a write."""
        self.machine.disk.health.sync = 0.1
        call, answers = self.small.call(0, PUT)
        self.small.later(0.05)
        call.hang_up()
        self.small.later(1)
        self.assertEqual([], answers)
        self.assertEqual("oolong", self.value(0))
        self.assert_good()

    def test_mute(self) -> None:
        """The clients of a mute node hear nothing, though it does what they ask for."""
        self.machine.mute = 1.0
        _, answers = self.small.call(0, PUT)
        self.small.later(5)
        self.assertEqual([], answers)
        self.machine.mute = 0.0
        self.assertEqual("oolong", self.value(0))

    def test_mute_and_paused(self) -> None:
        """A process that stands still does nothing, mute or not."""
        assert self.machine.run is not None
        self.machine.mute, self.machine.run.paused = 1.0, True
        self.small.call(0, PUT)
        self.small.later(0.5)
        self.assertEqual(0, len(self.machine.run.replica.state.roles["s0"].store))


class CrashTests(MachineTests):
    """A process that is killed."""

    def test_nothing_answered_is_lost(self) -> None:
        """After a crash of all machines at once, everything that was answered is there."""
        tokens = [self.put(number % 3, f"key{number}", f"{number}") for number in range(12)]
        for machine in self.small.machines:
            machine.crash()
        self.small.later(4)
        values = [self.value((number + 1) % 3, f"key{number}", token) for number, token in enumerate(tokens)]
        self.assertEqual([f"{number}" for number in range(12)], values)
        self.assert_good()

    def test_unanswered_writes_may_be_lost(self) -> None:
        """A write that is not on disk when the process is killed is lost, or not; its client hears that nobody knows."""
        left = []
        for number in range(20):
            self.machine.disk.health.stuck = True
            _, answers = self.small.call(0, PUT._replace(key=f"{number}"))
            self.small.later(0.1)
            self.machine.crash()
            self.machine.mend()
            self.small.later(4)
            self.assertEqual(["none"], [answer.kind for answer in answers])
            left.append(self.small.ask(0, "get", f"{number}").kind)
        self.assertEqual({"found", "absent"}, set(left))
        self.assert_good()

    def test_supervisor(self) -> None:
        """A process that was killed is started again by itself, after a second."""
        self.machine.crash()
        self.small.later(REVIVAL_SECONDS - 0.1)
        self.assertIsNone(self.machine.run)
        self.small.later(0.2)
        self.assertIsNotNone(self.machine.run)

    def test_started_by_somebody_else(self) -> None:
        """A process that runs already is not started once more."""
        self.machine.crash()
        self.machine.start()
        run = self.machine.run
        self.small.later(3)
        self.assertIs(run, self.machine.run)

    def test_kept_down(self) -> None:
        """A machine that is to be down stays down, until nobody wants that any more."""
        self.machine.kept_down = 2
        self.machine.crash()
        self.small.later(5)
        self.machine.kept_down = 1
        self.machine.start()
        self.assertIsNone(self.machine.run)
        self.machine.kept_down = 0
        self.machine.start()
        self.assertIsNotNone(self.machine.run)

    def test_crash_of_what_does_not_run(self) -> None:
        """Killing what does not run changes nothing."""
        self.machine.kept_down = 1
        self.machine.crash()
        told = self.small.told()
        self.machine.crash()
        self.assertEqual(told, self.small.told())

    def test_the_dead_do_nothing(self) -> None:
        """Nothing is sent by a process that has ended, and nothing answered."""
        self.machine.kept_down = 1
        self.machine.crash()
        before = self.small.clock.seconds()
        self.small.later(5)
        sent = [
            event
            for event in self.small.cluster.trace.recent
            if event.places[:1] == (self.machine.address,) and event.seconds > before + 0.1 and event.body
        ]
        self.assertEqual([], sent)


class EndTests(MachineTests):
    """Processes that end by themselves, or are asked to."""

    def test_stop(self) -> None:
        """A process that is asked to stop answers what it was asked, ends, and is started again."""
        _, answers = self.small.call(0, PUT)
        self.small.later(0.003)
        self.machine.stop()
        self.small.later(0.5)
        self.assertEqual(["written"], [answer.kind for answer in answers])
        self.assertIsNone(self.machine.run)
        self.small.later(2)
        self.assertEqual("oolong", self.value(0))
        told = [event.what for event in self.small.cluster.trace.story if event.places == (self.machine.address,)]
        begun = told.index("is asked to stop")
        self.assertEqual(["is asked to stop", "has stopped", "starts"], told[begun : begun + 3])

    def test_stop_of_what_does_not_run(self) -> None:
        """What does not run can't be asked to stop."""
        self.machine.crash()
        self.machine.stop()
        self.assertNotIn("is asked to stop", self.small.told())

    def test_killed_while_stopping(self) -> None:
        """A process that is killed while it stops ends once; the next one is left alone."""
        self.machine.disk.health.stuck = True
        _, answers = self.small.call(0, PUT)
        self.small.later(0.1)
        self.machine.stop()
        self.machine.crash()
        self.machine.mend()
        run = self.machine.run
        self.small.later(20)
        self.assertIs(run, self.machine.run)
        self.assertEqual(["none"], [answer.kind for answer in answers])

    def test_failed_sync(self) -> None:
        """A process ends itself when its disk fails; that is no breach, and the next one goes on."""
        self.machine.disk.health.failing = True
        _, answers = self.small.call(0, PUT)
        self.small.later(0.5)
        self.assertEqual(["none"], [answer.kind for answer in answers])
        self.assertIsNone(self.machine.run)
        self.small.later(4)
        self.put()
        self.assert_good()

    def test_damaged_data(self) -> None:
        """A process does not start on data that it can't read; the supervisor tries again."""
        self.put()
        self.machine.crash()
        self.machine.disk.health.flipped = True
        self.machine.start()
        self.assertIsNone(self.machine.run)
        self.assertIn("does not start", self.small.told()[-1])
        self.small.later(4)
        self.assertEqual("oolong", self.value(0))
        self.assert_good()

    def test_old_copy(self) -> None:
        """A process that gets an old copy of its data finds that out, ends, and is given the right one."""
        old = self.machine.disk.copy()
        for number in range(5):
            self.put(0, f"key{number}")
        self.small.later(3)
        self.small.cluster.monitor.distrust()
        self.machine.put_back(old)
        self.small.later(8)
        self.assertTrue(any("ends by itself" in what for what in self.small.told()))
        self.assertEqual("oolong", self.value(0, "key4"))
        self.assert_good()

    def test_ending_for_no_reason(self) -> None:
        """A process that ends by itself for any other reason is accused of it."""
        run = self.machine.run
        assert run is not None
        run.node._release(Halt("a whim"))
        self.assertEqual(["fail-stop: 10.0.0.1:8090 ended by itself: a whim"], self.small.complaints())
        self.small.later(4)
        self.assertEqual("absent", self.value(0))

    def test_ending_too_late(self) -> None:
        """A process that was killed already can't end by itself, and not the one that runs in its place either."""
        run = self.machine.run
        assert run is not None
        self.machine.crash()
        self.machine.start()
        run.node._release(Halt("a whim"))
        self.assertIsNotNone(self.machine.run)
        self.assert_good()

    def test_ending_at_the_start(self) -> None:
        """A process that ends while it starts is no longer there; it is accused and started again."""
        self.patch(Replica, "start", lambda *_: [Halt("a whim")])
        self.machine.crash()
        self.machine.start()
        self.assertIsNone(self.machine.run)
        self.assertEqual(1, len(self.small.complaints()))
        self.assertEqual("none", self.small.ask(0, "get", "tea").kind)

    def test_defect_when_answering(self) -> None:
        """An error in answering a client, of the simulator's own too, is a breach and not overlooked."""

        class Faulty(Invariant):
            def answered(self, replica: Replica, outcome: Outcome) -> None:
                raise ZeroDivisionError

        monitor = self.small.cluster.monitor
        monitor.watch_for(Faulty(monitor))
        self.small.call(0, PUT)
        self.small.later(1)
        self.assertEqual(["no-exception"], [violation.rule for violation in monitor.violations])
        self.assertIn("ZeroDivisionError", self.small.complaints()[0])


class MendTests(MachineTests):
    """Whatever is wrong with a machine can be made right."""

    def test_mend(self) -> None:
        """A machine that was mended runs, with a good disk and the right time."""
        machine: Machine = self.machine
        assert machine.run is not None
        machine.run.paused, machine.run.lag = True, 0.5
        machine.offset_ms, machine.mute = 5000, 1.0
        machine.disk.health.stuck = machine.disk.health.full = True
        self.small.later(3)
        machine.mend()
        self.small.later(4)
        self.put()
        self.assertEqual((0, 0.0, 0), (machine.offset_ms, machine.mute, machine.kept_down))
        self.assert_good()

    def test_mended_while_down(self) -> None:
        """A machine that was to be down is started."""
        self.machine.kept_down = 3
        self.machine.crash()
        self.machine.mend()
        self.assertIsNotNone(self.machine.run)

    def test_wrong_clock(self) -> None:
        """A machine's clock on the wall may be wrong by any amount."""
        assert self.machine.run is not None
        right = self.machine.run.node.now()
        self.machine.offset_ms = -1234
        wrong = self.machine.run.node.now()
        self.assertEqual(Now(right.monotonic, right.wall_ms - 1234), wrong)
