"""No text makes a node busy for long: what the doors look for in 32 KB is looked for in time proportional to that."""

import ast
import importlib
import re
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from math import inf
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

import kvsd
from kvsd.replication.requests import Absent, Get
from kvsd.replication.token import EMPTY
from tests.http_case import HttpCase, request_bytes

SIZES = 24, 1024, 6 * 1024, 32 * 1024
"""Short ones first: what grows faster than with the square of the size is found by them."""
PATIENCE_SECONDS = 0.05
"""Of the processor's time.  What is linear needs some milliseconds at the most, what is quadratic over a second."""

ELSEWHERE = {"ctl", "demo", "local", "simulate"}
"""No part of a node."""

EXAMPLES: dict[str, bytes | str] = {
    "kvsd.agent.answers._HEAD": b"HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 0\r\n\r\n",
    "kvsd.agent.answers._LENGTH": b"10",
    "kvsd.resources.asking._QUOTED": '"a b"',
    "kvsd.resources.asking._QUOTED_DIGITS": '"10"',
    "kvsd.resources.asking._VISIBLE": b"id",
    "kvsd.resources.conformance._HOST": b"[::1]:80",
    "kvsd.resources.door._PAIR": b"\\uD83D\\uDE00",
    "kvsd.resources.door._SURROGATE": b"\\uD83D",
    "kvsd.resources.framing._HEADERS": b"A: b\r\nHost: x\r\n\r\n",
    "kvsd.resources.framing._LENGTH": b"10",
    "kvsd.resources.framing._REQUEST": b"PUT /kvs/a?w=1 HTTP/1.1\r\n",
    "kvsd.resources.site._NOT_ASCII": b"\xe9",
}
"""What each pattern of a node matches: attacks are made from that."""

ALPHABET = ' 0a"\r'
SURPRISE = "\x00"


def node_modules() -> Iterator[tuple[str, ast.Module]]:
    """The modules that a node is made of: name and source."""
    root = Path(kvsd.__file__).parent
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if parts[0] not in ELSEWHERE:
            yield ".".join(("kvsd", *parts)).removesuffix(".__init__"), ast.parse(path.read_text())


def uses_of_re(tree: ast.Module) -> tuple[dict[str, set[str]], int]:
    """
    The compiled patterns among the names of a module, with the methods that it calls of each.

    Also how often it uses ``re`` in any other way.
    """
    compiled: dict[str, set[str]] = {}
    for statement in tree.body:
        match statement:
            case (
                ast.Assign(targets=[ast.Name(name)], value=ast.Call(func=ast.Attribute(ast.Name("re"), "compile")))
                | ast.AnnAssign(target=ast.Name(name), value=ast.Call(func=ast.Attribute(ast.Name("re"), "compile")))
            ):
                compiled[name] = set()
            case _:
                pass
    calls = 0
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(ast.Name("re"))) | ast.ImportFrom(module="re"):
                calls += 1
            case ast.Call(func=ast.Attribute(ast.Name(name), method)) if name in compiled:
                compiled[name].add(method)
    return compiled, calls - len(compiled)


def node_patterns() -> dict[str, set[str]]:
    """Every pattern of a node by its full name, with the methods that are called of it."""
    return {
        f"{module}.{name}": methods for module, tree in node_modules() for name, methods in uses_of_re(tree)[0].items()
    }


def attacks(example: Any, size: int) -> Iterator[Any]:
    """Texts of some size that begin like an example, go on with the same again and again, and end in what does not fit."""

    def text(chars: str) -> str | bytes:
        return chars.encode("latin-1") if isinstance(example, bytes) else chars

    alphabet = {text(char) for char in ALPHABET}
    for at in range(len(example) + 1):
        pieces = alphabet | {example[:at], *(example[at : at + length] for length in (1, 2))}
        for piece in sorted(pieces - {text("")}):
            yield example[:at] + piece * (size // len(piece)) + text(SURPRISE)


def seconds(act: Callable[[], object]) -> float:
    """The processor's time that something takes; what takes long is tried again, as other threads may be to blame."""
    taken = inf
    for _ in range(3):
        begun = time.thread_time()
        act()
        taken = min(taken, time.thread_time() - begun)
        if not PATIENCE_SECONDS <= taken < 4 * PATIENCE_SECONDS:
            break
    return taken


def slowest(pattern: re.Pattern[Any], methods: Iterable[str], example: Any) -> tuple[float, Any]:
    """The time that the worst attack takes, and the attack; once one takes too long, no more are tried."""
    worst = 0.0, example
    for attack in chain.from_iterable(attacks(example, size) for size in SIZES):
        for method in methods:
            use = partial(pattern.sub, example[:0]) if method == "sub" else getattr(pattern, method)
            worst = max(worst, (seconds(partial(use, attack)), attack))
            if worst[0] >= PATIENCE_SECONDS:
                return worst
    return worst


class PatternTests(SynchronousTestCase):
    """All regular expressions of a node."""

    def test_none_escapes(self) -> None:
        """Each is compiled under a name of its module, and has an example here."""
        for name, tree in node_modules():
            self.assertEqual(0, uses_of_re(tree)[1], f"{name} uses re otherwise than by NAME = re.compile(...)")
        self.assertEqual(set(EXAMPLES), set(node_patterns()))

    def test_each_takes_time_in_proportion(self) -> None:
        """None takes long over 32 KB, whatever they are."""
        methods = node_patterns()
        for name, example in EXAMPLES.items():
            module, _, attribute = name.rpartition(".")
            pattern = getattr(importlib.import_module(module), attribute)
            self.assertTrue(pattern.match(example), name)
            self.assertTrue(methods[name], name)
            taken, attack = slowest(pattern, methods[name], example)
            self.assertLess(taken, PATIENCE_SECONDS, (name, attack[:40]))

    def test_those_that_do_not_are_found(self) -> None:
        """The attacks find what backtracks."""
        for text, method, example in (
            (r"\s*wait\s*=\s*0*([0-9]+)\s*", "fullmatch", "wait=1"),
            (r"[a-z]*[a-z0-9]*;", "match", "a1;"),
            (r"(?:[a-z]+ ?)+;", "match", "a ;"),
            (r"\s+$", "sub", " "),
            (r"<[^>]*>", "search", "<a>"),
        ):
            taken, _ = slowest(re.compile(text), [method], example)
            self.assertGreaterEqual(taken, PATIENCE_SECONDS, text)


class DoorTests(HttpCase):
    """Requests that are as long as they may be."""

    def test_prefer(self) -> None:
        """A Prefer header of 31 KB, whatever it says, is read in no time, on the quick way and on the other."""
        self.node.outcome = Absent("s0", EMPTY)
        for value in (
            "wait=" + "0" * 31_000 + "x",
            "wait=" + "0" * 8_000 + "x",
            "wait=" + " " * 31_000 + "1x",
            " " * 31_000 + "wait",
            '"' * 31_000,
            '"0' * 15_500,
            "," * 31_000,
            ";=" * 15_500,
        ):
            for target in ("/kvs/k", "/kvs/%6b"):
                data = request_bytes("GET", target, headers={"Prefer": value})
                connection = self.connect()
                taken = seconds(partial(connection.send, data))
                self.assertLess(taken, PATIENCE_SECONDS, (target, value[:20]))
                self.assertEqual({404}, {answer.status for answer in connection.answers()})
                self.assertEqual(Get("k", EMPTY), self.node.asked[-1])

    def test_any_place(self) -> None:
        """A request with 31 KB of anything in its path, its query, a header or its body is answered in no time."""
        self.node.outcome = Absent("s0", EMPTY)
        for piece in (
            "0",
            "%",
            "/",
            "%2F",
            "a=b&",
            "w=1&",
            "&",
            "=",
            ",",
            '"',
            "\\",
            "[",
            "{",
            "\\ud83d",
            "é",
            "A,",
            ". ",
        ):
            text = piece * (31_000 // len(piece.encode()))
            target = text.encode().decode("latin-1").replace(" ", "+")
            for data in (
                request_bytes("GET", "/" + target),
                request_bytes("GET", "/kvs/" + target),
                request_bytes("GET", "/kvs/k?" + target),
                request_bytes("GET", "/shard/members/" + target),
                request_bytes("GET", "/shard/reshard?shard-count=" + target),
                *(
                    request_bytes("PUT", "/kvs/k", b'{"value":1}', {name: target})
                    for name in ("Causal-Metadata", "Idempotency-Key", "Prefer", "Cookie", "Host", "X-Forwarded-For")
                ),
                *(request_bytes("PUT", path, text.encode()) for path in ("/kvs/k", "/view", "/kvsd/i/messages")),
                request_bytes("PUT", "/view", b'{"socket-address":"%b"}' % text.encode()),
            ):
                connection = self.connect()
                taken = seconds(partial(connection.send, data))
                self.assertLess(taken, 2 * PATIENCE_SECONDS, data[:80])
                self.assertTrue(connection.answers(), data[:80])
