"""
How one node is started as a child process that can't outlive its parent.

Each child has the kernel promise it (``PR_SET_PDEATHSIG``) a SIGKILL at the moment its parent ends, however that
ends.  A watchdog process could be killed itself, and what is to run at exit does not run after a ``kill -9``; the
kernel's promise has neither gap.  It is made by a small launcher that then becomes the node (``exec``), not by
``preexec_fn``, which may deadlock where the parent has threads, as it has while a progress bar is drawn.  Where
there is no ``prctl`` (it is Linux's), the parent has to end its children itself.  SIGKILL is safe: a node
acknowledges nothing that is not on disk.  The kernel takes the end of the thread that started a child for the end
of the parent, so nodes are started from a thread that stays.
"""

import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

LAUNCH = """
import ctypes, os, signal, sys
parent = int(sys.argv[1])
try:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
except (AttributeError, OSError, TypeError):
    pass
if os.getppid() == parent:
    os.execvp(sys.argv[2], sys.argv[2:])
"""
SETTINGS = {"SOCKET_ADDRESS", "VIEW", "SHARD_COUNT", "KVSD_DATA_DIR", "KVSD_LISTEN", "KVSD_SECRET_FILE"}


def twistd() -> list[str]:
    """The command that runs ``twistd`` under this very interpreter, installed as a script or not."""
    script = Path(sys.executable).with_name("twistd")
    if script.exists():
        return [str(script)]
    return [sys.executable, "-c", "from twisted.scripts.twistd import run; run()"]


def secret_in(directory: Path) -> str:
    """The cluster's secret, made once and kept in a file that only its owner can read."""
    path = directory / "secret"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text().strip()
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(32) + "\n")
    return path.read_text().strip()


def port_is_free(address: str) -> bool:
    """Whether a node could listen on the port of this address now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", int(address.rpartition(":")[2])))
        except (OSError, OverflowError):
            return False
    return True


def environment(data: Path) -> dict[str, str]:
    """This process's environment without settings of a node, and with the secret and the way to the code."""
    inherited = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    code = [str(Path(__file__).parents[2]), *filter(None, [inherited.get("PYTHONPATH")])]
    return {**inherited, "KVSD_SECRET": secret_in(data), "PYTHONPATH": os.pathsep.join(code)}


def start(command: Sequence[str], directory: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start a command with the directory as its own, the environment of a node, and its output added to the log."""
    directory.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", LAUNCH, str(os.getpid()), *command],
            cwd=directory,
            env=environment(directory),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for the parent, which ends its children in order
        )
