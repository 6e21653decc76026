"""Branches of a cluster: which configurations are of one chain, and which branch goes on; and that consensus keeps them apart."""

import random
from itertools import combinations, permutations, product

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from kvsd.replication.branches import Forced, Kinship, Steps, branch_name, kinship
from kvsd.replication.configuration import Configuration
from kvsd.replication.limits import Limits
from tests.configurations import NODES, instance_of
from tests.unit.test_consensus import Assembly, wish

AT_ONCE = Limits(give_up_seconds=0.0)
"""Voters that give up whoever an operator wants to."""
EPOCHS = 5


def forced(epoch: int, voters: int, *nodes: int) -> Forced:
    """A step by which nodes were given up."""
    return Forced(epoch, tuple((NODES[n], instance_of(NODES[n])) for n in nodes), voters)


def chains() -> list[tuple[int, Steps]]:
    """The configurations of a tree in which any epoch may be decided by a quorum or forced in one of three ways."""
    found: list[tuple[int, Steps]] = [(1, ())]
    ways = [[None, forced(e, 2, 1), forced(e, 1, 0, 1), forced(e, 1, 1, 2)] for e in range(2, EPOCHS)]
    for length in range(1, len(ways) + 1):
        found += [(length + 1, [step for step in steps if step]) for steps in product(*ways[:length])]
    return found


CHAINS = chains()
positions = st.sampled_from(CHAINS)


def leads_to(earlier: tuple[int, Steps], later: tuple[int, Steps]) -> bool:
    """Whether one configuration is the other, or came before it, by going back step by step."""
    epoch, steps = later
    while epoch > earlier[0]:
        steps, epoch = [step for step in steps if step.epoch < epoch], epoch - 1
    return epoch == earlier[0] and list(steps) == list(earlier[1])


class KinshipTests(SynchronousTestCase):
    """What two configurations are to each other."""

    @given(positions, positions)
    def test_chains(self, one: tuple[int, Steps], other: tuple[int, Steps]) -> None:
        """One is known to the other, or follows from it, where it is of its chain; else just one of them goes on."""
        found, back = kinship(*one, *other), kinship(*other, *one)
        if leads_to(other, one):
            self.assertIs(Kinship.KNOWN, found)
        elif leads_to(one, other):
            self.assertIs(Kinship.LATER, found)
        else:
            self.assertEqual({Kinship.BEATS, Kinship.BEATEN}, {found, back})

    @given(st.lists(positions, min_size=3, max_size=6))
    def test_all_agree(self, branches: list[tuple[int, Steps]]) -> None:
        """Whoever meets whom first, in the end one branch is left, and always the same."""
        ends = set()
        for order in list(permutations(branches))[:24]:
            best = order[0]
            for other in order[1:]:
                if kinship(*best, *other) in (Kinship.BEATS, Kinship.LATER):
                    best = other
            ends.add((best[0], tuple(best[1])))
        self.assertEqual(1, len(ends))

    @given(positions, positions)
    def test_names(self, one: tuple[int, Steps], other: tuple[int, Steps]) -> None:
        """Branches have one name where they are one, and nothing forced has none."""
        epoch = min(one[0], other[0])
        alike = [s for s in one[1] if s.epoch <= epoch] == [s for s in other[1] if s.epoch <= epoch]
        self.assertEqual(alike, branch_name(one[1], epoch) == branch_name(other[1], epoch))
        self.assertEqual(b"", branch_name(one[1], 1))

    def test_rule(self) -> None:
        """A quorum goes before what was forced, then more voters, then names; what came later does not matter."""
        quorum, many, few, other = (3, ()), (3, [forced(3, 3, 1)]), (3, [forced(3, 2, 0)]), (3, [forced(3, 2, 1)])
        late = (9, [forced(3, 2, 1), forced(5, 3, 4)])
        for order in ([quorum, many, few, other], [quorum, many, few, late]):
            for better, worse in combinations(order, 2):
                self.assertIs(Kinship.BEATEN, kinship(*better, *worse))
        self.assertIs(Kinship.BEATEN, kinship(9, [forced(5, 1, 1)], *many))


class ForcedAssembly(Assembly):
    """Voters some of whom are given up by operators who know nothing."""

    def __init__(self, nodes: int) -> None:
        self.results: dict[str, tuple[Forced, ...]] = {}
        """All that was ever decided, with its forced steps."""
        super().__init__(nodes, adopts=False, limits=AT_ONCE)

    @override
    def sync(self, address: str) -> None:
        """What was decided can be known to anybody once it is on the disk of who decided it."""
        super().sync(address)
        decided = self.voters[address].decided
        self.results |= {repr(configuration): configuration.forced for configuration in decided}

    @override
    def propose(self, address: str, number: int) -> None:
        """As others do; some of the wishes give nodes up."""
        voter = self.voters[address]
        given_up = GIVEN_UP[len(self.voters)][number % len(GIVEN_UP[len(self.voters)])]
        if not given_up or number >= 200 or address in given_up:
            super().propose(address, number)
        elif voter.state.epoch == 2 and voter.consensus.is_free(self.now.monotonic):
            voter.consensus.propose(forced_wish(number, self.base, given_up), self.now)
            self.settle(voter)


def forced_wish(number: int, base: Configuration, given_up: tuple[str, ...]) -> Configuration:
    """One of many configurations that may be forced."""
    step = Forced(3, tuple((a, instance_of(a)) for a in given_up), len(base.nodes) - len(given_up))
    return replace(wish(number, base), forced=(step,))


GIVEN_UP = {
    nodes: [(), *(some for n in range(nodes // 2, nodes) for some in combinations(NODES[:nodes], n) if some)]
    for nodes in (2, 3, 4)
}


class ForcedLawTests(SynchronousTestCase):
    """However often, and by whomever, nodes are given up: no two configurations of one epoch have the same steps."""

    def law(self, nodes: int, schedules: int) -> int:
        """Put voters through random schedules; returns how often the cluster has forked."""
        forks = 0
        for seed in range(schedules):
            chance, assembly = random.Random(seed), ForcedAssembly(nodes)
            for _ in range(chance.choice((50, 150, 400))):
                assembly.step(chance)
            results = assembly.results
            self.assertEqual(len(results), len(set(results.values())), f"{nodes} nodes, seed {seed}")
            forks += len(results) > 1
        return forks

    def test_two_voters(self) -> None:
        """Two voters."""
        self.assertGreater(self.law(2, 150), 0)

    def test_three_voters(self) -> None:
        """Three voters."""
        self.assertGreater(self.law(3, 200), 0)

    def test_four_voters(self) -> None:
        """Four voters."""
        self.law(4, 150)
