"""
Consensus: a voter keeps what it has promised and accepted, and says so only when that is on its disk; what a majority
has accepted stays what is accepted.
"""

from collections import defaultdict, deque
from collections.abc import Sequence

from kvsd.replication.branches import Forced
from kvsd.replication.configuration import Configuration
from kvsd.replication.effects import Keep, SetConfiguration, SetPromise
from kvsd.replication.messages import Accepted, Ballot, Message, Promised, Sender, Vote
from kvsd.replication.replica import Replica
from kvsd.replication.saved import Saved
from kvsd.simulate.monitor import Invariant, Monitor

Promise = tuple[int, Ballot, Vote | None]
NOTHING: Promise = (0, Ballot(), None)
Base = tuple[int, tuple[Forced, ...]]
"""A configuration by its epoch and the forced steps that led to it."""


LONG_SECONDS = 4.5
"""Who is given up has been silent for longer; a vote may take a while to be durable."""


class Votes(Invariant):
    """Keeps its own account of promises and votes, by the instances of nodes."""

    def __init__(self, monitor: Monitor) -> None:
        super().__init__(monitor)
        self._last: dict[tuple[Replica, bool], Promise] = {}
        self._unsynced: dict[Replica, deque[tuple[int, Keep]]] = {}
        self._durable: dict[tuple[bytes, bool], Promise] = {}
        self._epochs: dict[bytes, int] = {}
        """The latest epochs on disk."""
        self._accepted: defaultdict[tuple[Base, Ballot], set[str]] = defaultdict(set)
        self._chosen: dict[Base, tuple[Ballot, Configuration]] = {}
        """What a majority was the first to accept as what follows a configuration."""
        self._forced: dict[Base, Configuration] = {}
        """What anybody was the first to accept of what was forced: by its epoch and by its steps, the last among them."""

    def started(self, replica: Replica, saved: Saved) -> None:
        """What the disk knows."""
        instance = replica.state.identity.instance
        for forced, promise in ((False, saved.promise), (True, saved.forced)):
            self._last[replica, forced] = self._durable[instance, forced] = promise or NOTHING
        self._epochs[instance] = saved.configuration.epoch if saved.configuration else 0
        self._unsynced[replica] = deque()

    def wrote(self, replica: Replica, position: int, changes: Sequence[Keep]) -> None:
        """Promises are made, and configurations adopted."""
        for change in changes:
            if isinstance(change, SetPromise):
                self._check_promise(replica, change)
                self._check_given_up(replica, change)
                self._last[replica, change.ballot.is_forced] = (change.epoch, change.ballot, change.vote)
            if isinstance(change, SetPromise | SetConfiguration):
                self._unsynced[replica].append((position, change))

    def synced(self, replica: Replica, position: int) -> None:
        """A vote counts once it is durable."""
        unsynced, instance = self._unsynced[replica], replica.state.identity.instance
        while unsynced and unsynced[0][0] <= position:
            match unsynced.popleft()[1]:
                case SetConfiguration(configuration):
                    self._epochs[instance] = max(self._epochs[instance], configuration.epoch)
                case SetPromise() as promise:
                    self._durable[instance, promise.ballot.is_forced] = (promise.epoch, promise.ballot, promise.vote)
                    self._count(replica, promise)
                case _:
                    pass

    def hears(self, replica: Replica, sender: Sender, messages: Sequence[Message]) -> None:
        """What a node says of its configuration and its votes is on its disk."""
        if not self.monitor.trusting:
            return
        if sender.epoch > self._epochs.get(sender.instance, 0):
            self.accuse("durable-first", f"{sender.address} spoke of epoch {sender.epoch}, which is not on its disk")
        for message in messages:
            if isinstance(message, Promised | Accepted):
                epoch, ballot, vote = self._durable.get((sender.instance, message.ballot.is_forced), NOTHING)
                voted = vote.ballot if vote and isinstance(message, Accepted) else ballot
                if epoch < message.epoch or (epoch == message.epoch and voted < message.ballot):
                    self.accuse("durable-first", f"{sender.address} spoke of a vote that is not on its disk: {message}")

    def _check_promise(self, replica: Replica, promise: SetPromise) -> None:
        epoch, ballot, vote = self._last[replica, promise.ballot.is_forced]
        if epoch != promise.epoch:
            return
        if promise.ballot < ballot or (vote and (promise.vote is None or promise.vote.ballot < vote.ballot)):
            self.accuse(
                "promises-kept", f"{replica.state.identity.address} goes back from a later attempt to {promise.ballot}"
            )

    def _check_given_up(self, replica: Replica, promise: SetPromise) -> None:
        """Nobody accepts by force who is given up by that, or has heard of one of those lately, at the time of the vote."""
        vote, state = promise.vote, replica.state
        if vote is None or vote.ballot != promise.ballot or promise.epoch != state.epoch:
            return
        for other in vote.ballot.given_up:
            peer = state.liveness.peers.get(other)
            silent = peer.silent(state.now.monotonic) if peer else None
            if other == state.identity.address or (silent is not None and silent < LONG_SECONDS):
                self.accuse("given-up-when-silent", f"{state.identity.address} gives up {other}, heard of lately")

    def _count(self, replica: Replica, promise: SetPromise) -> None:
        """Once a majority has accepted something, nobody accepts anything else in a later attempt."""
        epoch, vote = promise.epoch, promise.vote
        if vote is None or replica.state.configuration is None or replica.state.epoch != epoch:
            return
        if vote.ballot.is_forced:
            self._count_forced(replica, vote)
            return
        address, voters = replica.state.identity.address, replica.state.configuration.voters()
        base = (epoch, replica.state.configuration.forced)
        ballot, chosen = self._chosen.get(base, (vote.ballot, vote.configuration))
        if vote.ballot >= ballot and vote.configuration != chosen:
            self.accuse("decided-for-ever", f"{address} accepts another configuration after epoch {epoch}")
        accepted = self._accepted[base, vote.ballot]
        accepted.add(address)
        if 2 * len(accepted.intersection(voters)) > len(voters):
            self._chosen.setdefault(base, (vote.ballot, vote.configuration))

    def _count_forced(self, replica: Replica, vote: Vote) -> None:
        """What is forced says so, and of what is forced in one way nobody accepts two."""
        address, configuration = replica.state.identity.address, vote.configuration
        known = self._forced.setdefault((configuration.epoch, configuration.forced), configuration)
        if not configuration.forced or configuration.forced[-1].epoch != configuration.epoch:
            self.accuse(
                "forced-says-so", f"{address} accepts epoch {configuration.epoch} by force, which does not say so"
            )
        if known != configuration:
            self.accuse(
                "forced-once", f"{address} accepts another configuration of epoch {configuration.epoch} by force"
            )
