"""
Reading of the file with the cluster's secret: in bounded time and memory, and only where others can't read it too.
"""

import os
import select
import stat
from typing import Final

MAX_SECRET_BYTES: Final = 4096
PATIENCE_SECONDS: Final = 5.0
"""How long a pipe may give nothing; a regular file always has something to give, if only its end."""


class SecretFileError(ValueError):
    """A file is not taken for a secret; the text says why and what to do, without the file's name."""


def read_secret_file(path: str) -> bytes:
    """
    Return what a file holds, without white space around it: 1 to MAX_SECRET_BYTES bytes.

    Any file will do that ends, pipes among them.  Its group may read it, as where a service gets the file of another
    user.  Raises OSError and SecretFileError.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # to open a pipe could take for ever
    try:
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
        if mode & stat.S_IRWXO:
            raise SecretFileError(f"is open to all users of this machine (mode {mode:04o}): chmod o= it")
        secret = _read_all(descriptor).strip()
    finally:
        os.close(descriptor)
    if not secret:
        raise SecretFileError("is empty")
    return secret


def _read_all(descriptor: int) -> bytes:
    content = b""
    while len(content) <= MAX_SECRET_BYTES:
        if not select.select([descriptor], [], [], PATIENCE_SECONDS)[0]:
            raise SecretFileError(f"has given nothing for {PATIENCE_SECONDS:.0f} s, nor its end")
        part = os.read(descriptor, MAX_SECRET_BYTES + 1 - len(content))
        if not part:
            return content
        content += part
    raise SecretFileError(f"is no secret: it holds more than {MAX_SECRET_BYTES:,} bytes")
