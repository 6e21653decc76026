"""
Servers as child processes: started on free ports, each on a core of its own choosing, and ended by their ids.

What a server costs is told by the kernel: the CPU time of its processes, with all of their threads.  On a machine that
others use too, that is far steadier than a rate.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import which

from typing_extensions import override

from kvsd.local.cluster import LocalCluster
from kvsd.local.launch import start

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
START_SECONDS = 60.0
CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, LOAD_CORE = CORES[0], CORES[-1]
TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")


class ServerError(Exception):
    """A server does not come up; the text says which, and shows the end of its log."""


@dataclass(frozen=True)
class Server:
    """A server, or a cluster of them, that is up: where it is asked, and the processes it consists of."""

    name: str
    addresses: Sequence[str]
    pids: Sequence[int]

    def cpu_seconds(self) -> float:
        """The CPU time that its processes have taken so far, in user and in system mode."""
        return sum(map(cpu_seconds, self.pids))

    def resident_bytes(self) -> int:
        """The memory that its processes have in RAM."""
        pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in self.pids)
        return pages * os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(pid: int) -> float:
    """The CPU time of a process and its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_SECONDS


def on_core(core: int) -> list[str]:
    """The command that goes before another to keep it on one core; nothing where there is none."""
    return ["taskset", "--cpu-list", str(core)] if which("taskset") else []


def free_ports(count: int) -> list[int]:
    """Ports of the loopback address that nobody listens on, below those that the kernel gives to connections."""
    ports: list[int] = []
    first = 20_000 + os.getpid() % 5_000
    for port in range(first, 32_000):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("", port))
            except OSError:
                continue
        if port not in _given:
            ports.append(port)
        if len(ports) == count:
            break
    _given.update(ports)
    return ports


_given: set[int] = set()


def listens(address: str) -> bool:
    """Whether somebody accepts connections at an address."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=1.0):
            return True
    except OSError:
        return False


def await_condition(what: str, log: Path, holds: Callable[[], bool], process: "subprocess.Popen[bytes]") -> None:
    """Wait until something holds; raises ServerError where the process ends before, or it takes too long."""
    deadline = time.monotonic() + START_SECONDS
    while not holds():
        if process.poll() is not None or time.monotonic() > deadline:
            end = "\n".join(log.read_text(errors="replace").splitlines()[-8:])
            raise ServerError(f"{what} does not come up; its log ends:\n{end}")
        time.sleep(0.05)


class Children:
    """Processes that are ended with the ``with`` block they were started in."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._stack = ExitStack()

    def __enter__(self) -> "Children":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self, name: str, command: Sequence[str], address: str, core: int = SERVER_CORE) -> int:
        """Start a command in a directory of its own and wait until it listens; gives the id of its process."""
        log = self.directory / f"{name}.log"
        process = start([*on_core(core), *command], self.directory / name, log)
        self._stack.callback(_end, process)
        await_condition(name, log, lambda: listens(address), process)
        return process.pid

    def python(self, name: str, module: str, *arguments: str) -> Server:
        """A server in a module of this directory, which is given the port to listen on as its first argument."""
        (port,) = free_ports(1)
        command = [sys.executable, "-m", module, str(port), *arguments]
        return Server(name, [f"{HOST}:{port}"], [self.run(_file_name(name), command, f"{HOST}:{port}")])

    def kvsd(self, name: str, nodes: int, shards: int, reactor: str = "", options: Sequence[str] = ()) -> Server:
        """A cluster of kvsd that is ready, in the order in which its nodes were founded."""
        addresses = [f"{HOST}:{port}" for port in free_ports(nodes)]
        directory = self.directory / _file_name(name)
        cluster = PinnedCluster(addresses, shards, directory, reactor, options)
        self._stack.enter_context(cluster)
        cluster.ready(START_SECONDS)
        return Server(name, addresses, cluster.pids())


class PinnedCluster(LocalCluster):
    """Nodes of kvsd on the servers' core, under a reactor of choice."""

    def __init__(
        self, addresses: Sequence[str], shards: int, data: Path, reactor: str, options: Sequence[str] = ()
    ) -> None:
        super().__init__(addresses, shards, data, options=options, command_for=lambda _: on_core(SERVER_CORE))
        self._reactor = reactor

    @override
    def command(self, address: str) -> list[str]:
        """The command line of a node."""
        command = super().command(address)
        if self._reactor:
            command.insert(command.index("-n"), f"--reactor={self._reactor}")
        return command

    def pids(self) -> list[int]:
        """The ids of the nodes' processes, in the order of their addresses."""
        return [self._running[address].pid for address in self.addresses]


def _file_name(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name)


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(10.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def knows_reactor(name: str) -> bool:
    """Whether ``twistd`` has a reactor of this name here."""
    from kvsd.local.launch import twistd  # noqa: PLC0415

    listing = subprocess.run(
        [*twistd(), "--help-reactors"], cwd=ROOT, capture_output=True, text=True, check=False, env=_with_code()
    )
    return any(line.split()[:1] == [name] for line in listing.stdout.splitlines())


def _with_code() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])}


@contextmanager
def pinned_here(core: int) -> Iterator[None]:
    """Keep this process on one core for as long as the block runs."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
