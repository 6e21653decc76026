"""A request for the lane of which some is still to come: what there is of it, its room, and how long it may take."""

from collections.abc import Callable
from functools import partial

from twisted.internet.interfaces import IDelayedCall, IPushProducer

from kvsd.resources.door import Reply, no_room
from kvsd.resources.places import Places


class PartialRequest:
    """
    Bytes of a request, until all of them are there or it is given up.

    ``give_up`` is called after some seconds without an argument, or with the reply where there is no room for it; then,
    and once all bytes are there, :meth:`end` is to be called.  Until there is room the producer pauses.
    """

    def __init__(
        self,
        size: int,
        first: bytes,
        places: Places,
        producer: IPushProducer,
        late: Callable[[Callable[[], None]], IDelayedCall],
        give_up: Callable[[Reply | None], None],
    ) -> None:
        self._lacking = size - len(first)
        self._held = [first]
        self._places = places
        self._producer = producer
        self._late = late(partial(give_up, None))
        of_peer = first.startswith(b"POST ")  # the only one that the lane knows
        refused = partial(give_up, no_room())
        self._place = places.enter(size, of_peer=of_peer, admitted=producer.resumeProducing, refused=refused)
        self._place.came = len(first)
        if not self._place.is_in:
            producer.pauseProducing()

    def add(self, data: bytes) -> bool:
        """Keep more bytes; return True if all are there."""
        self._held.append(data)
        self._lacking -= len(data)
        self._place.came += len(data)
        return self._lacking <= 0

    def end(self, *, read_on: bool = False) -> bytes:
        """Give time and room back; return the bytes that are there.  What was paused is read from again if ``read_on``."""
        if self._late.active():
            self._late.cancel()
        self._places.leave(self._place)
        if read_on and not self._place.is_in:
            self._producer.resumeProducing()
        return b"".join(self._held)
