"""
Assignment: whether this node has a place among those that serve, and which of its roles serves a key.
"""

from kvsd.replication.meeting import Meeting
from kvsd.replication.past import Past
from kvsd.replication.role import Role
from kvsd.replication.state import State

CONTESTED = (
    "address-contested: {peer} hears another process at {me}, so this one serves nothing; stop one of the two, or give this"
    " one an address of its own"
)


class Assignment:
    """What stands in the way of serving."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._meeting = Meeting(state)
        self._past = Past(state)

    def role_of(self, key: str) -> Role | None:
        """This node's role where it can carry out requests about a key: a member's, with a complete copy of its slot."""
        tenure, shard = self._state.shard_of(key)
        role = self._state.serving(shard)
        return role if role and self._past.is_ready(role.marks, tenure) else None

    def lacking(self) -> str:
        """Why this node can't serve any key, in words; empty if it can."""
        if reason := self.misplaced():
            return reason
        return "this node was started again and is meeting the other nodes" if self.is_meeting() else ""

    def is_meeting(self) -> bool:
        """Return True while this node, started again, may not serve what it has; other members may."""
        return self._meeting.is_on()

    def unmet(self) -> list[str]:
        """Return the nodes that this node has not heard since it was started with data."""
        return self._meeting.unmet()

    def misplaced(self) -> str:
        """Return why this node has no place among those that serve, in words; empty if it has one."""
        state = self._state
        if state.contest is not None and not state.contest.same and self._meeting.is_contested():
            return CONTESTED.format(me=state.identity.address, peer=state.contest.peer)
        placed = state.roster is not None and state.roster.is_placed and not (state.contested or state.fenced)
        return "" if placed else self._reason_misplaced()

    def _reason_misplaced(self) -> str:
        """Why this node has no place among those that serve, in words; empty if it has one."""
        state = self._state
        me = state.identity.address
        if state.fenced:
            return state.fenced
        if state.usurped:
            return f"{me} was founded with another data directory; this one is not part of the cluster"
        if state.configuration is None:
            return "no configuration is known yet"
        if state.epoch > 1 and me not in state.configuration.nodes:
            return "this node was removed from the cluster, or was not added to it yet"
        if state.configuration.member(me) is None:
            return "this node was not added to a shard"
        if not state.founded:
            return "the cluster is forming: a majority of the view has not answered yet"
        return ""
