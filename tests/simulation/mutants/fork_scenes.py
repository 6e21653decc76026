"""
Scenes of forced changes, played by hand: each says what is wrong with what it saw.
"""

from collections.abc import Callable, Iterator

from msgspec.structs import replace

from kvsd.replication.branches import Forced
from kvsd.replication.changes import ChangeRefused, add_node
from kvsd.replication.configuration import Configuration
from kvsd.replication.forcing import give_up_nodes
from kvsd.replication.messages import Accept, Accepted, Ballot, Heartbeat, Message, Prepare, Promised, Vote
from kvsd.replication.requests import AddNode, Change, Changed, GiveUp, Outcome, Unassigned
from kvsd.replication.saved import Saved
from tests.pure import ADDRESSES, PureCluster

ONE, TWO, THREE, FOUR, FIVE = ADDRESSES[:5]
SPARE, ANOTHER = "10.0.0.98:8090", "10.0.0.99:8090"


class Parted:
    """A cluster that has been founded, some of whose nodes are cut off, and everybody has noticed."""

    def __init__(self, nodes: int, *side: str) -> None:
        self.cluster = PureCluster(nodes, 1).founded()
        self.cluster.put(ONE, "key", "1")
        self.cluster.run(1.0)
        self.cluster.isolate(*side)
        self.cluster.run(6.0)

    def order(self, at: str, change: Change, seconds: float = 8.0) -> Outcome | None:
        """What a node answers to a change within some seconds."""
        ticket = self.cluster.submit(at, change)
        self.cluster.run(seconds)
        return self.cluster.sites[at].outcomes.get(ticket)

    def configuration(self, at: str) -> Configuration:
        """What a node goes by."""
        configuration = self.cluster.sites[at].replica.state.configuration
        assert configuration is not None
        return configuration

    def heal(self) -> None:
        """The network is whole again, for some seconds."""
        self.cluster.heal()
        self.cluster.run(8.0)

    def fenced(self) -> list[str]:
        """Who is fenced."""
        return [address for address, site in self.cluster.sites.items() if site.replica.state.fenced]

    def ended(self, *expected: str) -> Iterator[str]:
        """What is wrong, where these should be fenced, serve nothing and keep what they have, and the others agree."""
        if self.fenced() != list(expected):
            yield f"{self.fenced()} are fenced, not {list(expected)}"
        others = [self.configuration(address) for address in self.cluster.sites if address not in expected]
        if any(other != others[0] for other in others):
            yield f"the others are at the epochs {[other.epoch for other in others]}"
        for address in expected:
            if not isinstance(self.cluster.get(address, "key"), Unassigned):
                yield f"{address} serves"
            if not any(table == "rows" for table, _ in self.cluster.sites[address].disk):
                yield f"{address} has dropped what it had"

    def tell(self, to: str, message: Message, by: str) -> list[Message]:
        """Have a node hear a message of another one; returns what it sends to that one."""
        cluster, site, before = self.cluster, self.cluster.sites[to], len(self.cluster.sent)
        cluster.perform(site, site.replica.receive(cluster.sender(cluster.sites[by]), [message], cluster.now(site)))
        return [message for sender, peer, message in cluster.sent[before:] if (sender, peer) == (to, by)]


def suspected() -> list[str]:
    """A voter is asked to give up a node that has been silent for two seconds."""
    parted = Parted(4)
    parted.cluster.isolate(THREE, FOUR)
    parted.cluster.run(2.0)
    ballot = Ballot(50, ONE, 7, (THREE, FOUR))
    answers = parted.tell(TWO, Prepare(1, ballot), ONE)
    answers += parted.tell(TWO, Accept(1, Vote(ballot, forced(parted.configuration(TWO), THREE, FOUR))), ONE)
    return [f"{TWO} says {m}" for m in answers if isinstance(m, Promised | Accepted)]


def forced(configuration: Configuration, *given_up: str) -> Configuration:
    """What follows when nodes are given up."""
    return give_up_nodes(configuration, given_up, {})


def not_all_named() -> list[str]:
    """The silent voter is named; a silent node that is none may know what it has decided with others."""
    parted = Parted(2)
    spare = parted.cluster.start(SPARE)
    parted.cluster.perform(spare, spare.replica.start(Saved(), None, (ONE,), parted.cluster.now(spare)))
    parted.order(ONE, AddNode(SPARE))
    assert SPARE in parted.configuration(ONE).nodes, "it was heard, and is no mere guest"
    parted.cluster.isolate(ONE)
    parted.cluster.run(6.0)
    outcome = parted.order(ONE, GiveUp((TWO,)))
    return ["it was done"] if isinstance(outcome, Changed) else []


def not_all_agree() -> list[str]:
    """Two of five voters are left, and can't hear each other for a moment."""
    parted = Parted(5, ONE, TWO)
    parted.cluster.cut = lambda a, b, m: {a, b} != {ONE, TWO} or not isinstance(m, Heartbeat)
    parted.order(ONE, GiveUp((THREE, FOUR, FIVE)), seconds=3.0)
    return [f"{ONE} goes on alone"] if parted.configuration(ONE).epoch > 1 else []


def two_elections() -> list[str]:
    """A voter has voted in a forced attempt, and is asked to take part in one that is not."""
    parted = Parted(4, ONE, TWO)
    configuration = parted.configuration(TWO)
    ballot = Ballot(50, ONE, 7, (THREE, FOUR))
    parted.tell(TWO, Accept(1, Vote(ballot, forced(configuration, THREE, FOUR))), ONE)
    answers = parted.tell(TWO, Prepare(1, Ballot(60, ONE, 7)), ONE)
    return [] if answers == [Promised(1, Ballot(60, ONE, 7), None)] else [f"{TWO} answers {answers}"]


def vote_found() -> list[str]:
    """A voter has voted in a forced attempt, and another node begins one."""
    parted = Parted(4, ONE, TWO)
    cluster, found = parted.cluster, add_node(parted.configuration(TWO), SPARE)
    step = Forced(2, tuple((a, parted.configuration(TWO).nodes[a]) for a in (THREE, FOUR)), 2)
    parted.tell(TWO, Accept(1, Vote(Ballot(1, ONE, 7, (THREE, FOUR)), replace(found, forced=(step,)))), ONE)
    cluster.submit(ONE, GiveUp((THREE, FOUR)))
    cluster.run(1.0)
    return [] if SPARE in parted.configuration(ONE).nodes else [f"{ONE} has something else decided by force"]


def majority_and_forced() -> list[str]:
    """A majority changes something while an operator takes it to be gone."""
    parted = Parted(3, ONE)
    parted.order(TWO, AddNode(SPARE))
    parted.order(ONE, GiveUp((TWO, THREE)))
    for number in range(2):
        parted.order(ONE, AddNode(f"10.0.1.{number}:8090"))
    parted.heal()
    return list(parted.ended(ONE))


def both_forced() -> list[str]:
    """Both sides give the other one up."""
    parted = Parted(4, ONE, TWO)
    parted.order(ONE, GiveUp((THREE, FOUR)))
    parted.order(THREE, GiveUp((ONE, TWO)))
    parted.heal()
    return list(parted.ended(ONE, TWO))


def back_with_its_data() -> list[str]:
    """Nodes that were given up were merely cut off."""
    parted = Parted(3, ONE)
    parted.order(ONE, GiveUp((TWO, THREE)))
    parted.heal()
    return list(parted.ended(TWO, THREE))


def added_again() -> list[str]:
    """The address of a node that was given up is added again, and the node is back with its old data."""
    parted = Parted(2, ONE)
    parted.order(ONE, GiveUp((TWO,)))
    configuration, instance = parted.configuration(ONE), parted.cluster.sites[TWO].replica.state.identity.instance
    try:
        return [f"it is let in again: {add_node(configuration, TWO, instance).nodes.keys()}"]
    except ChangeRefused:
        return []


def word_of_another_branch() -> list[str]:
    """A node hears a proposer of the other branch, which is at the same epoch."""
    parted = Parted(3, ONE)
    parted.order(TWO, AddNode(SPARE))
    parted.order(ONE, GiveUp((TWO, THREE)))
    while parted.configuration(TWO).epoch < parted.configuration(ONE).epoch:
        parted.order(TWO, AddNode(f"10.0.1.{parted.configuration(TWO).epoch}:8090"))
    answers = parted.tell(TWO, Prepare(parted.configuration(TWO).epoch, Ballot(90, ONE, 7)), ONE)
    return [f"{TWO} promises {ONE}"] if any(isinstance(m, Promised) for m in answers) else []


FORK_SCENES: dict[str, Callable[[], list[str]]] = {
    "given-up-though-suspected-only": suspected,
    "some-silent-nodes-unnamed": not_all_named,
    "forced-by-some": not_all_agree,
    "forced-without-saying-so": two_elections,
    "winner-differs": majority_and_forced,
    "branch-left": majority_and_forced,
    "given-up-and-back": back_with_its_data,
    "other-branch-heard": word_of_another_branch,
    "other-side-not-looked-for": both_forced,
    "fenced-serves": back_with_its_data,
    "let-in-with-old-data": added_again,
    "forced-votes-ignored": vote_found,
}
"""By the name of a defect, the scene that shows it."""
