"""
Load from ``wrk``: requests made beforehand, on connections that stay open, as fast as the answers come.
"""

import base64
import http.client
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.processes import LOAD_CORE, Server, on_core

SESSIONS, SETTLE_SECONDS = 100, 1.0
SCRIPT = Path(__file__).with_name("requests.lua")


class LoadError(Exception):
    """The load could not be put on, or was answered by errors; the text says which."""


@dataclass(frozen=True)
class Load:
    """
    What is sent: the requests of each thread in turn, and the server each thread sends them to.

    ``depth`` requests are sent at once on a connection before the first answer is read.
    """

    name: str
    requests: Sequence[Sequence[bytes]]
    addresses: Sequence[str]
    connections: int
    depth: int = 1


@dataclass(frozen=True)
class Sample:
    """
    One round of one contestant: successes a second, CPU time an answer on the server, latencies of the load.

    ``failed`` counts answers that were no success, and those that did not come.
    """

    rate: float
    cpu_us: float
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    failed: int = 0


def request(method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> bytes:
    """The bytes of a request as common clients send it."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *(f"{k}: {v}" for k, v in (headers or {}).items())]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def get(key: str) -> bytes:
    """A read."""
    return request("GET", f"/kvs/{key}")


def put(key: str, value: str, token: str | None, concern: str = "") -> bytes:
    """A write that carries causal metadata, and may say how many replicas are to have it."""
    path = f"/kvs/{key}?w={concern}" if concern else f"/kvs/{key}"
    return request("PUT", path, json.dumps({"value": value, "causal-metadata": token}).encode())


def base64_text(text: str) -> str:
    """Text as the JSON of etcd has it."""
    return base64.b64encode(text.encode()).decode()


def ask(address: str, method: str, path: str, body: object = None, timeout_seconds: float = 10.0) -> tuple[int, Any]:
    """Ask for something once; gives the status and the decoded body."""
    connection = http.client.HTTPConnection(address, timeout=timeout_seconds)
    try:
        connection.request(method, path, None if body is None else json.dumps(body))
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read() or b"null")
    finally:
        connection.close()


def tokens_of(address: str) -> list[str]:
    """
    Tokens as sessions have them that wrote before: of writes that all replicas know by now.

    From a server that gives none, texts that are as long.
    """
    writes = [ask(address, "PUT", f"/kvs/session{number}", {"value": number})[1] for number in range(SESSIONS)]
    time.sleep(SETTLE_SECONDS)
    tokens = []
    for number, wrote in enumerate(writes):
        known = {"causal-metadata": wrote.get("causal-metadata")}
        token = ask(address, "GET", f"/kvs/session{number}", known)[1].get("causal-metadata")
        tokens.append(token or f"{number:031d}")
    return tokens


def writes_of(keys: Sequence[str], value: str, tokens: Sequence[str], concern: str = "") -> list[bytes]:
    """A write of each key, by one session after the other."""
    return [put(key, value, tokens[number % len(tokens)], concern) for number, key in enumerate(keys)]


def pipelined(requests: Sequence[bytes], depth: int) -> list[bytes]:
    """Requests joined to blocks that are sent at once."""
    return [b"".join(requests[start : start + depth]) for start in range(0, len(requests) - depth + 1, depth)]


class Wrk:
    """The load generator: each kind of load is written to files once."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files: dict[int, tuple[Load, str]] = {}

    def run(self, server: Server, load: Load, seconds: float) -> Sample:
        """Put the load on a server; raises LoadError where no answer was a success."""
        before = server.cpu_seconds()
        told = self._run(load, seconds)
        spent = server.cpu_seconds() - before
        succeeded = told["requests"] - told["refused"]
        if not succeeded:
            raise LoadError(f"{server.name}, {load.name}: {told}")
        cpu_us = 1e6 * spent / told["requests"]
        failed = told["refused"] + told["broken"]
        return Sample(succeeded / told["seconds"], cpu_us, told["p50_ms"], told["p99_ms"], failed)

    def _run(self, load: Load, seconds: float) -> dict[str, Any]:
        threads = len(load.addresses)
        command = [*on_core(LOAD_CORE), "wrk", f"-t{threads}", f"-c{load.connections}", f"-d{seconds:.0f}s"]
        done = subprocess.run(
            [*command, "--timeout", "10s", "-s", str(SCRIPT), f"http://{load.addresses[0]}/"],
            env={**os.environ, "LOAD_FILES": self._written(load), "LOAD_ADDRESSES": ",".join(load.addresses)},
            capture_output=True,
            text=True,
            timeout=seconds + 60,
            check=False,
        )
        for line in done.stdout.splitlines():
            if line.startswith("RESULT "):
                return json.loads(line.removeprefix("RESULT "))  # type: ignore[no-any-return]
        raise LoadError(f"wrk: {done.stdout}{done.stderr}")

    def _written(self, load: Load) -> str:
        if id(load) not in self._files:
            paths = []
            for thread, requests in enumerate(load.requests):
                path = self._directory / f"requests-{len(self._files)}-{thread}"
                blocks = pipelined(requests, load.depth) if load.depth > 1 else requests
                path.write_bytes(b"".join(b"%d\n%s" % (len(block), block) for block in blocks))
                paths.append(str(path))
            self._files[id(load)] = load, ",".join(paths)
        return self._files[id(load)][1]


Measure = Callable[[], Sample]
Samples = dict[tuple[str, str], list[Sample]]
"""By what was asked and who was asked: a sample a round."""


def rounds(
    count: int, measures: Mapping[tuple[str, str], Measure], warm_up: Iterable[Measure], tell: Callable[[str], object]
) -> Samples:
    """Have all take their turns, round by round, so that what disturbs one disturbs all; each round begins elsewhere."""
    for measure in warm_up:
        measure()
    samples: Samples = {name: [] for name in measures}
    names = list(measures)
    for number in range(count):
        tell(f"round {number + 1} of {count}")
        turn = number * len(names) // count
        for name in [*names[turn:], *names[:turn]]:
            samples[name].append(measures[name]())
    return samples
