"""The way to one peer: one POST at a time, batches, and nothing kept that failed."""

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from kvsd.link import LITTLE_BYTES, MAX_POST_BYTES, MAX_POST_MESSAGES, MAX_QUEUED_BYTES, PAUSE_SECONDS, Link
from kvsd.ports import PeerUnreachable


class LinkTests(SynchronousTestCase):
    """A link whose POSTs are answered by the test."""

    def setUp(self) -> None:
        """Make a link that notes what happens."""
        self.posts: list[tuple[list[bytes], Deferred[bytes]]] = []
        self.answers: list[bytes] = []
        self.failures: list[Failure] = []
        self.avoided = True
        self.clock = Clock()
        self.link = Link(self.post, self.answers.append, self.failed, self.clock.callLater)

    def failed(self, failure: Failure) -> bool:
        """Note a failure; says whether to go on with the peer."""
        self.failures.append(failure)
        return not self.avoided

    def post(self, batch: list[bytes]) -> Deferred[bytes]:
        """Take a POST and leave it open."""
        self.posts.append((batch, Deferred()))
        return self.posts[-1][1]

    def batches(self) -> list[list[bytes]]:
        """What was posted."""
        return [batch for batch, _ in self.posts]

    def send(self, *messages: bytes) -> None:
        """Queue messages and flush."""
        for message in messages:
            self.link.add(message)
        self.link.flush()

    def test_messages_of_one_turn_travel_together(self) -> None:
        """What was queued before a flush is one POST; a flush without messages is none."""
        self.link.flush()
        self.send(b"1", b"2", b"3")
        self.assertEqual([[b"1", b"2", b"3"]], self.batches())

    def test_one_post_at_a_time(self) -> None:
        """While a POST is under way all else waits, and follows it together a moment after it is answered."""
        self.send(b"1")
        self.send(b"2")
        self.send(b"3")
        self.assertEqual([[b"1"]], self.batches())
        self.posts[0][1].callback(b"answer")
        self.assertEqual(([[b"1"]], [b"answer"]), (self.batches(), self.answers))
        self.clock.advance(PAUSE_SECONDS)
        self.assertEqual([[b"1"], [b"2", b"3"]], self.batches())
        self.posts[1][1].callback(b"")
        self.clock.advance(PAUSE_SECONDS)
        self.assertEqual(2, len(self.posts))

    def test_company(self) -> None:
        """What comes within that moment goes along, and ends it; much does not wait for more."""
        self.send(b"1")
        self.send(b"2")
        self.posts[0][1].callback(b"answer")
        self.send(b"3")
        self.assertEqual([[b"1"], [b"2", b"3"]], self.batches())
        self.assertEqual([], self.clock.getDelayedCalls())
        self.send(b"x" * (LITTLE_BYTES + 1))
        self.posts[1][1].callback(b"answer")
        self.assertEqual(3, len(self.posts))

    def test_rest(self) -> None:
        """A link that is to rest sends nothing by itself."""
        self.link.rest()
        self.send(b"1")
        self.send(b"2")
        self.posts[0][1].callback(b"answer")
        self.link.rest()
        self.assertEqual([], self.clock.getDelayedCalls())
        self.send(b"3")
        self.assertEqual([[b"1"], [b"2", b"3"]], self.batches())

    def test_large_batches_are_split(self) -> None:
        """A POST carries at most so many bytes, or one message that is larger."""
        half, large = b"h" * (MAX_POST_BYTES // 2), b"l" * (MAX_POST_BYTES + 1)
        self.send(half, half, b"1", large, b"2")
        for index in range(4):
            self.posts[index][1].callback(b"")
            self.clock.advance(PAUSE_SECONDS)
        self.assertEqual([[half, half], [b"1"], [large], [b"2"]], self.batches())
        self.send(large)
        self.assertEqual([large], self.batches()[-1])

    def test_batches_of_many_messages_are_split(self) -> None:
        """A POST carries at most so many messages, however small: who gets it should not be busy for long."""
        self.send(*[b"x"] * (2 * MAX_POST_MESSAGES + 1))
        for index in range(2):
            self.posts[index][1].callback(b"")
            self.clock.advance(PAUSE_SECONDS)
        self.assertEqual([MAX_POST_MESSAGES, MAX_POST_MESSAGES, 1], [len(batch) for batch in self.batches()])

    def test_what_failed_is_dropped(self) -> None:
        """A failed POST is told once; where the peer is avoided what waited behind it is dropped, what comes later is sent."""
        self.send(b"1")
        self.send(b"2")
        self.posts[0][1].errback(PeerUnreachable("gone"))
        self.assertEqual(([[b"1"]], 1, []), (self.batches(), len(self.failures), self.answers))
        self.send(b"3")
        self.assertEqual([[b"1"], [b"3"]], self.batches())

    def test_queue_is_bounded(self) -> None:
        """Without room a message is dropped and counted; once the queue is shorter there is room again."""
        self.send(b"1")
        block = b"x" * (MAX_QUEUED_BYTES // 4)
        self.send(*[block] * 5, b"y")
        self.assertEqual(2, self.link.dropped)
        self.posts[0][1].callback(b"")
        self.send(block)
        self.assertEqual(2, self.link.dropped)

    def test_what_waits_behind_a_late_post_is_sent(self) -> None:
        """A peer that is merely slow gets what waited: nobody else was asked, and nobody would send it anew."""
        self.avoided = False
        self.send(b"1")
        self.send(b"2")
        self.posts[0][1].errback(PeerUnreachable("late", late=True))
        self.assertEqual(([[b"1"], [b"2"]], 1), (self.batches(), len(self.failures)))

    def test_room_comes_back_after_a_failure(self) -> None:
        """What was dropped with a failed POST takes no room any more."""
        self.send(b"1")
        block = b"x" * (MAX_QUEUED_BYTES // 2)
        self.send(block, block)
        self.posts[0][1].errback(PeerUnreachable("gone"))
        self.send(block, block)
        self.assertEqual(0, self.link.dropped)

    def test_taking_a_batch_as_an_answer(self) -> None:
        """What waits behind a POST may leave with the answer to the peer's own POST, and does not leave twice."""
        self.send(b"1")
        self.send(b"2", b"3")
        self.assertEqual(([b"2", b"3"], []), (self.link.take(), self.link.take()))
        self.posts[0][1].callback(b"")
        self.assertEqual([[b"1"]], self.batches())
