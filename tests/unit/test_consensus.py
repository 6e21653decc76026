"""How it is decided which configuration follows: one an epoch, whatever becomes of messages, nodes and disks."""

import random

from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication.changes import add_node
from kvsd.replication.configuration import Configuration
from kvsd.replication.consensus import Consensus
from kvsd.replication.effects import Effect, Now, Send, SetPromise, Write
from kvsd.replication.limits import Limits
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
from kvsd.replication.state import Identity, State
from kvsd.replication.voting import Promise, Voting
from tests.configurations import founded, instance_of

LIMITS = Limits()


def wish(number: int, base: Configuration) -> Configuration:
    """One of many configurations that may follow another."""
    return add_node(base, f"10.1.{number // 250}.{number % 250}:8090", b"another instance")


class Voter:
    """A node that does nothing but decide; what it wants is done only once its disk is synced."""

    def __init__(
        self,
        address: str,
        base: Configuration,
        boot: int,
        promise: Promise | None = None,
        forced: Promise | None = None,
        limits: Limits = LIMITS,
    ) -> None:
        self.address = address
        self.state = State(Identity(address, instance_of(address), boot), limits)
        self.state.adopt(base)
        self.voting = Voting(self.state)
        self.voting.restore(promise, forced)
        self.consensus = Consensus(self.state, self.voting)
        self.state.out.take()
        self.promise, self.forced = promise, forced
        """What its disk has."""
        self.queue: list[Effect] = []
        self.decided: list[Configuration] = []

    def sync(self) -> list[Send]:
        """Have the disk write what is waiting; returns the messages that may leave now."""
        for change in [change for write in self.queue if isinstance(write, Write) for change in write.changes]:
            if isinstance(change, SetPromise):
                kept = (change.epoch, change.ballot, change.vote)
                self.promise, self.forced = (self.promise, kept) if change.ballot.is_forced else (kept, self.forced)
        sends = [effect for effect in self.queue if isinstance(effect, Send)]
        self.queue.clear()
        return sends


class Assembly:
    """Some voters, and the messages between them, which may come in any order, twice or never."""

    def __init__(self, nodes: int, *, adopts: bool = True, limits: Limits = LIMITS) -> None:
        self.limits = limits
        self.base = replace(founded(nodes, 1), epoch=2)
        self.adopts = adopts
        self.now = Now(1000.0, 0)
        self.boots = 0
        self.voters: dict[str, Voter] = {}
        self.post: list[tuple[str, str, Message]] = []
        self.decided: set[bytes] = set()
        for address in self.base.nodes:
            self.start(address, None)

    def start(self, address: str, promise: Promise | None, forced: Promise | None = None) -> None:
        """Start a node with what its disk has."""
        self.boots += 1
        self.voters[address] = Voter(address, self.base, self.boots, promise, forced, self.limits)

    def crash(self, address: str) -> None:
        """Kill a node and start it again: what was not synced is gone."""
        self.start(address, self.voters[address].promise, self.voters[address].forced)

    def propose(self, address: str, number: int) -> None:
        """Have a node propose one of the wishes, if it can."""
        voter = self.voters[address]
        if voter.state.epoch == 2 and voter.consensus.is_free(self.now.monotonic):
            voter.consensus.propose(wish(number, self.base), self.now)
        self.settle(voter)

    def hear(self, sender: str, receiver: str, message: Message) -> None:
        """A message comes."""
        voter = self.voters[receiver]
        match message:
            case Prepare():
                voter.voting.prepare(sender, message)
            case Accept():
                voter.voting.accept(sender, message)
            case Promised():
                voter.consensus.promised(sender, message)
            case Accepted():
                voter.consensus.accepted(sender, message)
            case Outvoted():
                voter.consensus.outvoted(message, self.now.monotonic)
            case TellConfiguration():
                if message.configuration.epoch > voter.state.epoch:
                    voter.state.adopt(message.configuration)
            case _:
                raise AssertionError(f"nobody here says {message}")
        self.settle(voter)

    def settle(self, voter: Voter) -> None:
        """End an event of a node."""
        for configuration in voter.consensus.take_decided():
            self.decided.add(repr(configuration.nodes).encode())
            voter.decided.append(configuration)
            if self.adopts:
                voter.state.adopt(configuration)
                voter.consensus.tell(configuration)
        voter.queue += voter.state.out.take()

    def sync(self, address: str) -> None:
        """A node's disk is done with all that it had to write."""
        sends = self.voters[address].sync()
        self.post += [(address, send.peer, send.message) for send in sends if send.peer in self.voters]

    def pass_time(self, seconds: float) -> None:
        """Let time pass for everybody."""
        self.now = Now(self.now.monotonic + seconds, 0)
        for voter in self.voters.values():
            voter.consensus.tick(self.now.monotonic)
            self.settle(voter)

    def step(self, chance: random.Random) -> None:
        """Something happens."""
        address = chance.choice(list(self.voters))
        what = chance.choices(("propose", "sync", "hear", "lose", "crash", "time"), (2, 12, 20, 3, 1, 2))[0]
        if what == "propose":
            self.propose(address, chance.randint(1, 100))
        elif what == "sync":
            self.sync(address)
        elif what == "crash":
            self.crash(address)
        elif what == "time":
            self.pass_time(chance.choice((0.1, 0.5, 1.5)))
        elif self.post:
            letter = self.post[chance.randrange(len(self.post))]
            if what == "lose" or chance.random() < 0.8:  # else it comes again
                self.post.remove(letter)
            if what == "hear":
                self.hear(*letter)

    def calm(self) -> None:
        """From now on everything arrives, and each node in turn proposes until something is decided."""
        for turn in range(200):
            if turn % 5 == 0:
                self.propose(list(self.voters)[turn // 5 % len(self.voters)], 200 + turn)
            for address in self.voters:
                self.sync(address)
            letters, self.post = self.post, []
            for letter in letters:
                self.hear(*letter)
            self.pass_time(0.1)


class LawTests(SynchronousTestCase):
    """At most one configuration is decided an epoch."""

    def law(self, nodes: int, *, adopts: bool, schedules: int) -> None:
        """Put voters through random schedules; what was decided once stays, and something is decided in the end."""
        for seed in range(schedules):
            chance, assembly = random.Random(seed), Assembly(nodes, adopts=adopts)
            for _ in range(chance.choice((50, 150, 400))):
                assembly.step(chance)
            self.assertLessEqual(len(assembly.decided), 1, f"{nodes} nodes, seed {seed}")
            assembly.calm()
            self.assertEqual(1, len(assembly.decided), f"{nodes} nodes, seed {seed}")

    def test_three_voters(self) -> None:
        """Three voters that lose, double and reorder messages and crash decide on one."""
        self.law(3, adopts=True, schedules=60)

    def test_three_voters_who_never_hear_of_it(self) -> None:
        """So do three who go on deciding, as they don't learn that it was decided."""
        self.law(3, adopts=False, schedules=60)

    def test_more_voters(self) -> None:
        """So do two, four and five."""
        for nodes in (2, 4, 5):
            self.law(nodes, adopts=False, schedules=25)

    def test_the_schedules_are_no_child_s_play(self) -> None:
        """In the schedules of these tests different wishes were accepted by different voters."""
        rivals = 0
        for seed in range(60):
            chance, assembly = random.Random(seed), Assembly(3, adopts=False)
            for _ in range(300):
                assembly.step(chance)
            promises = (voter.promise for voter in assembly.voters.values())
            votes = {repr(p[2].configuration.nodes) for p in promises if p and p[2]}
            rivals += len(votes) > 1
        self.assertGreater(rivals, 0)


class AttemptTests(SynchronousTestCase):
    """Single attempts, message by message."""

    def setUp(self) -> None:
        self.assembly = Assembly(3)
        self.one, self.two, self.three = self.assembly.voters

    def carry(self, *only: str, kinds: tuple[type, ...] = (object,)) -> None:
        """Sync all disks and deliver what is between these nodes, of these types, until nothing is left of it."""
        while True:
            for address in self.assembly.voters:
                self.assembly.sync(address)
            due = [m for m in self.assembly.post if {m[0], m[1]} <= set(only) and isinstance(m[2], kinds)]
            if not due:
                return
            for letter in due:
                self.assembly.post.remove(letter)
                self.assembly.hear(*letter)

    def test_accepted_is_carried_on(self) -> None:
        """A later proposer proposes what a voter has accepted, and not what it wants itself."""
        self.assembly.propose(self.one, 1)
        self.carry(self.one, self.three, kinds=(Prepare, Promised, Accept))
        self.assembly.post.clear()
        self.assembly.crash(self.one)
        self.assembly.propose(self.two, 2)
        self.carry(self.two, self.three)
        self.assertEqual([wish(1, self.assembly.base)], self.assembly.voters[self.two].decided)

    def test_promised_only_is_not(self) -> None:
        """What was never accepted binds nobody."""
        self.assembly.propose(self.one, 1)
        self.carry(self.one, self.three, kinds=(Prepare, Promised))
        self.assembly.post.clear()
        self.assembly.crash(self.one)
        self.assembly.propose(self.two, 2)  # outvoted by three's promise at first
        self.carry(self.two, self.three)
        self.assembly.pass_time(1.0)
        self.assembly.propose(self.two, 2)
        self.carry(self.two, self.three)
        self.assertEqual([wish(2, self.assembly.base)], self.assembly.voters[self.two].decided)

    def test_outvoted_rest_and_succeed(self) -> None:
        """Who meets a later attempt gives up, lets others go first, and outdoes it when that comes to nothing."""
        self.assembly.propose(self.two, 2)
        self.carry(self.two, self.three, kinds=(Prepare,))
        self.assembly.propose(self.one, 1)
        self.carry(self.one, self.three)
        consensus, now = self.assembly.voters[self.one].consensus, self.assembly.now.monotonic
        self.assertFalse(consensus.is_free(now))
        self.assertTrue(consensus.is_free(now + 8 * LIMITS.tick_seconds))
        self.assembly.pass_time(8 * LIMITS.tick_seconds)
        self.assembly.post.clear()
        self.assembly.propose(self.one, 1)
        self.carry(self.one, self.three)
        self.assertEqual([wish(1, self.assembly.base)], self.assembly.voters[self.one].decided)

    def test_given_up_in_time(self) -> None:
        """An attempt that nobody answers is given up; meanwhile nothing else is begun."""
        self.assembly.propose(self.one, 1)
        consensus = self.assembly.voters[self.one].consensus
        self.assembly.pass_time(LIMITS.attempt_seconds - 0.1)
        self.assertFalse(consensus.is_free(self.assembly.now.monotonic))
        self.assembly.pass_time(1.0)
        self.assembly.pass_time(1.0)
        self.assertTrue(consensus.is_free(self.assembly.now.monotonic))

    def test_nothing_of_another_epoch(self) -> None:
        """A voter that goes by another configuration says nothing."""
        ballot = Ballot(9, self.one, 1)
        self.assembly.hear(self.one, self.two, Prepare(1, ballot))
        self.assembly.hear(self.one, self.two, Accept(3, Vote(ballot, wish(1, self.assembly.base))))
        self.assertEqual([], self.assembly.voters[self.two].queue)

    def test_votes_of_others_do_not_count(self) -> None:
        """What comes from a node that is no voter counts for nothing."""
        self.assembly.propose(self.one, 1)
        self.assembly.sync(self.one)
        ballot = next(m.ballot for _, _, m in self.assembly.post if isinstance(m, Prepare))
        self.assembly.hear("10.9.9.9:1", self.one, Promised(2, ballot, None))
        self.assertEqual([], self.assembly.voters[self.one].queue)
