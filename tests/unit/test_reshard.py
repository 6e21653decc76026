"""Reshards on replicas without nodes, step by step, while clients write, messages are lost and nodes die."""

from collections.abc import Callable, Iterable

from kvsd.replication.limits import Limits
from kvsd.replication.messages import Imported, Message, PullOps, Push, TellConfiguration
from kvsd.replication.requests import Changed, Counted, CountKeys, Found, Outcome, Put, Reshard, Written
from kvsd.replication.token import EMPTY, Token
from tests.pure import ADDRESSES, PureCluster, with_limits
from tests.pure_case import PureCase

ONE, TWO, THREE, FOUR, FIVE, SIX = ADDRESSES
"""Of two shards the odd ones are members of s0 and the even ones of s1; of three, FIVE and SIX are those of s2."""
SMALL_PAGES = with_limits(page_rows=8)


class Traffic:
    """Clients that write all the time, each to a key of its own and in a session, and remember what they were told."""

    def __init__(self, cluster: PureCluster, keys: int = 40) -> None:
        self.cluster = cluster
        self.keys = [f"key{number}" for number in range(keys)]
        self.values: dict[str, set[bytes]] = {key: set() for key in self.keys}
        """What a key may have: what was acknowledged last, and what was never answered after that."""
        self.tokens: dict[str, Token] = {}
        self._turn = 0

    def write(self, at: str, key: str) -> Outcome | None:
        """One write at a node."""
        self._turn += 1
        value = b"%d" % self._turn
        ticket = self.cluster.submit(at, Put(key, value, self.tokens.get(key, EMPTY)))
        outcome = self.cluster.sites[at].outcomes.get(ticket)
        if isinstance(outcome, Written):
            self.values[key], self.tokens[key] = {value}, outcome.token
        elif outcome is None:
            self.values[key].add(value)
        return outcome

    def write_some(self, writes: int = 3) -> None:
        """Some writes, at one node after the other."""
        for _ in range(writes):
            live = self.cluster.live()
            self.write(live[self._turn % len(live)].address, self.keys[self._turn * 7 % len(self.keys)])

    def write_all(self) -> None:
        """A write to each key."""
        for number, key in enumerate(self.keys):
            self.write(ADDRESSES[number % len(ADDRESSES)], key)


class ReshardCase(PureCase):
    """A cluster of six nodes with forty keys, and clients that go on writing."""

    def found(self, limits: Limits | None = None, shards: int = 2, keys: int = 40) -> None:
        """Found the cluster and write the keys."""
        self.cluster = PureCluster(6, shards, limits).founded()
        self.traffic = Traffic(self.cluster, keys)
        self.traffic.write_all()
        self.cluster.run(0.5)

    def run_until(self, done: Callable[[], bool], seconds: float = 20.0, writes: int = 3) -> None:
        """Tick by tick, with writes between, until something is so; fails where that takes too long."""
        for _ in range(round(seconds / self.cluster.limits.tick_seconds)):
            if done():
                return
            self.cluster.run(self.cluster.limits.tick_seconds)
            self.traffic.write_some(writes)
        self.fail("it took too long")

    def is_quiet(self, at: str = ONE) -> bool:
        """Whether nothing is on its way any more, by a node's configuration."""
        configuration = self.configuration(at)
        shards, tenures = configuration.shards.values(), configuration.tenures.values()
        return not (
            configuration.pending
            or any(tenancy.sources for tenancy in tenures)
            or any(shard.learners or shard.departed for shard in shards)
        )

    def is_handed_off(self) -> bool:
        """Whether nothing is pending, and something was handed off."""
        return self.configuration().pending is None and self.configuration().epoch > 2

    def is_pending(self) -> bool:
        """Whether a reshard is being prepared."""
        return self.configuration().pending is not None

    def reshard(self, count: int, at: str = ONE) -> int:
        """Ask for a reshard."""
        return self.cluster.submit(at, Reshard(count, wait=True))

    def complete(self, count: int, at: str = ONE) -> None:
        """A reshard from its beginning to the end of all that it leads to."""
        ticket = self.reshard(count, at)
        self.run_until(lambda: ticket in self.cluster.sites[at].outcomes)
        self.assertEqual(Changed(), self.cluster.sites[at].outcomes[ticket])
        self.run_until(self.is_quiet)
        self.assertEqual(count, len(self.configuration().shard_ids()))

    def check(self, tokens: dict[str, Token] | None = None) -> None:
        """Every key is everywhere what it was last written to be; the shards count each key once."""
        self.cluster.run(2.0)
        for site in self.cluster.live():
            for key in self.traffic.keys:
                for token in (self.traffic.tokens.get(key, EMPTY), (tokens or {}).get(key, EMPTY)):
                    found = self.cluster.get(site.address, key, token)
                    assert isinstance(found, Found), (site.address, key, found)
                    self.assertIn(found.value, self.traffic.values[key], (site.address, key))
        for site in self.cluster.live():
            counts = [self.cluster.ask(site.address, CountKeys(s)) for s in self.configuration().shard_ids()]
            self.assertEqual(len(self.traffic.keys), sum(c.count for c in counts if isinstance(c, Counted)))

    def tenures_kept(self) -> set[int]:
        """The tenures of which any node has rows."""
        roles = [role for site in self.cluster.live() for role in site.replica.state.roles.values()]
        return {row.record.tenure for role in roles for row in role.store}

    def sent(self, kind: type[Message]) -> list[tuple[str, str, Message]]:
        """The messages of a type that were sent so far."""
        return [entry for entry in self.cluster.sent if isinstance(entry[2], kind)]


class ThereAndBackTests(ReshardCase):
    """From two shards to three and back while clients write at each step."""

    def test_there_and_back(self) -> None:
        """No write is lost, tokens from before are as good as ever, and nothing is left of what is over."""
        self.found()
        before = dict(self.traffic.tokens)
        self.complete(3)
        self.check(before)
        three = dict(self.traffic.tokens)
        self.complete(2, at=SIX)
        self.check(before)
        self.check(three)
        self.assertEqual(["s0", "s1"], self.configuration().shard_ids())
        self.assertEqual(set(self.configuration().tenures), self.tenures_kept())
        for site in self.cluster.live():
            self.assertEqual([], site.replica.state.dissolving)
            self.assertEqual(1, len(site.replica.state.roles))

    def test_new_members_have_all(self) -> None:
        """Each member of each shard has the same rows at the end."""
        self.found(SMALL_PAGES)
        self.complete(3)
        self.cluster.run(2.0)
        for shard in self.configuration().shard_ids():
            roles = [self.cluster.sites[a].replica.state.roles[shard] for a in self.configuration().members(shard)]
            rows = [{(r.record.tenure, r.record.key): r.record for r in role.store} for role in roles]
            self.assertTrue(all(each == rows[0] for each in rows))

    def test_deleted_keys_stay_deleted(self) -> None:
        """Keys that are deleted before, while and after they move are gone for good."""
        self.found()
        gone = self.traffic.keys[::4]
        for key in gone[::2]:
            self.traffic.tokens[key] = self.cluster.put(ONE, key, None, self.traffic.tokens[key])
        ticket = self.reshard(3)
        self.run_until(self.is_pending, writes=0)
        for key in gone[1::2]:
            self.traffic.tokens[key] = self.cluster.put(TWO, key, None, self.traffic.tokens[key])
        self.run_until(lambda: ticket in self.cluster.sites[ONE].outcomes, writes=0)
        self.run_until(self.is_quiet, writes=0)
        self.traffic.keys = [key for key in self.traffic.keys if key not in gone]
        self.check()
        for key in gone:
            self.assertNotIsInstance(self.cluster.get(FIVE, key, self.traffic.tokens[key]), Found)


class LateWriteTests(ReshardCase):
    """A member of the source that has not heard of the hand-off goes on serving the slots."""

    def lagging(self, address: str, *kinds: type[Message]) -> None:
        """Hand off while a member hears of no configuration; then it takes a write of each key that moved from it."""
        self.reshard(3)
        self.run_until(self.is_pending)
        self.cluster.run(0.2)
        self.assertTrue(self.cluster.sites[address].replica.state.configuration.pending)  # type: ignore[union-attr]
        self.cluster.cut = lambda sender, receiver, message: (
            (receiver == address and isinstance(message, TellConfiguration))
            or (sender == address and isinstance(message, kinds))
        )
        self.run_until(self.is_handed_off, writes=0)
        self.assertLess(self.configuration(address).epoch, self.configuration().epoch)
        moved = [key for key in self.traffic.keys if (self.owner(key, address), self.owner(key)) == ("s0", "s2")]
        self.assertGreater(len(moved), 2)
        for key in moved:
            ticket = self.cluster.submit(address, Put(key, b"late", EMPTY))
            outcome = self.cluster.sites[address].outcomes[ticket]
            assert isinstance(outcome, Written)
            self.traffic.values[key], self.traffic.tokens[key] = {b"late"}, outcome.token
        self.moved = moved

    def owner(self, key: str, at: str = ONE) -> str:
        """The shard of a key, by a node's configuration."""
        return self.cluster.sites[at].replica.state.shard_of(key)[1]

    def finals(self) -> Iterable[str]:
        """The sources of which somebody has noted that they are done with."""
        sites = self.cluster.live()
        roles = (site.replica.state.roles.get("s2") for site in sites)
        return {final.shard for role in roles if role for final in role.marks.final}

    def test_not_lost(self) -> None:
        """What it takes then is not lost, and the source is not done with before it has shown it."""
        self.found()
        self.lagging(THREE, Push, PullOps, Imported)
        self.cluster.run(5.0)
        self.assertNotIn("s0", self.finals())
        self.assertTrue(any("s0" in tenancy.sources for tenancy in self.configuration().tenures.values()))
        self.cluster.heal()
        self.run_until(self.is_quiet, writes=0)
        self.check()
        for key in self.moved:
            self.assertEqual(b"late", self.cluster.get(FIVE, key).value)  # type: ignore[union-attr]

    def test_not_lost_with_its_node(self) -> None:
        """Nor is it if the member dies then, as long as its disk comes back."""
        self.found()
        self.lagging(THREE, Push, PullOps, Imported)
        self.cluster.crash(THREE)
        self.cluster.heal()
        self.cluster.run(5.0)
        self.assertNotIn("s0", self.finals())
        self.cluster.restart(THREE)
        self.run_until(self.is_quiet, writes=0)
        self.check()

    def test_token_waits_for_it(self) -> None:
        """Who has seen a late write is not served without it at the shard that has the slot now."""
        self.found()
        self.lagging(THREE, Push, PullOps, Imported)
        key = self.moved[0]
        ticket = self.cluster.submit(FIVE, Put(key, b"later", self.traffic.tokens[key], wait=20.0))
        self.cluster.run(1.0)
        self.assertNotIn(ticket, self.cluster.sites[FIVE].outcomes)
        self.cluster.heal()
        self.cluster.run(3.0)
        outcome = self.cluster.sites[FIVE].outcomes[ticket]
        assert isinstance(outcome, Written)
        self.traffic.values[key], self.traffic.tokens[key] = {b"later"}, outcome.token
        self.run_until(self.is_quiet, writes=0)
        self.check()
