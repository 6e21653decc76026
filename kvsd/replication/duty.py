"""
A duty: something that has to be done to the configuration without anybody asking for it.
"""

from collections.abc import Callable
from dataclasses import dataclass

from kvsd.replication.configuration import Configuration

Step = tuple[str, Callable[[], Configuration]]
"""Something to be done, in words, and the change that does it."""
Wait = Callable[[str, str], None]
"""Notes of a duty, by its name, why it can't be done yet."""


@dataclass
class Duty:
    """What became of a duty: what it last did and when (monotonic seconds), and what keeps it from going on."""

    last: str = ""
    at: float = 0.0
    blocked: str = ""
