"""Correspondence with peers: two lanes to each, and what is made of POSTs that were not answered."""

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from kvsd.link import PAUSE_SECONDS
from kvsd.links import MAX_STRANGE_LINKS, Links
from kvsd.ports import NO_FLOW, Flow, PeerUnreachable, Transport
from kvsd.replication.limits import Limits
from kvsd.replication.liveness import Fate
from kvsd.replication.messages import Acknowledged, Forward, Forwarded, Heartbeat, Message, Push, Sender
from kvsd.replication.requests import Absent, Get
from kvsd.replication.state import Identity, State
from kvsd.replication.token import EMPTY
from kvsd.wire import EnvelopeCodec, encode_message
from tests.builders import make_op

ANNA, BERT, CARL = "10.0.0.1:8090", "10.0.0.2:8090", "10.0.0.3:8090"
FORWARD = Forward(1, Get("key", EMPTY))
FORWARDED = Forwarded(1, Absent("s0", EMPTY))
ACKNOWLEDGED = Acknowledged("s0", b"bertha", b"annabe", 7)
PUSH = Push([])
HEARTBEAT = Heartbeat(1, 0, 0, {}, {}, {}, {})


class Slow(Transport):
    """Leaves every POST open; ``posts`` has the receiver and the envelope of each, and the Deferred of its answer."""

    def __init__(self) -> None:
        self.posts: list[tuple[str, bytes, Deferred[bytes]]] = []
        self.flows: dict[str, Flow] = {}

    def flow(self, address: str) -> Flow:
        """How far POSTs have come, as the test has it."""
        return self.flows.get(address, NO_FLOW)

    def post(self, address: str, body: bytes) -> Deferred[bytes]:
        """Take a POST."""
        self.posts.append((address, body, Deferred()))
        return self.posts[-1][2]

    def close(self) -> Deferred[None]:
        """There is nothing to close."""
        return succeed(None)


class Broken(Slow):
    """Raises what no transport should, at once or later."""

    def __init__(self, *, at_once: bool) -> None:
        super().__init__()
        self._at_once = at_once

    def post(self, address: str, body: bytes) -> Deferred[bytes]:
        """Refuse a POST."""
        self.posts.append((address, body, Deferred()))
        if self._at_once:
            raise OSError(99, "Cannot assign requested address")
        return fail(UnicodeError("label too long"))


class LinksTests(SynchronousTestCase):
    """A node's links, with POSTs that the test answers."""

    def setUp(self) -> None:
        """Make the links of a node."""
        self.build(Slow())

    def build(self, transport: Slow) -> None:
        """Make the links of a node over a transport."""
        self.clock = Clock()
        self.clock.advance(100)
        self.slow = transport
        self.fates: list[tuple[str, Fate]] = []
        self.heard: list[Message] = []
        self.crashes: list[Failure] = []
        self.codec = EnvelopeCodec(b"secret")
        self.state = State(Identity(ANNA, b"a" * 16, 1), Limits())
        self.links = Links(
            self.state,
            self.slow,
            b"secret",
            lambda _, messages: self.heard.extend(messages),
            lambda peer, fate: self.fates.append((peer, fate)),
            self.crashes.append,
            self.clock,
            lambda messages, seconds, ok: None,
        )

    def send(self, peer: str, *messages: Message) -> None:
        """Send messages at the end of a turn."""
        for message in messages:
            self.links.send(peer, message)
        self.links.flush()

    def said(self) -> list[tuple[str, list[Message]]]:
        """What was posted, by receiver."""
        return [(address, self.codec.decode(body, address)[1]) for address, body, _ in self.slow.posts]

    def answer(self, number: int, *messages: Message) -> None:
        """Answer a POST, and let a moment pass."""
        address, _, posted = self.slow.posts[number]
        sender = Sender(address, b"b" * 16, "", 0)
        posted.callback(self.codec.encode(sender, ANNA, [encode_message(message) for message in messages]))
        self.clock.advance(PAUSE_SECONDS)

    def lose(self, number: int, *, late: bool) -> None:
        """Have a POST fail."""
        self.slow.posts[number][2].errback(PeerUnreachable("a reason", late=late))

    def test_two_lanes(self) -> None:
        """What somebody waits for does not wait behind a POST of other things, nor the other way round."""
        self.send(BERT, PUSH)
        self.send(BERT, FORWARD, PUSH, FORWARDED, ACKNOWLEDGED)
        self.send(BERT, FORWARD)
        self.assertEqual(self.said(), [(BERT, [PUSH]), (BERT, [FORWARD, FORWARDED, ACKNOWLEDGED])])
        self.answer(0)
        self.assertEqual(self.said()[2:], [(BERT, [PUSH])])
        self.answer(1, FORWARDED)
        self.assertEqual(self.said()[3:], [(BERT, [FORWARD])])
        self.assertEqual((self.heard, self.fates), ([FORWARDED], [(BERT, Fate.ANSWERED)] * 2))

    def test_what_is_little_goes_along(self) -> None:
        """What is due in both lanes at one moment is one POST, what somebody waits for first, unless the rest is large."""
        self.send(BERT, PUSH, ACKNOWLEDGED, PUSH)
        self.assertEqual(self.said(), [(BERT, [ACKNOWLEDGED, PUSH, PUSH])])
        self.send(BERT, PUSH)
        self.assertEqual(self.said()[1:], [(BERT, [PUSH])])
        large = Push([make_op(b"annabe", number, value=b"x" * 30_000) for number in (1, 2, 3)])
        self.send(CARL, large, FORWARD)
        self.assertEqual(self.said()[2:], [(CARL, [large]), (CARL, [FORWARD])])

    def test_what_is_large_holds_nothing_up(self) -> None:
        """A heartbeat, a small write and a forwarded request do not wait behind a large value, nor does a heartbeat behind those."""
        large = Push([make_op(b"annabe", 1, value=b"x" * 70_000)])
        self.send(BERT, large)
        self.send(BERT, PUSH)
        self.send(BERT, FORWARD)
        self.send(BERT, HEARTBEAT)
        self.assertEqual([messages for _, messages in self.said()], [[large], [PUSH], [FORWARD], [HEARTBEAT]])
        self.send(CARL, HEARTBEAT, PUSH)
        self.assertEqual(self.said()[4:], [(CARL, [PUSH, HEARTBEAT])])

    def look(self, *flows: Flow) -> None:
        """Look as often at how far POSTs to Bert have come, a second apart."""
        for flow in flows:
            self.slow.flows[BERT] = flow
            self.clock.advance(1.0)
            self.links.look()

    def test_slow_ways(self) -> None:
        """A way is slow while bytes wait on it and others arrive; not where none arrives, nor where none waits."""
        self.send(BERT, PUSH)
        self.send(BERT, PUSH)
        ways = self.state.slow_ways
        self.look(Flow(0, 900_000))
        self.assertEqual(ways.out, {})
        self.look(Flow(300_000, 600_000))
        self.assertEqual((ways.out[BERT].bytes_per_second, ways.out[BERT].backlog > 600_000), (300_000.0, True))
        self.look(Flow(300_000, 600_000))
        self.assertEqual(ways.out, {})
        self.look(Flow(800_000, 100_000), Flow(900_000, 0))
        self.assertEqual(ways.out, {})

    def test_slow_ways_get_short_posts(self) -> None:
        """On a slow way a POST takes about a quarter of a second, and longer ones again where it is not slow any more."""
        small = Push([make_op(b"annabe", 1, value=b"x" * 20_000)])
        self.send(BERT, PUSH)
        self.look(Flow(0, 900_000), Flow(200_000, 700_000))
        self.send(BERT, *[small] * 12)
        self.answer(0)
        self.answer(1)
        self.answer(2)
        self.assertEqual([len(messages) for _, messages in self.said()], [1, 2, 4, 6])

    def test_answers_keep_their_lane(self) -> None:
        """The answer to a POST carries what is ready in its lane, and that is not sent again."""
        for message in (PUSH, FORWARDED, PUSH):
            self.links.send(BERT, message)
        self.assertEqual(self.codec.decode(self.links.reply(BERT, [FORWARD]), BERT)[1], [FORWARDED])
        self.assertEqual(self.codec.decode(self.links.reply(BERT, [PUSH]), BERT)[1], [PUSH, PUSH])
        self.assertEqual(self.codec.decode(self.links.reply(BERT, []), BERT)[1], [])
        self.links.flush()
        self.assertEqual(self.slow.posts, [])

    def test_one_silence_is_one_late_post(self) -> None:
        """Where both lanes meet one silence, that is one late POST; the next silence is another."""
        self.send(BERT, PUSH)
        self.send(BERT, FORWARD)
        self.clock.advance(1.5)
        self.lose(0, late=True)
        self.clock.advance(0.1)
        self.lose(1, late=True)
        self.assertEqual(self.fates, [(BERT, Fate.LATE)])
        self.send(BERT, FORWARD)
        self.clock.advance(1.5)
        self.lose(2, late=True)
        self.assertEqual(self.fates, [(BERT, Fate.LATE)] * 2)

    def test_silences_are_told_apart_by_peer(self) -> None:
        """Two peers that are silent are two."""
        self.send(BERT, PUSH)
        self.send(CARL, PUSH)
        self.clock.advance(1.5)
        self.lose(0, late=True)
        self.lose(1, late=True)
        self.assertEqual(self.fates, [(BERT, Fate.LATE), (CARL, Fate.LATE)])

    def test_every_failure_is_told(self) -> None:
        """A connection that fails is told of in either lane, and so is an answer that nobody in the cluster made."""
        self.send(BERT, PUSH)
        self.send(BERT, FORWARD)
        self.lose(0, late=False)
        self.slow.posts[1][2].callback(b"forged")
        self.assertEqual((self.fates, self.crashes), ([(BERT, Fate.FAILED)] * 2, []))

    def test_whatever_goes_wrong_is_a_peer_out_of_reach(self) -> None:
        """An error that no transport is known to raise says that the peer can't be reached, and is no end of the node."""
        for at_once in (True, False):
            self.build(Broken(at_once=at_once))
            self.send(BERT, PUSH)
            self.send(CARL, PUSH, FORWARD)
            self.assertEqual([(BERT, Fate.FAILED), (CARL, Fate.FAILED)], sorted(set(self.fates)))
            self.assertEqual([], self.crashes)

    def test_strangers_are_forgotten(self) -> None:
        """Of nodes that are no peers nothing is kept for long, however many speak; what is under way to them goes on."""
        strangers = [f"10.1.{number // 250}.{number % 250}:80" for number in range(2 * MAX_STRANGE_LINKS)]
        for stranger in strangers:
            self.links.reply(stranger, [])
        self.send(BERT, PUSH)
        self.assertEqual([BERT], sorted({peer for peer, _ in self.links._links}))
        self.answer(0)
        self.assertEqual([(BERT, Fate.ANSWERED)], self.fates)
