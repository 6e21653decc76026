"""
Whose data a storage holds: a node's, under the name of its data directory, for ever.
"""

from collections.abc import Callable
from functools import partial

from kvsd.entries import owner_entry, saved
from kvsd.ports import Storage, StorageError
from kvsd.replication.saved import Saved
from kvsd.replication.state import Identity
from kvsd.rows import RowTable

BOOT_BITS = 30


def row_table(storage: Storage) -> RowTable:
    """The rows of a storage, to be read."""
    return RowTable(partial(storage.get, "rows"), partial(storage.scan, "rows"))


def claim(
    storage: Storage, address: str, new_instance: bytes, boot: int, crash: Callable[[str], None]
) -> tuple[Identity, Saved]:
    """
    Who the node at an address is and what it knows: by its storage, or the new instance (16 bytes) on an empty one.

    ``boot`` is a number of BOOT_BITS bits, drawn at each start; ``crash`` is called with a sentence where the claim
    can't be kept.  Raises StorageError where the data belongs to another node, WireError where it can't be read.
    """
    owner, state = saved(storage.load("meta"), storage.load("ops"))
    if owner is None:
        storage.commit([owner_entry(new_instance, address)]).addErrback(lambda failure: crash(str(failure.value)))
        return Identity(address, new_instance, boot), state
    if owner[1] != address:
        raise StorageError(f"the data directory belongs to {owner[1]}, this node is {address}")
    return Identity(address, owner[0], boot), state
