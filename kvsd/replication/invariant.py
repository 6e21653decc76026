"""
Invariants of kvsd's own: what must hold whatever peers, clients and clocks do.

An ``assert`` is left out under ``python -O``, so it may only tell the type checker what a value is; where going on would break a
promise, :class:`InvariantBroken` is raised.
"""


class InvariantBroken(Exception):
    """A defect of kvsd: something that must always hold does not."""
