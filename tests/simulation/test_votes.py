"""The invariants of consensus and of roles that are forgotten: each kind of wrong event is accused under its rule."""

from kvsd.replication.changes import add_node
from kvsd.replication.configuration import Configuration
from kvsd.replication.effects import DropRole, SetConfiguration, SetPromise
from kvsd.replication.forcing import give_up_nodes
from kvsd.replication.messages import Accepted, Ballot, Promised, Sender, Vote
from kvsd.replication.replica import Replica
from tests.simulation.test_monitor import SHARD, MonitorTests

EPOCH = 1
OTHER = "10.0.0.99:8090"


def ballot(number: int) -> Ballot:
    """The number of an attempt."""
    return Ballot(number, OTHER, 1)


class VotesTests(MonitorTests):
    """What voters say and keep."""

    def vote(self, replica: Replica, number: int, added: str = OTHER) -> None:
        """A voter accepts that a node is added, durably."""
        promise = SetPromise(EPOCH, ballot(number), Vote(ballot(number), self.following(added)))
        self.monitor.synced(replica, self.write(replica, promise))

    def following(self, added: str) -> Configuration:
        """What follows when a node is added."""
        configuration = self.anna.state.configuration
        assert configuration is not None
        return add_node(configuration, added)

    def sender(self, replica: Replica, epoch: int = EPOCH) -> Sender:
        """How a node signs what it says."""
        state = replica.state
        assert state.configuration is not None
        return Sender(state.identity.address, state.identity.instance, state.configuration.cluster, epoch)

    def test_kept(self) -> None:
        """Voters go from one attempt to the next, and accept the same."""
        for number, voter in ((50, self.anna), (50, self.bert), (51, self.carl), (52, self.anna)):
            self.vote(voter, number)
        self.monitor.hears(self.bert, self.sender(self.anna), [Accepted(EPOCH, ballot(52))])
        self.assert_accused()

    def test_going_back(self) -> None:
        """A voter that has promised an attempt takes no part in an older one."""
        self.write(self.anna, SetPromise(EPOCH, ballot(50), None))
        self.write(self.anna, SetPromise(EPOCH, ballot(49), None))
        self.assert_accused("promises-kept")

    def test_forgotten_vote(self) -> None:
        """A voter that promises a later attempt remembers its vote."""
        self.vote(self.anna, 50)
        self.write(self.anna, SetPromise(EPOCH, ballot(51), None))
        self.assert_accused("promises-kept")

    def test_decided(self) -> None:
        """After a majority has accepted something, nobody accepts anything else."""
        self.vote(self.anna, 50)
        self.vote(self.bert, 50)
        self.vote(self.carl, 51, "10.0.0.98:8090")
        self.assert_accused("decided-for-ever")

    def give_up(self, voter: Replica, other: Replica) -> int:
        """A voter accepts that a node is given up, not yet durably; returns the position of that."""
        configuration, address = voter.state.configuration, other.state.identity.address
        assert configuration is not None
        attempt = Ballot(50, OTHER, 1, (address,))
        vote = Vote(attempt, give_up_nodes(configuration, [address], {}))
        return self.write(voter, SetPromise(EPOCH, attempt, vote))

    def test_given_up(self) -> None:
        """A voter gives up who has been silent for long, whatever it hears until its vote is durable."""
        machine = self.small.machines[1]
        machine.kept_down = 1
        machine.crash()
        self.small.later(6)
        position = self.give_up(self.anna, self.bert)
        machine.mend()
        self.small.later(1)
        self.monitor.synced(self.anna, position)
        self.assert_accused()

    def test_given_up_though_heard(self) -> None:
        """A voter does not give up who was there a moment ago, nor itself."""
        self.give_up(self.anna, self.bert)
        self.give_up(self.carl, self.carl)
        self.assert_accused("given-up-when-silent", "given-up-when-silent")

    def test_said_before_it_is_durable(self) -> None:
        """Promises, votes and epochs are told once they are on disk."""
        self.write(self.anna, SetPromise(EPOCH, ballot(50), None), SetConfiguration(self.following(OTHER)))
        self.monitor.hears(self.bert, self.sender(self.anna), [Promised(EPOCH, ballot(50), None)])
        self.monitor.hears(self.bert, self.sender(self.anna, EPOCH + 1), [])
        self.assert_accused("durable-first", "durable-first")


class DebtsTests(MonitorTests):
    """Roles are forgotten."""

    def test_place(self) -> None:
        """Who has a place in a shard forgets nothing of it."""
        self.write(self.anna, DropRole(self.anna.state.roles[SHARD].writer))
        self.assert_accused("forgotten-too-early")

    def test_over(self) -> None:
        """A role without a place, and without writes of clients, can be forgotten."""
        self.write(self.anna, DropRole(b"nobody"))
        self.assert_accused()
