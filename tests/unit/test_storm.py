"""
Random operations on a cluster whose messages get lost, doubled and reordered, whose links break and whose nodes crash.

The judge knows nothing of tokens or vectors.  It keeps, for every write, the set of writes in its author's causal
past, and allows a read only what no write in the reader's past has replaced.
"""

from dataclasses import dataclass
from functools import reduce
from operator import and_
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication.requests import Absent, Found, Get, Put, Written
from kvsd.replication.token import EMPTY, Token
from tests.pure import PureCluster, with_limits

KEYS = 5
STEPS = 150
SEEDS = 40


@dataclass(frozen=True)
class Issued:
    """A write, as the judge knows it: its author's past is a set of writes, as the bits of an integer."""

    number: int
    key: str
    value: bytes | None
    past: int


class Judge:
    """Remembers all writes and says whether a read is allowed."""

    def __init__(self) -> None:
        self.writes: list[Issued] = []

    def issue(self, key: str, value: bytes | None, past: int) -> Issued:
        """A write that a client is about to try."""
        self.writes.append(Issued(len(self.writes), key, value, past))
        return self.writes[-1]

    def past_of(self, write: Issued) -> int:
        """What a client knows that has seen a write."""
        return write.past | 1 << write.number

    def replaced(self, write: Issued, past: int) -> bool:
        """Whether a write to the same key in the past came causally after this one."""
        return any(
            other.key == write.key and past >> other.number & 1 and other.past >> write.number & 1
            for other in self.writes
        )

    def allowed(self, key: str, value: bytes | None, past: int) -> list[Issued]:
        """The writes that a read may have seen, by its value; none: it contradicts the reader's past."""
        return [w for w in self.writes if (w.key, w.value) == (key, value) and not self.replaced(w, past)]

    def anything_in(self, key: str, past: int) -> bool:
        """Whether a write to the key is in the past."""
        return any(write.key == key and past >> write.number & 1 for write in self.writes)


@dataclass
class Client:
    """A session: its token, what the judge says it has seen, and the request it waits for."""

    token: Token = EMPTY
    past: int = 0
    waiting: tuple[str, int, Issued | None, str] | None = None


class Storm:
    """One run, decided by one seed."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.judge = Judge()
        self.clients = [Client() for _ in range(4)]
        self.acknowledged: list[Issued] = []
        self.served = 0
        limits = with_limits(log_bytes=self.random.choice([500, 10**6]), page_bytes=self.random.choice([300, 10**5]))
        self.cluster = PureCluster(5, 2, limits).founded()
        self.cluster.weather = self.random
        self.addresses = sorted(self.cluster.sites)

    def run(self) -> None:
        """The storm, then quiet, then judgement."""
        for _ in range(STEPS):
            self.fault()
            for client in self.clients:
                self.step(client)
            self.cluster.run(self.random.choice([0.1, 0.1, 0.3]))
            for client in self.clients:
                self.hear(client)
        self.calm()
        self.judge_final()

    def fault(self) -> None:
        """Now and then something breaks or is mended."""
        fate = self.random.random()
        address = self.random.choice(self.addresses)
        site = self.cluster.sites[address]
        if fate < 0.03 and site.up:
            self.cluster.crash(address)
            self.gone(address)
        elif fate < 0.08 and not site.up:
            self.cluster.restart(address)
        elif fate < 0.10:
            self.cluster.isolate(*self.random.sample(self.addresses, self.random.choice([1, 2])))
        elif fate < 0.14:
            self.cluster.heal()
        elif fate < 0.17:
            site.holding = True
        elif fate < 0.25:
            site.holding = False
            self.cluster.sync(site)
        elif fate < 0.27:
            site.wall_offset_ms = self.random.choice([-86_400_000, -5_000, 0, 5_000, 40_000])

    def gone(self, address: str) -> None:
        """Requests at a node that crashed are never answered."""
        for client in self.clients:
            if client.waiting and client.waiting[0] == address:
                client.waiting = None

    def step(self, client: Client) -> None:
        """A client without a request under way starts one, or takes over another client's token."""
        if client.waiting:
            return
        if self.random.random() < 0.1:
            other = self.random.choice(self.clients)
            client.token = client.token.merged(other.token.epoch, other.token.hlc, other.token.dependencies)
            client.past |= other.past
        address = self.random.choice([site.address for site in self.cluster.live()] or [""])
        if not address:
            return
        key = f"key{self.random.randrange(KEYS)}"
        write = None
        wait = self.random.choice([0.0, 0.0, 1.0])
        if self.random.random() < 0.6:
            ticket = self.cluster.submit(address, Get(key, client.token, wait))
        else:
            value = None if self.random.random() < 0.3 else b"%d" % len(self.judge.writes)
            write = self.judge.issue(key, value, client.past)
            ticket = self.cluster.submit(address, Put(key, value, client.token, wait))
        client.waiting = (address, ticket, write, key)

    def hear(self, client: Client) -> None:
        """Take in an answer, if there is one."""
        if client.waiting is None:
            return
        address, ticket, write, key = client.waiting
        outcome = self.cluster.sites[address].outcomes.pop(ticket, None)
        if outcome is None:
            return
        client.waiting = None
        if isinstance(outcome, Written):
            assert write is not None
            self.acknowledged.append(write)
            client.past |= self.judge.past_of(write)
            client.token = outcome.token
        elif isinstance(outcome, Found | Absent):
            self.served += 1
            self.check(client, key, outcome.value if isinstance(outcome, Found) else None)
            client.token = outcome.token

    def check(self, client: Client, key: str, value: bytes | None) -> None:
        """
        A read must not contradict what its client has seen.

        A value says which write was seen; its absence, where something is known of the key, that it was one of the
        deletions that can explain it, and so what they all have in their past.
        """
        allowed = self.judge.allowed(key, value, client.past)
        nothing_known = value is None and not self.judge.anything_in(key, client.past)
        assert allowed or nothing_known, f"{key} read as {value!r} contradicts the reader's past"
        if value is not None or not nothing_known:
            client.past |= reduce(and_, (self.judge.past_of(write) for write in allowed))

    def calm(self) -> None:
        """All is mended, and time passes."""
        self.cluster.weather = None
        self.cluster.heal()
        for address in self.addresses:
            site = self.cluster.sites[address]
            site.holding, site.wall_offset_ms = False, 0
            if site.up:
                self.cluster.sync(site)
            else:
                self.cluster.restart(address)
        self.cluster.run(12.0)

    def judge_final(self) -> None:
        """All replicas are equal, and hold for every key a write that no acknowledged one came after."""
        for shard in ("s0", "s1"):
            roles = [self.cluster.sites[address].replica.state.roles[shard] for address in self.cluster.members(shard)]
            states = [sorted((row.record.key, row.record.value) for row in role.store) for role in roles]
            assert all(state == states[0] for state in states), "replicas differ after quiet"
            assert all(role.vector == roles[0].vector for role in roles), "vectors differ after quiet"
            assert not any(role.holdback.count or len(role.log) for role in roles), "queues are not empty after quiet"
        everything = 0
        for write in self.acknowledged:
            everything |= 1 << write.number
        for key in {write.key for write in self.acknowledged}:
            shard = self.cluster.sites[self.addresses[0]].replica.state.shard_of(key)[1]
            seen = self.cluster.get(self.cluster.members(shard)[0], key)
            value = seen.value if isinstance(seen, Found) else None
            assert self.judge.allowed(key, value, everything), f"{key} ended as {value!r}, against causality"


class StormTests(SynchronousTestCase):
    """Many seeds."""

    def test_nothing_contradicts_causality(self) -> None:
        """Under loss, doubling, reordering, partitions, crashes, stuck disks and wrong clocks all promises hold."""
        served = 0
        for seed in range(SEEDS):
            storm = Storm(seed)
            try:
                storm.run()
            except AssertionError as error:
                raise AssertionError(f"seed {seed}: {error}") from error
            served += storm.served
        self.assertGreater(served, 30 * SEEDS)
