"""
A cluster of replicas without nodes: the pure core, with messages, time and disks moved by hand.

Messages travel as real envelopes.  Disks are durable at once unless a test holds them.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from kvsd.entries import entries, owner_entry, saved
from kvsd.replication.configuration import Configuration, founding_configuration
from kvsd.replication.effects import Effect, Halt, Note, Now, Reply, Send, Write
from kvsd.replication.limits import Limits
from kvsd.replication.liveness import Fate
from kvsd.replication.messages import Message, Sender
from kvsd.replication.occupant import Contested
from kvsd.replication.replica import Replica
from kvsd.replication.requests import Get, Outcome, Put, Request
from kvsd.replication.saved import Saved
from kvsd.replication.state import Identity
from kvsd.replication.token import EMPTY, Token
from kvsd.rows import RowTable
from kvsd.wire import EnvelopeCodec, encode_message
from tests.tables import row_table

START_WALL_MS = 1_800_000_000_000
ADDRESSES = tuple(f"10.0.0.{number}:8090" for number in range(1, 7))


def rows_on(disk: Mapping[tuple[str, bytes], bytes]) -> RowTable:
    """The rows on a disk, to be read."""
    return row_table(lambda: {key: value for (table, key), value in disk.items() if table == "rows"})


class Watched(int):
    """A ticket that counts how often one like it is compared with another."""

    looks = 0
    __hash__ = int.__hash__

    def __eq__(self, other: object) -> bool:
        """Compare as a number does."""
        Watched.looks += 1
        return int(self) == other

    def __ne__(self, other: object) -> bool:
        """Compare as a number does."""
        Watched.looks += 1
        return int(self) != other


@dataclass
class Site:
    """One node: its replica, its disk, and what it was told to do and has not done yet."""

    replica: Replica
    address: str
    disk: dict[tuple[str, bytes], bytes] = field(default_factory=dict)
    unsynced: list[Write] = field(default_factory=list)
    held: list[Send | Reply] = field(default_factory=list)
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    halted: str = ""
    durable: int = 0
    holding: bool = False
    """Whether the disk syncs nothing for now."""
    up: bool = True
    wall_offset_ms: int = 0


class PureCluster:
    """Some replicas and the messages between them."""

    def __init__(self, nodes: int = 6, shards: int = 2, limits: Limits | None = None) -> None:
        self.configuration: Configuration = founding_configuration(ADDRESSES[:nodes], shards)
        self.limits = limits or Limits()
        self.time = 1000.0
        self.sites: dict[str, Site] = {}
        self.claimants: list[Site] = []
        """Processes that speak under the address of another one and can't be reached, but for answers to what they send."""
        self.cut: Callable[[str, str, Message], bool] = lambda sender, receiver, message: False
        self.sent: list[tuple[str, str, Message]] = []
        self._codec = EnvelopeCodec(b"secret")
        self._ticket = 0
        self._boot = 0
        for address in self.configuration.nodes:
            self.boot(address, instance=address.encode().ljust(16, b"\0"))

    # Life

    def boot(self, address: str, instance: bytes) -> Site:
        """Start a node with an empty disk, to found the cluster."""
        site = self.start(address, instance)
        self.perform(site, site.replica.start(Saved(), self.configuration, (), self.now(site)))
        return site

    def start(self, address: str, instance: bytes = b"a fresh instance") -> Site:
        """Start a node with an empty disk that was not told what to do yet."""
        self._boot += 1
        disk: dict[tuple[str, bytes], bytes] = {}
        site = Site(Replica(Identity(address, instance, self._boot), self.limits, rows_on(disk)), address, disk)
        self.sites[address] = site
        table, key, value = owner_entry(instance, address)
        assert value is not None
        site.disk[table, key] = value
        return site

    def crash(self, address: str) -> None:
        """Kill a node: what was not synced is gone."""
        self.sites[address].up = False

    def restart(self, address: str) -> Site:
        """Start a killed node again, with its disk."""
        old = self.sites[address]
        self._boot += 1
        identity = old.replica.state.identity._replace(boot=self._boot)
        disk = dict(old.disk)
        site = Site(Replica(identity, self.limits, rows_on(disk)), address, disk, wall_offset_ms=old.wall_offset_ms)
        meta, ops = (
            [(key, value) for (table, key), value in sorted(disk.items()) if table == name] for name in ("meta", "ops")
        )
        _, state = saved(meta, ops)
        self.sites[address] = site
        self.perform(site, site.replica.start(state, self.configuration, (), self.now(site)))
        return site

    def outlive(self, address: str) -> None:
        """Have all others take the process at an address to be silent for so long that another may take its place."""
        for site in self.live():
            if peer := site.replica.state.liveness.peers.get(address):
                peer.occupant.spoke = self.time - self.limits.down_seconds

    def claim(self, address: str, instance: bytes) -> Site:
        """Start a second process under the address of a node, with an empty disk."""
        first = self.sites[address]
        claimant = self.boot(address, instance)
        self.sites[address] = first
        self.claimants.append(claimant)
        return claimant

    def copy(self, address: str) -> Site:
        """Start a second process under the address of a node, with a copy of its disk."""
        first = self.sites[address]
        claimant = self.restart(address)
        self.sites[address] = first
        self.claimants.append(claimant)
        return claimant

    def isolate(self, *addresses: str) -> None:
        """Cut the links between these nodes and all others."""
        inside = set(addresses)
        self.cut = lambda sender, receiver, message: (sender in inside) != (receiver in inside)

    def heal(self) -> None:
        """Mend all links."""
        self.cut = lambda sender, receiver, message: False

    # Time

    def now(self, site: Site) -> Now:
        """The time at a node."""
        return Now(self.time, START_WALL_MS + int(self.time * 1000) + site.wall_offset_ms)

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.time + seconds
        while self.time < end - 1e-9:
            self.time += self.limits.tick_seconds
            for site in self.live():
                self.perform(site, site.replica.tick(self.now(site)))

    def live(self) -> list[Site]:
        """The nodes that run."""
        return [site for site in (*self.sites.values(), *self.claimants) if site.up and not site.halted]

    def founded(self) -> "PureCluster":
        """The cluster, once every node serves and knows of all the others."""
        self.run(1.5)
        assert all(site.replica.state.founded for site in self.live())
        return self

    # Clients

    def submit(self, address: str, request: Request) -> int:
        """Put a request to a node; returns its ticket."""
        return self.submit_all(address, request)[0]

    def submit_all(self, address: str, *requests: Request) -> list[int]:
        """Put requests to a node, all in one event; returns their tickets."""
        site = self.sites[address]
        asked = list(enumerate(requests, self._ticket + 1))
        self._ticket += len(asked)
        self.perform(site, site.replica.submit(asked, self.now(site)))
        return [ticket for ticket, _ in asked]

    def ask(self, address: str, request: Request) -> Outcome:
        """Put a request to a node that answers it at once."""
        return self.sites[address].outcomes[self.submit(address, request)]

    def put(self, address: str, key: str, value: str | None, token: Token = EMPTY) -> Token:
        """Write and return the new token."""
        outcome = self.ask(address, Put(key, None if value is None else value.encode(), token))
        token_after: Token = outcome.token  # type: ignore[union-attr]
        return token_after

    def get(self, address: str, key: str, token: Token = EMPTY, wait: float = 0.0) -> Outcome:
        """Read."""
        return self.ask(address, Get(key, token, wait))

    def members(self, shard: str) -> list[str]:
        """The members of a shard."""
        return self.configuration.members(shard)

    def key_of(self, shard: str, name: str = "key") -> str:
        """A key that lives in a shard."""
        state = next(iter(self.sites.values())).replica.state
        return next(key for key in (f"{name}{n}" for n in range(1000)) if state.shard_of(key)[1] == shard)

    # Disks

    def sync(self, site: Site) -> None:
        """Make everything that a node wrote durable, and release what waited for it."""
        while site.unsynced:
            write = site.unsynced.pop(0)
            for table, key, value in entries(write.changes):
                if value is None:
                    site.disk.pop((table, key), None)
                else:
                    site.disk[table, key] = value
            site.durable = write.position
            self.perform(site, site.replica.synced(write.position, self.now(site)))
        released = [effect for effect in site.held if effect.after <= site.durable]
        site.held = [effect for effect in site.held if effect.after > site.durable]
        for effect in released:
            self._release(site, effect)

    # Effects

    def sender(self, site: Site) -> Sender:
        """How a node signs its messages."""
        state = site.replica.state
        cluster = state.configuration.cluster if state.configuration else ""
        branch = state.configuration.branch(state.epoch) if state.configuration else b""
        return Sender(site.address, state.identity.instance, cluster, state.epoch, branch, state.identity.boot)

    def perform(self, site: Site, effects: Iterable[Effect]) -> None:
        """Do what a replica wants, as far as its disk allows."""
        for effect in effects:
            match effect:
                case Write():
                    site.unsynced.append(effect)
                case Send() | Reply():
                    site.held.append(effect)
                case Note():
                    site.notes.append(effect)
                case Halt(reason):
                    site.halted = reason
        if not site.holding:
            self.sync(site)
        else:
            released = [effect for effect in site.held if effect.after <= site.durable]
            site.held = [effect for effect in site.held if effect.after > site.durable]
            for effect in released:
                self._release(site, effect)

    def _release(self, site: Site, effect: Send | Reply) -> None:
        if isinstance(effect, Reply):
            site.outcomes[effect.ticket] = effect.outcome
            return
        self.sent.append((site.address, effect.peer, effect.message))
        self._carry(site, effect)

    def _carry(self, site: Site, effect: Send) -> None:
        target = self._target(effect)
        if target is None or not target.up or target.halted or self.cut(site.address, effect.peer, effect.message):
            if target is None or not target.up or target.halted:
                self.perform(site, site.replica.posted(effect.peer, Fate.FAILED, self.now(site)))
            return
        sender = self.sender(site)
        body = self._codec.encode(sender, effect.peer, [encode_message(effect.message)])
        self.perform(target, target.replica.receive(*self._codec.decode(body, effect.peer), self.now(target)))

    def _target(self, effect: Send) -> Site | None:
        message = effect.message
        if not isinstance(message, Contested):
            return self.sites.get(effect.peer)
        told = message.instance, message.boot
        claimants = (site for site in self.claimants if site.replica.state.identity[1:] == told)
        return next(claimants, self.sites.get(effect.peer))


def with_limits(**changes: float) -> Limits:
    """The default limits with some changed."""
    return replace(Limits(), **changes)  # type: ignore[arg-type]
