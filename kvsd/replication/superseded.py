"""
Superseded instances: those in whose place another one was taken in, each with its address.
"""

from collections.abc import Iterable

Superseded = tuple[tuple[str, bytes], ...]

MAX_SUPERSEDED = 1024
"""How many are remembered, those of the latest changes; one takes some 40 bytes."""


def superseding(
    superseded: Superseded, node: str, instance: bytes | None, before: Iterable[bytes | None]
) -> Superseded:
    """Return the superseded instances once an instance (None: none) has the place of those that a node had before."""
    named = [(node, each) for each in before if instance and each and each != instance]
    return tuple(dict.fromkeys((*superseded, *named)))[-MAX_SUPERSEDED:]
