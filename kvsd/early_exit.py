"""
SIGTERM before there is anything to end in order: the process is gone at once.

Until Twisted has its own way with signals, which is once the data directory is open, the kernel ends a process that gets
one.  Process 1 of a container is the exception: for it a signal without a handler is ignored, and the container would
start on, to be killed after its grace period.  Nothing is acknowledged before the node listens, so no end is too early.
"""

import ctypes
import os
import signal

STATUS = 128 + signal.SIGTERM
"""As a shell shows the end by the signal."""


def end_at_once_on_sigterm(process: int | None = None) -> bool:
    """
    Have SIGTERM end this process at once, where the kernel alone would not; return True if that was needed.

    The system's own ``_exit`` is what the signal calls, as one of Python's functions would wait for the end of a call
    to the database, which may take long to open.  The exit status is the signal's number then, 15.
    """
    if (os.getpid() if process is None else process) != 1 or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return False
    signal.signal(signal.SIGTERM, lambda *_: os._exit(STATUS))
    try:
        system = ctypes.CDLL(None)
        system.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]
        system.signal.restype = ctypes.c_void_p
        system.signal(signal.SIGTERM, ctypes.cast(system._exit, ctypes.c_void_p))
    except (AttributeError, OSError, TypeError):
        pass  # the function above stays
    return True
