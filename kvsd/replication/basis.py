"""
What it rests on that the outcome of a read may be told again, and how nodes ask each other whether it still may.
"""

from typing import NamedTuple

from msgspec import Struct


class Basis(NamedTuple):
    """
    What the outcome of a read rests on that lasts.

    It stays the same as long as the ``node`` that told it has this ``outlook``, and the key has not changed there after
    so many ``changes`` of keys.
    """

    node: str
    outlook: int
    changes: int


class Confirm(Struct, frozen=True):
    """Ask whether a read of a key would have the outcome that it had; if the node that told it can't say so, it may not."""

    key: str
    basis: Basis


class Confirmed(Struct, frozen=True, array_like=True, tag=True):
    """The outcome is still the same, after so many ``changes`` of keys; None: it may be another one by now."""

    changes: int | None


class AskChanges(Struct, frozen=True, array_like=True, tag=True):
    """Tell me which keys have changed at you after so many changes (``since``), if your outlook is still this one."""

    id: int
    outlook: int
    since: int


class TellChanges(Struct, frozen=True, array_like=True, tag=True):
    """
    My outlook, how many changes of keys there were by now, and the keys that have changed, each with its last change.

    ``changed`` is None where any key may have.
    """

    id: int
    outlook: int
    count: int
    changed: dict[str, int] | None
