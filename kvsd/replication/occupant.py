"""
Occupants: the process that speaks for an address, as one node knows it, and what is said to others.

See :mod:`kvsd.replication.occupancy` for the rules.
"""

from collections import deque
from typing import Annotated, NamedTuple

from msgspec import Meta, Struct

from kvsd.replication.causality import Counter

Boot = Annotated[int, Meta(ge=0, lt=2**62)]

FORMER = 8
"""How many processes are remembered that gave way to the one that speaks for an address."""


class Contested(Struct, frozen=True, array_like=True, tag=True):
    """
    Another process speaks for your address, and has been silent for so long.

    ``instance`` and ``boot`` name the process that this is said to, as two may get what is sent to one address;
    ``incumbent`` is the instance of the other.
    """

    instance: Annotated[bytes, Meta(min_length=16, max_length=16)]
    boot: Boot
    incumbent: Annotated[bytes, Meta(max_length=16)]
    silent_ms: Annotated[int, Meta(ge=0, lt=2**62)]


class Forked(Struct, frozen=True, array_like=True, tag=True):
    """
    A replica of mine holds another op of yours under a number that you have used, too.

    ``instance`` and ``boot`` name the process that issued the later one of the two, which this is said to.
    """

    instance: Annotated[bytes, Meta(min_length=16, max_length=16)]
    boot: Boot
    shard: str
    counter: Counter


class Process(NamedTuple):
    """A run of kvsd: the instance of its data directory, and the number drawn at its start (0: it did not say)."""

    instance: bytes
    boot: int

    def is_same(self, other: "Process") -> bool:
        """Return True if the other may be this process."""
        return self.instance == other.instance and (self.boot == other.boot or not self.boot or not other.boot)


class Claim(NamedTuple):
    """A process that claims an address beside the one that speaks for it; heard from and until (monotonic seconds)."""

    process: Process
    since: float
    heard: float


class Occupant:
    """The process that speaks for an address; times are monotonic seconds."""

    def __init__(self, since: float) -> None:
        self.process: Process | None = None
        """None until one was heard."""
        self.spoke = since
        """When it last said anything; before it ever did, since when this node has been waiting for it."""
        self.former: deque[Process] = deque(maxlen=FORMER)
        """Processes that spoke for the address before."""
        self.claim: Claim | None = None
        """The last other process that was heard there since this one speaks for it."""

    def occupy(self, process: Process, now: float) -> None:
        """Note that a process speaks for the address."""
        if self.process and not self.process.is_same(process):
            self.former.append(self.process)
            self.claim = None
        self.process, self.spoke = process, now

    def claimed(self, process: Process, now: float) -> Claim:
        """Note that another process was heard; returns its claim."""
        since = self.claim.since if self.claim and self.claim.process == process else now
        self.claim = Claim(process, since, now)
        return self.claim
