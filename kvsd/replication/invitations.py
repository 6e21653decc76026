"""
Invitations: addresses that a client has put into the cluster, and at which this node has heard nobody yet.

Who is behind such an address is not known: a node that is started in a moment, nobody, or a service that has nothing to
do with the cluster.  So an invited node is no peer: nothing is counted on it, and nothing is sent to it but a question now
and then that says who asks.  It becomes a peer with the first envelope that comes from there; who stays silent is taken
out of the cluster after a while.
"""

from collections.abc import Collection
from dataclasses import dataclass

from kvsd.replication.limits import Limits


@dataclass
class Invitation:
    """An address at which nobody was heard yet; times are monotonic seconds."""

    since: float
    """Since when this node knows of it."""
    expected: float | None
    """When it was last taken to be up, though nothing was heard of it."""


class Invitations:
    """The invited nodes that were not heard yet."""

    def __init__(self, me: str, limits: Limits) -> None:
        self._me = me
        self._limits = limits
        self._silent: dict[str, Invitation] = {}
        self._asked: dict[str, float] = {}
        """When a sign of life was last due to be asked for, by whatever node does that; also of who was taken out since."""
        self._met: set[str] = set()
        """Those that have spoken, and are invited until they are bound."""

    def __contains__(self, address: str) -> bool:
        """Return True for the address of an invited node that was not heard yet."""
        return address in self._silent

    def __bool__(self) -> bool:
        """Return True if there are any."""
        return bool(self._silent)

    def follow(self, invited: Collection[str], now: float, *, new: bool) -> set[str]:
        """
        Go by these invitations from now on; returns those of nodes that were not heard yet.

        Where they are ``new``, and not what a disk or another node knew before, the nodes are taken to be up at first.
        """
        self._met &= {*invited}
        silent = {*invited} - self._met - {self._me}
        expected = now if new else None
        self._silent = {a: self._silent.get(a) or Invitation(now, expected) for a in sorted(silent)}
        return silent

    def meet(self, address: str) -> bool:
        """Take note that an address has spoken; returns True if it was invited and silent until now."""
        if self._silent.pop(address, None) is None:
            return False
        self._met.add(address)
        return True

    def expect(self, address: str, now: float) -> None:
        """Take a node to be up for a while, if it is invited."""
        if invitation := self._silent.get(address):
            invitation.expected = now

    def view(self, now: float) -> list[str]:
        """Return the nodes that are taken to be up, though nothing was heard of them: those invited a moment ago."""
        latest = now - self._limits.down_seconds
        return [a for a, each in self._silent.items() if each.expected is not None and each.expected >= latest]

    def due(self, now: float) -> list[str]:
        """Return the nodes that are to be asked for a sign of life now; they are due again only after a while."""
        latest = now - self._limits.invite_seconds
        self._asked = {address: at for address, at in self._asked.items() if at > latest}
        due = [address for address in self._silent if address not in self._asked]
        self._asked.update(dict.fromkeys(due, now))
        return due

    def overdue(self, now: float) -> list[str]:
        """Return the nodes that this node has looked out for in vain for as long as anybody stays invited."""
        return [a for a, each in self._silent.items() if now - each.since >= self._limits.invited_seconds]
