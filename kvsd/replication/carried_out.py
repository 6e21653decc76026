"""
The requests with an id that were carried out, so that one that comes again is answered as before.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from itertools import islice
from typing import Final

from msgspec.structs import replace

from kvsd.replication.causality import Writer
from kvsd.replication.effects import DropRequest, Keep, SetRequest
from kvsd.replication.record import CarriedOut, Record

FIXED_BYTES: Final = 256
WRITER_BYTES: Final = 64
"""What a request takes beside its texts, and each writer that it depends on, in Python's objects."""


def digest(value: bytes | None) -> bytes:
    """What tells one value, or a deletion, from another."""
    return b"" if value is None else blake2b(value, digest_size=16).digest()


def size_of(request: CarriedOut) -> int:
    """Return about how many bytes a remembered request takes, the same number at every replica."""
    record = request.record
    writers = sum(map(len, record.dependencies.values()))
    return FIXED_BYTES + len(record.key) + len(record.request) + writers * WRITER_BYTES


class Requests:
    """
    The last requests, by key and id, at most so many and of so many bytes; the oldest go first.

    They are kept on disk, each under a number that only grows.
    """

    def __init__(self, role: Writer, max_requests: int, max_bytes: int) -> None:
        self._role = role
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self.bytes = 0
        """About how many bytes the remembered requests take."""
        self._number = 0
        self._requests: OrderedDict[tuple[str, str], tuple[int, CarriedOut]] = OrderedDict()

    def restore(self, requests: Iterable[tuple[int, CarriedOut]]) -> None:
        """Take up what was kept, in the order of the numbers."""
        for number, request in requests:
            self._requests[request.record.key, request.record.request] = (number, request)
            self.bytes += size_of(request)
            self._number = number

    def get(self, key: str, request: str) -> CarriedOut | None:
        """What a request led to, if it was carried out and is remembered."""
        known = self._requests.get((key, request)) if request else None
        return known[1] if known else None

    def remember(self, record: Record) -> Iterator[Keep]:
        """A write was applied; yields what is to be kept of its request."""
        if record.request:
            yield from self.learn(CarriedOut(replace(record, value=None), digest(record.value)))

    def learn(self, request: CarriedOut) -> Iterator[Keep]:
        """A request was carried out, here or elsewhere; yields what is to be kept of it."""
        name = (request.record.key, request.record.request)
        if name in self._requests:
            return
        self._number += 1
        self._requests[name] = (self._number, request)
        self.bytes += size_of(request)
        yield SetRequest(self._role, self._number, request)
        while len(self._requests) > self._max_requests or (self.bytes > self._max_bytes and len(self._requests) > 1):
            yield DropRequest(self._role, self._drop_oldest())

    def beyond(self, vector: Mapping[bytes, int], at_most: int) -> list[CarriedOut]:
        """The newest requests whose writes vector lacks."""
        newest = (request for _, request in reversed(self._requests.values()))
        lacking = (r for r in newest if vector.get(r.record.origin.writer, 0) < r.record.origin.counter)
        return list(islice(lacking, at_most))

    def __len__(self) -> int:
        """How many requests are remembered."""
        return len(self._requests)

    def drop(self, at_most: int) -> list[int]:
        """Forget some, oldest first; returns their numbers."""
        return [self._drop_oldest() for _ in range(min(at_most, len(self._requests)))]

    def _drop_oldest(self) -> int:
        """Forget the oldest request; return its number."""
        _, (number, request) = self._requests.popitem(last=False)
        self.bytes -= size_of(request)
        return number
