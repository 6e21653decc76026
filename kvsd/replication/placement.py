"""
Where a key lives: key -> slot -> tenure -> shard.

The hash is fixed for ever; what changes is only the configuration's map of slots.  With fixed slots a change of the
number of shards moves as few keys as is possible at all, where ``hash % shards`` would move most of them.
"""

from functools import lru_cache
from hashlib import sha256
from typing import Annotated

from msgspec import Meta

SLOTS = 4096

Tenure = Annotated[int, Meta(ge=0, lt=2**32)]

TenureSlot = tuple[Tenure, int]
"""A slot during one of its tenures."""


@lru_cache(maxsize=65_536)
def slot_of(key: str) -> int:
    """
    The slot (0 to 4095) of a key.

    A key that holds ``{tag}`` is placed by the first non-empty tag alone, so that keys of one tag share a shard.
    """
    return int.from_bytes(sha256(_placed_by(key).encode()).digest()[:8], "big") % SLOTS


def _placed_by(key: str) -> str:
    start = key.find("{")
    if start < 0:
        return key
    end = key.find("}", start + 1)
    return key[start + 1 : end] if end > start + 1 else key


@lru_cache(maxsize=10_000)
def address_order(address: str) -> tuple[tuple[int, ...], int, str]:
    """The key that sorts ``IP:PORT`` addresses numerically; host names come first, by name."""
    host, _, port = address.rpartition(":")
    parts = host.split(".")
    numbers = tuple(int(part) for part in parts) if all(map(_is_number, parts)) else ()
    return numbers, int(port) if _is_number(port) else 0, address


def _is_number(text: str) -> bool:
    """Return True for a number that an address may have; Python refuses to read one of thousands of digits."""
    return text.isdecimal() and len(text) <= 5
