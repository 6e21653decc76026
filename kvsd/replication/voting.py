"""
Voting: what this node has promised and accepted in deciding which configuration follows, durably.

See :mod:`kvsd.replication.consensus`.
"""

from kvsd.replication.effects import SetPromise
from kvsd.replication.electorate import Electorate
from kvsd.replication.meeting import Meeting
from kvsd.replication.messages import Accept, Accepted, Ballot, Outvoted, Prepare, Promised, Vote
from kvsd.replication.state import State

Promise = tuple[int, Ballot, Vote | None]


class Voting:
    """This node as a voter; a promise is for one epoch, and void in any other."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._meeting = Meeting(state)
        self._electorate = Electorate(state)
        self._promise: Promise = (0, Ballot(), None)

    def restore(self, promise: Promise | None) -> None:
        """What this node has promised and accepted before it was started."""
        self._promise = promise or self._promise

    @property
    def round(self) -> int:
        """The round of the latest attempt that this node takes part in."""
        return self._promise[1].round

    def may_vote(self, epoch: int) -> bool:
        """Whether this node is a voter on what follows an epoch, and sure that its disk is the right one."""
        state = self._state
        mine = state.founded and self._electorate.has(state.identity.address)
        return mine and epoch == state.epoch and not self._meeting.is_on()

    def promise(self, epoch: int, ballot: Ballot) -> tuple[Ballot, Vote | None]:
        """Promise an attempt, unless a later one was promised: returns the one that holds now, and the last vote."""
        promised, vote = self._present()
        if ballot > promised:
            self._keep(epoch, ballot, vote)
        return max(ballot, promised), vote

    def cast(self, epoch: int, vote: Vote) -> Ballot:
        """Accept a configuration, unless a later attempt was promised: returns the attempt that holds now."""
        promised, _ = self._present()
        if vote.ballot >= promised:
            self._keep(epoch, vote.ballot, vote)
        return max(vote.ballot, promised)

    def prepare(self, proposer: str, message: Prepare) -> None:
        """A node begins an attempt."""
        if self.may_vote(message.epoch):
            promised, vote = self.promise(message.epoch, message.ballot)
            mine = promised == message.ballot
            answer = Promised(message.epoch, promised, vote) if mine else Outvoted(message.epoch, promised)
            self._state.out.send(proposer, answer)

    def accept(self, proposer: str, message: Accept) -> None:
        """A node asks for a vote."""
        if self.may_vote(message.epoch):
            promised = self.cast(message.epoch, message.vote)
            kind = Accepted if promised == message.vote.ballot else Outvoted
            self._state.out.send(proposer, kind(message.epoch, promised))

    def _present(self) -> tuple[Ballot, Vote | None]:
        """What was promised and accepted in deciding what follows the configuration in force."""
        epoch, ballot, vote = self._promise
        return (ballot, vote) if epoch == self._state.epoch else (Ballot(), None)

    def _keep(self, epoch: int, ballot: Ballot, vote: Vote | None) -> None:
        self._promise = (epoch, ballot, vote)
        self._state.out.keep(SetPromise(epoch, ballot, vote))
