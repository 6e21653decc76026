"""
Scenes of learners, played by hand: see :mod:`tests.simulation.mutants.scenes`.
"""

from kvsd.replication.messages import Message, Pull, PullOps, PullRows, Push
from kvsd.replication.record import Row
from kvsd.replication.requests import AddMember
from kvsd.replication.saved import Saved
from tests.pure import ADDRESSES, PureCluster, with_limits

FIRST, _, THIRD, _ = ADDRESSES[:4]
NEW = "10.0.0.9:8090"
SHORT_LOG = with_limits(page_rows=8, log_bytes=1, upkeep_seconds=0.2)


def written_during_a_copy() -> list[str]:
    """A learner could apply the first write of a member, which the donor of its copy gets to know of only later."""
    cluster = _cluster()
    written: list[Message] = []

    def cut(sender: str, receiver: str, message: Message) -> bool:
        if isinstance(message, PullRows) and message.start and not written:
            written.append(message)
            cluster.put(THIRD, cluster.key_of("s0"), "2")
        to_donor = sender == THIRD and receiver == FIRST and isinstance(message, Push | PullOps)
        return to_donor or (isinstance(message, Pull) and receiver in (THIRD, NEW))

    cluster.cut = cut
    cluster.submit(FIRST, AddMember("s0", NEW))
    cluster.run(4.5)
    cluster.heal()
    cluster.run(10.0)
    there, here = _rows(cluster, FIRST), _rows(cluster, NEW)
    return [] if written and there == here else [f"{NEW} has {here}, {FIRST} has {there}"]


def crash_during_a_copy() -> list[str]:
    """A learner crashes with some pages on its disk, and copies the rest after a start."""
    cluster = _cluster()
    cluster.cut = lambda sender, receiver, message: isinstance(message, PullRows) and message.start > 0
    cluster.submit(FIRST, AddMember("s0", NEW))
    cluster.run(2.0)
    cluster.crash(NEW)
    cluster.heal()
    before = _on_disk(cluster)
    cluster.restart(NEW)
    cluster.run(10.0)
    there, left = len(_rows(cluster, FIRST)), _on_disk(cluster)
    return [] if before and there == left else [f"{NEW} had {before} rows on its disk, it has {left} of {there}"]


def _cluster() -> PureCluster:
    """Four nodes with two shards and ninety keys, whose logs are short, and a fifth that is no member yet."""
    cluster = PureCluster(4, 2, SHORT_LOG).founded()
    for number in range(90):
        cluster.put(FIRST, f"key{number}", "1")
    site = cluster.start(NEW)
    cluster.perform(site, site.replica.start(Saved(), None, ADDRESSES, cluster.now(site)))
    cluster.run(2.0)
    return cluster


def _on_disk(cluster: PureCluster) -> int:
    return sum(table == "rows" for table, _ in cluster.sites[NEW].disk)


def _rows(cluster: PureCluster, address: str) -> dict[str, Row]:
    return {row.record.key: row for row in cluster.sites[address].replica.state.roles["s0"].store}
