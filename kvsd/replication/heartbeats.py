"""
Heartbeats: each node tells every other that it is there, what it has durably, and of whom it has heard.

A heartbeat that is about due anyway is sent in answer to one, so that it travels back with the answer to the POST: two
nodes have one exchange an interval.  A node whose disk has not finished a write for long falls silent: it can't
acknowledge anything, and its peers should know.
"""

from collections.abc import Collection

from kvsd.replication.causality import Writer
from kvsd.replication.effects import Now
from kvsd.replication.founding import Founding
from kvsd.replication.liveness import Peer
from kvsd.replication.meeting import Meeting
from kvsd.replication.messages import AskConfiguration, Heartbeat, Sender
from kvsd.replication.role import Role
from kvsd.replication.saved import Saved
from kvsd.replication.state import State

MAX_STRANGERS = 256
STALE = "{} {}: the data is older than what was acknowledged (a stale copy of the data directory?)"
TOLD = "was told by this node of writes that its disk has not"


class Heartbeats:
    """Sends heartbeats when they are due, and takes in those of others."""

    def __init__(self, state: State, founding: Founding) -> None:
        self._state = state
        self._founding = founding
        self._meeting = Meeting(state)
        self._found: dict[Writer, int] = {}
        """How many writes each replica had on the disk when this process was started, by its writer."""
        self._has_said = False
        """Whether this process has said what it has; before, others remember only what earlier ones said."""
        self._strangers: dict[str, float] = {}
        """When nodes that are in no configuration were last answered."""
        self._is_alone = False
        """Whether this node was noted to serve without having heard all others."""

    def restore(self, saved: Saved) -> None:
        """Take down how much the disk has."""
        self._found = {writer: sum(role.vector.values()) for writer, role in saved.roles.items()}

    def tick(self, now: Now) -> None:
        """Send what is due; say so if the clock on the wall has jumped."""
        if jump_ms := self._state.stamps.jumped_ms(now):
            self._state.out.note("clock-jumped", by_seconds=jump_ms // 1000)
        self._note_alone()
        limits = self._state.limits
        since = now.monotonic - limits.heartbeat_seconds + limits.tick_seconds / 2
        due = [peer for peer in self._state.liveness.peers.values() if peer.told is None or peer.told <= since]
        if due:
            heartbeat = self.message(now)
            for peer in due:
                self._greet(peer, heartbeat, now)

    def _note_alone(self) -> None:
        """Note that this node serves without having heard some others since its start, once."""
        unmet = [] if self._meeting.is_on() else self._meeting.unmet()
        if unmet and not self._is_alone:
            self._state.out.note("serves-alone", unheard=", ".join(unmet))
        self._is_alone = bool(unmet)

    def _greet(self, peer: Peer, heartbeat: Heartbeat, now: Now) -> None:
        """Send a heartbeat, with what this node still wants of the peer."""
        state = self._state
        peer.told = now.monotonic
        if state.configuration is None:
            state.out.send(peer.address, AskConfiguration(0), after=0)
        elif not state.disk.is_stuck(now.monotonic):
            state.out.send(peer.address, heartbeat, after=0)
            self._founding.ask(peer.address)

    def tell_all(self, now: Now) -> None:
        """
        Say at once what this node has, as reports count only in the configuration in which they were made.

        Not before that is on disk: only then is there no earlier write any more that a report may leave out.
        """
        heartbeat = self.message(now) if self._state.configuration else None
        for peer in self._state.liveness.peers.values():
            if heartbeat and peer.usable and not self._state.disk.is_stuck(now.monotonic):
                peer.told = now.monotonic
                self._state.out.send(peer.address, heartbeat)

    def message(self, now: Now) -> Heartbeat:
        """What this node says of itself."""
        state = self._state
        meeting = self._meeting.is_on()
        self._has_said |= not meeting
        roles = {} if meeting else state.roles
        return Heartbeat(
            epoch=state.disk.epoch,
            wall_ms=now.wall_ms,
            hlc=state.clock.latest,
            silent_ms=state.liveness.silences(now.monotonic),
            vectors={s: dict(role.durable) for s, role in roles.items()},
            founded=state.instances if state.epoch == 1 else {},
            reported={writer: n for peer in state.liveness.peers.values() for writer, n in peer.reported.items()},
            marks={shard: role.durable_marks for shard, role in roles.items() if role.durable_marks},
            partial=tuple(sorted(shard for shard, role in roles.items() if not role.whole)),
            meeting=meeting,
            slow=tuple(state.slow_ways.out),
        )

    def heard(self, sender: Sender, message: Heartbeat, now: Now) -> Collection[str]:
        """Take in a heartbeat, and answer it where one is about due anyway; gives the shards of which it says anything new."""
        state = self._state
        peer = state.liveness.peers.get(sender.address)
        if peer is None:
            self._answer_stranger(sender.address, now)
            return ()
        if state.epoch == sender.epoch == 1:
            self._founding.learn(message.founded)
        peer.beat(now.monotonic, state.limits.heartbeat_seconds)
        peer.hlc = message.hlc
        state.clocks.compare(peer, message.wall_ms, now)
        if state.identity.address in message.slow:
            state.slow_ways.told(peer.address, now.monotonic)
        state.liveness.hearsay(message.silent_ms, now.monotonic)
        before = peer.epoch, peer.vectors, peer.marks
        genuine = state.is_genuine(sender.address, sender.instance)
        peer.instance, peer.epoch = sender.instance, message.epoch
        if genuine:
            peer.report(message)
            peer.recalls = message.reported
            if message.epoch == state.epoch and state.roster:
                peer.remember(state.roster.writers_of.get(peer.address, {}))
            self._remember(peer, message.reported)
        else:
            peer.report(None)
        if peer.told is None or now.monotonic - peer.told > state.limits.heartbeat_seconds / 2:
            self._greet(peer, self.message(now), now)
        epoch, vectors, marks = before
        if (epoch, marks, vectors.keys()) != (peer.epoch, peer.marks, peer.vectors.keys()):
            # Who takes over slots has a say in what is stable of the shards that these come from, too.
            return state.configuration.shards if state.configuration else ()
        return [shard for shard, vector in vectors.items() if vector != peer.vectors[shard]]

    def _answer_stranger(self, address: str, now: Now) -> None:
        """A node of no shard has nothing to tell, but wants to know who is up; only members answer."""
        state = self._state
        last = self._strangers.get(address)
        if state.founded and (last is None or now.monotonic - last > state.limits.heartbeat_seconds / 2):
            if len(self._strangers) >= MAX_STRANGERS:
                self._strangers.clear()
            self._strangers[address] = now.monotonic
            state.out.send(address, self.message(now), after=0)

    def _remember(self, peer: Peer, reported: dict[Writer, int]) -> None:
        """
        Stop where a peer has seen more of this node than there is now: its disk was put back in time.

        Others may have acted on what it said it had: left it out of tokens, and forgotten it themselves.
        """
        state = self._state
        for shard, role in state.roles.items():
            written = role.vector.get(role.writer, 0)
            if peer.vectors.get(shard, {}).get(role.writer, 0) > written:
                state.out.halt(STALE.format(peer.address, "has writes of this node's that this node's disk has not"))
            elif reported.get(role.writer, 0) > self._had(role):
                state.out.halt(STALE.format(peer.address, TOLD))
        for shard, member in state.roster.places.items() if state.roster else ():
            if shard not in state.roles and reported.get(member.writer, 0):
                state.out.halt(STALE.format(peer.address, TOLD))

    def _had(self, role: Role) -> int:
        """
        Return how many writes a replica had, when others were last told of that.

        What has come since the start makes up for nothing that an older disk lacks.
        """
        return sum(role.vector.values()) if self._has_said else self._found.get(role.writer, 0)
