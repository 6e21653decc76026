"""
Succession: one configuration after another is worked out, and decided by the voters.
"""

from kvsd.replication.administration import Administration
from kvsd.replication.consensus import Consensus
from kvsd.replication.duties import Duties
from kvsd.replication.effects import Now
from kvsd.replication.messages import Accept, Accepted, Message, Outvoted, Prepare, Promised
from kvsd.replication.voting import Voting


class Succession:
    """Has decided what should follow the configuration in force."""

    def __init__(self, voting: Voting, consensus: Consensus, administration: Administration, duties: Duties) -> None:
        self._voting = voting
        self._consensus = consensus
        self._administration = administration
        self._duties = duties

    def begin(self, now: Now) -> bool:
        """Propose what clients have asked for, else what has to be done anyway; says whether anything was proposed."""
        free = self._consensus.is_free(now.monotonic)
        following = self._administration.next(now, free=free)
        if free and following is None:
            following = self._duties.next(now)
        if following is not None:
            self._consensus.propose(following, now)
        return following is not None

    def hear(self, peer: str, message: Message, now: Now) -> None:
        """A voter or a proposer speaks."""
        match message:
            case Prepare():
                self._voting.prepare(peer, message)
            case Accept():
                self._voting.accept(peer, message)
            case Promised():
                self._consensus.promised(peer, message)
            case Accepted():
                self._consensus.accepted(peer, message)
            case Outvoted():
                self._consensus.outvoted(message, now.monotonic)
            case _:
                raise AssertionError("all other messages were heard before")
