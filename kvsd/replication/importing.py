"""
Taking over slots from another shard while that goes on serving them.

For every tenure that its shard takes over, one member of the shard imports: first a *copy* of the rows that the slots
have now, page by page; then, again and again, the *tail*: writes of the tenures in the lineage that came after that.
What comes in is issued as ops of the shard's own broadcast, records with their stamps, origins and dependencies as
they were, so that every replica gets it and either side may write meanwhile; a *cover* mark says how far that goes.

Once the slots belong to the shard, late writes may still exist at members of the old one, who did not know yet, or at
departed ones.  When each of them has answered in the new configuration and nothing of it is missing here, none can come
any more: the source is *final*.
"""

from dataclasses import dataclass, field

from msgspec.structs import replace

from kvsd.replication.broadcast import Broadcast
from kvsd.replication.carried_out import digest
from kvsd.replication.causality import Dependencies, dominates, missing
from kvsd.replication.configuration import addresses
from kvsd.replication.errands import Errand, Errands
from kvsd.replication.exporting import Exports
from kvsd.replication.marks import Final, Marks
from kvsd.replication.meeting import Meeting
from kvsd.replication.messages import Import, Imported
from kvsd.replication.placement import Tenure
from kvsd.replication.record import CarriedOut, beats
from kvsd.replication.reports import Reports
from kvsd.replication.role import Role
from kvsd.replication.roster import Roster
from kvsd.replication.state import State


@dataclass
class Importing:
    """An import under way: from whom, since when (monotonic seconds), and where it is."""

    id: int
    errand: Errand
    peer: str
    since: float
    copy: int = 0
    cursor: int = 0


@dataclass
class Progress:
    """How far an import has come: how many rows were imported here since a time (monotonic seconds), and by whom."""

    began: float
    rows: int = 0
    turn: int = 0
    """How often somebody was asked."""
    done: set[bytes] = field(default_factory=set)
    """The writers that have shown all that they have, in the configuration in force."""


class Imports:
    """Imports for the shards of which this node is a member."""

    def __init__(self, state: State, broadcast: Broadcast, exports: Exports) -> None:
        self._state = state
        self._exports = exports
        self._errands = Errands(state)
        self._broadcast = broadcast
        self._meeting = Meeting(state)
        self._reports = Reports(state)
        self._under_way: dict[tuple[Tenure, str], Importing] = {}
        self.progress: dict[tuple[Tenure, str], Progress] = {}
        self._last_id = state.identity.boot << 32
        self.began: tuple[int, float] | None = None
        """The epoch in which the last reshard began, and when this node heard of it (monotonic seconds)."""

    def adopted(self, now: float) -> None:
        """Another configuration is in force: who has shown all has to show it anew, and what is over is forgotten."""
        wanted = {(errand.tenure, errand.source) for errand in self._errands.all()}
        self._under_way = {key: importing for key, importing in self._under_way.items() if key in wanted}
        self.progress = {key: progress for key, progress in self.progress.items() if key in wanted}
        for progress in self.progress.values():
            progress.done.clear()
        pending = self._state.configuration.pending if self._state.configuration else None
        if pending and (self.began is None or self.began[0] != pending.started):
            self.began = (pending.started, now)

    def tick(self, now: float) -> None:
        """Ask for what is to be imported."""
        for key, importing in list(self._under_way.items()):
            late_seconds = now - importing.since - self._state.limits.pull_timeout_seconds
            if self._state.slow_ways.is_overdue(importing.peer, late_seconds, now):
                del self._under_way[key]
        if not self._can_issue():
            return
        for errand in self._errands.all():
            if self._errands.is_mine(errand.shard):
                self._ask(errand, now)

    def _can_issue(self) -> bool:
        """
        Whether what is imported could be issued here.

        Not before this node has met the others after a start: on an old copy of its data it would use a dot again.
        """
        return not self._state.disk.full and not self._meeting.is_on()

    def _ask(self, errand: Errand, now: float) -> None:
        importing = self._under_way.get((errand.tenure, errand.source))
        if importing and importing.errand == errand:
            if importing.peer == self._state.identity.address:
                self._send(importing)
            return
        progress = self.progress.setdefault((errand.tenure, errand.source), Progress(now))
        donors = self._donors(errand, progress)
        if donors:
            progress.turn += 1
            self._last_id += 1
            self._send(Importing(self._last_id, errand, donors[progress.turn % len(donors)], now))

    def _donors(self, errand: Errand, progress: Progress) -> list[str]:
        """Whom to ask: for the first copy a member; later whoever has more, or has not shown yet that it has no more."""
        source = self._roster.shard(errand.source)
        if errand.first:
            return [address for address in addresses(source.members) if self._can_give(address)]
        cover = self._state.roles[errand.shard].marks.covered(errand.tenure, errand.source)
        return [
            member.node
            for member in source.holders()
            if self._can_give(member.node)
            and (
                member.writer not in progress.done
                or not dominates(cover, self._reports.vector(member.node, errand.source) or {})
            )
        ]

    def _can_give(self, address: str) -> bool:
        return self._state.usable(address) or address == self._state.identity.address

    def _send(self, importing: Importing) -> None:
        """Ask for a page; what this node itself has is taken page by page as time passes."""
        errand, peer = importing.errand, importing.peer
        self._under_way[errand.tenure, errand.source] = importing
        cover = self._state.roles[errand.shard].marks.covered(errand.tenure, errand.source)
        vector = {} if errand.first else dict(cover)
        question = Import(
            importing.id, errand.source, errand.tenure, errand.first, vector, importing.copy, importing.cursor
        )
        if peer != self._state.identity.address:
            self._state.out.send(peer, question, after=0)
        elif answer := self._exports.give(question):
            self._take(importing, answer)
        else:
            del self._under_way[errand.tenure, errand.source]

    def abandon(self, peer: str) -> None:
        """Give up what was asked of a peer that can't be used any more."""
        self._under_way = {key: i for key, i in self._under_way.items() if i.peer != peer}

    # What comes of it

    def imported(self, peer: str, message: Imported, now: float) -> Role | None:
        """Take in what a peer has given; returns the role that has changed."""
        importing = self._under_way.get((message.tenure, message.shard))
        if (
            importing is None
            or not self._can_issue()
            or (importing.id, importing.peer, importing.cursor) != (message.id, peer, message.start)
        ):
            return None
        importing.since = now
        role = self._take(importing, message)
        if role and (message.cursor or not message.complete):
            importing.errand = importing.errand._replace(first=importing.errand.tenure not in role.marks.ready)
            self._send(importing)
        return role

    def _take(self, importing: Importing, message: Imported) -> Role | None:
        """Have the shard take over what came, and see what that amounts to."""
        errand = importing.errand
        key = (errand.tenure, errand.source)
        role = self._state.serving(errand.shard)
        if role is None or errand not in list(self._errands.all()):
            self._under_way.pop(key, None)
            return None
        importing.copy, importing.cursor = message.copy, message.cursor
        self._issue(role, errand, message)
        if not message.cursor:
            if message.complete:
                self._under_way.pop(key, None)
            self._finish(role, errand, importing.peer, message)
        return role

    def _issue(self, role: Role, errand: Errand, message: Imported) -> None:
        """Issue what is news here: records that win, the requests of those that don't, and how far it goes now."""
        records, carried_out = [], list(message.requests)
        for record in message.records:
            there = role.store.get(errand.tenure, record.key)
            if there is None or beats(record, there.record):
                records.append(replace(record, tenure=errand.tenure))
            elif record.request:
                carried_out.append(CarriedOut(replace(record, value=None), digest(record.value)))
        self.progress[errand.tenure, errand.source].rows += len(records)
        cover = {} if message.cursor else self._news(role, errand, message)
        ready = (errand.tenure,) if errand.first and not message.cursor else ()
        requests = [r for r in carried_out if role.requests.get(r.record.key, r.record.request) is None]
        if records or cover or ready or requests:
            marks = Marks({errand.tenure: cover} if cover else {}, ready, forgotten=message.forgotten)
            self._broadcast.take_over(role, records, requests, marks)

    @staticmethod
    def _news(role: Role, errand: Errand, message: Imported) -> Dependencies:
        """What the shard is shown with a page beyond what it was shown before."""
        found = {s: missing(role.marks.covered(errand.tenure, s), vector) for s, vector in message.cover.items()}
        return {source: vector for source, vector in found.items() if vector}

    def _finish(self, role: Role, errand: Errand, peer: str, message: Imported) -> None:
        """Note who has shown all that it has by the new configuration; after the last one, the source is done with."""
        roster, progress = self._roster, self.progress[errand.tenure, errand.source]
        tenancy = roster.configuration.tenures.get(errand.tenure)
        if tenancy is None or not message.complete or message.epoch < self._state.epoch:
            return
        holders = roster.shard(errand.source).holders()
        progress.done |= {member.writer for member in holders if member.node == peer}
        lost = roster.configuration.lost.values()
        if all(member.writer in progress.done for member in holders) and not any(
            loss.shard == errand.source and loss.kept is None for loss in lost
        ):
            final = Final(errand.tenure, errand.source, errand.since)
            self._broadcast.take_over(role, (), (), Marks(final=(final,)))

    @property
    def _roster(self) -> Roster:
        assert self._state.roster is not None, "errands are of a configuration"
        return self._state.roster
