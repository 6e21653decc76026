"""The invariants: they let every good run pass, and accuse each kind of wrong event under its rule."""

from dataclasses import replace
from zlib import crc32

from msgspec.structs import replace as changed
from twisted.trial.unittest import SynchronousTestCase

from kvsd.claim import row_table
from kvsd.entries import entries, saved
from kvsd.replication.causality import Dot, VersionVector
from kvsd.replication.counts import Count
from kvsd.replication.effects import DropRow, Effect, Keep, LogOp, Note, Now, Reply, Send, SetRow, SetVector, Write
from kvsd.replication.hlc import COUNTER_BITS
from kvsd.replication.messages import Acknowledged, Forwarded, Heartbeat, Message, PullOps, PullRows, Push, Sender
from kvsd.replication.placement import slot_of
from kvsd.replication.record import Op, Record, Row
from kvsd.replication.replica import Replica
from kvsd.replication.requests import Absent, Found, MissingWrite, Outdated, Unconfirmed, Unmet, Written
from kvsd.replication.role import Role
from kvsd.replication.saved import Saved, SavedRole
from kvsd.replication.state import Identity
from kvsd.replication.token import EMPTY, Token
from kvsd.simulate.clock import WALL_MS, Actor
from kvsd.simulate.disk import SimulatedStorage
from kvsd.simulate.door import Ask
from kvsd.simulate.monitor import MAX_ACCUSATIONS
from tests.simulation.small_cluster import SmallCluster, small_plan

SHARD = "s0"
LATE, LATER, LATEST = (WALL_MS + day * 86_400_000 << COUNTER_BITS for day in (1, 2, 3))
"""Stamps beyond all that the cluster draws, and not so far ahead that the time itself is in doubt."""


class MonitorTests(SynchronousTestCase):
    """A good cluster, whose monitor is then shown events that never were."""

    def setUp(self) -> None:
        self.small = SmallCluster()
        for number in range(3):
            self.small.ask(number, "put", f"key{number}", "1")
        self.small.later(1)
        self.monitor = self.small.cluster.monitor
        self.anna, self.bert, self.carl = (self.replica(number) for number in range(3))
        self.assert_accused()

    def replica(self, number: int) -> Replica:
        """The replica of a node."""
        run = self.small.machines[number].run
        assert run is not None
        return run.replica

    def assert_accused(self, *rules: str) -> None:
        """These rules were broken, and no others."""
        self.assertEqual(list(rules), [violation.rule for violation in self.monitor.violations])

    # What is shown

    def write(self, replica: Replica, *changes: Keep) -> int:
        """Show that a replica wants something to be kept; returns the position."""
        position = replica.state.out.written + 1
        self.monitor.sees(replica, [Write(position, changes)])
        return position

    def show(self, replica: Replica, *effects: Effect) -> None:
        """Show effects of a replica."""
        self.monitor.sees(replica, effects)

    def hear(self, replica: Replica, sender: Replica, *messages: Message) -> None:
        """Show that a replica is about to hear messages."""
        identity = sender.state.identity
        self.monitor.hears(replica, Sender(identity.address, identity.instance, "c", 1), messages)

    def start_again(self, number: int, *, met: bool = True) -> Replica:
        """Show that a node starts, with what its disk knows, and has met the others since or not."""
        identity = self.replica(number).state.identity
        shelf, state = row_table(SimulatedStorage(self.small.machines[number].disk, Actor())), self.on_disk(number)
        replica = Replica(identity._replace(boot=identity.boot + 1), shelf=shelf)
        replica.state.restore(state)
        if met:
            replica.state.now = Now(replica.state.now.monotonic + replica.state.limits.down_seconds, 0)
        self.monitor.started(replica, state)
        return replica

    def on_disk(self, number: int) -> Saved:
        """What is on the disk of a node."""
        disk = self.small.machines[number].disk
        return saved(disk.read("meta"), disk.read("ops"))[1]

    def wipe(self, number: int) -> None:
        """Take everything off the disk of a node, behind its back."""
        for table in self.small.machines[number].disk.tables.values():
            table.clear()

    def forget(self, number: int) -> None:
        """Take all writes off the disk of a node, behind its back; that it is a replica is still there."""
        meta = self.small.machines[number].disk.tables["meta"]
        for _, key, value in entries([SetVector(role_of(self.replica(number)).writer, SHARD, {}, 1, 0)]):
            assert key in meta and value is not None
            meta[key] = (value, crc32(value))


def role_of(replica: Replica) -> Role:
    """What a replica holds."""
    return replica.state.roles[SHARD]


def next_op(
    replica: Replica,
    author: Replica,
    value: bytes | None = b"2",
    skipped: int = 0,
    dependencies: VersionVector | None = None,
    epoch: int = 1,
    hlc: int = LATEST,
    key: str = "key",
) -> Op:
    """The next op of an author, or one that skips some, as another replica may apply it."""
    writer = role_of(author).writer
    counter = role_of(replica).vector[writer] + 1 + skipped
    dot = Dot(SHARD, writer, counter)
    record = Record(0, key, value, hlc, dot, {}, epoch, "", True, 0)
    return Op(SHARD, writer, counter, epoch, dependencies or {}, (record,))


def applied(replica: Replica, op: Op) -> LogOp:
    """What a replica keeps when it applies an op."""
    return LogOp(role_of(replica).writer, 10**6, op)


def vector_of(replica: Replica, vector: VersionVector) -> SetVector:
    """What a replica keeps of its vector."""
    return SetVector(role_of(replica).writer, SHARD, vector, 1, 0)


def beyond(replica: Replica, author: Replica) -> VersionVector:
    """A vector that names one write more of an author than a replica has."""
    writer = role_of(author).writer
    return {**role_of(replica).vector, writer: role_of(replica).vector[writer] + 1}


class GoodRunTests(MonitorTests):
    """Runs that keep all promises."""

    def test_all_in_a_day(self) -> None:
        """Writes, deletions, crashes and losses, copies of rows and collected tombstones are no breach of anything."""
        small = SmallCluster(small_plan(page_bytes=300, log_bytes=500))
        small.machines[2].kept_down = 1
        small.machines[2].crash()
        for number in range(40):
            small.ask(number % 2, "delete" if number % 5 == 4 else "put", f"key{number // 5}", f"{number}")
        small.machines[0].crash()
        small.cluster.network.weather.loss = 0.2
        small.machines[2].mend()
        small.later(5)
        small.cluster.network.weather.loss = 0.0
        for number in range(3):
            small.ask(number, "delete", f"key{number}")
        small.later(5)
        self.assertTrue(any("copy taken over" in what for what in small.told()), small.told())
        self.assertEqual([[], [], []], [list(r.state.roles[SHARD].store.tombstones) for r in _replicas(small)])
        self.assertEqual([], small.complaints())

    def test_several_shards(self) -> None:
        """Requests that are sent on to other shards break nothing."""
        small = SmallCluster(small_plan(nodes=4, shards=2))
        token = ""
        for number in range(24):
            answer = small.ask(number % 4, "put", f"key{number}", "1", (token,) if token else ())
            token = answer.token
        self.assertEqual("found", small.ask(3, "get", "key0", tokens=(token,)).kind)
        self.assertEqual([], small.complaints())

    def test_lost_dots_are_used_again(self) -> None:
        """A write that a crash took away before it was on disk was never seen, so another one may have its dot."""
        machine, writer = self.small.machines[0], role_of(self.anna).writer
        taken = []
        for number in range(6):
            machine.disk.health.stuck = True
            self.small.call(0, Ask("put", "key", f"lost {number}", (), 0.0, ""))
            self.small.later(0.05)
            taken.append(role_of(self.replica(0)).vector[writer])
            machine.crash()
            machine.mend()
            self.small.later(4)
        self.assertLess(len(set(taken)), 6)
        self.assertEqual("written", self.small.ask(0, "put", "key", "kept").kind)
        self.small.later(1)
        self.assert_accused()

    def test_notes(self) -> None:
        """What replicas tell an operator becomes part of the story."""
        self.show(self.anna, Note("something-happened", {"shard": SHARD}))
        self.assertIn("something", self.small.told()[-1])
        self.assertIn(SHARD, self.small.told()[-1])


def _replicas(small: SmallCluster) -> list[Replica]:
    """The replicas of all nodes."""
    return [machine.run.replica for machine in small.machines if machine.run]


class DeliveryTests(MonitorTests):
    """Ops are applied in order, once, after their causes, and one dot is one write."""

    def test_next_op(self) -> None:
        """The next op of a writer may be applied, by everybody."""
        op = next_op(self.anna, self.bert)
        for replica in (self.bert, self.anna, self.carl):
            self.write(replica, applied(replica, op), vector_of(replica, beyond(replica, self.bert)))
        self.assert_accused()

    def test_one_dot_one_write(self) -> None:
        """Two replicas never apply different writes under one dot."""
        for replica, value in ((self.anna, b"2"), (self.carl, b"3")):
            self.write(replica, applied(replica, next_op(replica, self.bert, value)))
        self.assert_accused("one-dot-one-write")

    def test_own_write_against_another(self) -> None:
        """A writer's own write counts once it is durable."""
        self.write(self.anna, applied(self.anna, next_op(self.anna, self.bert, b"2")))
        position = self.write(self.bert, applied(self.bert, next_op(self.bert, self.bert, b"3")))
        self.assert_accused()
        self.monitor.synced(self.bert, position)
        self.assert_accused("one-dot-one-write")

    def test_dot_used_again_after_it_was_durable(self) -> None:
        """A dot whose write was on disk is never used again, though the node may have lost it since."""
        first = self.write(self.bert, applied(self.bert, next_op(self.bert, self.bert, b"2")))
        self.monitor.synced(self.bert, first)
        again = self.start_again(1)
        position = self.write(again, applied(self.bert, next_op(self.bert, self.bert, b"3")))
        self.monitor.synced(again, position)
        self.assert_accused("one-dot-one-write")

    def test_write_before_the_others_were_met(self) -> None:
        """A node that was started with data writes nothing of its own before it has heard of all others."""
        again = self.start_again(1, met=False)
        self.write(again, applied(again, next_op(again, self.anna)))
        self.assert_accused()
        self.write(again, applied(again, next_op(again, again)))
        self.assert_accused("met-first")

    def test_report_before_the_others_were_met(self) -> None:
        """Nor does it say what it has."""
        state = self.bert.state
        assert state.configuration is not None
        sender = Sender(state.identity.address, state.identity.instance, state.configuration.cluster, 1)
        for vectors in ({}, {SHARD: dict(role_of(self.bert).vector)}):
            self.monitor.hears(self.anna, sender, [Heartbeat(1, 0, 0, {}, vectors, {}, {}, meeting=True)])
        self.assert_accused("met-first")

    def test_dot_used_again_before_it_was_durable(self) -> None:
        """A dot whose write was lost before it was on disk may be used again."""
        self.write(self.bert, applied(self.bert, next_op(self.bert, self.bert, b"2")))
        again = self.start_again(1)
        position = self.write(again, applied(self.bert, next_op(self.bert, self.bert, b"3")))
        self.monitor.synced(again, position)
        self.assert_accused()

    def test_dot_on_disk(self) -> None:
        """What a node finds on its disk must be what others know under the same dots."""
        self.small.ask(1, "put", "key", "1")
        state = self.on_disk(1)
        role = next(iter(state.roles.values()))
        arrival, op = role.ops[-1]
        role.ops[-1] = (arrival, changed(op, records=(changed(op.record, value=b"another"),)))
        self.monitor.started(Replica(self.bert.state.identity), state)
        self.assert_accused("one-dot-one-write")

    def test_gap(self) -> None:
        """A writer's ops are applied without gaps."""
        self.write(self.anna, applied(self.anna, next_op(self.anna, self.bert, skipped=1)))
        self.assert_accused("delivery-order")

    def test_twice(self) -> None:
        """No op is applied twice."""
        op = next_op(self.anna, self.bert)
        self.write(self.anna, applied(self.anna, op), applied(self.anna, op))
        self.assert_accused("delivery-order")

    def test_causes(self) -> None:
        """No op is applied before what it depends on."""
        op = next_op(self.anna, self.bert, dependencies=beyond(self.anna, self.carl))
        self.write(self.anna, applied(self.anna, op))
        self.assert_accused("causal-delivery")

    def test_causes_that_came_with_it(self) -> None:
        """What an op depends on may be applied in the same event, before it."""
        cause = next_op(self.anna, self.carl)
        op = next_op(self.anna, self.bert, dependencies=beyond(self.anna, self.carl))
        self.write(self.anna, applied(self.anna, cause), applied(self.anna, op))
        self.assert_accused()

    def test_configuration(self) -> None:
        """No op of a later configuration is applied before that is known."""
        self.write(self.anna, applied(self.anna, next_op(self.anna, self.bert, epoch=2)))
        self.assert_accused("configuration-first")

    def test_vector(self) -> None:
        """A replica says that it has what it has applied, no more and no less."""
        self.write(self.anna, vector_of(self.anna, beyond(self.anna, self.bert)))
        self.assert_accused("vector")
        self.write(self.carl, applied(self.carl, next_op(self.carl, self.bert)))
        self.write(self.carl, vector_of(self.carl, dict(role_of(self.carl).vector)))
        self.assert_accused("vector", "vector")

    def copy(self, vector: VersionVector, cursor: int) -> PullRows:
        """A page of a copy; the last one has no cursor."""
        return PullRows(1, SHARD, 1, 0, [], cursor, vector, [])

    def test_copy(self) -> None:
        """A copy that is whole takes a replica to where it ends."""
        vector = beyond(self.anna, self.bert)
        self.monitor.distrust()  # what the copy has is on nobody's disk
        self.hear(self.anna, self.carl, self.copy(vector, 0))
        self.write(self.anna, vector_of(self.anna, vector))
        self.write(self.anna, applied(self.anna, next_op(self.anna, self.bert, skipped=1)))
        self.assert_accused()

    def test_part_of_a_copy(self) -> None:
        """A page of a copy that is not the last takes a replica nowhere."""
        vector = beyond(self.anna, self.bert)
        self.monitor.distrust()
        self.hear(self.anna, self.carl, self.copy(vector, 7))
        self.write(self.anna, vector_of(self.anna, vector))
        self.assert_accused("vector")


class RowTests(MonitorTests):
    """Rows are replaced by what beats them, and what was collected stays away."""

    def row(self, hlc: int, value: bytes | None = b"2", key: str = "key0") -> Row:
        """A row of Anna's, brought by an op of Bert's that she has."""
        op = next_op(self.anna, self.bert, value, hlc=hlc, key=key)
        return Row(op.writer, op.counter - 1, op.record)

    def set(self, row: Row) -> SetRow:
        """What Anna keeps of a row."""
        return SetRow(role_of(self.anna).writer, row)

    def test_larger_stamp(self) -> None:
        """A version with a larger stamp replaces one with a smaller stamp."""
        self.write(self.anna, self.set(self.row(LATER)), self.set(self.row(LATEST)))
        self.assert_accused()

    def test_smaller_stamp(self) -> None:
        """A version with a smaller stamp never replaces another."""
        self.write(self.anna, self.set(self.row(1)))
        self.assert_accused("last-writer-wins")

    def test_same_stamp(self) -> None:
        """A version never replaces itself."""
        self.write(self.anna, self.set(self.row(LATEST)), self.set(self.row(LATEST)))
        self.assert_accused("last-writer-wins")

    def test_beyond_the_vector(self) -> None:
        """A replica has no row of a write that it lacks."""
        row = self.row(LATEST)
        role_of(self.anna).store.put(changed(row, counter=row.counter + 1), 1 << 40)
        self.write(self.anna, vector_of(self.anna, dict(role_of(self.anna).vector)))
        self.assert_accused("rows-within-vector")

    def test_beyond_the_vector_on_disk(self) -> None:
        """Nor has it one on its disk, where one may be of a copy that is on its way."""
        role, row = role_of(self.anna), self.row(LATEST)
        counts = {(row.record.tenure, slot_of(row.record.key)): Count(1, 1, 100)}
        for place in (b"a copy", role.writer):
            for table, key, value in entries([SetRow(place, changed(row, counter=row.counter + 1))]):
                assert value is not None
                self.small.machines[0].disk.tables[table][key] = (value, crc32(value))
        self.monitor.started(self.anna, Saved(roles={b"a copy": SavedRole("", {}, counts=counts)}))
        self.assert_accused()
        self.monitor.started(self.anna, Saved(roles={role.writer: SavedRole(SHARD, dict(role.vector), counts=counts)}))
        self.assert_accused("rows-within-vector")

    def test_after_a_start(self) -> None:
        """What a node found on its disk counts."""
        again = self.start_again(0)
        self.write(again, self.set(self.row(1)))
        self.assert_accused("last-writer-wins")

    def collect(self) -> None:
        """Anna has a tombstone, and drops it."""
        tombstone = self.row(LATER, None)
        writer = role_of(self.anna).writer
        self.write(self.anna, self.set(tombstone), DropRow(writer, 0, "key0"))

    def test_collected_too_early(self) -> None:
        """After a tombstone was dropped, nothing comes that it would have beaten."""
        self.collect()
        self.write(self.anna, applied(self.anna, next_op(self.anna, self.bert, hlc=LATE, key="key0")))
        self.assert_accused("collected-too-early")

    def test_collected_in_time(self) -> None:
        """After a tombstone was dropped, the key may be written again; other keys don't matter."""
        self.collect()
        self.write(self.anna, applied(self.anna, next_op(self.anna, self.bert, hlc=LATE, key="key1")))
        self.write(self.anna, applied(self.anna, next_op(self.anna, self.carl, hlc=LATEST, key="key0")))
        self.assert_accused()

    def test_collected_and_started_again(self) -> None:
        """What was dropped before a start was dropped, unless it is found on the disk."""
        self.collect()
        again = self.start_again(0)
        op = next_op(self.anna, self.bert, hlc=LATE, key="key0")
        self.write(again, applied(self.anna, op))
        self.assert_accused()  # the row of key0 is on the disk

    def test_equal_vectors(self) -> None:
        """Replicas that have seen the same have the same live rows, once it is durable."""
        role_of(self.anna).store.put(self.row(LATEST), 1 << 40)
        position = self.write(self.anna, vector_of(self.anna, dict(role_of(self.anna).vector)))
        self.assert_accused()
        self.monitor.synced(self.anna, position)
        self.assert_accused("equal-vectors-equal-rows")

    def test_tombstones_make_no_difference(self) -> None:
        """One replica may have dropped a tombstone that another still has."""
        role_of(self.anna).store.put(self.row(LATEST, None, "another key"), 1 << 40)
        position = self.write(self.anna, vector_of(self.anna, dict(role_of(self.anna).vector)))
        self.monitor.synced(self.anna, position)
        self.assert_accused()

    def test_rows_lost_before_they_were_durable(self) -> None:
        """What a crash took away before it was on disk is compared with nothing."""
        vector, again = beyond(self.anna, self.anna), self.start_again(0)
        for replica, value in ((self.anna, b"lost"), (again, b"kept")):
            op = next_op(self.anna, self.anna, value, key=f"key of {value!r}")
            role_of(replica).store.put(Row(op.writer, op.counter, op.record), 1 << 40)
            self.write(replica, applied(self.anna, op), vector_of(self.anna, vector))
        self.monitor.synced(again, 10)
        self.assert_accused()
        self.monitor.synced(self.anna, 10**6)  # had it been there after all
        self.assert_accused("one-dot-one-write", "equal-vectors-equal-rows")


class DurabilityTests(MonitorTests):
    """Nobody says what is not on its disk."""

    def ahead(self) -> VersionVector:
        """A vector with a write of Bert's that is on no disk."""
        return beyond(self.bert, self.bert)

    def token(self) -> Token:
        """The token of a client that has seen that write."""
        return Token(1, 1, {SHARD: self.ahead()})

    def test_what_is_on_disk(self) -> None:
        """All that is on a node's disk may be told."""
        heartbeat = self.bert.heartbeats.message(self.bert.state.now)
        self.hear(self.anna, self.bert, heartbeat, PullRows(1, SHARD, 1, 0, [], 0, role_of(self.bert).vector, []))
        token = Token(1, 1, {SHARD: dict(role_of(self.bert).vector)})
        self.hear(self.anna, self.bert, Forwarded(1, Found(SHARD, token, b"1")))
        self.monitor.answered(self.bert, Written(SHARD, token, existed=False))
        self.assert_accused()

    def test_messages(self) -> None:
        """No message says that a node has what is not on its disk."""
        op = next_op(self.bert, self.bert)
        heartbeat = changed(self.bert.heartbeats.message(self.bert.state.now), vectors={SHARD: self.ahead()})
        messages: list[Message] = [
            heartbeat,
            Push([op]),
            PullOps(1, SHARD, [op], more=False),
            PullRows(1, SHARD, 1, 0, [], 0, self.ahead(), []),
            Forwarded(1, Found(SHARD, self.token(), b"1")),
            Forwarded(1, Written(SHARD, self.token(), existed=False)),
            Forwarded(1, Unconfirmed(SHARD, self.token(), existed=False, replicas=1, of=3)),
            Acknowledged(SHARD, role_of(self.bert).writer, role_of(self.bert).writer, max(self.ahead().values())),
        ]
        for number, message in enumerate(messages, start=1):
            self.hear(self.anna, self.bert, message)
            self.assert_accused(*["durable-first"] * number)

    def test_concerns(self) -> None:
        """No client is told of more replicas than have all that its token names of the shard on disk."""
        there = Token(1, 1, {SHARD: dict(role_of(self.bert).vector)})
        self.show(self.bert, Reply(0, 1, Written(SHARD, there, existed=True, replicas=3, of=3)))
        self.show(self.bert, Reply(0, 1, Written(SHARD, self.token(), existed=True)))
        self.show(self.bert, Reply(0, 1, Written(SHARD, self.token(), existed=True, replicas=1, of=3)))
        self.assert_accused()
        self.show(self.bert, Reply(0, 1, Written(SHARD, self.token(), existed=True, replicas=2, of=3)))
        self.show(self.bert, Reply(0, 1, Unconfirmed(SHARD, self.token(), existed=True, replicas=2, of=3)))
        self.assert_accused("write-concern", "write-concern")

    def test_concerns_of_others(self) -> None:
        """Who hands on what it was told says nothing of its own."""
        written = Written(SHARD, self.token(), existed=True, replicas=2, of=3)
        self.monitor.distrust()
        self.hear(self.anna, self.bert, Forwarded(1, written))
        self.monitor.trusting = True
        self.show(self.anna, Reply(0, 1, written))
        self.assert_accused()

    def test_answers(self) -> None:
        """No client is told of a write before that is on the writer's disk."""
        self.monitor.answered(self.bert, Found(SHARD, self.token(), b"1"))
        self.assert_accused("durable-first")
        self.monitor.answered(self.bert, Written(SHARD, self.token(), existed=True))
        self.assert_accused("durable-first", "durable-first")

    def test_writes_of_others(self) -> None:
        """A token may name writes of other nodes that are not on this one's disk: those answer for themselves."""
        self.monitor.answered(self.anna, Found(SHARD, self.token(), b"1"))
        self.hear(self.carl, self.anna, Forwarded(1, Found(SHARD, self.token(), b"1")))
        self.assert_accused()

    def test_distrust(self) -> None:
        """Where disks were put back, it is no wonder that they lack something."""
        self.monitor.distrust()
        self.hear(self.anna, self.bert, Push([next_op(self.bert, self.bert)]))
        self.assert_accused()

    def test_stable(self) -> None:
        """What a node calls stable is on all disks: it is noticed where a disk has lost it."""
        self.small.ask(0, "put", "key", "1")
        self.forget(1)
        self.small.later(1)
        rules = {violation.rule for violation in self.monitor.violations}
        self.assertTrue({"stable", "durable-first"} <= rules, rules)
        text = next(violation.text for violation in self.monitor.violations if violation.rule == "stable")
        self.assertIn(f"{self.bert.state.identity.address} has not got it on disk", text)

    def test_stable_and_distrusted(self) -> None:
        """Where disks were put back, nothing is asked of them."""
        self.monitor.distrust()
        self.small.ask(0, "put", "key", "1")
        self.forget(1)
        self.small.later(1)
        self.assert_accused()


class HonestyTests(MonitorTests):
    """What nodes say of what is missing is true."""

    def lack(self, need: int, held_by: list[str]) -> Reply:
        """Anna says that it lacks a write of Bert's."""
        writer = role_of(self.bert).writer
        node = self.bert.state.identity.address
        lack = MissingWrite(SHARD, writer.hex(), node, need, 0, held_by, "alive", 0.1, 0.1)
        return Reply(0, 1, Unmet(SHARD, [lack]))

    def have(self) -> int:
        """How many writes of Bert's everybody has."""
        return role_of(self.anna).vector[role_of(self.bert).writer]

    def test_true(self) -> None:
        """A node may say that it lacks what it lacks."""
        self.show(self.anna, self.lack(self.have() + 1, []))
        self.assert_accused()

    def test_not_lacking(self) -> None:
        """A node does not say that it lacks what it has."""
        self.show(self.anna, self.lack(self.have(), []))
        self.assert_accused("explanation")

    def test_told_to_a_peer(self) -> None:
        """What is said to the node that forwarded a request counts as well."""
        reply = self.lack(self.have(), [])
        self.show(self.anna, Send(0, self.carl.state.identity.address, Forwarded(1, reply.outcome)))
        self.assert_accused("explanation")

    def test_passed_on(self) -> None:
        """What another node says of itself may be passed on."""
        reply = self.lack(self.have(), [])
        state = self.carl.state
        assert state.configuration is not None
        sender = Sender(state.identity.address, state.identity.instance, state.configuration.cluster, 1)
        self.monitor.hears(self.anna, sender, [Forwarded(1, reply.outcome)])
        self.show(self.anna, reply)
        self.assert_accused()

    def test_not_held(self) -> None:
        """A node does not say that another one holds what that one has not on its disk."""
        self.show(self.anna, self.lack(self.have() + 1, [self.carl.state.identity.address]))
        self.assert_accused("explanation")

    def test_held_on_a_lost_disk(self) -> None:
        """Whose disk is gone may be named by those who do not know that yet."""
        self.monitor.dropped.add((self.carl.state.identity.address, SHARD))
        self.show(self.anna, self.lack(self.have() + 1, [self.carl.state.identity.address]))
        self.assert_accused()

    def test_held(self) -> None:
        """Whoever has a write may be named."""
        state = self.on_disk(0)
        for role in state.roles.values():
            role.vector[role_of(self.bert).writer] -= 1
            role.counts.clear()
        again = Replica(self.anna.state.identity)
        again.state.restore(state)
        self.monitor.started(again, state)
        self.show(again, self.lack(self.have(), [self.carl.state.identity.address]))
        self.assert_accused()

    def test_outdated(self) -> None:
        """That a stamp is too old is between nodes, and nothing is asked of it."""
        self.show(self.anna, Send(0, self.carl.state.identity.address, Forwarded(1, Outdated(SHARD, 1))))
        self.assert_accused()

    def test_serve_rule(self) -> None:
        """A node whose address was not bound by a majority serves nothing."""
        stranger = Replica(Identity("10.0.0.9:8090", b"another instance", 1))
        for outcome in (
            Absent(SHARD, EMPTY),
            Found(SHARD, EMPTY, b"1"),
            Written(SHARD, EMPTY, existed=False),
            Unmet(SHARD, []),
        ):
            self.show(stranger, Reply(0, 1, outcome))
        self.assert_accused("serve-rule", "serve-rule", "serve-rule")

    def test_bounds(self) -> None:
        """No queue is longer than its limit."""
        self.monitor.ticked(self.anna)
        self.assert_accused()
        self.anna.state.limits = replace(self.anna.state.limits, waiters=-1, forwards=-1, concerns=-1, holdback_ops=-1)
        self.monitor.ticked(self.anna)
        self.assert_accused(*["bounds"] * 5)


class AccusationTests(MonitorTests):
    """What becomes of what was found."""

    def test_story(self) -> None:
        """A breach is part of the story, with its rule and what happened."""
        self.write(self.anna, applied(self.anna, next_op(self.anna, self.bert, skipped=1)))
        self.assertIn("VIOLATION delivery-order: 10.0.0.1:8090 applied", self.small.told()[-1])

    def test_not_too_many(self) -> None:
        """After some breaches no more are written down."""
        for _ in range(MAX_ACCUSATIONS + 10):
            self.write(self.anna, applied(self.anna, next_op(self.anna, self.bert, skipped=1)))
        self.assertEqual(MAX_ACCUSATIONS, len(self.monitor.violations))
