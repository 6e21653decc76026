"""
Asking the nodes of a cluster, one after the other until one can be reached.

A request that no connection was found for has done nothing, so the next node may be asked.  Where a connection was
there but no answer came, only what may be said twice is said again: questions, and writes that carry an
Idempotency-Key.

Proxies that the environment names are left aside, as nodes are machines of one's own.  Every request has a
connection of its own: a kept one may have ended while the operator thought about a question.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, NamedTuple, TypeVar

import httpx
import msgspec

from kvsd.ctl.failures import UNEXPECTED, UNREACHED, Failure, Refused, Unanswered, Unreached

CONNECT_SECONDS = 3.0
AT_THE_SIDE_SECONDS = 3.0  # for the answer of a node that is only asked to complete a picture
ASKED_AT_ONCE = 16
LONG_NUMBER = 1000

AnswerT = TypeVar("AnswerT")


class Reply(NamedTuple):
    """A node's answer: who, the HTTP status, the body, and the body's text as it came."""

    node: str
    status: int
    body: dict[str, Any]
    text: str

    def ok(self, hints: Mapping[int, str] | None = None) -> "Reply":
        """This answer where it is a success; raises Refused else.  ``hints`` say for statuses what to do next."""
        if self.status >= 300:
            raise Refused(self.node, self.status, self.body, hints)
        return self

    def read(self, form: type[AnswerT]) -> AnswerT:
        """The body in a form that is known; raises Failure where it has another."""
        try:
            return msgspec.json.decode(self.text, type=form)
        except msgspec.DecodeError as error:
            text = f"{self.node}: an answer that kvsctl does not understand: {error}"
            raise Failure(UNEXPECTED, text, "is the node of another version?", {"node": self.node}) from error


def reason(error: Exception) -> str:
    """Why a node could not be asked, in few words."""
    if isinstance(error, httpx.TimeoutException):
        return "it took too long"
    return str(error).rpartition("] ")[2] or type(error).__name__


def whole(digits: str) -> float:
    """A whole number; one that is too long for Python to read loses digits."""
    return int(digits) if len(digits) < LONG_NUMBER else float(digits)


def understand(node: str, response: httpx.Response) -> Reply:
    """Read the body of a response; raises Failure where it is no JSON object."""
    try:
        text = response.content.decode()
        body = json.loads(text, parse_int=whole)
    except (ValueError, RecursionError):
        text, body = "", None
    if not isinstance(body, dict):
        say = f"{node}: its answer (status {response.status_code}) is no JSON object"
        raise Failure(UNEXPECTED, say, "is this a kvsd node?", {"node": node, "status": response.status_code})
    return Reply(node, response.status_code, body, text)


def unobserved(_: str) -> None:
    """Take no notice of a change."""


class Cluster:
    """
    The nodes that may be asked, in the order in which they are tried; the one that answered last comes first.

    ``done`` gets the method and the path of each change that a node says it carries out.
    """

    def __init__(self, nodes: Iterable[str], timeout_seconds: float, done: Callable[[str], None] = unobserved) -> None:
        self.nodes = list(nodes)
        self._done = done
        self._timeout_seconds = timeout_seconds
        # Nodes speak plain HTTP: loading the certificates of the web would take longer than most requests.
        self._http = httpx.Client(trust_env=False, verify=False, limits=httpx.Limits(max_keepalive_connections=0))

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def get(self, path: str, hints: Mapping[int, str] | None = None) -> Reply:
        """Ask a question; raises Failure where the answer is no success."""
        return self.ask("GET", path).ok(hints)

    def change(self, method: str, path: str, fields: Any = None, hints: Mapping[int, str] | None = None) -> Reply:
        """Have something changed that must not be said twice; raises Failure where the answer is no success."""
        return self.ask(method, path, json.dumps(fields or {}).encode(), again=False).ok(hints)

    def ask(
        self,
        method: str,
        path: str,
        content: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        again: bool = True,
        more_seconds: float = 0.0,
    ) -> Reply:
        """
        Send a request to the first node that can be reached, and give its answer, whatever it says.

        ``again``: the request may be repeated elsewhere when no answer came.  ``more_seconds`` are added to the time
        for an answer.  Raises Unanswered, Unreached, or Failure for an answer that makes no sense.
        """
        troubles: dict[str, str] = {}
        unanswered: list[str] = []
        for node in self.nodes:
            answer = self._try(node, method, path, content, headers or {}, self._timeout_seconds + more_seconds)
            if isinstance(answer, httpx.Response):
                self.nodes = [node, *(each for each in self.nodes if each != node)]
                if method != "GET" and answer.status_code < 300:
                    self._done(f"{method} {path}")
                return understand(node, answer)
            troubles[node] = reason(answer)
            if method != "GET" and not isinstance(answer, httpx.ConnectError | httpx.ConnectTimeout):
                unanswered.append(node)
                if not again:
                    break
        if unanswered:
            raise Unanswered(unanswered[0], troubles[unanswered[0]])
        raise Unreached(troubles)

    def get_from(self, nodes: Iterable[str], path: str) -> dict[str, Reply | Failure]:
        """Put one question to many nodes at the same time; gives for each its answer or why there is none."""
        nodes = list(nodes)
        with ThreadPoolExecutor(ASKED_AT_ONCE) as pool:
            return dict(zip(nodes, pool.map(lambda node: self._get_one(node, path), nodes), strict=True))

    def _get_one(self, node: str, path: str) -> Reply | Failure:
        answer = self._try(node, "GET", path, b"", {}, min(self._timeout_seconds, AT_THE_SIDE_SECONDS))
        try:
            if isinstance(answer, httpx.Response):
                return understand(node, answer).ok()
            return Failure(UNREACHED, f"{node} does not answer: {reason(answer)}")
        except Failure as failure:
            return failure

    def _try(
        self, node: str, method: str, path: str, content: bytes, headers: Mapping[str, str], seconds: float
    ) -> httpx.Response | httpx.HTTPError:
        """Send a request to one node; gives its answer, or why there is none."""
        patience = httpx.Timeout(seconds, connect=min(self._timeout_seconds, CONNECT_SECONDS))
        url = f"http://{node}{path}"
        try:
            return self._http.request(method, url, content=content, headers=dict(headers), timeout=patience)
        except httpx.HTTPError as error:
            return error
