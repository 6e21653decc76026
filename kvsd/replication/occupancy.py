"""
Occupancy: one process at a time speaks for an address.

A process is an *instance* (the name of a data directory) and a *boot* (a number drawn at each start).  The process that
a node goes by at an address is its *incumbent*.  Any other process that speaks under the address is a *claimant*: a
second process with the same SOCKET_ADDRESS, a copy of a data directory that runs beside the original, or simply the
next start of a node that died a moment ago.

Invariants: an incumbent that is heard stays.  A claimant is asked for nothing, believed nothing, and told that the
address is contested; it becomes the incumbent only once the one before it has been silent, for the bound of the
failure detector where it is another instance.  An instance that the configuration has superseded never is one again.
"""

from collections.abc import Iterable

from kvsd.replication.liveness import Peer
from kvsd.replication.messages import Forward, Message, Sender
from kvsd.replication.occupant import Contested, Forked, Process
from kvsd.replication.state import Contest, State

COPIED = (
    "another process runs as {me} on a copy of this data directory, and {peer} hears it: each lacks what the other writes, so"
    " this process stops before it acknowledges anything more; stop the other one before you start this one again, or give"
    " this one an address of its own and an empty data directory"
)
FORKED = (
    "{peer} holds another write of {me} under the number {counter} in {shard}: another process ran on a copy of this data"
    " directory, and each lacks what the other wrote, so this process stops before it acknowledges anything more; keep its"
    " data directory for what only it has, and start the node with an empty one, or with the other copy"
)
OFTEN = 4
"""So often another process is heard before it can't be what the last run of this node sent, and was late."""
MAX_NOTED = 64
"""How many claimants are remembered as noted."""


class Occupancy:
    """Tells the incumbent of each address from its claimants, and learns that this process is a claimant itself."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._noted: set[tuple[str, Process]] = set()
        self._evidence: dict[str, list[float]] = {}
        """When each peer heard another process at this node's address, as far as that was since this one was started."""

    # Others

    def admits(self, sender: Sender) -> bool:
        """Return True if a sender is the incumbent of its address, be it from now on; else tell it that it is contested."""
        state, now = self._state, self._state.now.monotonic
        process = Process(sender.instance, sender.boot)
        if sender.address == state.identity.address:
            self._contest(sender, Process(state.identity.instance, state.identity.boot), now)
            return False
        peer = state.liveness.peers.get(sender.address)
        if peer is None:
            return True
        if not self._is_superseded(sender) and self._is_free_for(peer, process, now):
            peer.occupant.occupy(process, now)
            return True
        self._claim(peer, process, now)
        occupant = peer.occupant
        self._contest(sender, occupant.process or Process(self._bound(peer.address), 0), occupant.spoke)
        return False

    def is_restart(self, sender: Sender) -> bool:
        """Return True if a claimant may be the next start of the incumbent."""
        peer = self._state.liveness.peers.get(sender.address)
        process = peer.occupant.process if peer else None
        return process is not None and process.instance == sender.instance

    def requests(self, sender: Sender, messages: Iterable[Message]) -> list[Message]:
        """Return what a claimant is heard of: what clients have asked it for, where it may be the next start of the incumbent."""
        heard = self.is_restart(sender) and sender.epoch <= self._state.epoch
        return [message for message in messages if heard and isinstance(message, Forward)]

    def _is_superseded(self, sender: Sender) -> bool:
        configuration = self._state.configuration
        return configuration is not None and (sender.address, sender.instance) in configuration.superseded

    def _is_free_for(self, peer: Peer, process: Process, now: float) -> bool:
        """Return True if the process may speak for the address of a peer."""
        limits, bound, occupant = self._state.limits, self._bound(peer.address), peer.occupant
        incumbent = occupant.process or Process(bound, 0)
        if not incumbent.instance or incumbent.is_same(process):
            return True
        silent = now - occupant.spoke - self._state.liveness.own_pause(now)
        if incumbent.instance == process.instance and process not in occupant.former:
            return silent >= limits.suspect_seconds
        return process.instance == bound != incumbent.instance or silent >= limits.down_seconds

    def _bound(self, address: str) -> bytes:
        """The instance that the configuration has at an address, empty where it has none."""
        configuration = self._state.configuration
        return configuration.nodes.get(address, b"") if configuration else b""

    def _claim(self, peer: Peer, process: Process, now: float) -> None:
        """Remember a claimant; note it once the incumbent was heard beside it, as two processes are then there."""
        claim, occupant, named = peer.occupant.claimed(process, now), peer.occupant, (peer.address, process)
        if occupant.spoke - claim.since >= self._state.limits.suspect_seconds and named not in self._noted:
            if len(self._noted) >= MAX_NOTED:
                self._noted.clear()
            self._noted.add(named)
            incumbent = occupant.process.instance if occupant.process else b""
            self._state.out.note(
                "address-contested", address=peer.address, instance=incumbent.hex(), claimant=process.instance.hex()
            )

    def _contest(self, sender: Sender, incumbent: Process, spoke: float) -> None:
        """Tell a claimant; one of an older version, which names no boot, would not understand."""
        if sender.boot:
            silent_ms = int(max(0.0, self._state.now.monotonic - spoke) * 1000)
            contested = Contested(sender.instance, sender.boot, incumbent.instance, silent_ms)
            self._state.out.send(sender.address, contested, after=0)

    # This process

    def told(self, sender: Sender, message: Contested | Forked) -> None:
        """Learn what a peer says of this process, if it is this one that the peer means."""
        if (message.instance, message.boot) != self._state.identity[1:]:
            return
        match message:
            case Contested():
                self._contested(sender, message)
            case Forked(shard=shard, counter=counter):
                told = FORKED.format(peer=sender.address, me=self._state.identity.address, counter=counter, shard=shard)
                self._state.out.halt(told)

    def _contested(self, sender: Sender, message: Contested) -> None:
        """A peer hears another process at this node's address: serve nothing, and stop where that has a copy of this disk."""
        state, now = self._state, self._state.now.monotonic
        identity = state.identity
        silent = message.silent_ms / 1000
        if silent >= state.limits.suspect_seconds:
            return
        same = message.incumbent == identity.instance
        is_news = state.contest is None or now - state.contest.at > state.limits.down_seconds
        if is_news and not same:  # else it is most likely the last run of this node
            state.out.note("address-contested", address=identity.address, peer=sender.address)
        state.contest = Contest(sender.address, now, same)
        if same and self._lives(sender.address, now - silent):
            state.out.halt(COPIED.format(me=identity.address, peer=sender.address))

    def _lives(self, peer: str, heard: float) -> bool:
        """
        Return True if a peer has heard another process at this node's address again and again since this one was started.

        Once or twice may be what the last run of this node sent, and was late.
        """
        state, limits = self._state, self._state.limits
        if heard <= (state.restored or 0.0):
            return False
        times = [at for at in self._evidence.get(peer, []) if heard - at < limits.down_seconds]
        if not times or heard - times[-1] >= limits.heartbeat_seconds / 2:
            times.append(heard)
        self._evidence[peer] = times
        return len(times) >= OFTEN and heard - times[0] >= limits.suspect_seconds
