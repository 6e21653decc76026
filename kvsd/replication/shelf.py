"""
Where the durable rows are: what a replica reads of its disk while it runs.

A replica is given a shelf as it is given the time: to read from it is no effect, it changes nothing.  What is on the
shelf may be ahead of what the replica was told to be durable, never behind it.
"""

from collections.abc import Sequence
from typing import Protocol

from kvsd.replication.causality import Writer
from kvsd.replication.placement import Tenure
from kvsd.replication.record import Row


class Shelf(Protocol):
    """
    The durable rows of all of a node's replicas, each named by the writer that it is.

    Reading may take as long as a disk takes.  What can't be read raises: the event at hand fails, and the node stops.
    """

    def get(self, role: Writer, tenure: Tenure, key: str) -> Row | None:
        """The row of a key, None if there is none."""

    def scan(self, role: Writer, tenure: Tenure, slot: int, after: str | None, at_most: int) -> Sequence[Row]:
        """The first rows of a slot behind a key (None: from its beginning), in the order of their keys."""


class EmptyShelf(Shelf):
    """The shelf of a disk on which there is nothing, for replicas that are told of no write that it is durable."""

    def get(self, role: Writer, tenure: Tenure, key: str) -> Row | None:  # noqa: ARG002
        """Nothing."""
        return None

    def scan(self, role: Writer, tenure: Tenure, slot: int, after: str | None, at_most: int) -> Sequence[Row]:  # noqa: ARG002
        """Nothing."""
        return ()


EMPTY_SHELF = EmptyShelf()
