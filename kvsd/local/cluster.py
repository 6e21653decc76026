"""
A cluster of ``kvsd`` processes on this machine: started, watched, killed, restarted and ended.

It knows the nodes as a client and an operator do, by their command line and their HTTP, and nothing else, so
whatever it shows holds for a cluster on real machines too.

Readiness is asked through ``http.client``: six small requests need no dependency.
"""

import http.client
import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from kvsd.local.launch import port_is_free, start, twistd

LOG_LINES = 8


class ClusterError(Exception):
    """The cluster can't be started, or did not stay up; the text says which node and why."""


def end_on_signals() -> None:
    """Make SIGTERM end this program in the way of Ctrl-C, so that both take the nodes down in order."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def get_json(address: str, path: str, timeout_seconds: float = 2.0) -> tuple[int, Any]:
    """GET a path of a node and give status and decoded body; raises OSError or HTTPException where none came."""
    connection = http.client.HTTPConnection(address, timeout=timeout_seconds)
    try:
        connection.request("GET", path)
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read())
    finally:
        connection.close()


def addresses_from(host: str, first_port: int, nodes: int) -> list[str]:
    """Addresses on consecutive ports."""
    return [f"{host}:{port}" for port in range(first_port, first_port + nodes)]


def reason_not_ready(address: str) -> str:
    """Why the node at this address is not ready, in its own words; empty where it is."""
    try:
        status, body = get_json(address, "/readyz")
    except (OSError, http.client.HTTPException, ValueError) as error:
        return f"no answer from GET /readyz: {error}"
    if status == 200:
        return ""
    reasons = body.get("reasons", []) if isinstance(body, dict) else [body]
    return "; ".join(map(str, reasons)) or f"GET /readyz answers {status}"


def how_it_ended(status: int) -> str:
    """Return an exit status in words; a negative one is the number of a signal, as for subprocess."""
    return f"ended by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"


def explain(what: str, reasons: Mapping[str, str], log_of: Callable[[str], Path]) -> str:
    """Name each node with its reason, and show the end of its log."""
    lines = []
    for address, reason in reasons.items():
        log = log_of(address)
        written = log.read_text(errors="replace").splitlines() if log.exists() else []
        lines += [f"{address}: {what}: {reason}", f"  its log, {log}, ends:"]
        lines += [f"    {line}" for line in written[-LOG_LINES:]]
    return "\n".join(lines)


class LocalCluster:
    """
    Nodes as child processes, one for each address; their data, logs and secret live in one directory.

    ``command_for`` gives the command that goes before ``twistd`` for an address (to run it in a network namespace,
    say), and ``door`` the address at which a client reaches it, where that is another.  As a context manager it
    starts the nodes and ends them, whatever happens in between.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        shards: int,
        data: Path,
        *,
        options: Sequence[str] = (),
        command_for: Callable[[str], Sequence[str]] | None = None,
        door: Callable[[str], str] = str,
    ) -> None:
        self.addresses = list(addresses)
        self._founding = set(addresses)
        self.shards = shards
        self.data = data.resolve()
        self.door = door
        self._options = list(options)
        self._command_for = command_for
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> "LocalCluster":
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start every node that does not run; raises ClusterError, before any is started, where a port is taken."""
        waiting = [address for address in self.addresses if address not in self._running]
        if self._command_for is None:
            taken = [address for address in waiting if not port_is_free(address)]
            if taken:
                raise ClusterError(f"port in use: {', '.join(taken)} (choose others with --first-port)")
        for address in waiting:
            self.restart(address)

    def restart(self, address: str) -> None:
        """Start one node that does not run, with the same command and environment as ever."""
        prefix = self._command_for(address) if self._command_for else ()
        self._running[address] = start([*prefix, *self.command(address)], self.data, self.log(address))

    def join(self, address: str) -> None:
        """Start one more node, which finds the cluster that is there."""
        self.addresses.append(address)
        self.restart(address)

    def ready(self, timeout_seconds: float = 30.0, only: Iterable[str] | None = None) -> None:
        """
        Wait until every node (or each of ``only``) answers that it is ready.

        Raises ClusterError that names the nodes that are not, with their reasons and last log lines.
        """
        deadline = time.monotonic() + timeout_seconds
        reasons = dict.fromkeys(self.addresses if only is None else only, "was not asked yet")
        while reasons:
            self.check()
            for address in list(reasons):
                reason = reason_not_ready(self.door(address))
                if reason:
                    reasons[address] = reason
                else:
                    del reasons[address]
            if reasons and time.monotonic() > deadline:
                raise ClusterError(explain(f"not ready after {timeout_seconds:g} s", reasons, self.log))
            if reasons:
                time.sleep(0.1)

    def check(self) -> None:
        """Raise ClusterError where a node has ended by itself, with its last log lines."""
        fallen = {address: how_it_ended(status) for address, (_, status) in self.take_ended().items()}
        if fallen:
            raise ClusterError(explain("ended by itself", fallen, self.log))

    def processes(self) -> dict[str, int]:
        """Return the process id of each node that was started and not found to have ended."""
        return {address: process.pid for address, process in self._running.items()}

    def take_ended(self) -> dict[str, tuple[int, int]]:
        """Return the process id and the exit status of each node that has ended by itself since the last call."""
        polled = {address: (process.pid, process.poll()) for address, process in self._running.items()}
        ended = {address: (pid, status) for address, (pid, status) in polled.items() if status is not None}
        for address in ended:
            del self._running[address]
        return ended

    def kill(self, address: str) -> None:
        """``kill -9`` one node, and wait until it is gone."""
        process = self._running.pop(address)
        process.kill()
        process.wait()

    def terminate(self, address: str, timeout_seconds: float = 10.0) -> int:
        """SIGTERM one node and give its exit status; raises subprocess.TimeoutExpired where it goes on."""
        process = self._running[address]
        process.terminate()
        status = process.wait(timeout_seconds)
        del self._running[address]
        return status

    def stop(self, timeout_seconds: float = 10.0) -> list[str]:
        """End every node, by SIGTERM and, where that did not help in time, SIGKILL; gives those that needed it."""
        for process in self._running.values():
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + timeout_seconds
        stubborn = []
        for address, process in list(self._running.items()):
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                stubborn.append(address)
                process.kill()
                process.wait()
            del self._running[address]
        return stubborn

    def command(self, address: str) -> list[str]:
        """The command line of a node."""
        settings = {
            "socket-address": address,
            "view": ",".join(self.addresses),
            "data-dir": str(self.data / address.replace(":", "-")),
        }
        if address in self._founding:
            settings["shard-count"] = str(self.shards)
        options = [f"--{name}={value}" for name, value in settings.items()]
        return [*twistd(), "-n", "--pidfile=", "--logger=kvsd.logs.observer", "kvsd", *options, *self._options]

    def log(self, address: str) -> Path:
        """Where a node's output goes."""
        return self.data / f"{address.replace(':', '-')}.log"
