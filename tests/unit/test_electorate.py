"""Who decides what follows, how many of them it takes, and what a voter keeps to when it is started again."""

from itertools import chain, combinations

from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication.changes import add_node
from kvsd.replication.electorate import Electorate
from kvsd.replication.limits import Limits
from kvsd.replication.messages import Ballot, Message, Outvoted, Prepare, Promised
from kvsd.replication.state import Identity, State
from tests.configurations import NODES, founded, instance_of
from tests.pure import ADDRESSES, PureCluster

LIMITS = Limits()


class ElectorateTests(SynchronousTestCase):
    """How many it takes."""

    @staticmethod
    def electorate(nodes: int, destroyed: tuple[str, ...] = ()) -> Electorate:
        """The voters among so many nodes, as a spare sees them who knows that the disks of some are gone."""
        base = add_node(replace(founded(nodes, 1), epoch=2), NODES[11], instance_of(NODES[11]))
        state = State(Identity(NODES[11], instance_of(NODES[11]), 1), LIMITS)
        state.adopt(base)
        for address in destroyed:
            state.liveness.peers[address].instance = instance_of(address, 2)
        return Electorate(state)

    def test_majority(self) -> None:
        """A majority, and not one less."""
        for nodes, needed in ((1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (6, 4), (7, 4), (9, 4)):
            electorate = self.electorate(nodes)
            self.assertTrue(electorate.is_quorum(NODES[:needed]), nodes)
            self.assertFalse(electorate.is_quorum(NODES[: needed - 1]), nodes)

    def test_destroyed_disks(self) -> None:
        """All who are left are enough, be they ever so few, and some of them are not; nobody is not."""
        self.assertTrue(self.electorate(2, (NODES[1],)).is_quorum(NODES[:1]))
        self.assertTrue(self.electorate(4, (NODES[2], NODES[3])).is_quorum(NODES[:2]))
        self.assertFalse(self.electorate(4, (NODES[2], NODES[3])).is_quorum(NODES[:1]))
        self.assertFalse(self.electorate(4, (NODES[3],)).is_quorum(NODES[:2]))
        self.assertTrue(self.electorate(3, (NODES[1], NODES[2])).is_quorum(NODES[:1]))
        self.assertTrue(self.electorate(5, tuple(NODES[2:5])).is_quorum(NODES[:2]))
        self.assertFalse(self.electorate(5, tuple(NODES[2:5])).is_quorum(NODES[:1]))
        self.assertFalse(self.electorate(2, tuple(NODES[:2])).is_quorum(()))

    def test_quorums_meet_majorities(self) -> None:
        """As long as no more than half of the disks are gone, whoever is enough has one in common with any majority."""
        for nodes in range(1, 6):
            sets = [set(s) for s in chain(*(combinations(NODES[:nodes], n) for n in range(nodes + 1)))]
            majorities = [s for s in sets if 2 * len(s) > nodes]
            for destroyed in (s for s in sets if 2 * len(s) <= nodes):
                electorate = self.electorate(nodes, tuple(destroyed))
                for quorum in (s for s in sets if electorate.is_quorum(s)):
                    self.assertTrue(all(quorum & majority for majority in majorities), (destroyed, quorum))


class RestartTests(SynchronousTestCase):
    """Voters are started again."""

    def ask_for_promise(self, cluster: PureCluster, voter: str, number: int) -> list[Message]:
        """What a voter says to a proposer's attempt of this round."""
        proposer, site = cluster.sites[ADDRESSES[0]], cluster.sites[voter]
        before = len(cluster.sent)
        prepare = Prepare(proposer.replica.state.epoch, Ballot(number, ADDRESSES[0], 77))
        cluster.perform(site, site.replica.receive(cluster.sender(proposer), [prepare], cluster.now(site)))
        return [m for a, _, m in cluster.sent[before:] if a == voter and isinstance(m, Promised | Outvoted)]

    def test_promise_survives(self) -> None:
        """What was promised before a crash is kept to after it."""
        cluster = PureCluster(3, 1).founded()
        voter = ADDRESSES[1]
        self.assertEqual([Promised], [type(m) for m in self.ask_for_promise(cluster, voter, 50)])
        cluster.crash(voter)
        cluster.restart(voter)
        cluster.run(5.0)
        self.assertEqual([Outvoted(1, Ballot(50, ADDRESSES[0], 77))], self.ask_for_promise(cluster, voter, 49))
        self.assertEqual([Promised], [type(m) for m in self.ask_for_promise(cluster, voter, 51)])

    def test_promise_is_durable_before_it_is_known(self) -> None:
        """While the disk has not kept a promise, nobody hears of it; a crash then takes it back."""
        cluster = PureCluster(3, 1).founded()
        voter = ADDRESSES[1]
        cluster.sites[voter].holding = True
        self.assertEqual([], self.ask_for_promise(cluster, voter, 50))
        cluster.crash(voter)
        cluster.restart(voter)
        cluster.run(5.0)
        self.assertEqual([Promised], [type(m) for m in self.ask_for_promise(cluster, voter, 1)])

    def test_no_vote_while_meeting(self) -> None:
        """A node that is started with data votes on nothing before it has met the others, who may know better."""
        cluster = PureCluster(3, 1).founded()
        voter = ADDRESSES[1]
        cluster.crash(voter)
        cluster.isolate(voter)
        cluster.restart(voter)
        self.assertEqual([], self.ask_for_promise(cluster, voter, 50))
        cluster.heal()
        cluster.run(2.0)
        self.assertEqual([Promised], [type(m) for m in self.ask_for_promise(cluster, voter, 50)])
