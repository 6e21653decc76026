"""
Who is up: a failure detector that only ever reports.

A peer is *alive* until nothing was heard of it for longer than the jitter of its heartbeats explains (mean + 4
deviations, as TCP's timer does it: RFC 6298), or a message to it failed; then it is *suspect* and avoided.  It is
trusted again only once its link has been good for a while (flap damping).  A node is *down*, and out of the view,
when neither this node nor any node that this one hears has heard of it for longer.  None of this ever changes the
configuration: a partition must not fork the cluster.
"""

from collections.abc import Iterable, Mapping
from enum import Enum

from kvsd.replication.causality import VersionVector, Writer
from kvsd.replication.limits import Limits
from kvsd.replication.marks import Marks
from kvsd.replication.messages import Heartbeat
from kvsd.replication.occupant import Occupant
from kvsd.replication.placement import address_order

LATE_TO_SUSPECT = 2


class Fate(Enum):
    """What became of messages that were sent to a peer."""

    ANSWERED = "answered"
    LATE = "late"
    FAILED = "failed"


class Peer:
    """What is known of another node; times are monotonic seconds."""

    def __init__(self, address: str, since: float = 0.0) -> None:
        self.address = address
        self.since = since
        """Since when this node has been looking out for it."""
        self.instance = b""
        """The instance that last sent a heartbeat."""
        self.occupant = Occupant(since)
        """The process that speaks for its address."""
        self.epoch = 0
        """The epoch in which it last reported."""
        self.latest_epoch = 0
        """The latest epoch that is known to be in force there."""
        self.heard: float | None = None
        self.evidence: float | None = None
        """When anybody last heard of it."""
        self.suspected = False
        self.good_since: float | None = None
        self.late = 0
        """How many POSTs in a row got no answer in time."""
        self.told: float | None = None
        """When it was last sent a heartbeat."""
        self.vectors: dict[str, VersionVector] = {}
        self.marks: dict[str, Marks] = {}
        self.partial: tuple[str, ...] = ()
        """The shards of which it has not yet all that a replica has."""
        self.met = False
        """Whether it says what it has: not while it meets the other nodes after a start."""
        self.reported: dict[Writer, int] = {}
        """How many writes it ever said to hold, by the writer that it is."""
        self.recalls: Mapping[Writer, int] = {}
        """How many writes others ever said to hold, by the writer that each is, as far as it remembers."""
        self.hlc = 0
        """The latest stamp that it has drawn or seen."""
        self.clock_ms: int | None = None
        """Its clock on the wall less this node's monotonic clock, as last compared; None before."""
        self._beat: float | None = None
        self._mean = 0.0
        self._deviation = 0.0

    def beat(self, now: float, interval: float) -> None:
        """Learn from a heartbeat how regular they are; an outage is no jitter."""
        if self.suspected:
            self._beat = None
        gap = min(now - self._beat, 10 * interval) if self._beat is not None else interval
        self._beat = now
        self._mean += (gap - self._mean) / 8
        self._deviation += (abs(gap - self._mean) - self._deviation) / 4

    def report(self, heartbeat: Heartbeat | None) -> None:
        """It says what its replicas hold durably; nothing, where it can't be believed."""
        self.vectors = heartbeat.vectors if heartbeat else {}
        self.marks = heartbeat.marks if heartbeat else {}
        self.partial = heartbeat.partial if heartbeat else ()
        self.met = heartbeat is not None and not heartbeat.meeting

    def remember(self, writers: Mapping[str, Writer]) -> None:
        """That it says less than before is not forgotten; ``writers`` are those that it is, by shard."""
        self.reported = {writer: count for writer, count in self.reported.items() if writer in writers.values()}
        for shard, vector in self.vectors.items():
            if writer := writers.get(shard):
                self.reported[writer] = max(sum(vector.values()), self.reported.get(writer, 0))

    def patience(self, limits: Limits) -> float:
        """For how many seconds silence means nothing; fewer while it has to prove itself."""
        if self.suspected:
            return limits.suspect_seconds
        return min(max(limits.suspect_seconds, self._mean + 4 * self._deviation), limits.down_seconds)

    @property
    def usable(self) -> bool:
        """Whether to send it anything but heartbeats."""
        return self.heard is not None and not self.suspected

    def silent(self, now: float) -> float | None:
        """For how many seconds nothing was heard of it directly; None if nothing ever was."""
        return None if self.heard is None else max(0.0, now - self.heard)

    def unheard(self, now: float) -> float:
        """For how many seconds nobody has heard of it, as far as this node knows and has been looking out for it."""
        return now - max(self.since, self.evidence or self.since)


class Liveness:
    """All peers, and when each was last heard."""

    def __init__(self, me: str, limits: Limits) -> None:
        self._me = me
        self._limits = limits
        self._ticked: float | None = None
        self._forgiving_until = 0.0
        """Just after this node stood still itself, answers that were not heard in time say nothing."""
        self.peers: dict[str, Peer] = {}
        self.compared = 0
        """How often the clocks of the peers that can be used were compared anew with this node's."""

    def watch(self, addresses: Iterable[str], now: float) -> None:
        """Keep an eye on these nodes, and on no others; one that is new among others is taken to be up at first."""
        wanted = sorted(set(addresses) - {self._me})
        known, self.peers = self.peers, {}
        self.compared += 1
        for address in wanted:
            self.peers[address] = known.get(address) or Peer(address, now)
            if known and address not in known:
                self.peers[address].evidence = now

    def expect(self, address: str, now: float) -> None:
        """Take a node to be up for a while, though nothing was heard of it yet."""
        if peer := self.peers.get(address):
            peer.evidence = max(now, peer.evidence or now)

    def heard(self, address: str, now: float) -> None:
        """Something genuine came from the peer."""
        peer = self.peers[address]
        silent = peer.silent(now)
        if peer.suspected and (peer.good_since is None or silent is None or silent > peer.patience(self._limits)):
            peer.good_since = now
        self.compared += peer.heard is None
        peer.heard = peer.evidence = now

    def hearsay(self, silent_ms: Mapping[str, int], now: float) -> None:
        """What a peer says of when it heard of others."""
        for address, milliseconds in silent_ms.items():
            if peer := self.peers.get(address):
                evidence = now - milliseconds / 1000
                peer.evidence = evidence if peer.evidence is None else max(peer.evidence, evidence)

    def posted(self, address: str, fate: Fate, now: float) -> bool:
        """
        Messages were sent to a peer; says whether it is newly suspected for what became of them.

        A single POST that is merely late, while the peer is being heard, says that it is slow and not that it is gone.
        """
        peer = self.peers.get(address)
        if peer is None or peer.heard is None or now < self._forgiving_until:
            return False
        peer.late = peer.late + 1 if fate is Fate.LATE else 0
        slow = fate is Fate.LATE and peer.late < LATE_TO_SUSPECT and now - peer.heard < self._limits.suspect_seconds
        if slow or fate is Fate.ANSWERED:
            return False
        newly = not peer.suspected
        self.compared += newly
        peer.suspected = True
        peer.good_since = None
        return newly

    def tick(self, now: float) -> tuple[list[str], list[str]]:
        """Let time pass; returns who is suspected from now on and who is trusted again."""
        self._forgive_own_pause(now)
        suspected: list[str] = []
        trusted: list[str] = []
        for peer in self.peers.values():
            silent = peer.silent(now)
            if silent is None:
                continue
            good = silent <= peer.patience(self._limits)
            if not peer.suspected and not good:
                peer.suspected, peer.good_since = True, None
                suspected.append(peer.address)
            elif peer.suspected and not good:
                peer.good_since = None
            elif peer.suspected and self._good_for_long(peer, now):
                peer.suspected = False
                trusted.append(peer.address)
        self.compared += bool(suspected or trusted)
        return suspected, trusted

    def _good_for_long(self, peer: Peer, now: float) -> bool:
        return peer.good_since is not None and now - peer.good_since >= self._limits.damping_seconds

    def own_pause(self, now: float) -> float:
        """Return for how many seconds this node itself stands still, or did a moment ago."""
        return max(0.0, now - self._ticked - 3 * self._limits.tick_seconds) if self._ticked is not None else 0.0

    def _forgive_own_pause(self, now: float) -> None:
        """A time in which this node itself stood still says nothing about its peers."""
        pause = self.own_pause(now)
        self._ticked = now
        if pause > 0:
            self._forgiving_until = now + 2 * self._limits.tick_seconds
            for peer in self.peers.values():
                peer.since = min(now, peer.since + pause)
                peer.occupant.spoke = min(now, peer.occupant.spoke + pause)
                peer.heard = None if peer.heard is None else min(now, peer.heard + pause)
                peer.evidence = None if peer.evidence is None else min(now, peer.evidence + pause)

    def state(self, address: str, now: float) -> str:
        """The peer's state in a word: ``alive``, ``suspect``, ``down`` or ``unknown``."""
        peer = self.peers.get(address)
        if address == self._me:
            return "alive"
        if peer is None or peer.heard is None:
            return "unknown"
        if not self._up(peer, now):
            return "down"
        return "suspect" if peer.suspected else "alive"

    def _up(self, peer: Peer, now: float) -> bool:
        return peer.evidence is not None and now - peer.evidence <= self._limits.down_seconds

    def view(self, now: float) -> list[str]:
        """The nodes that are up, this one among them, sorted numerically."""
        up = [peer.address for peer in self.peers.values() if self._up(peer, now)]
        return sorted([self._me, *up], key=address_order)

    def silences(self, now: float) -> dict[str, int]:
        """For how many milliseconds each peer has been silent, of those that were heard at all."""
        return {
            peer.address: int(max(0.0, now - peer.heard) * 1000)
            for peer in self.peers.values()
            if peer.heard is not None
        }
