"""
The network between nodes: every message may be late, lost, doubled, overtaken or damaged, by the weather at hand.

It carries the bytes of POSTs and of their answers.  What it does to each is drawn from a stream of random numbers of
its own for every direction, so that a change in one place leaves all others as they were.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from twisted.internet.defer import Deferred, fail, succeed
from typing_extensions import override

from kvsd.ports import Flow, PeerUnreachable, Transport
from kvsd.simulate.clock import Actor, Clock, Timer
from kvsd.simulate.pipes import Direction, Load, Pipes
from kvsd.simulate.trace import Trace
from kvsd.wire import WireError

TIMEOUT_SECONDS = 1.5
"""As long as the real transport waits while nothing moves."""
OVERTAKEN_SECONDS = 3.0
HEAD_BYTES = 200
"""What HTTP adds to each body, about."""


@dataclass
class Weather:
    """What the network does to messages: seconds of delay, and shares of them that suffer something."""

    delay: float = 0.0004
    jitter: float = 0.001
    loss: float = 0.0
    doubling: float = 0.0
    overtaking: float = 0.0
    """The share of messages that take up to OVERTAKEN_SECONDS longer, in which others overtake them."""
    damage: float = 0.0
    misrouting: float = 0.0
    """The share of messages that reach another node than they were sent to."""
    slow: dict[Direction, float] = field(default_factory=dict)
    """Directions with a delay of their own, in seconds."""
    narrow: dict[Direction, float] = field(default_factory=dict)
    """Directions that carry only so many bytes in a second."""
    cut: dict[Direction, int] = field(default_factory=dict)
    """Directions in which nothing passes, and how many faults cut them."""
    raising: dict[Direction, int] = field(default_factory=dict)
    """Directions in which not even connecting can be begun, as the system refuses it, and how many faults have it so."""
    resets: bool = False
    """Whether a message that can't pass is refused at once, instead of vanishing."""


@dataclass
class Host:
    """A process at its address."""

    actor: Actor
    receive: Callable[[bytes], bytes]


class Network:
    """Carries POSTs between the processes that are attached to it."""

    def __init__(self, clock: Clock, trace: Trace, seed: str) -> None:
        self.weather = Weather()
        self.clock = clock
        self._trace = trace
        self._seed = seed
        self._hosts: dict[str, Host] = {}
        self._chances: dict[Direction, Random] = {}
        self.pipes = Pipes(clock, self._rate)
        self.carried = 0

    def attach(self, address: str, actor: Actor, receive: Callable[[bytes], bytes]) -> None:
        """From now on a process takes what is sent to the address; it raises an exception to refuse it."""
        self._hosts[address] = Host(actor, receive)

    def detach(self, address: str) -> None:
        """Nobody is at the address any more."""
        del self._hosts[address]

    def post(self, actor: Actor, sender: str, receiver: str, body: bytes) -> Deferred[bytes]:
        """
        Carry a body to an address; the answer comes to the actor, unless it is PeerUnreachable.

        Raises OSError in weather in which connecting raises.
        """
        if (sender, receiver) in self.weather.raising:
            self.note((sender, receiver), "can't be sent")
            raise OSError(99, "Cannot assign requested address")
        exchange = _Exchange(self, actor, sender, receiver)
        exchange.send(body)
        return exchange.answered

    # For exchanges

    def _rate(self, direction: Direction) -> float | None:
        """How many bytes a direction carries in a second, where it is narrow; what is cut carries none."""
        rate = self.weather.narrow.get(direction)
        return 0.0 if rate and direction in self.weather.cut else rate

    def call(self, seconds: float, call: Callable[[], object], actor: Actor | None = None) -> Timer:
        """Have something called later."""
        return self.clock.after(seconds, call, actor)

    def destination(self, direction: Direction) -> Host | None:
        """The process that the next message ends up at."""
        chance = self._chance(direction)
        if self.weather.misrouting and chance.random() < self.weather.misrouting and self._hosts:
            return self._hosts[chance.choice(sorted(self._hosts))]
        return self._hosts.get(direction[1])

    def delay(self, direction: Direction) -> float:
        """How many seconds the next message takes."""
        weather, chance = self.weather, self._chance(direction)
        delay = weather.delay + weather.slow.get(direction, 0.0) + weather.jitter * chance.random()
        if weather.overtaking and chance.random() < weather.overtaking:
            delay += OVERTAKEN_SECONDS * chance.random()
        return delay

    def passes(self, direction: Direction) -> bool:
        """Whether the next message gets through."""
        weather = self.weather
        if direction in weather.cut:
            return False
        return not weather.loss or self._chance(direction).random() >= weather.loss

    def doubles(self, direction: Direction) -> bool:
        """Whether the next message arrives twice."""
        return self.weather.doubling > 0 and self._chance(direction).random() < self.weather.doubling

    def arriving(self, direction: Direction, what: str, body: bytes) -> bytes:
        """The body as it arrives: as it was sent, or with a flipped bit or a lost end."""
        self.carried += 1
        if self.weather.damage and body and self._chance(direction).random() < self.weather.damage:
            body = _damaged(body, self._chance(direction))
            what += " damaged"
        self._trace.note(direction, what, body)
        return body

    def note(self, direction: Direction, what: str) -> None:
        """Something happened on the way."""
        self._trace.note(direction, what)

    def _chance(self, direction: Direction) -> Random:
        if direction not in self._chances:
            self._chances[direction] = Random(f"{self._seed} {direction[0]} {direction[1]}")
        return self._chances[direction]


def _damaged(body: bytes, chance: Random) -> bytes:
    place = chance.randrange(len(body))
    if chance.random() < 0.3:
        return body[:place]
    return body[:place] + bytes([body[place] ^ 1 << chance.randrange(8)]) + body[place + 1 :]


class _Exchange:
    """One POST and its answer."""

    def __init__(self, network: Network, actor: Actor, sender: str, receiver: str) -> None:
        self._network = network
        self._actor = actor
        self._there = (sender, receiver)
        self._back = (receiver, sender)
        self._late = network.clock.seconds() + TIMEOUT_SECONDS
        """When the sender gives up."""
        self._deadline: Timer | None = None
        self.answered: Deferred[bytes] = Deferred()

    def send(self, body: bytes) -> None:
        """The request sets out."""
        network, there = self._network, self._there
        if not network.passes(there):
            network.note(there, "lost")
            self._lose()
            return
        delay = network.delay(there)
        if delay >= TIMEOUT_SECONDS:
            self._give_up_in_time()
        self._carry(there, len(body), lambda: network.call(delay, lambda: self._arrive(body, "arrives")))
        if network.doubles(there):
            network.call(delay + network.delay(there), lambda: self._arrive(body, "arrives again"))

    def _carry(self, direction: Direction, size: int, arrived: Callable[[], object]) -> None:
        """Have bytes carried, which takes long where the way is narrow; as long as they move, the sender waits."""
        pipe = self._network.pipes.of(direction)
        if pipe is None:
            arrived()
        else:
            self._give_up_in_time()
            pipe.carry(Load(size + HEAD_BYTES, self._moved, arrived, lambda: not self.answered.called))

    def _moved(self) -> None:
        """Some bytes have arrived: the sender waits for the next ones."""
        self._late = self._network.clock.seconds() + TIMEOUT_SECONDS
        if self._deadline and self._deadline.active():
            self._deadline.reset(TIMEOUT_SECONDS)

    def _arrive(self, body: bytes, what: str) -> None:
        """The request reaches the machine; a process that is busy takes it later."""
        host = self._network.destination(self._there)
        if host is None:
            self._network.note(self._there, "finds nobody")
            self._refuse("nobody listens there")
        elif host.actor.is_busy(self._network.clock.seconds()):
            self._give_up_in_time()
            self._network.call(0.0, lambda: self._take(host, body, what), host.actor)
        else:
            self._take(host, body, what)

    def _take(self, host: Host, body: bytes, what: str) -> None:
        """The process takes the request."""
        try:
            answer = host.receive(self._network.arriving(self._there, what, body))
        except WireError as error:
            self._refuse(f"it answered 400: {error}")
            return
        if host.actor.gone:
            self._refuse("it closed the connection")
        elif self._network.passes(self._back):
            self._carry(self._back, len(answer), lambda: self._return(lambda: self._end(answer)))
        else:
            self._network.note(self._back, "answer lost")
            self._lose()

    def _return(self, arrive: Callable[[], None]) -> None:
        """Something is on its way back, for longer maybe than the sender waits."""
        delay = self._network.delay(self._back)
        if self._network.clock.seconds() + delay >= self._late:
            self._give_up_in_time()
        self._network.call(delay, arrive, self._actor)

    def _end(self, answer: bytes) -> None:
        """The answer is there; one that nobody waits for any more, or the second, goes nowhere."""
        if not self.answered.called:
            self._stop_waiting()
            self.answered.callback(self._network.arriving(self._back, "answers", answer))

    # Failing

    def _refuse(self, why: str) -> None:
        self._return(lambda: self._fail(why, late=False))

    def _lose(self) -> None:
        """Nothing will come: the sender finds out by a reset, or only by waiting."""
        if self._network.weather.resets:
            self._refuse("the connection was reset")
        else:
            self._give_up_in_time()

    def _give_up_in_time(self) -> None:
        """Have the sender wait no longer than it does; only for what may take so long, for timers cost time."""
        if self._deadline is None and not self.answered.called:
            self._deadline = self._network.clock.at(
                self._late, lambda: self._fail("no answer in time", late=True), self._actor
            )

    def _fail(self, why: str, *, late: bool) -> None:
        if not self.answered.called:
            self._stop_waiting()
            self.answered.errback(PeerUnreachable(f"{self._there[1]}: {why}", late=late))

    def _stop_waiting(self) -> None:
        if self._deadline and self._deadline.active():
            self._deadline.cancel()


class SimulatedTransport(Transport):
    """A process's way onto the network."""

    def __init__(self, network: Network, actor: Actor, address: str) -> None:
        self._network = network
        self._actor = actor
        self._address = address
        self._closed = False

    def post(self, address: str, body: bytes) -> Deferred[bytes]:
        """Hand a body to a peer; what went out before the transport was closed is answered all the same."""
        if self._closed:
            return fail(PeerUnreachable(f"{address}: the transport is closed"))
        return self._network.post(self._actor, self._address, address, body)

    @override
    def flow(self, address: str) -> Flow:
        """How far POSTs to a peer have come."""
        return self._network.pipes.flow(self._address, address)

    def close(self) -> Deferred[None]:
        """Send nothing any more."""
        self._closed = True
        return succeed(None)
