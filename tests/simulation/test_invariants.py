"""
More invariants: requests that are tried again are carried out once, none waits for what is there, and no tombstone is
dropped too early.
"""

from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication.causality import Dot
from kvsd.replication.effects import DropRow, Keep, LogOp, SetRow, SetVector, Write
from kvsd.replication.record import Op, Record, Row
from kvsd.replication.replica import Replica
from kvsd.replication.requests import Get
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
        return Op(SHARD, writer, counter, 1, {}, record)

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
        self.apply(replace(again, record=replace(again.record, hlc=first.record.hlc)), self.bert)
        self.assert_accused()
        self.apply(self.op(self.carl, MINTED), self.carl)
        self.assert_accused("one-stamp")


class CollectionTests(SynchronousTestCase):
    """A node that drops rows."""

    def setUp(self) -> None:
        self.small = SmallCluster(small_plan(nodes=4, shards=2))
        self.monitor = self.small.cluster.monitor
        runs = [machine.run for machine in self.small.machines]
        self.anna, self.bert = (run.replica for run in runs[:2] if run)

    def drop(self, value: bytes | None, counter: int) -> list[str]:
        """A node drops a row that depends on a write of the other shard; returns the rules that this breaks."""
        writer = self.anna.state.roles["s0"].writer
        dependencies = {"s1": {self.bert.state.roles["s1"].writer: counter}} if counter else {}
        record = Record(0, "key", value, 1 << 62, Dot("s0", writer, 1), dependencies, 1, "", False, 0)
        changes: list[Keep] = [SetRow(writer, Row(writer, 1, record)), DropRow(writer, 0, "key")]
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
