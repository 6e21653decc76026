"""
What should follow the configuration in force, where a client has asked for a change.
"""

from dataclasses import dataclass

from kvsd.replication.changes import add_learner, add_node, lose, remove_node
from kvsd.replication.configuration import Configuration, Pending
from kvsd.replication.duties import Duties
from kvsd.replication.effects import Ticket
from kvsd.replication.electorate import Electorate
from kvsd.replication.forcing import give_up_nodes
from kvsd.replication.requests import (
    AbortReshard,
    AddMember,
    AddNode,
    Begun,
    Change,
    Changed,
    Conflict,
    ForgetNode,
    GiveUp,
    Outcome,
    Refused,
    RemoveNode,
    Reshard,
    Unknown,
)
from kvsd.replication.resharding import abort, begin_reshard
from kvsd.replication.state import State, nodes_in_view

NO_SUCH_NODE = "View has no such replica"
NO_SUCH_SHARD = "Shard does not exist"
GIVEN_UP = "The reshard was given up, as somebody asked for that or it was stuck"


@dataclass
class Asked:
    """A change that a client waits for: since when (monotonic seconds), and how far it is."""

    ticket: Ticket
    change: Change
    since: float
    proposed: bool = False
    """Whether something was proposed for it, so that what it asks for was not there already."""
    reshard: Pending | None = None
    """The reshard that it asked for, once that has begun, or that it asked to give up."""
    outcome: Outcome | None = None
    """What is to be answered once the change is known everywhere."""
    done: float = 0.0
    """Since when it is in force (monotonic seconds)."""


NEVER = "This node was started with force=never: it gives no nodes up, and agrees to nobody else's doing so"


class Wishes:
    """Looks at the configuration and says what is still to be done for a wish, or how it ended."""

    def __init__(self, state: State, duties: Duties) -> None:
        self._state = state
        self._duties = duties
        self._electorate = Electorate(state)

    def following(self, asked: Asked, configuration: Configuration) -> Configuration | Outcome | None:
        """What should follow; an outcome where nothing has to; None where it can't be said yet."""
        match asked.change:
            case AddNode(address):
                return self._add_node(asked, configuration, address)
            case RemoveNode(address):
                return self._remove_node(asked, configuration, address)
            case ForgetNode(address):
                return self._forget_node(asked, configuration, address)
            case GiveUp(addresses):
                return self._give_up(asked, configuration, addresses)
            case AddMember(shard, address):
                return self._add_member(asked, configuration, shard, address)
            case Reshard(count, wait):
                return self._reshard(asked, configuration, count, wait=wait)
            case AbortReshard():
                return self._abort(asked, configuration)

    def _in_view(self, address: str) -> bool:
        state = self._state
        return self._is_node(address) and address in nodes_in_view(state)

    def _is_node(self, address: str) -> bool:
        return self._state.configuration is not None and address in self._state.configuration.nodes

    def _add_node(self, asked: Asked, configuration: Configuration, address: str) -> Configuration | Outcome:
        if address in configuration.nodes:
            anew = asked.proposed or not self._in_view(address)
            self._state.liveness.expect(address, self._state.now.monotonic)
            self._state.invitations.expect(address, self._state.now.monotonic)
            return Changed(anew)
        return add_node(configuration, address)

    def _remove_node(self, asked: Asked, configuration: Configuration, address: str) -> Configuration | Outcome:
        if not self._is_node(address):
            return Changed() if asked.proposed else Unknown(NO_SUCH_NODE)
        if not asked.proposed and not self._in_view(address) and address not in configuration.invited():
            return Unknown(NO_SUCH_NODE)
        return remove_node(configuration, address, self._duties.live())

    def _forget_node(self, asked: Asked, configuration: Configuration, address: str) -> Configuration | Outcome:
        holds = any(member.node == address for member in configuration.everyone())
        if not self._is_node(address) and not holds:
            return Changed() if asked.proposed else Unknown(NO_SUCH_NODE)
        is_up = self._in_view(address) or self._state.usable(address)
        if is_up and address not in self._state.invitations:
            return Refused(f"{address} is up: remove it instead, which loses nothing")
        return lose(configuration, address, None, self._duties.known())

    def _give_up(
        self, asked: Asked, configuration: Configuration, addresses: tuple[str, ...]
    ) -> Configuration | Outcome | None:
        state, now = self._state, self._state.now.monotonic
        if not state.limits.may_force:
            return Refused(NEVER)
        unknown = [address for address in addresses if address not in configuration.nodes]
        if unknown:
            return Changed() if asked.proposed and len(unknown) == len(addresses) else Unknown(NO_SUCH_NODE)
        if silly := [address for address in addresses if address in state.invitations]:
            return Refused(f"{silly[0]} was never heard of, so it has nothing, and need not be named")
        others = [a for a in configuration.nodes if a != state.identity.address and a not in state.invitations]
        silent = [address for address in others if not state.liveness.peers[address].usable]
        if heard := [address for address in addresses if address not in silent]:
            return Refused(f"{heard[0]} is up: remove it instead, which loses nothing")
        if unnamed := [address for address in silent if address not in addresses]:
            return Refused(
                f"{', '.join(unnamed)} can't be heard either: name all that are gone, or wait for the others"
            )
        if 2 * len(self._electorate.left(addresses)) > len(self._electorate.addresses()):
            return Refused("a majority of the voters is up: forget the nodes one after another, without force")
        if any(state.liveness.peers[a].unheard(now) < state.limits.give_up_seconds for a in addresses):
            return None
        return give_up_nodes(configuration, addresses, self._duties.known())

    def _add_member(
        self, asked: Asked, configuration: Configuration, shard: str, address: str
    ) -> Configuration | Outcome | None:
        if shard not in configuration.shard_ids():
            return Unknown(NO_SUCH_SHARD)
        if address in configuration.assigned(shard):
            return Changed(asked.proposed)
        if not self._in_view(address):
            return Unknown(NO_SUCH_NODE)
        if not configuration.nodes[address]:
            return None  # it was added a moment ago, and is being found out about
        return add_learner(configuration, shard, address)

    def _reshard(
        self, asked: Asked, configuration: Configuration, count: int, *, wait: bool
    ) -> Configuration | Outcome | None:
        pending = configuration.pending
        if asked.reshard:
            if pending and pending.started == asked.reshard.started:
                return None if wait else Begun()
            return Changed() if self._is_done(asked.reshard, configuration) else Conflict(GIVEN_UP)
        if pending and asked.proposed and pending.shard_count == count:
            asked.reshard = pending
            return None if wait else Begun()
        if pending:
            return Conflict(f"A reshard to {pending.shard_count} shards is under way, since epoch {pending.started}")
        least = self._state.limits.least_members
        following = begin_reshard(configuration, count, self._duties.live(), least, nodes_in_view(self._state))
        return Changed(asked.proposed) if following is None else following

    @staticmethod
    def _is_done(reshard: Pending, configuration: Configuration) -> bool:
        """Whether a reshard that is not under way any more was handed off, and not given up."""
        if reshard.moves:
            return any(move.tenure in configuration.tenures for move in reshard.moves)
        shards = configuration.shards
        left = any(m.shard not in shards or m not in shards[m.shard].members for m in reshard.leave)
        return left or any(m.shard in shards and m in shards[m.shard].replicas() for m in reshard.join)

    def _abort(self, asked: Asked, configuration: Configuration) -> Configuration | Outcome:
        pending = configuration.pending
        if pending and (asked.reshard is None or pending.started == asked.reshard.started):
            asked.reshard = pending
            return abort(configuration)
        if asked.reshard and not self._is_done(asked.reshard, configuration):
            return Changed()
        if asked.reshard or any(tenancy.sources for tenancy in configuration.tenures.values()):
            return Conflict("The reshard is handed off already: ask for another one instead")
        return Unknown("No reshard is under way")
