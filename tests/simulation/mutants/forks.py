"""
Defects of forced changes: nodes are given up too easily, or the branches of a forked cluster are not kept apart.
"""

from kvsd.replication import changes, forks
from kvsd.replication.assignment import Assignment
from kvsd.replication.branches import Kinship, Steps, kinship
from kvsd.replication.consensus import Consensus
from kvsd.replication.electorate import Electorate
from kvsd.replication.forks import Forks
from kvsd.replication.membership import Membership
from kvsd.replication.replica import Replica
from kvsd.replication.state import State
from kvsd.replication.voting import Voting
from kvsd.replication.wishes import Wishes
from tests.simulation.mutants.planting import Plant, Planting


def given_up_though_suspected_only(planting: Planting) -> None:
    """A voter gives up only nodes of which nobody has heard for long."""
    planting.rewrite(Voting, "_has_given_up", ("limits.give_up_seconds", "0.0"))


def some_silent_nodes_unnamed(planting: Planting) -> None:
    """Whoever is silent has to be given up too: it may know of something that was decided."""
    planting.rewrite(Wishes, "_give_up", ("address not in addresses]", "False]"))


def forced_by_some(planting: Planting) -> None:
    """All voters that are left have to agree, not just one of them."""
    planting.rewrite(Electorate, "is_quorum", ("set(voters) == left", "bool(set(voters) & left)"))


def forced_without_saying_so(planting: Planting) -> None:
    """What was forced in an attempt is no result of attempts that are not, and the other way round."""
    planting.rewrite(Voting, "_present", ("self._promises[attempt.is_forced]", "max(self._promises.values())"))


def winner_differs(planting: Planting) -> None:
    """Which branch goes on is the same at all nodes."""

    def mine_goes_on(epoch: int, steps: Steps, other_epoch: int, other_steps: Steps) -> Kinship:
        found = kinship(epoch, steps, other_epoch, other_steps)
        return Kinship.BEATEN if found is Kinship.BEATS else found

    planting.swap(forks, "kinship", mine_goes_on)


def branch_left(planting: Planting) -> None:
    """Who is on a branch that does not go on keeps its data and ends; it does not go over to the other one."""
    fenced = "self._fence(told, BEATEN)"
    planting.rewrite(Forks, "is_followed_by", (fenced, "return told.epoch > mine.epoch"))


def given_up_and_back(planting: Planting) -> None:
    """Who was given up and is back has no part in anything, and forgets nothing."""
    planting.rewrite(Forks, "is_followed_by", ("if self._is_given_up(told)", "if False"))


def other_branch_heard(planting: Planting) -> None:
    """Nothing is heard of nodes on another branch."""
    kin = "sender.epoch > mine.epoch or sender.branch == mine.branch(sender.epoch)"
    planting.rewrite(Forks, "is_kin", (kin, "True"))


def other_side_not_looked_for(planting: Planting) -> None:
    """Two sides of a cluster that have given each other up meet again."""
    planting.rewrite(Membership, "tick", ("self._forks.seek_given_up(now.monotonic)", "pass"))


def fenced_serves(planting: Planting) -> None:
    """Who is fenced serves nothing."""
    planting.rewrite(Replica, "submit", ("if self.state.fenced:", "if False:"))
    planting.rewrite(Assignment, "misplaced", ("(state.contested or state.fenced)", "state.contested"))
    planting.rewrite(State, "serving", ("and not self.fenced", ""))


def let_in_with_old_data(planting: Planting) -> None:
    """Who was given up is let in with an empty disk only."""
    planting.rewrite(changes, "_check_not_given_up", ("(address, instance) in step.given_up", "False"))


def forced_votes_ignored(planting: Planting) -> None:
    """Of what is forced in one way only one thing is ever accepted."""
    found = "latest.configuration if latest else attempt.wanted"
    changed = "latest.configuration if latest and not attempt.ballot.is_forced else attempt.wanted"
    planting.rewrite(Consensus, "_count_promise", (found, changed))


DEFECTS: list[Plant] = [
    given_up_though_suspected_only,
    some_silent_nodes_unnamed,
    forced_by_some,
    forced_without_saying_so,
    winner_differs,
    branch_left,
    given_up_and_back,
    other_branch_heard,
    other_side_not_looked_for,
    fenced_serves,
    let_in_with_old_data,
    forced_votes_ignored,
]
