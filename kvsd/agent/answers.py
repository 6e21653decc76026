"""
Answers over HTTP as they come in, however their bytes are split: bytes in, answers out, no connection.

It understands what nodes say and nothing else (RFC 9112, and stricter): HTTP/1.1, a final status, and exactly one
Content-Length.  No chunks, no interim answers, none that have no body by their status, no folded or bare lines, and no
body that ends with its connection: whoever says such things, it is no node.
"""

import re
from typing import Final, NamedTuple

HEAD_BYTES: Final = 16 << 10

_END: Final = b"\r\n\r\n"
_HEAD: Final = re.compile(
    rb"HTTP/1\.1 (?!204|304)([2-5][0-9]{2})(?: [^\x00-\x08\x0a-\x1f\x7f]*)?\r\n"
    rb"((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\x00-\x08\x0a-\x1f\x7f]*\r\n)*)\r\n"
)
_LENGTH: Final = re.compile(rb"[0-9]{1,18}")


class BadAnswer(Exception):
    """What came in is no answer of a node; the text says why, and quotes nothing of it."""


class Answer(NamedTuple):
    """An answer that is whole; ``last`` says that its connection is not to be used again."""

    code: int
    body: bytes
    last: bool


class Answers:
    """
    The answers that come in over one connection, one after the other.

    A body of more than ``limit_bytes`` is refused as soon as it is announced.  ``wrong`` is what was met that is no
    answer; from there on nothing is taken in.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.wrong: BadAnswer | None = None
        self._limit_bytes = limit_bytes
        self._head = b""
        """The beginning of a head that is not whole."""
        self._begun: Answer | None = None
        """The answer whose head is whole, without its body."""
        self._parts: list[bytes] = []
        self._lacking = 0

    @property
    def is_amid(self) -> bool:
        """Whether there is a part of an answer that is not whole."""
        return self._begun is not None or self._head != b""

    def receive(self, data: bytes) -> list[Answer]:
        """Take bytes in; returns the answers that are whole with them."""
        answers: list[Answer] = []
        try:
            while data and self.wrong is None:
                data = self._take_body(data) if self._begun else self._take_head(data)
                if self._begun and not self._lacking:
                    answers.append(self._begun._replace(body=b"".join(self._parts)))
                    self._begun, self._parts = None, []
        except BadAnswer as error:
            self.wrong = error
        return answers

    def _take_head(self, data: bytes) -> bytes:
        """Look for the end of a head; returns what comes after it."""
        searched = max(0, len(self._head) - len(_END) + 1)
        self._head += data
        end = self._head.find(_END, searched)
        head_bytes = end + len(_END) if end >= 0 else len(self._head)
        if head_bytes > HEAD_BYTES:
            raise BadAnswer(f"the head of its answer is longer than {HEAD_BYTES} bytes")
        if end < 0:
            return b""
        head, rest = self._head[:head_bytes], self._head[head_bytes:]
        self._begun, self._lacking = self._read(head)
        self._head = b""
        return rest

    def _take_body(self, data: bytes) -> bytes:
        """Keep what belongs to the body; returns what comes after it."""
        part = data[: self._lacking]
        self._parts.append(part)
        self._lacking -= len(part)
        return data[len(part) :]

    def _read(self, head: bytes) -> tuple[Answer, int]:
        """The answer that a head begins, and the length of its body."""
        found = _HEAD.fullmatch(head)
        if not found:
            raise BadAnswer("its answer is not HTTP as nodes speak it")
        lengths: list[bytes] = []
        last = False
        for line in found[2].splitlines():
            name, _, value = line.partition(b":")
            name = name.lower()
            if name == b"content-length":
                lengths.append(value.strip(b" \t"))
            elif name == b"transfer-encoding":
                raise BadAnswer("its answer comes in chunks")
            elif name == b"connection":
                last = last or b"close" in value.lower()
        if len(lengths) != 1 or not _LENGTH.fullmatch(lengths[0]):
            raise BadAnswer("its answer does not say how long it is")
        if int(lengths[0]) > self._limit_bytes:
            raise BadAnswer(f"its answer is longer than {self._limit_bytes} bytes")
        return Answer(int(found[1]), b"", last), int(lengths[0])
