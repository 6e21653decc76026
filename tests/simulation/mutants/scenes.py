"""
Scenes, played by hand, for defects that random schedules hardly ever show: each says what is wrong with what it saw.
"""

from collections.abc import Callable

from kvsd.replication.changes import add_node
from kvsd.replication.configuration import Configuration
from kvsd.replication.messages import (
    Accept,
    Accepted,
    Ballot,
    Message,
    Outvoted,
    Prepare,
    Promised,
    TellConfiguration,
    Vote,
)
from kvsd.replication.requests import AddNode
from tests.pure import ADDRESSES, PureCluster
from tests.simulation.mutants import clocks, late_writes, learners
from tests.simulation.mutants.fork_scenes import FORK_SCENES
from tests.simulation.mutants.slow_scenes import large_value_on_a_narrow_link

Scene = Callable[[], list[str]]
ME, OTHER, THIRD = ADDRESSES[:3]
SPARE, ANOTHER = "10.0.0.98:8090", "10.0.0.99:8090"


class Polls:
    """A cluster that has been founded, in which nothing is carried any more but what the scene says."""

    def __init__(self, nodes: int = 3, shards: int = 1) -> None:
        self.cluster = PureCluster(nodes, shards).founded()
        self.cluster.cut = lambda sender, receiver, message: True

    def configuration(self, added: str) -> Configuration:
        """What may follow: a node is added."""
        configuration = self.cluster.sites[ME].replica.state.configuration
        assert configuration is not None
        return add_node(configuration, added)

    def tell(self, to: str, *messages: Message, by: str = OTHER) -> list[Message]:
        """Have a node hear messages of another one; returns what it sends to anybody."""
        cluster, site, before = self.cluster, self.cluster.sites[to], len(self.cluster.sent)
        cluster.perform(site, site.replica.receive(cluster.sender(cluster.sites[by]), messages, cluster.now(site)))
        return [message for sender, _, message in cluster.sent[before:] if sender == to]

    def propose(self) -> Ballot:
        """A node begins to have a change decided; returns the number of its attempt."""
        before = len(self.cluster.sent)
        self.cluster.submit(ME, AddNode(SPARE))
        return next(m.ballot for _, _, m in self.cluster.sent[before:] if isinstance(m, Prepare))


def _ballot(number: int) -> Ballot:
    return Ballot(number, OTHER, 77)


def _answer(polls: Polls, message: Message, expected: Message) -> list[str]:
    """What is wrong with how a voter answers."""
    answers = [m for m in polls.tell(ME, message) if isinstance(m, Promised | Accepted | Outvoted)]
    return [] if answers == [expected] else [f"{message} is answered by {answers}"]


def older_attempt() -> list[str]:
    """A voter has promised one attempt, and is asked to take part in an older one."""
    polls = Polls()
    polls.tell(ME, Prepare(1, _ballot(50)))
    return _answer(polls, Prepare(1, _ballot(49)), Outvoted(1, _ballot(50)))


def older_vote() -> list[str]:
    """A voter has promised one attempt, and is asked for its vote in an older one."""
    polls = Polls()
    polls.tell(ME, Prepare(1, _ballot(50)))
    vote = Vote(_ballot(49), polls.configuration(SPARE))
    return _answer(polls, Accept(1, vote), Outvoted(1, _ballot(50)))


def vote_remembered() -> list[str]:
    """A voter has voted, and is asked twice to take part in later attempts."""
    polls = Polls()
    vote = Vote(_ballot(50), polls.configuration(SPARE))
    polls.tell(ME, Accept(1, vote))
    polls.tell(ME, Prepare(1, _ballot(51)))
    return _answer(polls, Prepare(1, _ballot(52)), Promised(1, _ballot(52), vote))


def votes_found() -> list[str]:
    """A proposer hears of two votes, in attempts of others, before a majority has promised."""
    polls = Polls(5)
    ballot = polls.propose()
    older = Vote(Ballot(0, OTHER, 7), polls.configuration(SPARE))
    newer = Vote(Ballot(0, THIRD, 8), polls.configuration(ANOTHER))
    sent = polls.tell(ME, Promised(1, ballot, older), by=OTHER)
    sent += polls.tell(ME, Promised(1, ballot, newer), by=THIRD)
    proposed = [message.vote.configuration for message in sent if isinstance(message, Accept)]
    right = proposed and all(configuration == newer.configuration for configuration in proposed)
    return [] if right else [f"{ME} proposes {[configuration.nodes for configuration in proposed]}"]


def half_of_the_voters() -> list[str]:
    """A proposer hears of one other voter out of three, which makes two of four."""
    polls = Polls(4, 2)
    sent = polls.tell(ME, Promised(1, polls.propose(), None))
    return [f"{ME} goes on with two of four: {m}" for m in sent if isinstance(m, Accept)]


def promise_after_a_start() -> list[str]:
    """A voter has promised, is started again, and is asked to take part in an older attempt."""
    polls = Polls()
    polls.tell(ME, Prepare(1, _ballot(50)))
    polls.cluster.heal()
    polls.cluster.crash(ME)
    polls.cluster.restart(ME)
    polls.cluster.run(5.0)
    return _answer(polls, Prepare(1, _ballot(49)), Outvoted(1, _ballot(50)))


def decided_too_early() -> list[str]:
    """A proposer was promised by a majority, and only its own vote is there."""
    polls = Polls()
    polls.tell(ME, Promised(1, polls.propose(), None))
    epoch = polls.cluster.sites[ME].replica.state.epoch
    return [f"{ME} goes by epoch {epoch}"] if epoch > 1 else []


def older_configuration() -> list[str]:
    """A node learns of two configurations, the later one first."""
    polls = Polls()
    older = polls.configuration(SPARE)
    later = add_node(older, ANOTHER)
    polls.tell(ME, TellConfiguration(later))
    polls.tell(ME, TellConfiguration(older))
    epoch = polls.cluster.sites[ME].replica.state.epoch
    return [f"{ME} goes back to epoch {epoch}"] if epoch < later.epoch else []


def change_on_a_stuck_disk() -> list[str]:
    """The disk of a cluster of one node is stuck, and the node is asked to add another one."""
    cluster = PureCluster(1, 1).founded()
    site = cluster.sites[ME]
    site.holding = True
    cluster.submit(ME, AddNode(SPARE))
    cluster.run(cluster.limits.calm_seconds + 1.0)
    return [f"{ME} answers {outcome}, which is not on its disk" for outcome in site.outcomes.values()]


SCENES: dict[str, Scene] = {
    "changed-before-sync": change_on_a_stuck_disk,
    "older-attempt-promised": older_attempt,
    "older-attempt-accepted": older_vote,
    "vote-forgotten-with-a-promise": vote_remembered,
    "votes-found-ignored": votes_found,
    "oldest-vote-found-taken": votes_found,
    "half-is-enough": half_of_the_voters,
    "promise-not-kept": promise_after_a_start,
    "decided-by-promises": decided_too_early,
    "decided-by-one": decided_too_early,
    "older-configuration-adopted": older_configuration,
    "aborted-shard-left": late_writes.aborted_before_the_copy,
    "served-before-the-copy": late_writes.read_before_the_copy,
    "pruned-of-shards-without-slots": late_writes.token_of_a_late_write,
    "sources-unchecked": late_writes.read_after_a_late_write,
    "plain-after-a-move": late_writes.read_after_later_writes,
    "final-without-the-departed": late_writes.late_write_taken_over,
    "final-after-the-first": late_writes.late_write_taken_over,
    "older-sources-forgotten": late_writes.late_write_taken_over_twice,
    "taken-over-without-dependencies": late_writes.dependencies_taken_over,
    "collected-while-there-are-sources": late_writes.deletion_before_a_late_write,
    "any-stamp-taken-in": clocks.stamp_of_years_ahead,
    "own-part-of-the-token-only": late_writes.shown_before_its_cause,
    "drained-after-the-first": late_writes.drained_behind_a_replica,
    "departed-not-asked": late_writes.fetched_from_the_departed,
    "collected-while-some-departed": late_writes.deletion_while_some_departed,
    "settled-without-agreement": late_writes.settled_while_they_differ,
    "half-a-copy-stays-after-a-start": learners.crash_during_a_copy,
    "copy-that-lacks-what-is-here": learners.written_during_a_copy,
    "collected-before-losses-settle": late_writes.deletion_before_losses_settle,
    "deadline-of-the-whole": large_value_on_a_narrow_link,
    "heartbeats-behind-all-else": large_value_on_a_narrow_link,
    "asked-for-again-and-again": large_value_on_a_narrow_link,
    **FORK_SCENES,
}
"""By the name of a defect, the scene that shows it."""
