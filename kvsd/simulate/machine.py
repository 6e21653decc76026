"""
Machines: each has an address, a disk, a clock on the wall, and one run of kvsd after another.

What runs is the real node with the real replica, on a simulated clock, network and disk.
"""

from collections.abc import Callable, Iterable
from random import Random
from typing import NamedTuple

from twisted.internet.defer import Deferred

from kvsd.claim import BOOT_BITS, claim, row_table
from kvsd.node import Node
from kvsd.ports import StorageError
from kvsd.replication.configuration import Configuration
from kvsd.replication.limits import Limits
from kvsd.replication.requests import Change, Get, Outcome, Request
from kvsd.replication.token import TokenError
from kvsd.simulate.clock import WALL_MS, Actor, ActorClock, Clock
from kvsd.simulate.disk import DAMAGED, FULL, SYNC_FAILED, Disk, SimulatedStorage, Tables
from kvsd.simulate.door import Answer, Ask, Call, malformed, read_ask, tell
from kvsd.simulate.memory import Memory
from kvsd.simulate.monitor import Monitor
from kvsd.simulate.network import Network, SimulatedTransport
from kvsd.simulate.trace import Trace
from kvsd.simulate.watched import WatchedReplica
from kvsd.wire import WireError

SECRET = b"the secret of a simulated cluster"
REVIVAL_SECONDS = 1.0
"""After this long a supervisor starts a process again that ended by itself."""
STOP_SECONDS = 4.0
GATHERING = 10
"""A slow process gets round to its clients so much less often than to anything: what they ask meanwhile is one turn."""
COPY = "copy of this data directory"
"""What a node says that hears of a second process on a copy of its disk."""
STALE = "older than what was acknowledged"
"""What a node says that finds an old copy of its data under it."""


class World(NamedTuple):
    """What all machines share."""

    clock: Clock
    network: Network
    trace: Trace
    monitor: Monitor
    founding: Configuration
    limits: Limits
    seed: str


class Run(Actor):
    """One run of kvsd on a machine, from its start to its end; ``died`` is told why it ended by itself."""

    def __init__(
        self,
        world: World,
        address: str,
        instance: bytes,
        disk: Disk,
        boot: int,
        wall_ms: Callable[[], int],
        died: Callable[[str], None],
    ) -> None:
        super().__init__()
        self._monitor = world.monitor
        self._calls: dict[Call, None] = {}
        self._arrived: list[tuple[Ask | Change, Call]] = []
        """The requests that the process has not got round to."""
        storage = SimulatedStorage(disk, self)
        identity, self._saved = claim(storage, address, instance, boot, died)
        self.replica = WatchedReplica(identity, world.limits, row_table(storage), world.monitor)
        transport = SimulatedTransport(world.network, self, address)
        self.node = Node(self.replica, ActorClock(world.clock, self), wall_ms, storage, transport, SECRET, died)
        self._memory = Memory(self.node, self.replica, world.monitor)

    def begin(self, founding: Configuration | None, seeds: Iterable[str]) -> None:
        """Take up what the disk knows, or found a cluster, or look for one."""
        self.node.start(self.replica.start(self._saved, founding, seeds, self.node.now()))

    def take(self, ask: Ask | Change, call: Call, clock: Clock) -> None:
        """A client's request is there; it is served when the process gets round to it, with all that came by then."""
        self._calls[call] = None
        self._arrived.append((ask, call))
        if len(self._arrived) == 1:
            clock.after(GATHERING * self.lag, self._serve_all, self)

    def _serve_all(self) -> None:
        arrived, self._arrived = self._arrived, []
        for ask, call in arrived:
            self._serve(ask, call)

    def _serve(self, ask: Ask | Change, call: Call) -> None:
        try:
            request: Request = read_ask(self.node, ask) if isinstance(ask, Ask) else ask
        except TokenError as error:
            self._calls.pop(call)
            call.end(malformed(error))
            return
        if isinstance(request, Get):
            outcome = Deferred.fromCoroutine(self._memory.read(request))
        else:
            outcome = self.node.ask(request)
        call.asked(outcome)
        outcome.addCallbacks(lambda outcome: self._answer(call, outcome), lambda _: self._calls.pop(call, None))
        outcome.addErrback(lambda failure: self._monitor.accuse("no-exception", failure.getTraceback()))

    def _answer(self, call: Call, outcome: Outcome) -> None:
        if not self.gone:
            self._calls.pop(call, None)
            self._monitor.answered(self.replica, outcome)
            call.end(tell(self.node, outcome))

    def end(self) -> None:
        """All is over: nothing that was to come will, and connections break."""
        self.gone = True
        for call in list(self._calls):
            call.end(Answer("none", why="the connection broke"))


class Machine:
    """One of the computers of a cluster, with a supervisor that keeps kvsd running."""

    def __init__(self, world: World, address: str) -> None:
        self.address = address
        self.disk = Disk(world.clock, f"{world.seed} disk {address}")
        self.run: Run | None = None
        self.offset_ms = 0
        """By how much its clock is wrong."""
        self.mute = 0.0
        """The share of answers to clients that get lost."""
        self.kept_down = 0
        """How many faults want it to be down."""
        self.wiped = 0
        """How often its disk was lost."""
        self.joins: tuple[str, ...] = ()
        """The nodes that it asks for their cluster, where it is started to join one and not to found it."""
        self.copied = 0
        """How many second processes run under its address, on copies of its disk."""
        self.right: Tables | None = None
        """Its data, while it runs with an old copy of it."""
        self.world = world
        self._chance = Random(f"{world.seed} machine {address}")

    # Life

    def start(self) -> None:
        """Start kvsd, unless it runs or is to be down; where that fails, the supervisor tries again."""
        if self.run or self.kept_down:
            return
        try:
            self._begin()
        except (StorageError, WireError) as error:
            if isinstance(error, WireError) and not self.wiped:
                raise
            self.tell(f"does not start: {error}")
            if isinstance(error, WireError):
                self.disk.wipe()  # it was full when the node's name was to be written to it
            self.world.clock.after(REVIVAL_SECONDS, self.start)

    def _begin(self) -> None:
        boot = self._chance.getrandbits(BOOT_BITS)
        instance = f"{self.address} {self.wiped}".encode().ljust(16, b".")[-16:]
        run = Run(self.world, self.address, instance, self.disk, boot, self.wall_ms, lambda why: self._died(run, why))
        self.run = run
        self.world.network.attach(self.address, run, run.node.receive)
        self.tell("starts")
        founding = self.world.founding
        founds = self.address in founding.nodes and not self.joins
        run.begin(founding if founds else None, () if founds else self.joins or founding.nodes)

    def crash(self) -> None:
        """The process ends this moment: what was not synced is gone, or most of it."""
        if self.run:
            self._end()
            self.tell(f"crashes, with {self.disk.crash()} unsynced commits lost")

    def stop(self) -> None:
        """End kvsd in an orderly way."""
        run = self.run
        if run:
            self.tell("is asked to stop")
            stopped = Deferred.fromCoroutine(run.node.stop(STOP_SECONDS))
            stopped.addErrback(lambda failure: failure.trap(StorageError))
            stopped.addCallback(lambda _: self._stopped(run))
            stopped.addErrback(lambda failure: self.world.monitor.accuse("no-exception", failure.getTraceback()))

    def put_back(self, old: Tables) -> None:
        """Start again with an old copy of the data; the right one is put back when kvsd refuses to go on."""
        self.crash()
        self.right, self.disk.tables = self.disk.tables, {table: dict(entries) for table, entries in old.items()}
        self.tell("gets an old copy of its data")
        self.start()

    def wipe(self) -> None:
        """Start again with an empty disk."""
        if self.run:
            for shard in self.run.replica.state.roles:
                self.world.monitor.dropped.add((self.address, shard))
        self.crash()
        self.wiped += 1
        self.disk.wipe()
        self.tell("has an empty disk")
        self.start()

    def mend(self) -> None:
        """Make everything right again."""
        self.kept_down, self.offset_ms, self.mute = 0, 0, 0.0
        self.disk.mend()
        if self.run:
            self.run.lag = 0.0
            self.world.clock.resume(self.run)
        self.start()

    def _stopped(self, run: Run) -> None:
        if run is self.run:
            self._end()
            self.tell("has stopped")

    def _died(self, run: Run, why: str) -> None:
        if run is not self.run:
            return
        found_out = self.right is not None and STALE in why
        doubled = self.copied and COPY in why
        too_full = self.wiped and FULL in why  # not even its name could be written
        if SYNC_FAILED not in why and DAMAGED not in why and not found_out and not too_full and not doubled:
            self.world.monitor.accuse("fail-stop", f"{self.address} ended by itself: {why}")
        self._end()
        self.disk.crash()
        self.tell(f"ends by itself: {why}")
        if found_out and self.right:
            self.disk.tables, self.right = self.right, None

    def _end(self) -> None:
        """The process is gone; a supervisor starts it again, unless somebody else did."""
        assert self.run is not None, "only what runs can end"
        self.world.network.detach(self.address)
        self.run.end()
        self.run = None
        self.world.clock.after(REVIVAL_SECONDS, self.start)

    def wall_ms(self) -> int:
        """Return the time that its clock shows, in milliseconds."""
        return WALL_MS + int(self.world.clock.seconds() * 1000) + self.offset_ms

    def tell(self, what: str) -> None:
        """Take down what happens to it."""
        self.world.trace.tell((self.address,), what)

    # Clients

    def ask(self, ask: Ask | Change, answered: Callable[[Answer], None]) -> Call:
        """A client asks; it hears an answer, or that there is none, or nothing at all."""
        latency = 0.0003 + 0.002 * self._chance.random()
        call = Call(self.world.clock, latency, answered)
        self.world.clock.after(latency, lambda: self._arrive(ask, call))
        return call

    def _arrive(self, ask: Ask | Change, call: Call) -> None:
        run = self.run
        if run is None:
            call.end(Answer("none", why="nobody listens there"))
            return
        heard = call
        if self.mute and self._chance.random() < self.mute:
            heard = Call(self.world.clock, 0.0, lambda _: None)
        run.take(ask, heard, self.world.clock)
