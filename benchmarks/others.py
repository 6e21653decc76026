"""
Clusters of other makers, three nodes each on loopback, and how they are asked through HTTP.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from shutil import which

from benchmarks.load import ask, base64_text, request
from benchmarks.processes import HOST, Children, Server, ServerError, free_ports

ETCD = "etcd, three nodes"
WEBDIS = "webdis + Redis, two replicas"
SETTLE_SECONDS = 20.0


@dataclass(frozen=True)
class Ways:
    """How a store is asked to read and to write."""

    get: Callable[[str], bytes]
    put: Callable[[str, str], bytes]


def etcd_ways() -> Ways:
    """The JSON gateway; reads are serializable: any member answers from what it has."""

    def read(key: str) -> bytes:
        body = {"key": base64_text(key), "serializable": True}
        return request("POST", "/v3/kv/range", json.dumps(body).encode())

    def write(key: str, value: str) -> bytes:
        body = {"key": base64_text(key), "value": base64_text(value)}
        return request("POST", "/v3/kv/put", json.dumps(body).encode())

    return Ways(read, write)


def webdis_ways() -> Ways:
    """The commands of Redis as paths."""
    return Ways(
        lambda key: request("GET", f"/GET/{key}"), lambda key, value: request("PUT", f"/SET/{key}", value.encode())
    )


def etcd(children: Children) -> Server | None:
    """Three members, which sync their log before they acknowledge; None where the program is not here."""
    program = which("etcd")
    if program is None:
        return None
    ports = free_ports(6)
    members = [(f"etcd-{number}", f"{HOST}:{ports[number]}", f"{HOST}:{ports[3 + number]}") for number in range(3)]
    cluster = ",".join(f"{name}=http://{peer}" for name, _, peer in members)
    pids = []
    for name, client, peer in members:
        options = {
            "name": name,
            "data-dir": str(children.directory / name / "data"),
            "listen-client-urls": f"http://{client}",
            "advertise-client-urls": f"http://{client}",
            "listen-peer-urls": f"http://{peer}",
            "initial-advertise-peer-urls": f"http://{peer}",
            "initial-cluster": cluster,
            "initial-cluster-state": "new",
            "logger": "zap",
            "log-level": "error",
        }
        command = [program, *(f"--{option}={value}" for option, value in options.items())]
        pids.append(children.run(name, command, peer))
    server = Server(ETCD, [client for _, client, _ in members], pids)
    _settled(lambda: all(_etcd_answers(address) for address in server.addresses), ETCD)
    return server


def webdis(children: Children) -> Server | None:
    """A master with two replicas, all in memory, and webdis in front; None where a program is not here."""
    redis, gateway = which("redis-server"), which("webdis")
    if redis is None or gateway is None:
        return None
    ports = free_ports(4)
    master, front = f"{HOST}:{ports[0]}", f"{HOST}:{ports[3]}"
    pids = []
    for number, port in enumerate(ports[:3]):
        command = [redis, "--port", str(port), "--bind", HOST, "--save", "", "--appendonly", "no"]
        follow = ["--replicaof", HOST, str(ports[0])] if number else []
        pids.append(children.run(f"redis-{number}", [*command, *follow], f"{HOST}:{port}"))
    settings = {"redis_host": HOST, "redis_port": ports[0], "http_host": HOST, "http_port": ports[3]}
    quiet = {"threads": 1, "daemonize": False, "verbosity": 0, "logfile": str(children.directory / "webdis-own.log")}
    path = children.directory / "webdis.json"
    path.write_text(json.dumps({**settings, **quiet}))
    pids.append(children.run("webdis", [gateway, str(path)], front))
    _settled(lambda: "connected_slaves:2" in str(ask(front, "GET", "/INFO/replication")[1]) or _replicas(front), master)
    return Server(WEBDIS, [front], pids)


def _replicas(front: str) -> bool:
    return str(ask(front, "GET", "/INFO")[1].get("INFO", {}).get("connected_slaves", "0")) == "2"


def _etcd_answers(address: str) -> bool:
    try:
        status, _ = ask(address, "POST", "/v3/kv/put", {"key": base64_text("first"), "value": ""}, 5.0)
    except (OSError, ValueError):
        return False
    return status == 200


def _settled(holds: Callable[[], bool], name: str) -> None:
    deadline = time.monotonic() + SETTLE_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            raise ServerError(f"{name}: its nodes do not come together")
        time.sleep(0.2)
