"""
More invariants: requests that are tried again are carried out once, none waits for what is there, stamps follow
causality, pulls leave no gaps, and no tombstone is dropped too early.
"""

from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication.causality import Dot, VersionVector
from kvsd.replication.collected import Collected
from kvsd.replication.effects import DropRow, Keep, LogOp, SetRow, SetVector, Write
from kvsd.replication.limits import Limits
from kvsd.replication.messages import PullOps, PullRows, Sender
from kvsd.replication.oplog import Entry
from kvsd.replication.record import CarriedOut, Op, Record, Row
from kvsd.replication.replica import Replica
from kvsd.replication.requests import Get
from kvsd.replication.saved import Saved, SavedRole
from kvsd.replication.waiting import Waiting
from tests.simulation.small_cluster import SmallCluster, small_plan

SHARD = "s0"
MINTED = "0123456789abcdef-1f-7"


class RepeatsTests(SynchronousTestCase):
    """Three nodes, shown ops that they never applied."""

    def setUp(self) -> None:
        self.small = SmallCluster(small_plan(page_requests=3))
        self.monitor = self.small.cluster.monitor
        self.anna, self.bert, self.carl = (machine.run.replica for machine in self.small.machines if machine.run)
        self.issued = 0

    def assert_accused(self, *rules: str) -> None:
        """These rules were broken, and no others."""
        self.assertEqual(list(rules), [violation.rule for violation in self.monitor.violations])

    def op(self, author: Replica, request: str, value: bytes | None = b"1", counter: int = 1) -> Op:
        """An op that came of a request; each is later than the one before."""
        self.issued += 1
        writer = author.state.roles[SHARD].writer
        record = Record(0, "key", value, self.issued, Dot(SHARD, writer, counter), {}, 1, request, True, 0)
        return Op(SHARD, writer, counter, 1, {}, (record,))

    def apply(self, op: Op, *replicas: Replica) -> None:
        """Show that replicas apply an op."""
        for replica in replicas:
            change = LogOp(replica.state.roles[SHARD].writer, 10**6, op)
            self.monitor.sees(replica, [Write(replica.state.out.written + 1, [change])])

    def test_two_who_don_t_know_of_each_other(self) -> None:
        """Two nodes may carry out the same request while neither has heard of the other's op."""
        self.apply(self.op(self.anna, "r"), self.anna)
        self.apply(self.op(self.bert, "r"), self.bert)
        self.assert_accused()

    def test_known(self) -> None:
        """Who has applied the op of a request does not carry the request out again."""
        self.apply(self.op(self.anna, "r"), self.anna, self.bert)
        self.apply(self.op(self.bert, "r"), self.bert)
        self.assert_accused("carried-out-twice")

    def test_own(self) -> None:
        """Nor does who has carried it out itself, not even under another id."""
        self.apply(self.op(self.anna, "r"), self.anna)
        self.apply(self.op(self.anna, "r/2", counter=2), self.anna)
        self.assert_accused("carried-out-twice")

    def test_deletions(self) -> None:
        """A deletion is known by the id of its request."""
        self.apply(self.op(self.anna, "r", None), self.anna)
        self.apply(self.op(self.anna, "s", None, counter=2), self.anna)
        self.assert_accused()
        self.apply(self.op(self.anna, "r", None, counter=3), self.anna)
        self.assert_accused("carried-out-twice")

    def test_without_an_id(self) -> None:
        """Of a request without an id nothing is remembered."""
        for counter in (1, 2):
            self.apply(self.op(self.anna, "", counter=counter), self.anna)
        self.assert_accused()

    def test_lost_in_a_crash(self) -> None:
        """An op that a crash took back was not carried out, whatever has its dot now."""
        self.apply(self.op(self.anna, "r"), self.anna)
        role = self.anna.state.roles[SHARD]
        self.monitor.sees(self.anna, [Write(2, [SetVector(role.writer, SHARD, {}, 1, 0)])])
        self.monitor.violations.clear()  # that a vector goes back is another matter
        self.apply(self.op(self.anna, "s", b"2"), self.anna)
        self.apply(self.op(self.anna, "r", counter=2), self.anna)
        self.assert_accused()

    def test_forgotten_in_a_copy(self) -> None:
        """A copy brings only so many of the latest requests along; what it leaves out may be carried out again."""
        for counter in range(1, 5):
            self.apply(self.op(self.anna, f"r{counter}", b"%d" % counter, counter), self.anna)
        vector = SetVector(self.bert.state.roles[SHARD].writer, SHARD, {self.anna.state.roles[SHARD].writer: 4}, 1, 0)
        self.monitor.distrust()
        self.monitor.sees(self.bert, [Write(1, [vector])])
        self.monitor.violations.clear()  # that there was no copy is another matter
        self.apply(self.op(self.bert, "r1", b"1"), self.bert)
        self.assert_accused()

    def test_one_stamp(self) -> None:
        """A request that a node sent on under an id of its own is one version, wherever it is carried out."""
        first = self.op(self.anna, MINTED)
        again = self.op(self.bert, MINTED)
        self.apply(first, self.anna)
        self.apply(replace(again, records=(replace(again.record, hlc=first.record.hlc),)), self.bert)
        self.assert_accused()
        self.apply(self.op(self.carl, MINTED), self.carl)
        self.assert_accused("one-stamp")

    # What disks and copies remember

    def remembered(self, op: Op) -> CarriedOut:
        """What is kept of the request behind an op."""
        return CarriedOut(op.record, b"")

    def test_copy(self) -> None:
        """A copy brings along the requests that led to it, where the puller does not know them."""
        op, identity = self.op(self.anna, "r"), self.anna.state.identity
        self.apply(op, self.anna)
        self.monitor.distrust()  # nothing of this is on a disk
        for requests in ([self.remembered(op)], []):
            self.assert_accused()
            copy = PullRows(1, SHARD, 1, 0, [], 0, {op.writer: 1}, requests)
            self.monitor.hears(self.bert, Sender(identity.address, identity.instance, "c", 1), [copy])
        self.assert_accused("requests-remembered")

    def test_start(self) -> None:
        """A node that starts finds on its disk the requests behind the writes that it finds there."""
        op = self.op(self.anna, "r")
        self.apply(op, self.anna)
        writer = self.anna.state.roles[SHARD].writer
        for requests in ([(1, self.remembered(op))], []):
            self.assert_accused()
            again = Replica(self.anna.state.identity, self.anna.state.limits)
            self.monitor.started(again, Saved(roles={writer: SavedRole(SHARD, {op.writer: 1}, requests=requests)}))
        self.assert_accused("requests-remembered")

    def test_start_with_little_memory(self) -> None:
        """What was to be forgotten for the sake of newer requests need not be on the disk."""
        for counter in (1, 2):
            self.apply(self.op(self.anna, f"r{counter}", b"%d" % counter, counter), self.anna)
        writer = self.anna.state.roles[SHARD].writer
        again = Replica(self.anna.state.identity, Limits(requests=1))
        self.monitor.started(again, Saved(roles={writer: SavedRole(SHARD, {writer: 2})}))
        self.assert_accused()


class StampsTests(SynchronousTestCase):
    """A node that issues writes."""

    def setUp(self) -> None:
        self.small = SmallCluster()
        self.anna = next(machine.run.replica for machine in self.small.machines if machine.run)
        self.writer = self.anna.state.roles[SHARD].writer
        self.counter = 0

    def issue(self, key: str, hlc: int, dependencies: VersionVector, *more: Keep) -> list[str]:
        """The node issues a write, and changes more; returns the rules that were broken until now."""
        self.counter += 1
        dot = Dot(SHARD, self.writer, self.counter)
        record = Record(0, key, b"1", hlc, dot, {SHARD: dependencies}, 1, "", True, 0)
        op = Op(SHARD, self.writer, self.counter, 1, dependencies, (record,))
        row = SetRow(self.writer, Row(self.writer, self.counter, record))
        monitor = self.small.cluster.monitor
        monitor.sees(self.anna, [Write(self.counter, [LogOp(self.writer, self.counter, op), row, *more])])
        return [v.rule for v in monitor.violations if v.rule not in {"last-writer-wins", "collected-too-early"}]

    def test_causality(self) -> None:
        """A write has a later stamp than what it depends on, neither an earlier one nor the same."""
        self.assertEqual([], self.issue("a", 10, {}))
        self.assertEqual([], self.issue("b", 11, {self.writer: 1}))
        self.assertEqual(["stamps-follow-causality"], self.issue("c", 11, {self.writer: 2}))
        self.assertEqual(["stamps-follow-causality"] * 2, self.issue("d", 9, {self.writer: 1}))

    def test_effect(self) -> None:
        """A write has a later stamp than the version that is there."""
        self.assertEqual([], self.issue("a", 10, {}))
        self.assertEqual([], self.issue("a", 11, {}))
        self.assertEqual(["write-takes-effect"], self.issue("a", 11, {}))
        self.assertEqual(["write-takes-effect"] * 2, self.issue("a", 5, {}, DropRow(self.writer, 0, "a")))
        self.assertEqual(["write-takes-effect"] * 2, self.issue("a", 5, {}))

    def test_clock(self) -> None:
        """The clock of a node is past the stamps of all rows that it has."""
        self.anna.state.clock.witness(100)
        self.assertEqual([], self.issue("a", 100, {}))
        self.small.later(0.2)
        self.assertEqual(0, self.clocks_behind())
        self.issue("b", 1 << 62, {})
        self.small.later(0.2)
        self.assertLess(0, self.clocks_behind())

    def clocks_behind(self) -> int:
        """How often a clock was found to be behind; that rows are none of the store's is found, too."""
        return sum("clock-past-all" in complaint for complaint in self.small.complaints())

    def test_start(self) -> None:
        """What the disk had before a start counts."""
        self.small.ask(0, "put", "a", "1")
        self.small.later(1)
        machine = self.small.machines[0]
        machine.crash()
        machine.start()
        self.small.later(1)
        assert machine.run is not None
        self.anna, self.counter = machine.run.replica, 1
        self.assertEqual(["write-takes-effect"], self.issue("a", 5, {}))


class RepairTests(SynchronousTestCase):
    """A node that hears the answer to a pull."""

    def hear(self, *counters: int) -> list[str]:
        """The answer brings these ops of one writer, nothing of which is here; returns the rules that this breaks."""
        small = SmallCluster()
        anna, bert = (machine.run.replica for machine in small.machines[:2] if machine.run)
        writer, identity = anna.state.roles[SHARD].writer, anna.state.identity
        ops = [
            Op(SHARD, writer, n, 1, {}, (Record(0, "key", b"1", n, Dot(SHARD, writer, n), {}, 1, "", True, 0),))
            for n in counters
        ]
        monitor = small.cluster.monitor
        monitor.hears(bert, Sender(identity.address, identity.instance, "c", 1), [PullOps(1, SHARD, ops, more=False)])
        return [violation.rule for violation in monitor.violations if violation.rule != "durable-first"]

    def test_gaps(self) -> None:
        """The ops begin after what is there, and leave none out."""
        self.assertEqual([], self.hear(1, 2, 3))
        self.assertEqual(["pull-without-gaps"], self.hear(2, 3))
        self.assertEqual(["pull-without-gaps"], self.hear(1, 3))

    def test_pieces(self) -> None:
        """All pages of a copy come from one run of the giver; another pull may be answered by the next run."""
        small = SmallCluster()
        anna, bert = (machine.run.replica for machine in small.machines[:2] if machine.run)
        identity, monitor = anna.state.identity, small.cluster.monitor
        for number, copy in ((1, 7), (1, 7), (2, 8), (1, 8)):
            self.assertEqual([], monitor.violations)
            page = PullRows(number, SHARD, copy, 0, [], 1, {}, [])
            monitor.hears(bert, Sender(identity.address, identity.instance, "c", 1), [page])
        self.assertEqual(["copy-of-one-piece"], [violation.rule for violation in monitor.violations])

    def test_logs(self) -> None:
        """A log holds the last ops of a writer without a gap, or none."""
        small = SmallCluster()
        anna, bert = (machine.run.replica for machine in small.machines[:2] if machine.run)
        role, writer, monitor = anna.state.roles[SHARD], bert.state.roles[SHARD].writer, small.cluster.monitor
        for counter, broken in ((3, 0), (4, 0), (5, 0), (7, 1)):
            record = Record(0, "key", b"1", counter, Dot(SHARD, writer, counter), {}, 1, "", True, 0)
            role.log._order.append(
                Entry(counter, 1, Op(SHARD, writer, counter, 1, {}, (record,)))
            )  # append() asserts it
            role.vector[writer] = counter
            monitor.ticked(anna)
            self.assertEqual(["log-without-gaps"] * broken, [violation.rule for violation in monitor.violations])
        role.log.clear()
        monitor.ticked(anna)
        self.assertEqual(1, len(monitor.violations))


class CollectionTests(SynchronousTestCase):
    """A node that drops rows."""

    def setUp(self) -> None:
        self.small = SmallCluster(small_plan(nodes=4, shards=2))
        self.monitor = self.small.cluster.monitor
        runs = [machine.run for machine in self.small.machines]
        self.anna, self.bert = (run.replica for run in runs[:2] if run)
        keys = (f"dropped{number}" for number in range(100))
        self.key = next(key for key in keys if self.anna.state.shard_of(key) == (0, "s0"))

    def drop(self, value: bytes | None, counter: int) -> list[str]:
        """A node drops a row that depends on a write of the other shard; returns the rules that this breaks."""
        writer = self.anna.state.roles["s0"].writer
        dependencies = {"s1": {self.bert.state.roles["s1"].writer: counter}} if counter else {}
        self.anna.state.clock.witness(1)
        self.anna.state.roles["s0"].collected.note((0, self.key), 1)
        record = Record(0, self.key, value, 1, Dot("s0", writer, 1), dependencies, 1, "", False, 0)
        changes: list[Keep] = [SetRow(writer, Row(writer, 1, record)), DropRow(writer, 0, self.key)]
        self.monitor.sees(self.anna, [Write(self.anna.state.out.written + 1, changes)])
        return [violation.rule for violation in self.monitor.violations]

    def test_in_time(self) -> None:
        """A tombstone that depends on nothing may be dropped, or one that depends on what all have."""
        self.assertEqual([], self.drop(None, 0))
        numbers = iter(range(20))
        while not self.bert.state.roles["s1"].vector.get(self.bert.state.roles["s1"].writer):
            self.small.ask(1, "put", f"key{next(numbers)}", "1")
        self.small.later(1)
        self.assertEqual([], self.drop(None, 1))

    def test_dependencies(self) -> None:
        """A tombstone is not dropped while some member lacks what it depends on."""
        self.assertEqual(["collected-too-early"] * 2, self.drop(None, 1))

    def test_no_tombstone(self) -> None:
        """A row with a value is never dropped."""
        self.assertEqual(["collected-too-early"], self.drop(b"1", 0))

    def test_forgotten(self) -> None:
        """Who dropped a tombstone remembers how late it was, also after a start."""
        self.assertEqual([], self.drop(None, 0))
        self.small.later(0.2)
        self.assertEqual([], self.small.complaints())
        self.anna.state.roles["s0"].collected = Collected(1)
        self.small.later(0.2)
        self.assertIn("collected-remembered", self.small.complaints()[0])

    def test_distrust(self) -> None:
        """Where disks were put back, it is no wonder that they lack something."""
        self.monitor.distrust()
        self.assertEqual([], self.drop(None, 1))


class PromptnessTests(SynchronousTestCase):
    """A node with a request that waits."""

    def test_waiting(self) -> None:
        """A request may wait for what is not there; once it is there, the request waits no longer."""
        small = SmallCluster()
        anna, bert = small.machines[0].run, small.machines[1].run
        assert anna is not None and bert is not None
        small.cluster.network.weather.loss = 1.0
        answer = small.ask(0, "put", "key", "1")
        token = anna.node.tokens.decode(answer.token)
        asked = bert.node.ask(Get("key", token, 60.0))
        small.later(1)
        self.assertEqual([], small.complaints())
        self.patch(Waiting, "tick", lambda *_: None)
        self.patch(Waiting, "wake", lambda *_: None)
        small.cluster.network.weather.loss = 0.0
        small.later(5)
        self.assertIn("waits-for-nothing", small.complaints()[0])
        self.assertFalse(asked.called)
