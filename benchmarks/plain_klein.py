"""
``python -m benchmarks.plain_klein PORT``: the same answers from Klein as its manual has it, in memory; no access log.
"""

import json
import sys
from typing import Any

from klein import Klein
from twisted.internet import reactor
from twisted.web.iweb import IRequest
from twisted.web.server import Site


class Keys:
    """Values by key, in a dict."""

    app = Klein()

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}

    @app.route("/kvs/<key>", methods=["GET"])
    def read(self, request: IRequest, key: str) -> str:
        """The value of a key."""
        request.setHeader("Content-Type", "application/json")
        if key not in self._values:
            request.setResponseCode(404)
            return json.dumps({"error": "Key does not exist"})
        return json.dumps({"result": "found", "value": self._values[key], "causal-metadata": None, "shard-id": "s0"})

    @app.route("/kvs/<key>", methods=["PUT"])
    def write(self, request: IRequest, key: str) -> str:
        """Set the value of a key."""
        body = json.loads(request.content.read())
        result = "replaced" if key in self._values else "created"
        self._values[key] = body["value"]
        request.setHeader("Content-Type", "application/json")
        request.setResponseCode(200 if result == "replaced" else 201)
        return json.dumps({"result": result, "causal-metadata": body.get("causal-metadata"), "shard-id": "s0"})


class QuietSite(Site):
    """A site that keeps no log of requests."""

    def log(self, request: object) -> None:
        """Write nothing down."""


def run(port: int) -> None:
    """Serve on a port of the loopback address for ever."""
    site: Any = QuietSite(Keys().app.resource())
    reactor.listenTCP(port, site, interface="127.0.0.1")
    reactor.run()


if __name__ == "__main__":
    run(int(sys.argv[1]))
