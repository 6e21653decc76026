"""
``python -m benchmarks.raw_asgi PORT``: the same answers from uvicorn and a bare ASGI application, in memory.
"""

import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn

VALUES: dict[str, Any] = {}


async def application(
    scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
) -> None:
    """Read or write a key."""
    if scope["type"] != "http":
        return
    key = scope["path"].removeprefix("/kvs/")
    if scope["method"] == "PUT":
        status, reply = _write(key, json.loads(await _body(receive)))
    elif key in VALUES:
        reply = {"result": "found", "value": VALUES[key], "causal-metadata": None, "shard-id": "s0"}
        status = 200
    else:
        status, reply = 404, {"error": "Key does not exist"}
    content = json.dumps(reply).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def _write(key: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    result = "replaced" if key in VALUES else "created"
    VALUES[key] = body["value"]
    reply = {"result": result, "causal-metadata": body.get("causal-metadata"), "shard-id": "s0"}
    return (200 if result == "replaced" else 201), reply


async def _body(receive: Callable[[], Awaitable[Any]]) -> bytes:
    content = b""
    more = True
    while more:
        message = await receive()
        content += message.get("body", b"")
        more = message.get("more_body", False)
    return content


if __name__ == "__main__":
    uvicorn.run(
        application, host="127.0.0.1", port=int(sys.argv[1]), access_log=False, log_level="warning", lifespan="off"
    )
