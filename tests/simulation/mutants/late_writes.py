"""
Scenes of clusters that change while a node can't be reached, or has writes that nobody else has.
"""

from kvsd.replication.configuration import Configuration
from kvsd.replication.messages import Imported, PullOps, PullRows, Push
from kvsd.replication.placement import SLOTS, slot_of
from kvsd.replication.replica import Replica
from kvsd.replication.requests import AbortReshard, Absent, Found, Get, RemoveNode, Reshard
from kvsd.replication.saved import Saved
from kvsd.replication.token import Token
from tests.pure import ADDRESSES, PureCluster

ONE, TWO, THREE, FOUR = ADDRESSES[:4]
LONG = 20.0
KEY = "a"


def _replica(cluster: PureCluster, address: str) -> Replica:
    return cluster.sites[address].replica


def _configuration(cluster: PureCluster) -> Configuration:
    configuration = _replica(cluster, ONE).state.configuration
    assert configuration is not None
    return configuration


def _sources(cluster: PureCluster) -> set[str]:
    return {source for tenancy in _configuration(cluster).tenures.values() for source in tenancy.sources}


def _keeps_tombstone(cluster: PureCluster, shard: str, key: str) -> bool:
    return any(k == key for _, k in _replica(cluster, ONE).state.roles[shard].store.tombstones)


class Merged:
    """A cluster of two shards that were made one, while a node of the other shard was out of reach and went on."""

    def __init__(self, cluster: PureCluster | None = None) -> None:
        self.cluster = (cluster or PureCluster(5, 2)).founded()
        self.key, self.depending = self._high(), self.cluster.key_of("s1", "depending")
        self.cluster.isolate(FOUR)
        self.cluster.run(5.0)
        token = self.cluster.put(TWO, self.key, "before")
        self.cluster.put(TWO, self.depending, "after that", token)
        self.reshard(1)
        self.late: Token = self.cluster.put(FOUR, self.key, "late")

    def _high(self) -> str:
        """A key whose slot is one of those that move on when the one shard is made two again."""
        keys = (self.cluster.key_of("s1", f"key{number}.") for number in range(100))
        return next(key for key in keys if slot_of(key) > SLOTS // 2)

    def reshard(self, count: int) -> None:
        """Have the cluster resharded, and give it time for that."""
        self.cluster.submit(ONE, Reshard(count))
        self.cluster.run(LONG)
        assert len(_configuration(self.cluster).shard_ids()) == count, "it was handed off"

    def found_late(self) -> list[str]:
        """What is wrong once the node can be reached again."""
        self.cluster.heal()
        self.cluster.run(2 * LONG)
        owner = self.cluster.sites[ONE].replica.state.shard_of(self.key)[1]
        member = _configuration(self.cluster).members(owner)[0]
        outcome = self.cluster.get(member, self.key)
        right = isinstance(outcome, Found) and outcome.value == b"late"
        return [] if right else [f"the late write is lost: {outcome}"]


def read_after_a_late_write() -> list[str]:
    """A client that wrote at the old place reads at the new one, which can't have the write yet."""
    merged = Merged()
    ticket = merged.cluster.submit(ONE, Get(merged.key, merged.late))
    outcome = merged.cluster.sites[ONE].outcomes.get(ticket)
    return [f"{ONE} serves {outcome}"] if isinstance(outcome, Found | Absent) else []


def read_after_later_writes() -> list[str]:
    """The same, where the new place has stamps beyond that of the late write."""
    merged = Merged()
    merged.cluster.run(0.2)
    merged.cluster.put(ONE, merged.cluster.key_of("s0", "other"), "later")
    ticket = merged.cluster.submit(ONE, Get(merged.key, merged.late))
    outcome = merged.cluster.sites[ONE].outcomes.get(ticket)
    return [f"{ONE} serves {outcome}"] if isinstance(outcome, Found | Absent) else []


def token_of_a_late_write() -> list[str]:
    """A client that wrote at the old place asks for another key, which has nothing to do with that."""
    merged = Merged()
    outcome = merged.cluster.get(ONE, merged.cluster.key_of("s0", "other"), merged.late)
    named = isinstance(outcome, Found | Absent) and "s1" in outcome.token.dependencies
    return [] if named else [f"{outcome} does not name the late write"]


def late_write_taken_over() -> list[str]:
    """The old place has a late write, which has to be taken over."""
    return Merged().found_late()


def late_write_taken_over_twice() -> list[str]:
    """Slots move on before a late write was taken over."""
    merged = Merged()
    merged.reshard(2)
    return merged.found_late()


def dependencies_taken_over() -> list[str]:
    """A version that depends on another one is taken over."""
    merged = Merged()
    tenure = merged.cluster.sites[ONE].replica.state.shard_of(merged.depending)[0]
    row = _replica(merged.cluster, ONE).state.roles["s0"].store.get(tenure, merged.depending)
    return [] if row and row.record.dependencies else [f"{row} has no dependencies"]


def deletion_before_a_late_write() -> list[str]:
    """A key is deleted at the new place, while the old one may still have a write of it."""
    merged = Merged()
    merged.cluster.put(ONE, merged.key, None)
    merged.cluster.run(LONG)
    kept = _keeps_tombstone(merged.cluster, "s0", merged.key)
    return [] if kept else ["the tombstone is dropped, although there are sources"]


def drained_behind_a_replica() -> list[str]:
    """A source has shown all that it has, while one of those who take it over can't be reached."""
    merged = Merged()
    merged.cluster.isolate(THREE)
    merged.cluster.run(LONG)
    return [] if _sources(merged.cluster) else [f"{THREE} may still lack writes"]


def read_before_the_copy() -> list[str]:
    """A member does not hear what its shard takes over, and is asked for that after the hand-off."""
    cluster = PureCluster(5, 2).founded()
    key = cluster.key_of("s1")
    cluster.put(TWO, key, "1")
    cluster.cut = lambda sender, receiver, message: receiver == THREE and isinstance(message, Push | PullOps | PullRows)
    cluster.submit(ONE, Reshard(1))
    cluster.run(LONG)
    outcome = cluster.get(THREE, key)
    return [] if isinstance(outcome, Found) else [f"{THREE} serves {outcome}"]


def aborted_before_the_copy() -> list[str]:
    """A reshard that makes a new shard is aborted."""
    cluster = PureCluster(6, 2).founded()
    cluster.cut = lambda sender, receiver, message: isinstance(message, Imported)
    cluster.submit(ONE, Reshard(3))
    cluster.run(2.0)
    begun = _configuration(cluster).shards.keys()
    cluster.submit(ONE, AbortReshard())
    cluster.run(2.0)
    left = _configuration(cluster).shards.keys() - set(_configuration(cluster).shard_ids())
    return [f"{left} is left of {begun}"] if left or len(begun) != 3 else []


def shown_before_its_cause(watched: PureCluster | None = None) -> list[str]:
    """A client reads a late write where it was taken over, and writes there; another replica hears of that write first."""
    merged = Merged(watched)
    cluster, tenure = merged.cluster, merged.cluster.sites[ONE].replica.state.shard_of(merged.key)[0]
    cluster.cut = lambda sender, receiver, message: receiver == THREE and isinstance(message, Push | PullOps | PullRows)
    cluster.run(LONG)
    rows = {node: _replica(cluster, node).state.roles["s0"].store.get(tenure, merged.key) for node in (ONE, TWO)}
    at = next(
        node for node, row in rows.items() if row and row.writer != _replica(cluster, node).state.roles["s0"].writer
    )
    assert all(row and row.record.value == b"late" for row in rows.values()), "the late write was taken over"
    cluster.cut = lambda sender, receiver, message: receiver == THREE and isinstance(message, PullOps | PullRows)
    cluster.put(at, merged.depending, "effect", merged.late)
    effect, cause = (cluster.get(THREE, key) for key in (merged.depending, merged.key))
    assert isinstance(effect, Found) and isinstance(cause, Found), "both were there before"
    shown = effect.value == b"effect" and cause.value != b"late"
    return [f"{THREE} shows {effect} and not what that depends on: {cause}"] if shown else []


class Removed:
    """A cluster of one shard, from which a node was removed while it was out of reach and went on."""

    def __init__(self) -> None:
        self.cluster = PureCluster(3, 1).founded()
        self.cluster.put(ONE, KEY, "before")
        self.cluster.run(2.0)
        self.cluster.isolate(THREE)
        self.cluster.put(THREE, KEY, "late")
        self.cluster.submit(ONE, RemoveNode(THREE))
        self.cluster.run(LONG)
        assert THREE not in _configuration(self.cluster).nodes, "it was removed"


def fetched_from_the_departed() -> list[str]:
    """A node that was removed has a write that nobody else has."""
    removed = Removed()
    removed.cluster.heal()
    removed.cluster.run(LONG)
    outcome = removed.cluster.get(ONE, KEY)
    right = isinstance(outcome, Found) and outcome.value == b"late"
    return [] if right else [f"the late write is lost: {outcome}"]


def deletion_while_some_departed() -> list[str]:
    """A key is deleted while a node that was removed may still have a write of it."""
    removed = Removed()
    removed.cluster.put(ONE, KEY, None)
    removed.cluster.run(LONG)
    kept = _keeps_tombstone(removed.cluster, "s0", KEY)
    return [] if kept else [f"the tombstone is dropped, although {THREE} may have an older write"]


class Wiped:
    """A cluster of one shard, in which a node lost its disk, and one of the others lacks what it wrote."""

    def __init__(self) -> None:
        self.cluster = cluster = PureCluster(3, 1).founded()
        cluster.put(ONE, KEY, "before")
        cluster.run(2.0)
        cluster.cut = lambda sender, receiver, message: {sender, receiver} == {TWO, THREE}
        cluster.put(THREE, "other", "1")
        cluster.crash(THREE)
        cluster.cut = lambda sender, receiver, message: receiver == TWO and isinstance(message, PullOps | PullRows)
        site = cluster.start(THREE, b"another instance")
        cluster.perform(site, site.replica.start(Saved(), cluster.configuration, (), cluster.now(site)))
        cluster.run(LONG)
        assert _configuration(cluster).lost, "the loss was noticed"


def settled_while_they_differ() -> list[str]:
    """Two nodes differ in what they have of a writer whose disk is gone."""
    lost = _configuration(Wiped().cluster).lost.values()
    return [f"{loss} is settled" for loss in lost if loss.kept is not None]


def deletion_before_losses_settle() -> list[str]:
    """A key is deleted while it is open what is left of the writes of a node whose disk is gone."""
    wiped = Wiped()
    wiped.cluster.put(ONE, KEY, None)
    wiped.cluster.run(LONG)
    kept = _keeps_tombstone(wiped.cluster, "s0", KEY)
    return [] if kept else ["the tombstone is dropped, although a loss is not settled"]
