"""The simulated network: what becomes of a message and of its answer, in every kind of weather."""

from collections.abc import Callable, Iterable

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from kvsd.ports import PeerUnreachable
from kvsd.replication.messages import Bind, Bound, Sender
from kvsd.simulate.clock import Actor, Clock
from kvsd.simulate.network import TIMEOUT_SECONDS, Network, SimulatedTransport, Weather
from kvsd.simulate.pipes import Direction
from kvsd.simulate.trace import Trace
from kvsd.wire import EnvelopeCodec, WireError, encode_message

ANNA, BERT, CARL = "10.0.0.1:8090", "10.0.0.2:8090", "10.0.0.3:8090"
INSTANCE = b"a data directory"
CODEC = EnvelopeCodec(b"secret")


def still(**changes: float | bool | dict[Direction, float] | dict[Direction, int]) -> Weather:
    """Weather in which each message takes a tenth of a second, but for the changes."""
    return Weather(**{"delay": 0.1, "jitter": 0.0, **changes})  # type: ignore[arg-type]


class Post:
    """A process at an address, that answers whatever it gets with its own name."""

    def __init__(self, network: Network, address: str) -> None:
        self.actor = Actor()
        self.address = address
        self.got: list[tuple[float, bytes]] = []
        """What it got, and when."""
        self.transport = SimulatedTransport(network, self.actor, address)
        self._network = network
        network.attach(address, self.actor, self.receive)

    def receive(self, body: bytes) -> bytes:
        """Take a body, and answer it."""
        self.got.append((self._network.clock.seconds(), body))
        return b"answer of " + self.address.encode()

    def end(self) -> None:
        """The process is no more."""
        self.actor.gone = True
        self._network.detach(self.address)


class NetworkTests(SynchronousTestCase):
    """Three processes and the network between them."""

    def setUp(self) -> None:
        self.build("seed")

    def build(self, seed: str) -> None:
        """Make a network from a seed."""
        self.clock = Clock()
        self.trace = Trace(self.clock)
        self.network = Network(self.clock, self.trace, seed)
        self.network.weather = still()
        self.anna, self.bert, self.carl = (Post(self.network, address) for address in (ANNA, BERT, CARL))

    def post(self, body: bytes = b"body", receiver: str = BERT) -> Deferred[bytes]:
        """Anna posts something, to Bert if nothing else is said."""
        return self.anna.transport.post(receiver, body)

    def send(self, bodies: Iterable[bytes], sender: Post | None = None, receiver: str = BERT) -> list[bytes]:
        """Post some bodies whose fate is not to be known but in sum; what is returned will have the answers."""
        answers: list[bytes] = []
        for body in bodies:
            posted = (sender or self.anna).transport.post(receiver, body)
            posted.addCallbacks(answers.append, lambda failure: failure.trap(PeerUnreachable))
        return answers

    def run_until(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.run(seconds)

    def assert_fails(self, posted: Deferred[bytes], why: str, late: bool) -> None:
        """A POST has got no answer, for this reason."""
        error = self.failureResultOf(posted, PeerUnreachable).value
        self.assertIn(why, str(error))
        self.assertEqual(late, error.late)

    def assert_fails_at(self, seconds: float, posted: Deferred[bytes], why: str, late: bool) -> None:
        """A POST gets no answer, and its sender learns of that at a time and not before."""
        self.run_until(seconds - 0.001)
        self.assertNoResult(posted)
        self.run_until(seconds + 0.001)
        self.assert_fails(posted, why, late)


class GoodWeatherTests(NetworkTests):
    """What is sent arrives."""

    def test_delivery(self) -> None:
        """A body arrives as it was sent, and its answer comes back, each after the delay."""
        posted = self.post()
        self.run_until(0.15)
        self.assertEqual([(0.1, b"body")], self.bert.got)
        self.assertNoResult(posted)
        self.run_until(0.25)
        self.assertEqual(b"answer of " + BERT.encode(), self.successResultOf(posted))
        self.assertEqual(2, self.network.carried)

    def test_jitter(self) -> None:
        """Messages take the delay and up to the jitter on top of it."""
        self.network.weather = still(jitter=0.2)
        self.send([b"body"] * 50)
        self.run_until(0.3)
        times = [seconds for seconds, _ in self.bert.got]
        self.assertEqual(50, len(set(times)))
        self.assertTrue(0.1 <= min(times) < 0.12 and 0.28 < max(times) < 0.3)

    def test_slow_direction(self) -> None:
        """A direction may be slower than all others."""
        self.network.weather = still(slow={(ANNA, BERT): 0.5})
        self.post()
        self.post(receiver=CARL)
        self.run_until(2)
        self.assertEqual([(0.6, b"body")], self.bert.got)
        self.assertEqual([(0.1, b"body")], self.carl.got)

    def test_story(self) -> None:
        """All that happens on the way is noted, with the bytes."""
        self.post()
        self.run_until(1)
        events = [(event.places, event.what, event.body) for event in self.trace.recent]
        answer = b"answer of " + BERT.encode()
        self.assertEqual([((ANNA, BERT), "arrives", b"body"), ((BERT, ANNA), "answers", answer)], events)


class LossTests(NetworkTests):
    """Messages that don't arrive."""

    def test_lost(self) -> None:
        """The sender of a message that was lost learns of it by waiting."""
        self.network.weather = still(loss=1.0)
        self.assert_fails_at(TIMEOUT_SECONDS, self.post(), "no answer in time", late=True)
        self.assertEqual([], self.bert.got)

    def test_reset(self) -> None:
        """Where connections are reset, it learns of it at once."""
        self.network.weather = still(loss=1.0, resets=True)
        self.assert_fails_at(0.1, self.post(), "the connection was reset", late=False)

    def test_some_are_lost(self) -> None:
        """As many messages get lost as the weather says, on the way there and on the way back."""
        self.network.weather = still(loss=0.3)
        answers = self.send([b"body"] * 1000)
        self.run_until(5)
        self.assertTrue(650 < len(self.bert.got) < 750 and 430 < len(answers) < 550)

    def test_cut_on_the_way_there(self) -> None:
        """Nothing passes where a direction is cut; the other one is open."""
        self.network.weather = still(cut={(ANNA, BERT): 1})
        self.assert_fails_at(TIMEOUT_SECONDS, self.post(), "no answer in time", late=True)
        self.assertEqual([], self.bert.got)
        posted = self.bert.transport.post(CARL, b"body")
        self.run_until(3)
        self.successResultOf(posted)

    def test_cut_on_the_way_back(self) -> None:
        """Where only the answers are cut off, the message arrives and its sender does not know it."""
        self.network.weather = still(cut={(BERT, ANNA): 1})
        self.assert_fails_at(TIMEOUT_SECONDS, self.post(), "no answer in time", late=True)
        self.assertEqual(1, len(self.bert.got))

    def test_cut_both_ways(self) -> None:
        """Two nodes that are cut off from each other reach third ones."""
        self.network.weather = still(cut={(ANNA, BERT): 1, (BERT, ANNA): 1})
        there, back = self.post(), self.bert.transport.post(ANNA, b"body")
        third = self.post(receiver=CARL)
        self.run_until(2)
        self.assert_fails(there, "no answer", late=True)
        self.assert_fails(back, "no answer", late=True)
        self.successResultOf(third)
        self.assertEqual([], self.anna.got + self.bert.got)

    def test_nobody_there(self) -> None:
        """Where nobody listens, the sender is refused at once."""
        self.bert.end()
        self.assert_fails_at(0.2, self.post(), "nobody listens there", late=False)


class StrangeWeatherTests(NetworkTests):
    """Messages that arrive otherwise than they were sent."""

    def test_doubling(self) -> None:
        """A message may arrive twice; its sender gets one answer."""
        self.network.weather = still(doubling=1.0)
        posted = self.post()
        self.run_until(5)
        self.assertEqual([b"body", b"body"], [body for _, body in self.bert.got])
        self.successResultOf(posted)
        self.assertEqual(["answers", "arrives", "arrives again"], sorted(event.what for event in self.trace.recent))

    def test_second_answer(self) -> None:
        """Where the answer to the first of two is lost, the answer to the second one counts."""
        self.network.weather = still(doubling=1.0, cut={(BERT, ANNA): 1})
        posted = self.post()
        self.run_until(0.15)
        self.network.weather.cut.clear()
        self.run_until(0.35)
        self.successResultOf(posted)
        self.run_until(5)

    def test_overtaking(self) -> None:
        """Some messages take much longer, and others overtake them."""
        self.network.weather = still(overtaking=0.5)
        for number in range(20):
            self.send([b"%d" % number])
            self.run_until(self.clock.seconds() + 0.01)
        self.run_until(5)
        order = [int(body) for _, body in self.bert.got]
        self.assertEqual(list(range(20)), sorted(order))
        self.assertNotEqual(list(range(20)), order)

    def test_damage(self) -> None:
        """A body may arrive with a flipped bit or without its end."""
        self.network.weather = still(damage=1.0)
        body = bytes(range(256))
        self.send([body] * 100)
        self.run_until(1)
        arrived = [body for _, body in self.bert.got]
        flipped = [other for other in arrived if len(other) == len(body)]
        cut_short = [other for other in arrived if len(other) < len(body)]
        self.assertTrue(flipped and cut_short)
        bits = {sum((a ^ b).bit_count() for a, b in zip(body, other, strict=True)) for other in flipped}
        self.assertEqual({1}, bits)
        self.assertTrue(all(body.startswith(other) for other in cut_short))

    def test_misrouting(self) -> None:
        """A message may end up at any node."""
        self.network.weather = still(misrouting=1.0)
        self.send([b"body"] * 50)
        self.run_until(1)
        self.assertTrue(self.anna.got and self.bert.got and self.carl.got)
        self.assertEqual(50, len(self.anna.got + self.bert.got + self.carl.got))


class EnvelopeTests(NetworkTests):
    """Nodes notice what the network did to their envelopes."""

    def setUp(self) -> None:
        super().setUp()
        for post in (self.anna, self.bert, self.carl):
            self.network.attach(post.address, post.actor, self.reader(post))

    def reader(self, post: Post) -> Callable[[bytes], bytes]:
        """What a node does with an envelope."""

        def read(body: bytes) -> bytes:
            CODEC.decode(body, post.address)
            post.receive(body)
            return CODEC.encode(Sender(post.address, INSTANCE, "c", 1), ANNA, [encode_message(Bound(INSTANCE))])

        return read

    def envelope(self) -> bytes:
        """An envelope from Anna to Bert."""
        return CODEC.encode(Sender(ANNA, INSTANCE, "c", 1), BERT, [encode_message(Bind())])

    def test_damaged_envelope(self) -> None:
        """A damaged envelope is refused, and its sender told so."""
        self.network.weather = still(damage=1.0)
        self.assert_fails_at(0.2, self.post(self.envelope()), "it answered 400", late=False)
        self.assertEqual([], self.bert.got)

    def test_damaged_answer(self) -> None:
        """An answer that was damaged is noticed when it is opened."""
        posted = self.post(self.envelope())
        self.run_until(0.15)
        self.network.weather.damage = 1.0
        self.run_until(1)
        self.assertRaises(WireError, CODEC.decode, self.successResultOf(posted), ANNA)

    def test_envelope_for_another_node(self) -> None:
        """No node takes what was sent to another one."""
        self.network.weather = still(misrouting=1.0)
        posted = [self.post(self.envelope()) for _ in range(30)]
        self.run_until(1)
        self.assertEqual([], self.anna.got + self.carl.got)
        refused = [post for post in posted if isinstance(post.result, Failure)]
        for post in refused:
            self.assert_fails(post, "it answered 400: the message is for", late=False)
        self.assertEqual(30, len(self.bert.got) + len(refused))
        self.assertTrue(self.bert.got and refused)


class BusyTests(NetworkTests):
    """Processes that have no time, or end meanwhile."""

    def test_paused_host(self) -> None:
        """A process that stands still takes a message when it goes on, though nobody waits for the answer any more."""
        self.bert.actor.paused = True
        posted = self.post()
        self.assert_fails_at(TIMEOUT_SECONDS, posted, "no answer in time", late=True)
        self.run_until(5)
        self.assertEqual([], self.bert.got)
        self.clock.resume(self.bert.actor)
        self.run_until(6)
        self.assertEqual([(5.0, b"body")], self.bert.got)

    def test_short_pause(self) -> None:
        """A process that goes on in time is not too late."""
        self.bert.actor.paused = True
        posted = self.post()
        self.run_until(1)
        self.clock.resume(self.bert.actor)
        self.run_until(1.05)
        self.assertNoResult(posted)
        self.run_until(5)
        self.successResultOf(posted)

    def test_slow_host(self) -> None:
        """A slow process takes messages one after another."""
        self.bert.actor.lag = 0.5
        answers = self.send([b"body"] * 5)
        self.run_until(5)
        self.assertEqual([0.1, 0.6, 1.1, 1.6, 2.1], [round(seconds, 6) for seconds, _ in self.bert.got])
        self.assertEqual(3, len(answers))

    def test_host_that_ends_meanwhile(self) -> None:
        """A process that ends with a message before it never takes it, and no answer comes."""
        self.bert.actor.paused = True
        posted = self.post()
        self.run_until(0.5)
        self.bert.end()
        self.clock.resume(self.bert.actor)
        self.assert_fails_at(TIMEOUT_SECONDS, posted, "no answer in time", late=True)
        self.assertEqual([], self.bert.got)

    def test_host_that_ends_by_the_message(self) -> None:
        """A process that a message makes end closes the connection."""

        def end(body: bytes) -> bytes:
            self.bert.end()
            return b"never sent"

        self.network.attach(BERT, self.bert.actor, end)
        self.assert_fails_at(0.2, self.post(), "it closed the connection", late=False)

    def test_sender_that_ends_meanwhile(self) -> None:
        """Nothing comes back to a sender that has ended, but its message arrives."""
        posted = self.post()
        self.anna.end()
        self.run_until(5)
        self.assertNoResult(posted)
        self.assertEqual(1, len(self.bert.got))

    def test_paused_sender(self) -> None:
        """A sender that stands still hears the answer when it goes on."""
        posted = self.post()
        self.anna.actor.paused = True
        self.run_until(5)
        self.assertNoResult(posted)
        self.clock.resume(self.anna.actor)
        self.run_until(5)
        self.successResultOf(posted)


class TimeoutTests(NetworkTests):
    """A sender waits for so long from the moment when it sent its message, and no longer."""

    def assert_late(self, posted: Deferred[bytes]) -> None:
        """A POST's time runs out; that it is answered later changes nothing."""
        self.assert_fails_at(TIMEOUT_SECONDS, posted, "no answer in time", late=True)
        self.run_until(20)

    def test_slow_way_there(self) -> None:
        """An answer that comes after the time is up is ignored, where the message was slow."""
        self.network.weather = still(slow={(ANNA, BERT): 1.4})
        self.assert_late(self.post())
        self.assertEqual(1, len(self.bert.got))

    def test_slower_still(self) -> None:
        """A message may arrive when nobody waits for its answer any more."""
        self.network.weather = still(slow={(ANNA, BERT): 10.0})
        self.assert_late(self.post())
        self.assertEqual(1, len(self.bert.got))

    def test_slow_way_back(self) -> None:
        """An answer that is itself slow is ignored."""
        self.network.weather = still(slow={(BERT, ANNA): 1.4})
        self.assert_late(self.post())

    def test_slow_refusal(self) -> None:
        """A refusal that is slow is ignored, too."""
        self.network.weather = still(slow={(BERT, ANNA): 1.4})
        self.bert.end()
        self.assert_late(self.post())

    def test_slow_and_lost(self) -> None:
        """Where the answer to a slow message is lost, the sender waits no longer than ever."""
        self.network.weather = still(slow={(ANNA, BERT): 0.7}, cut={(BERT, ANNA): 1})
        self.assert_late(self.post())

    def test_slow_and_busy(self) -> None:
        """Where a slow message meets a busy process, the sender waits no longer than ever."""
        self.network.weather = still(slow={(ANNA, BERT): 0.7})
        self.bert.actor.paused = True
        self.assert_late(self.post())

    def test_in_time(self) -> None:
        """An answer that is just in time counts."""
        self.network.weather = still(slow={(ANNA, BERT): 0.6, (BERT, ANNA): 0.6})
        posted = self.post()
        self.run_until(1.45)
        self.successResultOf(posted)
        self.run_until(20)


class ChanceTests(NetworkTests):
    """What happens is decided by the seed, for each direction by itself."""

    def fates(self, seed: str, busy: bool) -> list[tuple[float, bytes]]:
        """When messages from Anna to Bert arrive and how, with other messages between them or without."""
        self.build(seed)
        self.network.weather = Weather(
            jitter=0.3, loss=0.2, doubling=0.3, overtaking=0.3, damage=0.3, misrouting=0.0, resets=False
        )
        for number in range(40):
            self.send([b"body %d" % number])
            if busy:
                self.send([b"other"], self.carl, ANNA)
                self.send([b"other"], self.anna, CARL)
                self.send([b"other"], self.carl, BERT)
            self.run_until(self.clock.seconds() + 0.1)
        self.run_until(20)
        return [(event.seconds, event.body) for event in self.trace.recent if event.places == (ANNA, BERT)]

    def test_seed(self) -> None:
        """The same seed has the same weather, another one another."""
        self.assertEqual(self.fates("one", busy=False), self.fates("one", busy=False))
        self.assertNotEqual(self.fates("one", busy=False), self.fates("two", busy=False))

    def test_senders(self) -> None:
        """Messages from different senders meet with different fates on their ways to the same node."""
        self.network.weather = still(loss=0.5)
        for number in range(40):
            self.send([b"%d" % number])
            self.send([b"%d" % number], self.carl)
            self.run_until(self.clock.seconds() + 1)
        arrived = [[e.seconds for e in self.trace.recent if e.places == (s, BERT) and e.body] for s in (ANNA, CARL)]
        self.assertTrue(all(arrived))
        self.assertNotEqual(*arrived)

    def test_directions(self) -> None:
        """Messages between others change nothing for those from one node to another."""
        alone = self.fates("one", busy=False)
        self.assertEqual(alone, self.fates("one", busy=True))
        self.assertGreater(len(alone), 40)


class TransportTests(NetworkTests):
    """A process's way onto the network."""

    def test_closed(self) -> None:
        """Nothing goes out by a transport that was closed, but what went out before is answered."""
        before = self.post()
        self.successResultOf(self.anna.transport.close())
        self.assert_fails(self.post(), "the transport is closed", late=False)
        self.run_until(5)
        self.successResultOf(before)
        self.assertEqual(1, len(self.bert.got))
        self.successResultOf(self.anna.transport.close())
