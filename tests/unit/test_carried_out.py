"""Requests that were carried out are remembered within bounds: of their number, and of the memory that they take."""

from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication.carried_out import Requests, size_of
from kvsd.replication.effects import DropRequest, SetRequest
from kvsd.replication.record import CarriedOut, Record
from tests.builders import make_record

MANY = 10**6


def carried_out(number: int, writers: int = 0) -> CarriedOut:
    """A request that depends on so many writers."""
    dependencies = {"s0": {b"%06d" % writer: 1 for writer in range(writers)}} if writers else {}
    record: Record = make_record(f"key{number}", None, number, request=f"request-{number}", dependencies=dependencies)
    return CarriedOut(record, b"")


class RequestsTests(SynchronousTestCase):
    """The memory of one replica."""

    def test_bytes_are_bounded(self) -> None:
        """However much each request depends on, all that are remembered stay within the bytes; the oldest are dropped."""
        requests = Requests(b"role", MANY, 100_000)
        kept = [keep for number in range(300) for keep in requests.learn(carried_out(number, writers=100))]
        remembered = [number for number in range(300) if requests.get(f"key{number}", f"request-{number}")]
        self.assertLessEqual(requests.bytes, 100_000)
        self.assertEqual(remembered, list(range(300 - len(remembered), 300)))
        self.assertEqual(len(remembered), 100_000 // size_of(carried_out(299, writers=100)))
        dropped = [keep.number for keep in kept if isinstance(keep, DropRequest)]
        self.assertEqual(dropped, [*range(1, 301 - len(remembered))])

    def test_one_that_is_larger_than_all_is_remembered(self) -> None:
        """The last request is remembered whatever it takes: its client may try it again at once."""
        requests = Requests(b"role", MANY, 1)
        for number in range(3):
            list(requests.learn(carried_out(number)))
        self.assertEqual(len(requests), 1)
        self.assertIsNotNone(requests.get("key2", "request-2"))

    def test_replicas_agree(self) -> None:
        """A replica that restores what another one kept remembers, and then drops, the same."""
        first, second = Requests(b"role", MANY, 20_000), Requests(b"role", MANY, 20_000)
        disk: dict[int, CarriedOut] = {}
        for number in range(50):
            for keep in first.learn(carried_out(number, writers=number)):
                if isinstance(keep, SetRequest):
                    disk[keep.number] = keep.request
                elif isinstance(keep, DropRequest):
                    del disk[keep.number]
        second.restore(sorted(disk.items()))
        self.assertEqual((second.bytes, len(second)), (first.bytes, len(first)))
        self.assertEqual(list(second.learn(carried_out(50, writers=9))), list(first.learn(carried_out(50, writers=9))))

    def test_nothing_is_counted_for_what_is_dropped(self) -> None:
        """Where all are dropped, no bytes are left."""
        requests = Requests(b"role", MANY, MANY)
        for number in range(5):
            list(requests.learn(carried_out(number, writers=3)))
        self.assertEqual(requests.drop(9), [1, 2, 3, 4, 5])
        self.assertEqual(requests.bytes, 0)
