"""
A lane to one peer: at most one POST under way, and the next one carries all that queued meanwhile.

So batches grow with the load by themselves, without delay when there is little to do.  What is answered under load has
more to follow in a moment: whoever waited for it has the next to ask.  So what queued behind a POST gives that half a
millisecond to come along, or two lots would take turns for ever, each in a POST of its own.  A link never blocks and
sends nothing twice: what got lost is repaired by anti-entropy.  What waited behind a POST that failed is dropped where the
peer is avoided from then on; where it is merely slow, nobody would send that anew.

A POST carries no more than the link was seen to carry in a quarter of a second, so that what comes behind it does not
wait for long; a message that is larger goes alone.
"""

from collections import deque
from collections.abc import Callable

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

MAX_QUEUED_BYTES = 32 * 1024 * 1024
MAX_POST_BYTES = 1024 * 1024
MAX_POST_MESSAGES = 1000
LITTLE_BYTES = 64 * 1024
"""What the receiver of a POST has worked off within some milliseconds."""
LEAST_POST_BYTES = 16 * 1024
POST_SECONDS = 0.25
"""For how long a POST is to keep its lane busy on a link that is slow."""
PAUSE_SECONDS = 0.0005
"""For how long what queued behind a POST waits for company, once that is answered."""


class Link:
    """
    Messages to one peer, already encoded.

    ``post`` hands a batch to the peer and fires with its answer; ``answered`` gets every answer, ``failed`` is called
    once for every POST that had none, and says whether the peer is still to get what waits.  ``later`` has something
    called after some seconds.
    """

    def __init__(
        self,
        post: Callable[[list[bytes]], Deferred[bytes]],
        answered: Callable[[bytes], None],
        failed: Callable[[Failure], bool],
        later: Callable[[float, Callable[[], None]], IDelayedCall],
    ) -> None:
        self._post = post
        self._answered = answered
        self._failed = failed
        self._later = later
        self._pause: IDelayedCall | None = None
        """The end of the pause after a POST, where something waits for it."""
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._under_way = False
        self._most_bytes = MAX_POST_BYTES
        """As much as a POST carries at most."""
        self._size = 0
        """The bytes of the POST under way."""
        self._was_slow = False
        """Whether the POST under way was seen to be slow."""
        self.dropped = 0

    def is_idle(self) -> bool:
        """Return True if nothing is under way, and nothing waits."""
        return not (self._under_way or self._queue or self._pause)

    def add(self, message: bytes) -> None:
        """Queue a message; without room it is dropped."""
        if self._queued_bytes + len(message) > MAX_QUEUED_BYTES:
            self.dropped += 1
            return
        self._queue.append(message)
        self._queued_bytes += len(message)

    @property
    def is_busy(self) -> bool:
        """Whether a POST is under way."""
        return self._under_way

    @property
    def backlog(self) -> int:
        """Bytes that wait for a POST."""
        return self._queued_bytes

    def carries(self, bytes_per_second: float) -> None:
        """Learn how much the way to the peer was seen to carry, while bytes waited to be carried."""
        self._was_slow = True
        self._most_bytes = int(min(max(LEAST_POST_BYTES, bytes_per_second * POST_SECONDS), MAX_POST_BYTES))

    def hand_over(self, other: "Link") -> None:
        """Have another link to the peer send what is queued here along with its own, if both are free and it is little."""
        if self._under_way or other._under_way or self._queued_bytes > LITTLE_BYTES:
            return
        for message in self.take():
            other.add(message)

    def take(self) -> list[bytes]:
        """The next batch: what is queued, up to so many messages and bytes, or one message that is larger."""
        queue = self._queue
        if self._queued_bytes <= self._most_bytes and len(queue) <= MAX_POST_MESSAGES:
            batch = list(queue)
            queue.clear()
            self._queued_bytes = 0
            return batch
        batch = []
        size = 0
        while queue and len(batch) < MAX_POST_MESSAGES and (not batch or size + len(queue[0]) <= self._most_bytes):
            message = queue.popleft()
            size += len(message)
            batch.append(message)
        self._queued_bytes -= size
        return batch

    def flush(self) -> None:
        """Send what is queued, unless a POST is under way: then it follows that one."""
        if self._under_way or not self._queue:
            return
        self.rest()
        self._under_way, self._was_slow = True, False
        batch = self.take()
        if self._most_bytes < MAX_POST_BYTES:
            self._size = sum(map(len, batch))
        maybeDeferred(self._post, batch).addCallbacks(self._arrived, self._lost)

    def rest(self) -> None:
        """Let nothing follow by itself: what is queued waits for the next flush."""
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None

    def _arrived(self, answer: bytes) -> None:
        self._under_way = False
        if self._most_bytes < MAX_POST_BYTES and not self._was_slow and 2 * self._size > self._most_bytes:
            self._most_bytes = min(2 * self._most_bytes, MAX_POST_BYTES)
        self._answered(answer)
        if self._queued_bytes > LITTLE_BYTES:
            self.flush()
        elif self._queue and self._pause is None:
            self._pause = self._later(PAUSE_SECONDS, self._go_on)

    def _go_on(self) -> None:
        self._pause = None
        self.flush()

    def _lost(self, failure: Failure) -> None:
        waiting = len(self._queue)
        keep = self._failed(failure)
        self._under_way = False
        if not keep:
            for _ in range(waiting):
                self._queued_bytes -= len(self._queue.popleft())
        self.flush()
