"""Reads and writes at a replica: what a token demands and what it grows by."""

from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication.configuration import Shard
from kvsd.replication.messages import Heartbeat, Push
from kvsd.replication.requests import Absent, Found, Get, Overloaded, Put, Refused, StorageFull, Unmet, Written
from kvsd.replication.token import EMPTY, Token
from kvsd.replication.vetting import NOT_ISSUED
from tests.pure import PureCluster, with_limits


class ServingTests(SynchronousTestCase):
    """A cluster of six replicas in two shards, asked directly."""

    def setUp(self) -> None:
        """Found the cluster and pick a key of each shard and a member of each."""
        self.cluster = PureCluster().founded()
        self.key, self.other_key = self.cluster.key_of("s0"), self.cluster.key_of("s1")
        self.node, self.peer = self.cluster.members("s0")[:2]

    def test_first_write_creates_and_second_replaces(self) -> None:
        """A key is created once; writing it again replaces its value; deleting makes it new again."""
        first = self.cluster.ask(self.node, Put(self.key, b"1", EMPTY))
        second = self.cluster.ask(self.node, Put(self.key, b"2", EMPTY))
        gone = self.cluster.ask(self.node, Put(self.key, None, EMPTY))
        third = self.cluster.ask(self.node, Put(self.key, b"3", EMPTY))
        existed = [outcome.existed for outcome in (first, second, gone, third) if isinstance(outcome, Written)]
        self.assertEqual([False, True, True, False], existed)

    def test_deleting_what_is_absent_changes_nothing(self) -> None:
        """Deleting a key that has no value is answered as a read of it, and is no write."""
        self.assertIsInstance(self.cluster.ask(self.node, Put(self.key, None, EMPTY)), Absent)
        role = self.cluster.sites[self.node].replica.state.roles["s0"]
        self.assertEqual({}, role.vector)

    def test_reader_of_a_deletion_never_sees_the_value_again(self) -> None:
        """The token of a reader that found a key deleted depends on the deletion."""
        self.cluster.put(self.node, self.key, "1")
        self.cluster.cut = lambda sender, receiver, message: isinstance(message, Push)
        self.cluster.put(self.node, self.key, None)
        seen = self.cluster.get(self.node, self.key)
        assert isinstance(seen, Absent)
        self.cluster.isolate(self.peer)
        self.cluster.run(1.5)
        self.assertIsInstance(self.cluster.get(self.peer, self.key, seen.token), Unmet)
        self.assertIsInstance(self.cluster.get(self.peer, self.key), Found)

    def test_read_depends_on_what_its_version_depends_on(self) -> None:
        """Who reads a value depends on all that its author had seen, in other shards too."""
        self.cluster.cut = lambda sender, receiver, message: isinstance(message, Heartbeat)
        cause = self.cluster.put(self.node, self.key, "1")
        self.cluster.put(self.cluster.members("s1")[0], self.other_key, "2", cause)
        seen = self.cluster.get(self.cluster.members("s1")[1], self.other_key)
        assert isinstance(seen, Found)
        self.assertEqual(cause.dependencies["s0"], seen.token.dependencies["s0"])

    def test_unmet_dependency_names_what_is_missing(self) -> None:
        """A refusal says which write is missing, who has it, and since when it has been missing."""
        self.cluster.isolate(self.peer)
        self.cluster.run(1.5)
        token = self.cluster.put(self.node, self.key, "1")
        self.cluster.get(self.peer, self.key, token)
        self.cluster.run(2.0)
        refused = self.cluster.get(self.peer, self.key, token)
        assert isinstance(refused, Unmet)
        [missing] = refused.missing
        self.assertEqual(("s0", self.node, 1, 0), (missing.shard, missing.node, missing.need, missing.have))
        self.assertEqual([self.node], missing.held_by)
        self.assertEqual("down", missing.state)
        self.assertAlmostEqual(2.0, missing.since)

    def test_writer_that_is_no_more(self) -> None:
        """A member has all writes of one that is no more, so there are no others; who departed may lack some."""
        departed, gone, member = self.cluster.members("s0")
        answers = {}
        for node in (departed, member):
            replica = self.cluster.sites[node].replica
            before = replica.state.configuration
            assert before is not None
            places = {place.node: place for place in before.shards["s0"].members}
            shard = Shard(members=(places[member],), departed=(places[departed],))
            replica.state.adopt(replace(before, epoch=before.epoch + 1, shards={**before.shards, "s0": shard}))
            token = Token(before.epoch, 0, {"s0": {places[gone].writer: 5}})
            answers[node] = replica.serving.vetting.vet("s1", token, replica.state.now)
        self.assertEqual({departed: None, member: Refused(NOT_ISSUED)}, answers)

    def test_write_with_an_unmet_dependency_changes_nothing(self) -> None:
        """A write that depends on what is not here is refused and leaves no trace, not even on the clock."""
        self.cluster.isolate(self.peer)
        self.cluster.run(1.5)
        token = self.cluster.put(self.node, self.key, "1")
        state = self.cluster.sites[self.peer].replica.state
        before = (state.clock.latest, dict(state.roles["s0"].vector), state.out.written)
        self.assertIsInstance(self.cluster.ask(self.peer, Put(self.key, b"2", token)), Unmet)
        self.assertEqual(before, (state.clock.latest, state.roles["s0"].vector, state.out.written))

    def test_old_token_is_served_by_a_replica_that_fell_behind(self) -> None:
        """What a replica has missed does not keep it from serving those who don't depend on it."""
        old = self.cluster.put(self.node, self.key, "1")
        self.cluster.isolate(self.peer)
        self.cluster.run(1.5)
        new = self.cluster.put(self.node, self.key, "2", old)
        self.assertIsInstance(self.cluster.get(self.peer, self.key, new), Unmet)
        served = self.cluster.get(self.peer, self.key, old)
        assert isinstance(served, Found)
        self.assertEqual(b"1", served.value)

    def test_tokens_of_writes_never_issued_are_refused(self) -> None:
        """A token with an unknown writer, an unknown shard or an absurd counter can't be genuine."""
        writer = self.cluster.sites[self.node].replica.state.roles["s0"].writer
        forged = [{"s0": {b"nobody": 1}}, {"s1": {b"nobody": 1}}, {"s9": {writer: 1}}, {"s0": {writer: 10**9}}]
        for dependencies in forged:
            for request in (Get(self.key, Token(1, 0, dependencies)), Put(self.key, b"1", Token(1, 0, dependencies))):
                self.assertIsInstance(self.cluster.ask(self.node, request), Refused)
        self.assertEqual({}, self.cluster.sites[self.node].replica.state.roles["s0"].vector)

    def test_token_of_a_later_configuration_is_not_served(self) -> None:
        """A replica does not serve a token of a configuration that it has not learnt."""
        ticket = self.cluster.submit(self.node, Get(self.key, Token(epoch=2)))
        self.cluster.run(self.cluster.limits.heartbeat_seconds + 0.1)  # it asks the others for that first
        refused = self.cluster.sites[self.node].outcomes[ticket]
        assert isinstance(refused, Unmet)
        self.assertEqual((2, 1), (refused.epoch_needed, refused.epoch))

    def test_later_write_wins_however_wrong_its_clock(self) -> None:
        """A write whose author has seen another always wins over it, even where its clock is a day behind."""
        behind = self.cluster.sites[self.peer]
        behind.wall_offset_ms = -86_400_000
        token = self.cluster.put(self.node, self.key, '"first"')
        self.cluster.put(self.peer, self.key, '"second"', token)
        for address in self.cluster.members("s0"):
            seen = self.cluster.get(address, self.key)
            assert isinstance(seen, Found)
            self.assertEqual(b'"second"', seen.value)

    def test_node_whose_clock_runs_ahead_coordinates_no_writes(self) -> None:
        """A clock a day ahead would win every conflict: such a node refuses writes and still serves reads."""
        self.cluster.sites[self.node].wall_offset_ms = 86_400_000
        self.cluster.run(1.0)
        self.assertIsInstance(self.cluster.ask(self.node, Put(self.key, b"1", EMPTY)), Overloaded)
        self.assertIsInstance(self.cluster.get(self.node, self.key), Absent)

    def test_full_disk_refuses_writes_and_serves_reads(self) -> None:
        """While the disk is full, writes are refused as such and reads go on; it clears itself."""
        self.cluster.put(self.node, self.key, "1")
        replica = self.cluster.sites[self.node].replica
        replica.storage_full(True)
        self.assertIsInstance(self.cluster.ask(self.node, Put(self.key, b"2", EMPTY)), StorageFull)
        self.assertIsInstance(self.cluster.get(self.node, self.key), Found)
        replica.storage_full(False)
        self.assertIsInstance(self.cluster.ask(self.node, Put(self.key, b"2", EMPTY)), Written)

    def test_request_with_an_id_takes_effect_once(self) -> None:
        """The same request sent twice is one write, whatever was written in between, and is answered alike."""
        first = self.cluster.ask(self.node, Put(self.key, b"1", EMPTY, request="r1"))
        self.cluster.put(self.node, self.key, "2")
        for address in self.cluster.members("s0"):
            again = self.cluster.ask(address, Put(self.key, b"1", EMPTY, request="r1"))
            assert isinstance(first, Written) and isinstance(again, Written)
            self.assertEqual(first.existed, again.existed)
            seen = self.cluster.get(address, self.key)
            assert isinstance(seen, Found)
            self.assertEqual(b"2", seen.value)

    def test_id_of_another_write_is_refused(self) -> None:
        """An id that stands for one write can't be used for another one of the key."""
        self.cluster.ask(self.node, Put(self.key, b"1", EMPTY, request="r1"))
        for value in (b"2", None):
            self.assertIsInstance(self.cluster.ask(self.node, Put(self.key, value, EMPTY, request="r1")), Refused)

    def test_token_is_served_by_a_node_with_a_slow_clock(self) -> None:
        """Whatever its own clock says, a node serves a genuine token: it knows the clocks of all nodes."""
        right = self.cluster.sites[self.cluster.members("s1")[0]]
        self.cluster.sites[self.node].wall_offset_ms = -864_000_000
        self.cluster.run(1.0)
        stamp = right.replica.state.clock.tick(self.cluster.now(right).wall_ms)
        self.assertIsInstance(self.cluster.get(self.node, self.key, Token(1, stamp, {})), Absent)

    def test_requests_are_remembered_over_a_restart(self) -> None:
        """A retry that meets a restarted replica is still recognised."""
        self.cluster.ask(self.node, Put(self.key, b"1", EMPTY, request="r1"))
        self.cluster.put(self.node, self.key, "2")
        self.cluster.run(3.0)
        self.cluster.crash(self.node)
        self.cluster.restart(self.node)
        self.cluster.run(0.5)
        again = self.cluster.ask(self.node, Put(self.key, b"1", EMPTY, request="r1"))
        assert isinstance(again, Written)
        self.assertFalse(again.existed)
        seen = self.cluster.get(self.node, self.key)
        assert isinstance(seen, Found)
        self.assertEqual(b"2", seen.value)

    def test_only_so_many_requests_are_remembered(self) -> None:
        """The oldest requests are forgotten, in memory and on disk."""
        cluster = PureCluster(1, 1, with_limits(requests=3)).founded()
        [node] = cluster.members("s0")
        for number in range(5):
            cluster.ask(node, Put("key", b"%d" % number, EMPTY, request=f"r{number}"))
        site = cluster.sites[node]
        requests = site.replica.state.roles["s0"].requests
        self.assertEqual([False, False, True, True, True], [requests.get("key", f"r{n}") is not None for n in range(5)])
        self.assertEqual(3, sum(key.startswith(b"seen/") for _, key in site.disk))
