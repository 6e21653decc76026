"""Values for tests: writers, vectors, records, ops and rows, fixed or drawn by hypothesis."""

from collections.abc import Mapping

from hypothesis import strategies as st

from kvsd.replication.causality import Dependencies, Dot, VersionVector
from kvsd.replication.record import Op, Record, Row
from kvsd.replication.token import MAX_TOKEN_STAMP, Token
from tests.examples import examples

A, B, C = b"anna-1", b"bert-1", b"carl-1"
MAX_COUNTER = 2**62 - 1
MAX_EPOCH = 2**62 - 1
MAX_HLC = MAX_TOKEN_STAMP

modest = examples(60)
"""How most tests by hypothesis run: the same examples each time, and not too many."""

writers = st.sampled_from((A, B, C))
vectors: st.SearchStrategy[VersionVector] = st.dictionaries(writers, st.integers(1, 5), max_size=3)
any_vectors: st.SearchStrategy[VersionVector] = st.dictionaries(
    st.binary(min_size=6, max_size=6), st.integers(1, MAX_COUNTER), max_size=6
)
any_dependencies: st.SearchStrategy[Dependencies] = st.dictionaries(
    st.integers(0, 10**6).map("s{}".format), any_vectors.filter(bool), max_size=4
)
tokens: st.SearchStrategy[Token] = st.builds(
    Token, st.integers(0, MAX_EPOCH), st.integers(0, MAX_HLC), any_dependencies
)


def make_record(
    key: str = "key", value: bytes | None = b"1", hlc: int = 1, dot: tuple[bytes, int] = (A, 1), **fields: object
) -> Record:
    """A version of a key in shard s0; ``dot`` is its writer and counter, and fields are any others of a record."""
    rest: dict[str, object] = {"dependencies": {}, "epoch": 1, "request": "", "created": True, "over": 0, **fields}
    tenure = rest.pop("tenure", 0)
    return Record(tenure=tenure, key=key, value=value, hlc=hlc, origin=Dot("s0", *dot), **rest)  # type: ignore[arg-type]


def make_row(key: str, value: bytes | None, hlc: int, dot: tuple[bytes, int]) -> Row:
    """A row, brought by the op that wrote it."""
    return Row(*dot, make_record(key, value, hlc, dot))


def make_op(
    writer: bytes,
    counter: int,
    dependencies: Mapping[bytes, int] | None = None,
    *,
    epoch: int = 1,
    value: bytes | None = b"1",
    key: str = "key",
) -> Op:
    """The counter-th op of a writer in shard s0."""
    record = make_record(key, value, counter, (writer, counter))
    return Op("s0", writer, counter, epoch, dict(dependencies or {}), (record,))
