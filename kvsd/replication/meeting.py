"""
Meeting: a node that is started with data first hears of all others, who may remember that it once had more.

Until then it serves nothing, as they may have left what it lacks out of tokens; it issues nothing of its own, as the
next dot may name a write already; and it says nothing of what it has, as it would have to keep to that once the right
data is put back.
"""

from kvsd.replication.state import State


class Meeting:
    """Whether this node is at it."""

    def __init__(self, state: State) -> None:
        self._state = state

    def is_on(self) -> bool:
        """
        Whether some node has not been heard of since the start, or another process is heard at this node's address.

        Who is silent for as long as the operator lets it is not waited for: by default as long as until it counts as down.
        """
        state = self._state
        if self.is_contested():
            return True
        if state.restored is None or state.now.monotonic - state.restored >= state.limits.alone_seconds:
            return False
        return not all(peer.instance for peer in state.liveness.peers.values())

    def is_contested(self) -> bool:
        """Return True if a peer said a moment ago that it hears another process at this node's address."""
        contest, state = self._state.contest, self._state
        return contest is not None and state.now.monotonic - contest.at < 2 * state.limits.heartbeat_seconds

    def unmet(self) -> list[str]:
        """Return the nodes that this node has not heard since it was started with data."""
        if self._state.restored is None:
            return []
        return [address for address, peer in self._state.liveness.peers.items() if not peer.instance]
