"""The laws of answers: they are read as they were written, however their bytes are split, and nothing else is taken for one."""

from email.message import Message
from http.client import HTTPException, HTTPResponse
from io import BytesIO
from itertools import pairwise
from socket import socket
from typing import cast

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kvsd.agent.answers import HEAD_BYTES, Answer, Answers

LIMIT_BYTES = 50

tokens = st.text("abcXYZ-09_!~", min_size=1, max_size=8).filter(lambda name: not name.lower().startswith("c"))
texts = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=12)
codes = st.integers(200, 599).filter(lambda code: code not in (204, 304))
spaces = st.sampled_from([b"", b" ", b"\t ", b"   "])


@st.composite
def written(draw: st.DrawFn) -> tuple[bytes, Answer]:
    """An answer as a node may write it, and what it is."""
    answer = Answer(draw(codes), draw(st.binary(max_size=LIMIT_BYTES)), draw(st.booleans()))
    length = b"%b%d%b" % (draw(spaces), len(answer.body), draw(spaces))
    lines = [draw(st.sampled_from([b"Content-Length", b"content-length", b"CONTENT-LENGTH"])) + b":" + length]
    lines += [f"{name}:{text}".encode("latin-1") for name, text in draw(st.lists(st.tuples(tokens, texts), max_size=3))]
    if answer.last:
        lines.append(draw(st.sampled_from([b"Connection: close", b"connection:Close"])))
    reason = draw(st.sampled_from([b"", b" ", b" OK", b" Not quite right"]))
    head = b"HTTP/1.1 %d%b\r\n%b\r\n" % (
        answer.code,
        reason,
        b"".join(line + b"\r\n" for line in draw(st.permutations(lines))),
    )
    return head + answer.body, answer


@st.composite
def nearly(draw: st.DrawFn) -> bytes:
    """Some answers with a piece left out, put in or changed."""
    raw = b"".join(raw for raw, _ in draw(st.lists(written(), min_size=1, max_size=2)))
    start = draw(st.integers(0, len(raw)))
    end = start + draw(st.integers(0, 3))
    piece = draw(st.sampled_from([b"", b"\n", b"\r\n", b" ", b":", b"1", b"\x00", b"Transfer-Encoding: chunked\r\n"]))
    return raw[:start] + piece + raw[end:]


def split(raw: bytes, cuts: list[int]) -> list[bytes]:
    """The bytes in pieces, cut at some places."""
    places = [0, *sorted(cut % (len(raw) + 1) for cut in cuts), len(raw)]
    return [raw[start:end] for start, end in pairwise(places)]


def read(pieces: list[bytes]) -> tuple[list[Answer], str, bool]:
    """What comes of bytes in pieces: the answers, what is wrong, and whether the end is in the middle of one."""
    answers = Answers(LIMIT_BYTES)
    found = [answer for piece in pieces for answer in answers.receive(piece)]
    return found, str(answers.wrong or ""), answers.is_amid and answers.wrong is None


class _Bytes:
    """What Python's own client takes for a connection."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def makefile(self, _mode: str) -> BytesIO:
        """The bytes, to be read."""
        return BytesIO(self._raw)


def read_by_python(raw: bytes) -> tuple[int, bytes, Message]:
    """The first answer as Python's own client reads it."""
    response = HTTPResponse(cast(socket, _Bytes(raw)), method="POST")
    response.begin()
    return response.status, response.read(), response.msg


class LawsOfAnswers(SynchronousTestCase):
    """What holds of any answers, in any pieces."""

    @given(st.lists(written(), max_size=4), st.lists(st.integers(0, 2000), max_size=12))
    def test_there_and_back(self, several: list[tuple[bytes, Answer]], cuts: list[int]) -> None:
        """Answers are read as they were written, all of them and nothing more, however they are split."""
        raw = b"".join(raw for raw, _ in several)
        self.assertEqual(read(split(raw, cuts)), ([answer for _, answer in several], "", False))

    @given(written(), st.integers(0, 2000))
    def test_part_of_an_answer(self, one: tuple[bytes, Answer], cut: int) -> None:
        """A part of an answer is none yet, and nothing wrong."""
        part = one[0][: cut % len(one[0])]
        self.assertEqual(read([part]), ([], "", part != b""))

    @given(nearly() | st.binary(max_size=100), st.lists(st.integers(0, 2000), max_size=12))
    def test_splits_make_no_difference(self, raw: bytes, cuts: list[int]) -> None:
        """Whatever comes in, what is made of it does not depend on how it is split."""
        self.assertEqual(read(split(raw, cuts)), read([raw]))

    @given(nearly())
    @example(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")
    def test_nothing_else_is_read_than_others_read(self, raw: bytes) -> None:
        """What is taken for an answer is one for Python's own client too, of the same status and with the same body."""
        found, _, _ = read([raw])
        if found:
            try:
                status, body, _ = read_by_python(raw)
            except (HTTPException, ValueError) as error:
                self.fail(f"Python's client refuses it: {error!r}")
            self.assertEqual((status, body), (found[0].code, found[0].body))


class StrictTests(SynchronousTestCase):
    """What is no answer of a node, and what is said of it."""

    def assert_wrong(self, raw: bytes, why: str) -> None:
        """Nothing is taken from it, for a reason."""
        self.assertEqual(read([raw]), ([], why, False))

    def test_other_status_lines(self) -> None:
        """Only HTTP/1.1 with a final status."""
        for line in (
            b"HTTP/1.0 200 OK",
            b"HTTP/2 200 OK",
            b"http/1.1 200 OK",
            b"HTTP/1.1 100 Continue",
            b"HTTP/1.1 204 No content",
            b"HTTP/1.1 304 Not modified",
            b"HTTP/1.1 600 x",
            b"HTTP/1.1 20 x",
            b"HTTP/1.1  200 OK",
            b"HTTP/1.1 2000 OK",
            b"SSH-2.0-x",
            b" HTTP/1.1 200 OK",
            b"\r\nHTTP/1.1 200 OK",
        ):
            self.assert_wrong(line + b"\r\nContent-Length: 0\r\n\r\n", "its answer is not HTTP as nodes speak it")

    def test_other_lines(self) -> None:
        """No folded lines, no bare line feeds, no spaces before a colon, no characters that are no text."""
        for line in (b" folded: x", b"a : x", b": x", b"a", b"a: b\nc: d", b"a: \x00", b"a: b\rc", b"a\x80: b"):
            self.assert_wrong(
                b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + line + b"\r\n\r\n",
                "its answer is not HTTP as nodes speak it",
            )

    def test_length(self) -> None:
        """A length is a number, and said once."""
        for lines in (
            b"",
            b"Content-Length: 1\r\nContent-Length: 1\r\n",
            b"Content-Length: 1, 1\r\n",
            b"Content-Length: -1\r\n",
            b"Content-Length: +1\r\n",
            b"Content-Length: 0x1\r\n",
            b"Content-Length: 1_0\r\n",
            b"Content-Length:\r\n",
            b"Content-Length: 1234567890123456789\r\n",
        ):
            self.assert_wrong(b"HTTP/1.1 200 OK\r\n" + lines + b"\r\nx" * 2, "its answer does not say how long it is")

    def test_chunks(self) -> None:
        """Chunks are refused, also beside a length."""
        chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
        for raw in (chunked + b"\r\n1\r\nx\r\n0\r\n\r\n", chunked + b"Content-Length: 1\r\n\r\nx"):
            self.assert_wrong(raw, "its answer comes in chunks")

    def test_too_long(self) -> None:
        """A body is refused as soon as it is announced, a head as soon as it is too long; at the limit both are taken."""
        raw = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n"
        self.assert_wrong(raw % (LIMIT_BYTES + 1) + b"\r\n", f"its answer is longer than {LIMIT_BYTES} bytes")
        for body_bytes, taken in ((LIMIT_BYTES, True), (LIMIT_BYTES + 1, False)):
            found, _, _ = read([raw % body_bytes + b"\r\n" + b"x" * body_bytes])
            self.assertEqual(bool(found), taken)
        room = HEAD_BYTES - len(raw % 0 + b"a: \r\n\r\n")
        self.assertEqual(len(read([raw % 0 + b"a: " + b"x" * room + b"\r\n\r\n"])[0]), 1)
        why = f"the head of its answer is longer than {HEAD_BYTES} bytes"
        self.assert_wrong(raw % 0 + b"a: " + b"x" * (room + 1) + b"\r\n\r\n", why)
        self.assert_wrong(b"x" * (HEAD_BYTES + 1), why)

    def test_after_something_wrong(self) -> None:
        """After something that is no answer nothing is taken in, but what came before it was an answer."""
        good = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"
        answers = Answers(LIMIT_BYTES)
        self.assertEqual(answers.receive(good + b"\r\n\r\n"), [Answer(200, b"x", last=False)])
        self.assertEqual((answers.receive(good), answers.receive(good)), ([], []))
