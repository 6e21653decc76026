"""
Group commit: all writes that come in while one commit is under way make up the next one.

What depends on a write is held here until that write is durable, and then released in its order.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from kvsd.entries import Entry
from kvsd.ports import DiskFull, Storage
from kvsd.replication.effects import Keep, Reply, Send, Ticket
from kvsd.replication.requests import Outcome

RETRY_SECONDS = 1.0
MAX_COMMIT_BYTES = 8 * 1024 * 1024
"""Of large bodies: a commit is encoded as a whole, and each value is in it twice, and in the database's batch once more."""


class Journal:
    """
    Writes on their way to the disk, and the effects that wait for them.

    ``encode`` turns what is to be kept with a commit into changes of tables, all of it at once: what is written over in
    the same commit need not be written.  ``synced`` is called with a position once everything up to it is durable,
    before the effects that waited for it are handed to ``perform``; ``full`` when the disk has no room; ``crash`` with
    an error after which nothing may be assumed about what is on disk.
    """

    def __init__(
        self,
        storage: Storage,
        encode: Callable[[Sequence[Keep]], Sequence[Entry]],
        reactor: IReactorTime,
        synced: Callable[[int], None],
        perform: Callable[[Send | Reply], None],
        full: Callable[[], None],
        crash: Callable[[Failure], None],
    ) -> None:
        self._storage = storage
        self._encode = encode
        self._reactor = reactor
        self._synced = synced
        self._perform = perform
        self._full = full
        self._crash = crash
        self._pending: list[Keep] = []
        self.written = 0
        """The position of the last write."""
        self._weight = 0
        """How many bytes of large bodies are in what is pending."""
        self._parts: deque[tuple[list[Keep], int]] = deque()
        """What is committed before that, each part by itself, with its position."""
        self.durable = 0
        """The position up to which everything is on disk."""
        self._committing = False
        self.refused = False
        """Whether the commit under way found no room and is to be tried again."""
        self._held: dict[int, list[Send | Reply]] = {}
        self._idle: list[Deferred[None]] = []

    def write(self, position: int, changes: Iterable[Keep]) -> None:
        """Put changes into the next commit, as the write of a position."""
        self._pending += changes
        self.written = position
        if self._weight >= MAX_COMMIT_BYTES:
            self._parts.append((self._pending, position))
            self._pending, self._weight = [], 0

    def weigh(self, size: int) -> None:
        """Note that the next write has so many bytes of large bodies; of many, each commit gets a part only."""
        self._weight += size

    def after(self, position: int, effect: Send | Reply) -> None:
        """Perform an effect once everything up to a position is durable."""
        if position <= self.durable:
            self._perform(effect)
        elif position in self._held:
            self._held[position].append(effect)
        else:
            self._held[position] = [effect]

    def answer(self, ticket: Ticket, outcome: Outcome) -> None:
        """Answer a ticket once all that was written by now is durable."""
        self.after(self.written, Reply(self.written, ticket, outcome))

    def flush(self) -> None:
        """Commit what was written, unless a commit is under way: then it follows that one."""
        if (self._pending or self._parts) and not self._committing:
            if self._parts:
                kept, position = self._parts.popleft()
            else:
                kept, position, self._pending, self._weight = self._pending, self.written, [], 0
            self._committing = True
            try:
                self._commit(self._encode(kept), position)
            except Exception:  # no other commit may follow, as if it were all that there was
                self._crash(Failure())

    def idle(self) -> Deferred[None]:
        """Fires once nothing is to be committed any more."""
        done: Deferred[None] = Deferred()
        self._idle.append(done)
        self._tell_idle()
        return done

    def _commit(self, changes: Sequence[Entry], position: int) -> None:
        committed = self._storage.commit(changes)
        committed.addCallbacks(self._committed, self._failed, (position,), {}, (changes, position))
        committed.addErrback(self._crash)

    def _committed(self, _: None, position: int) -> None:
        self._committing = self.refused = False
        self.durable = position
        self._synced(position)
        for at in sorted(at for at in self._held if at <= position):
            for effect in self._held.pop(at):
                self._perform(effect)
        self.flush()
        self._tell_idle()

    def _failed(self, failure: Failure, changes: Sequence[Entry], position: int) -> None:
        """A full disk kept nothing, so the same commit is tried again; any other failure is final."""
        failure.trap(DiskFull)
        self.refused = True
        self._full()
        self._reactor.callLater(RETRY_SECONDS, self._commit, changes, position)

    def _tell_idle(self) -> None:
        if not self._pending and not self._parts and not self._committing:
            idle, self._idle = self._idle, []
            for done in idle:
                done.callback(None)
