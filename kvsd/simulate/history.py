"""
What clients saw: the operations of a run, and what every replica held in the end.

This is all that the checkers know.  Every value is written once in a run, so a read names the write that it saw by the
value; only a write that was tried twice may have been carried out twice, and then stands here twice.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from msgspec import Struct

Number = int
"""The number of an operation: its place in the list of all operations."""


class Operation(Struct):
    """
    One operation of a client.

    A write has the value that it wrote, None for a deletion; a read the value that it saw, None where the key was
    absent.  ``after`` are the operations whose token it carried: none for a request without a token, one as a rule, all
    that were answered for a read that ends the run.  Times are simulated seconds; a write that got no answer, or one
    that leaves open whether it was carried out, has no time of an answer.  A read without an answer is no operation.
    """

    number: Number
    client: str
    kind: Literal["read", "write"]
    key: str
    value: str | None
    after: tuple[Number, ...]
    asked: float
    answered: float | None

    def __str__(self) -> str:
        """The operation in a line."""
        what = f"{self.kind}s {self.key}" + (" as " if self.kind == "read" else " := ") + (self.value or "(absent)")
        when = f"{self.asked:.3f}" + (f"-{self.answered:.3f}" if self.answered is not None else ", unanswered")
        carried = f", carrying the token of {', '.join(f'#{number}' for number in self.after)}" if self.after else ""
        return f"#{self.number} {self.client} {what} ({when}{carried})"


History = list[Operation]


class Version(NamedTuple):
    """The row of a key at a replica: its value (None: deleted), and the stamp that decides which version wins."""

    value: str | None
    stamp: int


class FinalState(NamedTuple):
    """What one replica held in the end: its rows by key, tombstones included, and how many live keys it counted."""

    node: str
    shard: str
    rows: Mapping[str, Version]
    live_keys: int


class Violation(NamedTuple):
    """A promise that was broken: its name, what happened in a sentence or two, and the operations that show it."""

    rule: str
    text: str
    witness: tuple[Number, ...] = ()

    def __str__(self) -> str:
        """The violation in a line."""
        return f"{self.rule}: {self.text}"
