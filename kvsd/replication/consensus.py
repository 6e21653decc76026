"""
Which configuration follows: single-decree Paxos among the voters of the one in force, anew for every epoch.

A proposer gathers promises of a majority, proposes what any of them has accepted in the latest attempt (or else what
it wants itself), and has a majority accept it.  Then it is decided, for ever, and whoever learns of it may go by it.

An attempt is *forced* where what is wanted gives nodes up that nobody has heard of for long.  It takes the consent of all
other voters.  Forced attempts and others are two elections that take no notice of each other, so that what is forced
says so, and what a majority decides is one thing for ever.  Should both come to a result, as who was given up is
there all the same, the results differ by what was given up, and that is noticed (:mod:`kvsd.replication.branches`).
(Lamport: "Paxos Made Simple", 2001; changing voters as in Lamport, Malkhi, Zhou: "Vertical Paxos", 2009.)
"""

from dataclasses import dataclass, field

from kvsd.replication.configuration import Configuration
from kvsd.replication.effects import Now
from kvsd.replication.electorate import Electorate
from kvsd.replication.invariant import InvariantBroken
from kvsd.replication.meeting import Meeting
from kvsd.replication.messages import (
    Accept,
    Accepted,
    Ballot,
    Outvoted,
    Prepare,
    Promised,
    TellConfiguration,
    Vote,
)
from kvsd.replication.state import State
from kvsd.replication.voting import Voting


@dataclass
class Attempt:
    """An attempt of this node to have a configuration decided, since a time (monotonic seconds)."""

    ballot: Ballot
    wanted: Configuration
    since: float
    promises: dict[str, Vote | None] = field(default_factory=dict)
    proposed: Configuration | None = None
    accepted: set[str] = field(default_factory=set)


class Consensus:
    """Proposes one configuration at a time."""

    def __init__(self, state: State, voting: Voting) -> None:
        self._state = state
        self._voting = voting
        self._electorate = Electorate(state)
        self._meeting = Meeting(state)
        self._attempt: Attempt | None = None
        self._round = 0
        self._rest_until = 0.0
        self._decided: list[Configuration] = []

    def is_free(self, now: float) -> bool:
        """Whether something can be proposed: nothing is under way, and who was outvoted has let others go first."""
        self._drop_if_over()
        return self._attempt is None and now >= self._rest_until and not self._meeting.is_on()

    def take_decided(self) -> list[Configuration]:
        """What was decided by this node's doing and is to be adopted now."""
        decided, self._decided = self._decided, []
        return [configuration for configuration in decided if configuration.epoch == self._state.epoch + 1]

    def tell(self, configuration: Configuration) -> None:
        """Let everybody know what was decided."""
        for address in self._state.liveness.peers:
            self._state.out.send(address, TellConfiguration(configuration))

    def propose(self, wanted: Configuration, now: Now) -> None:
        """Try to have a configuration decided as what follows the one in force."""
        state = self._state
        if state.configuration is None or wanted.epoch != state.epoch + 1:
            raise InvariantBroken("epochs follow one another")
        self._round = max(self._round, self._voting.round) + 1
        ballot = Ballot(self._round, state.identity.address, state.identity.boot, newly_given_up(wanted))
        attempt = self._attempt = Attempt(ballot, wanted, now.monotonic)
        replaces = replaced(state.configuration, wanted)
        self._electorate.tell(Prepare(state.epoch, ballot, replaces))
        if self._voting.may_vote(state.epoch, ballot, replaces):
            promised, vote = self._voting.promise(state.epoch, ballot)
            if promised != ballot:
                raise InvariantBroken("the round is later than all that were heard of")
            self._count_promise(attempt, state.identity.address, vote)

    def promised(self, voter: str, message: Promised) -> None:
        """A voter has promised."""
        attempt = self._attempt
        if attempt and (message.epoch, message.ballot) == (self._state.epoch, attempt.ballot):
            self._count_promise(attempt, voter, message.vote)

    def _count_promise(self, attempt: Attempt, voter: str, vote: Vote | None) -> None:
        if not self._electorate.has(voter) or attempt.proposed:
            return
        attempt.promises[voter] = vote
        if self._electorate.is_quorum(attempt.promises.keys(), attempt.ballot.given_up):
            votes = [vote for vote in attempt.promises.values() if vote]
            latest = max(votes, key=lambda vote: vote.ballot, default=None)
            attempt.proposed = latest.configuration if latest else attempt.wanted
            self._ask_for_votes(attempt, Vote(attempt.ballot, attempt.proposed))

    def _ask_for_votes(self, attempt: Attempt, vote: Vote) -> None:
        epoch = self._state.epoch
        self._electorate.tell(Accept(epoch, vote))
        if self._voting.may_vote(epoch, vote.ballot) and self._voting.cast(epoch, vote) == vote.ballot:
            self._count_acceptance(attempt, self._state.identity.address)

    def accepted(self, voter: str, message: Accepted) -> None:
        """A voter has accepted."""
        attempt = self._attempt
        if attempt and (message.epoch, message.ballot) == (self._state.epoch, attempt.ballot) and attempt.proposed:
            self._count_acceptance(attempt, voter)

    def _count_acceptance(self, attempt: Attempt, voter: str) -> None:
        if self._electorate.has(voter):
            attempt.accepted.add(voter)
        if self._electorate.is_quorum(attempt.accepted, attempt.ballot.given_up) and attempt.proposed:
            self._attempt = None
            self._decided.append(attempt.proposed)

    def outvoted(self, message: Outvoted, now: float) -> None:
        """Somebody else is at it, with a later attempt: let it be for a moment."""
        attempt = self._attempt
        self._round = max(self._round, message.ballot.round)
        is_of_kind = attempt is not None and message.ballot.is_forced == attempt.ballot.is_forced
        if attempt and is_of_kind and message.epoch == self._state.epoch and message.ballot > attempt.ballot:
            self._give_up(now)

    def _give_up(self, now: float) -> None:
        """For how long depends on the node, so that two don't keep outvoting each other."""
        self._attempt = None
        self._rest_until = now + self._state.limits.tick_seconds * (1 + (self._state.identity.boot + self._round) % 8)

    def tick(self, now: float) -> None:
        """Give up what took too long."""
        self._drop_if_over()
        if self._attempt and now - self._attempt.since > self._state.limits.attempt_seconds:
            self._give_up(now)

    def _drop_if_over(self) -> None:
        if self._attempt and self._attempt.wanted.epoch <= self._state.epoch:
            self._attempt = None


def replaced(present: Configuration, wanted: Configuration) -> tuple[str, ...]:
    """The nodes in whose place another instance is taken in."""
    nodes = present.nodes.items()
    return tuple(address for address, bound in nodes if bound and wanted.nodes.get(address, bound) != bound)


def newly_given_up(wanted: Configuration) -> tuple[str, ...]:
    """The nodes that are given up by a configuration, and were not before it."""
    steps = [step for step in wanted.forced if step.epoch == wanted.epoch]
    return tuple(address for step in steps for address, _ in step.given_up)
