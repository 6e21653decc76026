"""Clocks that are wrong: who may go on writing, and how far a stamp may be ahead."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication.clocks import Clocks
from kvsd.replication.effects import Now
from kvsd.replication.hlc import COUNTER_BITS, MAX_STAMP, ClockExhausted, HybridClock
from kvsd.replication.limits import Limits
from kvsd.replication.liveness import Fate, Liveness
from kvsd.replication.requests import Absent, Found, Outcome, Overloaded, Put, Written
from kvsd.replication.stamps import CLOCK_AHEAD, STAMP_AHEAD
from kvsd.replication.token import EMPTY, Token
from tests.builders import modest
from tests.pure import ADDRESSES, START_WALL_MS, PureCluster

BOUND_MS = Limits().clock_ahead_ms
YEAR_MS = 365 * 86_400_000
SLOW_MS = -121_000
offsets = st.integers(-3, 3).map(lambda minutes: minutes * 50_000) | st.sampled_from([-10 * YEAR_MS, 10 * YEAR_MS])


def clocks_of(offsets_ms: list[int], heard: list[bool], suspected: list[bool]) -> Clocks:
    """The clocks of all nodes as the first one knows them, by what their clocks are wrong by."""
    now = Now(1000.0, START_WALL_MS + offsets_ms[0])
    addresses = [f"10.0.0.{number + 1}:8090" for number in range(len(offsets_ms))]
    liveness = Liveness(addresses[0], Limits())
    liveness.watch(addresses, now.monotonic)
    clocks = Clocks(liveness, Limits())
    for address, offset_ms, is_heard, is_suspected in zip(addresses, offsets_ms, heard, suspected, strict=True):
        if address in liveness.peers and is_heard:
            liveness.heard(address, now.monotonic)
            clocks.compare(liveness.peers[address], START_WALL_MS + offset_ms, now)
            if is_suspected:
                liveness.posted(address, Fate.FAILED, now.monotonic)
    return clocks


class AgreementTests(SynchronousTestCase):
    """A node judges its clock by all clocks that it knows, its own among them."""

    @modest
    @given(st.data())
    def test_node_goes_on_while_a_majority_agrees_with_it(self, data: st.DataObject) -> None:
        """No node refuses writes for its clock while a majority of all nodes, itself among it, agrees with that."""
        count = data.draw(st.integers(1, 9))
        offsets_ms = data.draw(st.lists(offsets, min_size=count, max_size=count))
        flags = st.lists(st.booleans(), min_size=count, max_size=count)
        heard, suspected = data.draw(flags), data.draw(flags)
        clocks = clocks_of(offsets_ms, heard, suspected)
        own, *others = offsets_ms
        known = [offset for offset, is_heard in zip(others, heard[1:], strict=True) if is_heard]
        agreeing = 1 + sum(abs(offset - own) <= BOUND_MS for offset in known)
        if 2 * agreeing > count:
            self.assertFalse(clocks.is_ahead())

    @modest
    @given(st.data())
    def test_node_that_most_others_contradict_refuses(self, data: st.DataObject) -> None:
        """A node that is far ahead of most clocks, all of which are heard, refuses writes."""
        count = data.draw(st.integers(3, 9))
        right = count // 2 + 1
        wrong = data.draw(st.lists(offsets, min_size=count - right - 1, max_size=count - right - 1))
        clocks = clocks_of([10 * YEAR_MS, *wrong, *[0] * right], [True] * count, [False] * count)
        self.assertTrue(clocks.is_ahead())

    @modest
    @given(st.data())
    def test_slow_node_goes_by_the_clock_of_the_majority(self, data: st.DataObject) -> None:
        """A node whose clock is far behind that of a majority draws stamps by the latter, by whatever it is behind."""
        count = data.draw(st.integers(3, 9))
        right = count // 2 + 1
        own = data.draw(st.sampled_from([-50 * YEAR_MS, -BOUND_MS - 1, SLOW_MS]))
        fast = [10 * YEAR_MS] * (count - right - 1)
        clocks = clocks_of([own, *fast, *[0] * right], [True] * count, [False] * count)
        self.assertEqual(-own, clocks.behind_ms())

    def test_median_has_the_own_clock_among_it(self) -> None:
        """One peer with a mad clock does not decide, nor does one that is suspected; alone, a node is right."""
        some = [True] * 5
        self.assertEqual(0, clocks_of([0], [True], [False]).ahead_ms())
        self.assertEqual(30, clocks_of([0, -10, -86_400_000, -30], some[:4], [False] * 4).ahead_ms())
        self.assertEqual(10, clocks_of([0, -10, -86_400_000, -30], some[:4], [False, False, True, False]).ahead_ms())
        self.assertEqual(SLOW_MS, clocks_of([SLOW_MS, 0, 0], some[:3], [False] * 3).ahead_ms())
        self.assertEqual(0, clocks_of([0, SLOW_MS, 0], some[:3], [False] * 3).ahead_ms())

    def test_node_that_is_down_is_remembered(self) -> None:
        """With one right node down, the other one does not give way to the wrong one."""
        self.assertFalse(clocks_of([0, 0, SLOW_MS], [True] * 3, [False, True, False]).is_ahead())
        self.assertTrue(clocks_of([0, 0, SLOW_MS], [True, False, True], [False] * 3).is_ahead())


class WrongClockTests(SynchronousTestCase):
    """Clusters of replicas in one shard, some of whose clocks are wrong."""

    def cluster(self, count: int) -> PureCluster:
        """So many nodes in one shard."""
        return PureCluster(count, 1).founded()

    def put(self, cluster: PureCluster, address: str, key: str = "key") -> Outcome:
        """Have a node write a key."""
        return cluster.ask(address, Put(key, b"1", EMPTY))

    def ahead_ms(self, cluster: PureCluster, address: str) -> int:
        """By how much the latest stamp of a node is ahead of what the time really is."""
        latest = cluster.sites[address].replica.state.clock.latest >> COUNTER_BITS
        return latest - START_WALL_MS - int(cluster.time * 1000)

    def test_one_slow_clock_of_three(self) -> None:
        """The nodes with right clocks go on writing, with one of them down too, and the slow one goes by theirs."""
        cluster = self.cluster(3)
        first, second, slow = ADDRESSES[:3]
        cluster.sites[slow].wall_offset_ms = SLOW_MS
        cluster.run(1.0)
        for address in (first, second, slow):
            self.assertIsInstance(self.put(cluster, address), Written)
            self.assertLessEqual(0, self.ahead_ms(cluster, address))
        cluster.crash(second)
        cluster.run(4.0)
        self.assertIsInstance(self.put(cluster, first), Written)

    def test_jump_is_not_believed_before_clocks_are_compared(self) -> None:
        """A clock that jumps by ten years draws no stamp that is ahead: not at once, and not after the comparison."""
        cluster = self.cluster(3)
        jumping = cluster.sites[ADDRESSES[0]]
        jumping.wall_offset_ms = 10 * YEAR_MS
        self.assertIsInstance(self.put(cluster, jumping.address), Written)
        cluster.run(1.0)
        self.assertEqual(Overloaded(CLOCK_AHEAD), self.put(cluster, jumping.address))
        for address in ADDRESSES[:3]:
            self.assertLess(self.ahead_ms(cluster, address), 1000)

    def test_jump_without_anybody_to_compare_with(self) -> None:
        """A node without peers, and one whose peers are down, go on by the monotonic clock, and say so once."""
        for count in (1, 3):
            cluster = self.cluster(count)
            jumping, *others = [cluster.sites[address] for address in ADDRESSES[:count]]
            for other in others:
                cluster.crash(other.address)
            cluster.run(5.0)
            jumping.wall_offset_ms = 10 * YEAR_MS
            cluster.run(1.0)
            self.assertIsInstance(self.put(cluster, jumping.address), Written)
            self.assertLess(self.ahead_ms(cluster, jumping.address), 1000)
            self.assertEqual(1, sum(note.event == "clock-jumped" for note in jumping.notes))

    def test_clock_that_is_years_ahead_at_the_start(self) -> None:
        """A node that starts alone believes its clock no further than the headroom beyond what its disk knows."""
        cluster = self.cluster(3)
        first, *others = ADDRESSES[:3]
        self.put(cluster, first)
        for address in others:
            cluster.crash(address)
        cluster.crash(first)
        cluster.sites[first].wall_offset_ms = 10 * YEAR_MS
        cluster.restart(first)
        cluster.run(5.0)
        self.assertIsInstance(self.put(cluster, first), Written)
        self.assertLess(self.ahead_ms(cluster, first), Limits().stamp_ahead_ms + 60_000)

    def test_clock_that_is_set_right(self) -> None:
        """Once a clock is right again and was compared, the node writes again, with stamps of the time."""
        cluster = self.cluster(3)
        jumping = cluster.sites[ADDRESSES[0]]
        jumping.wall_offset_ms = 10 * YEAR_MS
        cluster.run(1.0)
        jumping.wall_offset_ms = 0
        cluster.run(1.0)
        self.assertIsInstance(self.put(cluster, jumping.address), Written)
        self.assertLess(abs(self.ahead_ms(cluster, jumping.address)), 1000)


class StampsFromTheWireTests(SynchronousTestCase):
    """What comes with a stamp that no clock can have drawn."""

    def setUp(self) -> None:
        """Found three nodes, and have a stamp of ten years from now."""
        self.cluster = PureCluster(3, 1).founded()
        self.first, self.second, self.third = (self.cluster.sites[address] for address in ADDRESSES[:3])
        self.stamp = (START_WALL_MS + 10 * YEAR_MS) << COUNTER_BITS

    def poison(self, address: str, key: str = "key") -> None:
        """Have a node write with a clock of ten years from now, whatever it may have thought of that."""
        self.cluster.sites[address].replica.state.clock.witness(self.stamp)
        self.assertIsInstance(self.cluster.ask(address, Put(key, b"poison", EMPTY)), Written)

    def test_write_of_a_peer(self) -> None:
        """A peer's write of ten years from now is not taken in, moves no clock, and is told of once."""
        self.poison(self.first.address)
        self.cluster.run(2.0)
        for site in (self.second, self.third):
            self.assertLess(site.replica.state.clock.latest, self.stamp)
            self.assertEqual(1, sum(note.event == "stamp-refused" for note in site.notes))
            self.assertIsInstance(self.cluster.get(site.address, "key"), Absent)
        self.assertIsInstance(self.cluster.ask(self.second.address, Put("other", b"1", EMPTY)), Written)

    def test_write_of_a_peer_is_taken_in_once_most_have_it(self) -> None:
        """Where most nodes have reached such stamps, the rest follows: replicas converge, and no write is lost."""
        self.poison(self.first.address)
        self.poison(self.second.address, "other")
        self.cluster.run(3.0)
        for site in (self.first, self.second, self.third):
            for key in ("key", "other"):
                self.assertIsInstance(self.cluster.get(site.address, key), Found)
            self.assertIsInstance(self.cluster.ask(site.address, Put("key", b"1", EMPTY)), Written)

    def test_forwarded_write(self) -> None:
        """A forwarded write whose stamp is ten years ahead is refused, and so is a token."""
        role = self.first.replica.state.roles["s0"]
        before = self.first.replica.state.clock.latest, dict(role.vector)
        self.assertEqual(
            Overloaded(STAMP_AHEAD), self.cluster.ask(self.first.address, Put("key", b"1", EMPTY, stamp=self.stamp))
        )
        token = Token(1, self.stamp, {})
        self.assertIsInstance(self.cluster.ask(self.first.address, Put("key", b"1", token)), Overloaded)
        self.assertEqual(before, (self.first.replica.state.clock.latest, role.vector))

    def test_clock_never_passes_its_maximum(self) -> None:
        """There is no stamp after the last one: writes are refused, and reads go on."""
        clock = HybridClock()
        clock.witness(MAX_STAMP + 5)
        self.assertEqual(MAX_STAMP, clock.latest)
        self.assertRaises(ClockExhausted, clock.tick, START_WALL_MS)
        self.first.replica.state.clock.witness(MAX_STAMP)
        self.assertIsInstance(self.cluster.ask(self.first.address, Put("key", b"1", EMPTY)), Overloaded)
        self.assertIsInstance(self.cluster.get(self.first.address, "key"), Absent)
