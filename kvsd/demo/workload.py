"""
What the demonstration writes to a cluster and reads back, and how it tells a right answer from a wrong one.

Every key is a code point (``U+1F600``) and its value that character's name.  Clients share the keys out among
themselves; each client is one causal chain.  Every tenth key is written twice, through two nodes, and read at once
through another than the second, which must not show the first version.  Afterwards every key is read again, with
the token of the chain that wrote it, by another client and through another node.

A key has one right value at each of these moments, so any other answer is a mistake: a lost write or a stale read.
Whether the replicas agree in the end is for :mod:`kvsd.demo.agreement`.
"""

import sys
import unicodedata
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from random import Random

from kvsd.demo.chain import Chain, Reply, Tally, together

OVERWRITE_EVERY = 10

Advance = Callable[[], object]
Gate = Callable[[int], Awaitable[None]]


def characters() -> Iterator[tuple[str, str]]:
    """
    Code points and names of all characters that have a name of their own.

    Ideographs and Hangul syllables, whose names are only numbered or spelt, are left out; some 32,000 remain.
    """
    for code in range(sys.maxunicode + 1):
        name = unicodedata.name(chr(code), "")
        if name and not name.endswith(f"-{code:04X}") and not name.startswith("HANGUL SYLLABLE "):
            yield f"U+{code:04X}", name


async def open_gate(number: int) -> None:
    """Let every key through at once."""


@dataclass(frozen=True)
class Written:
    """One acknowledged key: its value, the node that took the last write, the shard that has it."""

    key: str
    value: str
    door: str
    shard: str


class Workload:
    """
    One run through the ``doors`` at which clients reach the nodes; ``random`` deals out the requests.

    ``mistakes`` collects, in words, every answer that was not right.
    """

    def __init__(self, doors: Sequence[str], random: Random, clients: int = 16) -> None:
        self.tally = Tally()
        self.mistakes: list[str] = []
        self.written: list[list[Written]] = [[] for _ in range(clients)]
        self._chains = [Chain(doors, random, self.tally) for _ in range(clients)]

    def close(self) -> None:
        """Close all connections."""
        for chain in self._chains:
            chain.close()

    @property
    def acknowledged(self) -> int:
        """How many keys are written."""
        return sum(map(len, self.written))

    async def load(self, pairs: Iterable[tuple[str, str]], advance: Advance, gate: Gate = open_gate) -> None:
        """
        Write all keys, the clients taking them from one queue; ``advance`` is called after each.

        ``gate`` is awaited with the number of each key, counted from 1, before that key is written.
        """
        numbered = zip(count(1), pairs)
        pairing = zip(self._chains, self.written, strict=True)
        await together(*(self._write_all(chain, numbered, written, advance, gate) for chain, written in pairing))

    async def read_back(self, advance: Advance) -> None:
        """Hand each chain's token to the next client, which reads all that the chain wrote, through other nodes."""
        tokens = [chain.token for chain in self._chains]
        readers = self._chains[1:] + self._chains[:1]
        for chain, token in zip(readers, tokens, strict=True):
            chain.token = token
        pairing = zip(readers, self.written, strict=True)
        await together(*(self._read_all(chain, written, advance) for chain, written in pairing))

    async def _write_all(
        self,
        chain: Chain,
        numbered: Iterator[tuple[int, tuple[str, str]]],
        written: list[Written],
        advance: Advance,
        gate: Gate,
    ) -> None:
        for number, (key, name) in numbered:
            await gate(number)
            twice = number % OVERWRITE_EVERY == 0
            first_door = (await chain.put(key, f"first version of {name}"))[0] if twice else ""
            door, reply = await chain.put(key, name, elsewhere_than=first_door)
            written.append(Written(key, name, door, reply.body["shard-id"]))
            if twice:
                if reply.body["result"] != "replaced":
                    self.mistakes.append(f"{key} was written twice, and {door} says {reply.body} of the second")
                await self._read(chain, written[-1])
            advance()

    async def _read_all(self, chain: Chain, written: Iterable[Written], advance: Advance) -> None:
        for each in written:
            await self._read(chain, each)
            advance()

    async def _read(self, chain: Chain, written: Written) -> None:
        door, reply = await chain.get(written.key, elsewhere_than=written.door)
        self.mistakes += difference(written, door, reply)


def difference(written: Written, door: str, reply: Reply) -> list[str]:
    """What is wrong with the answer to a read of this key, in words; empty where nothing is."""
    if reply.status == 200 and reply.body.get("value") == written.value:
        return []
    return [
        f"{written.key} is {written.value!r}, written through {written.door}; {door} says {reply.status} {reply.body}"
    ]
