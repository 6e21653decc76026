"""
A node for tests of programs that speak HTTP with nodes: it listens on loopback and answers from a state that tests set.

It keeps keys, a view and a reshard in the simplest way that answers as ``docs/api.md`` says.  ``answers`` overrides
what it would say to a request, ``script`` is what it says of the reshard, look by look, and ``asked`` has every
request that came.
"""

import json
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec
from typing_extensions import override

Answer = tuple[int, Any]
HANG_UP: Answer = (0, None)
"""Instead of an answer: the connection is closed."""
HOST = "127.0.0.1"


class Asked(NamedTuple):
    """A request that came."""

    method: str
    target: str
    headers: dict[str, str]
    content: bytes

    @property
    def fields(self) -> Any:
        """The body, decoded."""
        return json.loads(self.content)


def move(rows: int, stage: str = "copy", blocker: str | None = None) -> dict[str, Any]:
    """How far a move of 200 rows from s0 to s2 is."""
    return {
        "tenure": 7, "from": "s0", "to": "s2", "slots": 40, "rows": rows, "bytes": rows * 100, "rows-expected": 200,
        "lag": 3, "rate": 50.0, "eta-s": (200 - rows) / 50, "stage": stage, "blocker": blocker,
    }  # fmt: skip


def reshard(rows: int, stage: str = "copy", blocker: str | None = None) -> dict[str, Any]:
    """How far a reshard to three shards is."""
    return {
        "shard-count": 3, "stage": stage, "epoch": 5, "seconds": rows / 50, "moves": [move(rows, stage, blocker)],
        "rows": rows, "rows-expected": 200, "rate": 50.0, "eta-s": (200 - rows) / 50,
    }  # fmt: skip


def plan(shards: int, moves: bool = True) -> dict[str, Any]:
    """What a reshard to so many shards would do."""
    moved = [{"from": "s0", "to": "s2", "slots": 40, "keys": 150, "bytes": 204800}] if moves else []
    return {
        "shard-count": shards, "slots-to-move": 40 * len(moved), "least-slots": 40 * len(moved),
        "keys-to-move": 150 * len(moved), "bytes-to-move": 204800 * len(moved),
        "nodes-to-move": ["10.0.0.5:8090", "10.0.0.6:8090"] if moves else [], "moves": moved,
        "members": {
            "s0": ["10.0.0.1:8090", "10.0.0.3:8090"],
            "s1": ["10.0.0.2:8090", "10.0.0.4:8090"],
            **({"s2": ["10.0.0.5:8090", "10.0.0.6:8090"]} if shards == 3 else {}),
        },
        "fault-tolerance": {"before": 2, "after": 1 if moves else 2},
    }  # fmt: skip


class FakeNode:
    """One node; as a context manager it listens, on a port of its own."""

    def __init__(self) -> None:
        self.keys: dict[str, Any] = {}  # values, or msgspec.Raw
        self.view: set[str] = set()
        self.shards = 2
        self.script: list[dict[str, Any] | None] = []
        self.duties: dict[str, Any] = {}
        self.others: dict[str, Any] = {}
        self.figures: dict[str, Any] = {}
        self.losses: list[dict[str, Any]] = []
        self.answers: dict[tuple[str, str], Answer] = {}
        self.asked: list[Asked] = []
        self.on_ask: Callable[[Asked], None] | None = None
        self._clock = 0
        self._server = server(self)
        self.address = f"{HOST}:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self) -> "FakeNode":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End it: whoever connects now is refused."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def paths(self, method: str) -> list[str]:
        """The paths, with queries, of all requests of one method."""
        return [each.target for each in self.asked if each.method == method]

    def answer(self, request: Asked) -> Answer:
        """What to say to a request."""
        self.asked.append(request)
        if self.on_ask:
            self.on_ask(request)
        where = urlsplit(request.target)
        given = self.answers.get((request.method, where.path))
        if given is not None:
            return given
        if where.path.startswith("/kvs/"):
            return self._key(request, unquote(where.path.removeprefix("/kvs/")))
        routes = {
            "/view": self._view, "/kvsd/status": self._status, "/kvsd/reshard": self._reshard,
            "/shard/reshard": self._plan_or_start, "/kvsd/losses": lambda _: (200, {"losses": self.losses}),
            "/kvsd/forget": lambda _: (200, {"result": "forgotten"}),
            "/shard/add-member/s0": lambda _: (200, {"result": "node added to shard"}),
            "/shard/key-count/s1": lambda _: (200, {"shard-key-count": 1400}),
        }  # fmt: skip
        route = routes.get(where.path)
        return route(request) if route else (404, {"error": "Not found: there is nothing under this path"})

    def _key(self, request: Asked, key: str) -> Answer:
        fields = msgspec.json.decode(request.content or b"{}", type=dict[str, msgspec.Raw])
        token = msgspec.json.decode(fields.get("causal-metadata", b"null"))
        self._clock += 1
        carried_out: dict[str, Any] = {"causal-metadata": f"{token or 'token'}.{self._clock}", "shard-id": "s1"}
        if request.method == "PUT":
            status, result = (200, "replaced") if key in self.keys else (201, "created")
            if "w" in parse_qs(urlsplit(request.target).query):
                carried_out["durability"] = {"replicas": 2, "of": 3}
            self.keys[key] = fields["value"]
            return status, {"result": result, **carried_out}
        if key not in self.keys:
            return 404, {"error": "Key does not exist", **carried_out}
        if request.method == "DELETE":
            del self.keys[key]
            return 200, {"result": "deleted", **carried_out}
        return 200, {"result": "found", "value": self.keys[key], **carried_out}

    def _view(self, request: Asked) -> Answer:
        address = request.fields["socket-address"]
        known = address in self.view
        if request.method == "PUT":
            self.view.add(address)
            return (200, {"result": "already present"}) if known else (201, {"result": "added"})
        self.view.discard(address)
        return (200, {"result": "deleted"}) if known else (404, {"error": "View has no such replica"})

    def _status(self, _: Asked) -> Answer:
        nodes = {self.address: {"state": "alive", "shard": "s0", "role": "member"}, **self.others}
        members = {"members": [self.address], "learners": [], "departed": []}
        shards = {f"s{n}": {**members, "keys": None if n == 1 else 1200} for n in range(self.shards)}
        return 200, {
            "address": self.address, "instance": "00ff", "cluster": "a1b2c3d4e5f60718", "epoch": 4, "shard": "s0",
            "ready": True, "reasons": [], "nodes": nodes, "shards": shards, "lag-writes": 0, "lag-s": 0.0,
            "holdback": 0, "unstable": 0, "waiting": 0, "duties": self.duties, **self.figures,
        }  # fmt: skip

    def _reshard(self, request: Asked) -> Answer:
        if request.method == "DELETE":
            if not self.script:
                return 404, {"error": "No reshard is under way"}
            self.script.clear()
            return 200, {"result": "aborted"}
        if not self.script:
            return 200, {"reshard": None}
        now = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if now is None:
            self.script.clear()
            self.shards = 3
        return 200, {"reshard": now}

    def _plan_or_start(self, request: Asked) -> Answer:
        query = parse_qs(urlsplit(request.target).query)
        if request.method == "GET":
            shards = int(query["shard-count"][0])
            return 200, plan(shards, moves=shards != self.shards)
        if request.fields["shard-count"] == self.shards:
            return 200, {"result": "resharded"}
        return 202, {"result": "started", "status": "/kvsd/reshard"}


def server(node: FakeNode) -> ThreadingHTTPServer:
    """A server on a free port that has a node answer."""

    class Door(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            """Read a request and send what the node says."""
            content = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, body = node.answer(Asked(self.command, self.path, headers, content))
            if status == 0:
                self.close_connection = True
                return
            text = body if isinstance(body, bytes) else msgspec.json.encode(body)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_PUT = do_DELETE = answer  # noqa: N815 - so http.server calls them

        @override
        def log_message(self, format: str, *args: Any) -> None:
            """Leave the output to the tests."""

    class Server(ThreadingHTTPServer):
        @override
        def handle_error(self, request: Any, client_address: Any) -> None:
            if not isinstance(sys.exc_info()[1], ConnectionError):  # the client did not wait for the answer
                super().handle_error(request, client_address)

    return Server((HOST, 0), Door)
