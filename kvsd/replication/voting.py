"""
Voting: what this node has promised and accepted in deciding which configuration follows, durably.

See :mod:`kvsd.replication.consensus`.
"""

from collections.abc import Collection

from kvsd.replication.effects import SetPromise
from kvsd.replication.electorate import Electorate
from kvsd.replication.meeting import Meeting
from kvsd.replication.messages import Accept, Accepted, Ballot, Outvoted, Prepare, Promised, Vote
from kvsd.replication.state import State

Promise = tuple[int, Ballot, Vote | None]
NOTHING: Promise = (0, Ballot(), None)


class Voting:
    """This node as a voter; a promise is for one epoch, and void in any other."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._meeting = Meeting(state)
        self._electorate = Electorate(state)
        self._promises: dict[bool, Promise] = {False: NOTHING, True: NOTHING}
        """What it has promised and accepted in attempts that are not forced, and in those that are."""

    def restore(self, *promises: Promise | None) -> None:
        """What this node has promised and accepted before it was started."""
        self._promises |= {promise[1].is_forced: promise for promise in promises if promise}

    @property
    def round(self) -> int:
        """The round of the latest attempt that this node takes part in."""
        return max(promise[1].round for promise in self._promises.values())

    def may_vote(self, epoch: int, ballot: Ballot, replaces: Collection[str] = ()) -> bool:
        """
        Whether this node is a voter on what follows an epoch, and sure that its disk is the right one.

        It takes part in no attempt by which a node that it hears is to be replaced.  That is asked once, before it
        promises: what was accepted since by anybody has to be decided.
        """
        state = self._state
        mine = state.founded and self._electorate.has(state.identity.address)
        may = mine and epoch == state.epoch and not self._meeting.is_on() and self._has_given_up(ballot.given_up)
        return may and all(self._is_replaceable(address) for address in replaces)

    def _has_given_up(self, nodes: Collection[str]) -> bool:
        """Whether this node would go on without some nodes: nobody has heard of them for long."""
        limits, now, known = self._state.limits, self._state.now.monotonic, self._state.liveness.peers
        if nodes and not limits.may_force:
            self._state.out.note("give-up-refused", nodes=", ".join(nodes))
            return False
        return all(node in known and known[node].unheard(now) >= limits.give_up_seconds for node in nodes)

    def _is_replaceable(self, address: str) -> bool:
        """
        Return True if this node would have another instance take the place of the one that an address is bound to.

        It hears another, and has not heard that one for as long as the failure detector's bound, give or take the time
        between two heartbeats: nodes that agree on that have not all heard it at the same moment.
        """
        state, limits, now = self._state, self._state.limits, self._state.now.monotonic
        peer = state.liveness.peers.get(address)
        claim = peer.occupant.claim if peer else None
        if peer is None or claim is None or now - claim.heard >= limits.down_seconds:
            return state.is_destroyed(address)
        return now - peer.occupant.spoke >= limits.down_seconds - 2 * limits.heartbeat_seconds

    def promise(self, epoch: int, ballot: Ballot) -> tuple[Ballot, Vote | None]:
        """Promise an attempt, unless a later one was promised: returns the one that holds now, and the last vote."""
        promised, vote = self._present(ballot)
        if ballot > promised:
            self._keep(epoch, ballot, vote)
        return max(ballot, promised), vote

    def cast(self, epoch: int, vote: Vote) -> Ballot:
        """Accept a configuration, unless a later attempt was promised: returns the attempt that holds now."""
        promised, _ = self._present(vote.ballot)
        if vote.ballot >= promised:
            self._keep(epoch, vote.ballot, vote)
        return max(vote.ballot, promised)

    def prepare(self, proposer: str, message: Prepare) -> None:
        """A node begins an attempt."""
        if self.may_vote(message.epoch, message.ballot, message.replaces):
            promised, vote = self.promise(message.epoch, message.ballot)
            mine = promised == message.ballot
            answer = Promised(message.epoch, promised, vote) if mine else Outvoted(message.epoch, promised)
            self._state.out.send(proposer, answer)

    def accept(self, proposer: str, message: Accept) -> None:
        """A node asks for a vote."""
        if self.may_vote(message.epoch, message.vote.ballot):
            promised = self.cast(message.epoch, message.vote)
            kind = Accepted if promised == message.vote.ballot else Outvoted
            self._state.out.send(proposer, kind(message.epoch, promised))

    def _present(self, attempt: Ballot) -> tuple[Ballot, Vote | None]:
        """What was promised and accepted, in attempts of a kind, in deciding what follows the configuration in force."""
        epoch, ballot, vote = self._promises[attempt.is_forced]
        return (ballot, vote) if epoch == self._state.epoch else (Ballot(), None)

    def _keep(self, epoch: int, ballot: Ballot, vote: Vote | None) -> None:
        self._promises[ballot.is_forced] = (epoch, ballot, vote)
        self._state.out.keep(SetPromise(epoch, ballot, vote))
