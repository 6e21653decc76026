"""
Following a reshard to its end.

A node says how far the reshard is, and at the end that none is under way.  That alone does not tell a reshard that is
done from one that was aborted, nor from one of which this node has not heard yet.  So at the end the shards are
counted; where their number was right before, too, a reshard that is done leaves nothing to be moved.
"""

import time
from typing import Any

from kvsd.ctl.answers import Plan, Reshard, ReshardAnswer, Status
from kvsd.ctl.client import Cluster
from kvsd.ctl.failures import LATER, UNEXPECTED, UNREACHED, Failure
from kvsd.ctl.progress import Steps
from kvsd.ctl.words import things

GONE_LOOKS = 10
"""So often in a row a node may say that nothing is under way before it is believed that nothing will come of it."""
SILENT_LOOKS = 30
"""So often in a row it may fail to answer."""


def under_way(cluster: Cluster) -> tuple[Reshard | None, Any]:
    """The reshard that is under way, and the node's words about it."""
    reply = cluster.get("/kvsd/reshard")
    return reply.read(ReshardAnswer).reshard, reply.body.get("reshard")


def shard_count(cluster: Cluster) -> int:
    """How many shards there are."""
    return len(cluster.get("/kvsd/status").read(Status).shards)


class Follower:
    """Follows one reshard, to ``target`` shards; ``before`` is how many there were, if that is known."""

    def __init__(self, cluster: Cluster, target: int, before: int | None, steps: Steps) -> None:
        self._cluster = cluster
        self._target = target
        self._before = before
        self._steps = steps
        self._gone = 0
        self._silent = 0

    def follow(self, every_seconds: float) -> None:
        """Show the steps until it is done; raises Failure where nothing comes of it, or nobody answers any more."""
        while not self._look():
            time.sleep(every_seconds)
        self._steps.done()

    def _look(self) -> bool:
        """Ask once; gives whether it is done."""
        try:
            reshard, said = under_way(self._cluster)
            done = reshard is None and self._is_in_force()
        except Failure as failure:
            self._bear(failure)
            return False
        self._silent = 0
        if reshard is not None and reshard.shard_count == self._target:
            self._gone = 0
            self._steps.step(reshard, said)
        elif not done:
            self._miss()
        return done

    def _is_in_force(self) -> bool:
        """Whether the cluster is now as it was to become."""
        if shard_count(self._cluster) != self._target:
            return False
        if self._before not in (None, self._target):
            return True
        return self._cluster.get(f"/shard/reshard?shard-count={self._target}").read(Plan).empty

    def _bear(self, failure: Failure) -> None:
        """Nodes may fail while a reshard goes on: say so, and raise the failure only after many in a row."""
        self._silent += 1
        if failure.exit_status not in (LATER, UNREACHED) or self._silent >= SILENT_LOOKS:
            failure.hint = "the reshard goes on without kvsctl; 'kvsctl progress' looks again"
            raise failure
        self._steps.trouble(failure.message)

    def _miss(self) -> None:
        """Nothing of it is to be seen; raises Failure once that has been so for some time."""
        self._gone += 1
        if self._gone >= GONE_LOOKS:
            text = f"{self._cluster.nodes[0]}: the reshard to {things(self._target, 'shard')} has ended without effect"
            hint = "somebody has aborted it, or nodes have come or gone meanwhile; see 'kvsctl status'"
            raise Failure(UNEXPECTED, text, hint)
