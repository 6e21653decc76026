"""
Defects of consensus: what is decided is not decided for ever, or not by enough.
"""

from kvsd.replication.consensus import Consensus
from kvsd.replication.durability import Durability
from kvsd.replication.electorate import Electorate
from kvsd.replication.forks import Forks
from kvsd.replication.voting import Voting
from tests.simulation.mutants.planting import Plant, Planting


def promise_not_kept(planting: Planting) -> None:
    """What a voter has promised and accepted is on its disk before it says so."""
    planting.rewrite(Voting, "_keep", ("self._state.out.keep(SetPromise(epoch, ballot, vote))", "pass"))


def older_attempt_promised(planting: Planting) -> None:
    """A voter that has promised an attempt promises no older one."""
    planting.rewrite(Voting, "promise", ("ballot > promised", "True"), ("max(ballot, promised)", "ballot"))


def older_attempt_accepted(planting: Planting) -> None:
    """A voter that has promised an attempt accepts nothing in an older one."""
    planting.rewrite(Voting, "cast", ("vote.ballot >= promised", "True"), ("max(vote.ballot, promised)", "vote.ballot"))


def promise_for_another_epoch(planting: Planting) -> None:
    """What was promised and accepted for one epoch is void in any other."""
    planting.rewrite(Voting, "_present", ("if epoch == self._state.epoch else (Ballot(), None)", ""))


def vote_forgotten_with_a_promise(planting: Planting) -> None:
    """A voter that promises a later attempt remembers what it has accepted."""
    planting.rewrite(Voting, "promise", ("self._keep(epoch, ballot, vote)", "self._keep(epoch, ballot, None)"))


def votes_found_ignored(planting: Planting) -> None:
    """Where a voter has accepted something already, that is proposed."""
    found = "latest.configuration if latest else attempt.wanted"
    planting.rewrite(Consensus, "_count_promise", (found, "attempt.wanted"))


def oldest_vote_found_taken(planting: Planting) -> None:
    """Where voters have accepted different things, the one of the latest attempt is proposed."""
    planting.rewrite(Consensus, "_count_promise", ("latest = max(", "latest = min("))


def half_is_enough(planting: Planting) -> None:
    """It takes more than half of the voters to decide."""
    planting.rewrite(Electorate, "is_quorum", ("2 * len(voters) > len(every)", "2 * len(voters) >= len(every)"))


def decided_by_promises(planting: Planting) -> None:
    """A configuration is decided when a majority has accepted it, not when a majority has promised to hear of it."""
    asked = "self._ask_for_votes(attempt, Vote(attempt.ballot, attempt.proposed))"
    planting.rewrite(Consensus, "_count_promise", (asked, "self._decided.append(attempt.proposed)"))


def decided_by_one(planting: Planting) -> None:
    """A configuration is decided when a majority has accepted it, not when the first voter has."""
    enough = "self._electorate.is_quorum(attempt.accepted, attempt.ballot.given_up)"
    planting.rewrite(Consensus, "_count_acceptance", (enough, "attempt.accepted"))


def older_configuration_adopted(planting: Planting) -> None:
    """Nobody goes back to an older configuration."""
    planting.rewrite(Forks, "is_followed_by", ("pass", "return told.epoch < mine.epoch"))


def epoch_told_before_sync(planting: Planting) -> None:
    """A node says that it goes by a configuration once that is on its disk."""
    planting.rewrite(Durability, "adopted", ("self._adopted.append((position, epoch))", "self.epoch = epoch"))


DEFECTS: list[Plant] = [
    promise_not_kept,
    older_attempt_promised,
    older_attempt_accepted,
    promise_for_another_epoch,
    vote_forgotten_with_a_promise,
    votes_found_ignored,
    oldest_vote_found_taken,
    half_is_enough,
    decided_by_promises,
    decided_by_one,
    older_configuration_adopted,
    epoch_told_before_sync,
]
