"""
Forks: other branches of the cluster are noticed, and kept apart from this node's own.

A disk never goes over to another branch: what was stable on the one was left out of tokens, and dropped from logs, by
what its own nodes had.  A node whose branch does not go on is *fenced*, and so is one that was given up: it does nothing
at all any more, keeps what it has, and says why.  That is for as long as it runs, so an operator can still decide otherwise:
where the nodes of the other branch are stopped, it goes on once it is started again.
"""

from kvsd.replication.branches import Kinship, kinship
from kvsd.replication.configuration import Configuration
from kvsd.replication.messages import AskConfiguration, Sender
from kvsd.replication.state import State

GIVEN_UP = "was given up by an operator"
SUPERSEDED = "was superseded: a process with another data directory has its address"
BEATEN = "is on the branch of a forked cluster that does not go on"
MAX_MET = 64
"""So many other branches are noted."""
ADVICE = "keep its data directory for what only it has, and start it with an empty one"


class Forks:
    """Tells this node's branch from others, and fences the node where it has no part in what goes on."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._met: set[bytes] = set()
        """Other branches that were met."""
        self._sought = 0.0
        """When nodes that were given up were last looked for (monotonic seconds)."""

    def is_kin(self, sender: Sender) -> bool:
        """Whether what a sender goes by led to this node's configuration, or may follow from it."""
        mine = self._state.configuration
        assert mine is not None, "senders are heard in a configuration"
        return sender.epoch > mine.epoch or sender.branch == mine.branch(sender.epoch)

    def is_certain(self, sender: Sender) -> bool:
        """Whether that is known already, also of a sender that goes by a later configuration."""
        mine = self._state.configuration
        return mine is not None and sender.branch == mine.branch(min(sender.epoch, mine.epoch))

    def meet(self, sender: Sender) -> None:
        """A node of another branch: one of the two has to end, and both know which once they know both configurations."""
        if sender.branch not in self._met and len(self._met) < MAX_MET:
            self._met.add(sender.branch)
            self._state.out.note("fork-met", peer=sender.address, epoch=sender.epoch)

    def is_followed_by(self, mine: Configuration, told: Configuration) -> bool:
        """Whether a configuration follows from this node's, and has room for it; fences the node where it has none."""
        if self._state.fenced:
            return False
        match kinship(mine.epoch, mine.forced, told.epoch, told.forced):
            case Kinship.LATER:
                if self._is_given_up(told):
                    self._fence(told, GIVEN_UP)
                elif self._is_superseded(told):
                    self._fence(told, SUPERSEDED)
                else:
                    return True
            case Kinship.BEATS:
                self._fence(told, BEATEN)
            case Kinship.KNOWN | Kinship.BEATEN:
                pass
        return False

    @staticmethod
    def beats(mine: Configuration, told: Configuration) -> bool:
        """Whether a configuration is of a branch that does not go on."""
        return kinship(mine.epoch, mine.forced, told.epoch, told.forced) is Kinship.BEATEN

    def _is_given_up(self, told: Configuration) -> bool:
        me = (self._state.identity.address, self._state.identity.instance)
        return any(me in step.given_up for step in told.forced)

    def _is_superseded(self, told: Configuration) -> bool:
        return (self._state.identity.address, self._state.identity.instance) in told.superseded

    def _fence(self, told: Configuration, why: str) -> None:
        """This node's data belongs to what is over: keep it as it is, and have no part in anything."""
        me = self._state.identity.address
        self._state.fenced = f"{me} {why}, and the cluster is at epoch {told.epoch} without it: {ADVICE}"
        self._state.out.note("fenced", epoch=told.epoch, why=why)

    def seek_given_up(self, now: float) -> None:
        """
        Say something to who was given up, now and then: it may be there all the same, and go by another branch.

        Two sides of a cluster that have given each other up would never meet else.
        """
        state = self._state
        if not state.configuration or not state.founded or now - self._sought < state.limits.down_seconds:
            return
        self._sought = now
        given_up = {address for step in state.configuration.forced for address, _ in step.given_up}
        for address in sorted(given_up - state.liveness.peers.keys() - {state.identity.address}):
            if address not in state.invitations:
                state.out.send(address, AskConfiguration(state.epoch), after=0)
