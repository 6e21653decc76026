"""
Limits of the process that are settled once at its start: open files, and how its allocator gives memory back.
"""

import ctypes
import resource
from typing import Final

MANY_FILES: Final = 1 << 20
"""What stands for a limit of open files that is none."""
MMAP_THRESHOLD_BYTES: Final = 128 * 1024
"""Larger blocks, such as bodies and values of that size, are mapped each by itself, and are gone once they are freed."""
TRIM_THRESHOLD_BYTES: Final = 1024 * 1024
"""So much free memory at the end of the heap is given back to the system."""
MAX_ARENAS: Final = 2
"""Each thread that allocates may else have a heap of its own, none of which gives back what another one could use."""

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8


def raise_file_limit() -> int:
    """Raise the soft limit of open files to the hard one as far as the system allows; return the limit then in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError):
            hard = soft
    return MANY_FILES if hard == resource.RLIM_INFINITY else hard


def settle_allocator() -> bool:
    """
    Set the thresholds of glibc's allocator, from when on they stay as they are; return False where there is no glibc.

    By default the allocator raises its own threshold for mapping to the size of what was freed, up to 32 MiB: after
    the first large bodies all others go to the heap, where one small block behind them keeps them from being given back.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    mallopt(_M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES)
    mallopt(_M_TRIM_THRESHOLD, TRIM_THRESHOLD_BYTES)
    mallopt(_M_ARENA_MAX, MAX_ARENAS)
    return True
