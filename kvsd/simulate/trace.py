"""
What happens in a run, in order: as a hash that tells two runs apart, as the last events, and as a story for people.
"""

from collections import deque
from collections.abc import Iterable
from hashlib import blake2b
from struct import pack
from typing import NamedTuple

from kvsd.simulate.clock import Clock

RECENT = 5_000


class Event(NamedTuple):
    """Something that happened: when (simulated seconds), where, what, and the bytes that were on their way."""

    seconds: float
    places: tuple[str, ...]
    what: str
    body: bytes


class Trace:
    """All that happens goes through here; what came earlier than the last events is in the hash alone."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._hash = blake2b(digest_size=16)
        self.recent: deque[Event] = deque(maxlen=RECENT)
        self.story: list[Event] = []

    def note(self, places: tuple[str, ...], what: str, body: bytes = b"") -> None:
        """Something happened."""
        now = self._clock.seconds()
        self._hash.update(b"%b%b %b\n" % (pack("<d", now), f"{' '.join(places)} {what}".encode(), body))
        self.recent.append(Event(now, places, what, body))

    def tell(self, places: tuple[str, ...], what: str, before: int | None = None) -> None:
        """Something happened that people want to know; it led to what the story has since it had so many events."""
        self.note(places, what)
        self.story.insert(len(self.story) if before is None else before, self.recent[-1])

    def digest(self) -> str:
        """The hash of all that happened so far: equal for equal runs."""
        return self._hash.hexdigest()

    def last(self, places: Iterable[str], at_most: int) -> list[Event]:
        """The last events at some places."""
        wanted = set(places)
        found = [event for event in self.recent if not wanted.isdisjoint(event.places)]
        return found[-at_most:]
