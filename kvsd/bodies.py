"""Requests with large bodies, split so that no event writes more than a commit is to hold."""

from collections.abc import Callable, Iterator, Sequence

from kvsd.journal import MAX_COMMIT_BYTES
from kvsd.replication.effects import Effect, Ticket
from kvsd.replication.requests import Put, Request

Asked = list[tuple[Ticket, Request]]


def parts(
    asked: Sequence[tuple[Ticket, Request]], submit: Callable[[Asked], list[Effect]], weigh: Callable[[int], None]
) -> Iterator[Callable[[], list[Effect]]]:
    """Yield events that submit what was asked in a turn, in its order, each after it has weighed what it submits."""
    for weight, part in _split(asked):
        yield _event(weight, part, submit, weigh)


def _event(
    weight: int, part: Asked, submit: Callable[[Asked], list[Effect]], weigh: Callable[[int], None]
) -> Callable[[], list[Effect]]:
    def event() -> list[Effect]:
        weigh(weight)
        return submit(part)

    return event


def _split(asked: Sequence[tuple[Ticket, Request]]) -> Iterator[tuple[int, Asked]]:
    weight, part = 0, Asked()
    for ticket, request in asked:
        size = len(request.value) if isinstance(request, Put) and request.value is not None else 0
        if part and weight + size > MAX_COMMIT_BYTES:
            yield weight, part
            weight, part = 0, Asked()
        weight += size
        part.append((ticket, request))
    yield weight, part
