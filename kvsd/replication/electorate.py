"""
The electorate: who decides what follows a configuration, and how many of them it takes.

It takes a majority.  A voter whose disk is gone can't answer any more; its vote is not needed where all others agree.
As long as the destroyed are at most half of the voters, any majority of before has one among those that are left, so
nothing that was decided is overlooked.  If more disks are gone than that, what was decided may be gone with them, as far
as nobody who is left has heard of it; to wait for disks that will never be back would help nobody.

In a forced attempt nodes are given up, by the word of an operator.  It takes all voters that are left then, however few.
"""

from collections.abc import Collection

from kvsd.replication.messages import Message
from kvsd.replication.state import State


class Electorate:
    """The voters of the configuration in force."""

    def __init__(self, state: State) -> None:
        self._state = state

    def addresses(self) -> list[str]:
        """The addresses of the voters."""
        return self._state.configuration.voters() if self._state.configuration else []

    def has(self, address: str) -> bool:
        """Whether a node is a voter."""
        return address in self.addresses()

    def is_quorum(self, voters: Collection[str], given_up: Collection[str] = ()) -> bool:
        """Whether these are a majority, or all whose disks are left; in a forced attempt only all who are left will do."""
        every = self.addresses()
        if not given_up and 2 * len(voters) > len(every):
            return True
        left = set(self.left(given_up))
        return bool(left) and set(voters) == left

    def left(self, given_up: Collection[str] = ()) -> list[str]:
        """The voters that are not given up, and whose disks are left."""
        return [a for a in self.addresses() if a not in given_up and not self._state.is_destroyed(a)]

    def tell(self, message: Message) -> None:
        """Send a message to all other voters."""
        for address in self.addresses():
            if address != self._state.identity.address:
                self._state.out.send(address, message)
