"""The laws of the wire: all that nodes say arrives as it was said, and no other bytes are believed."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication.configuration import Configuration
from kvsd.replication.messages import Message, Sender
from kvsd.replication.record import CarriedOut, Op, Row
from kvsd.replication.requests import Question, Verdict
from kvsd.wire import TAG_BYTES, EnvelopeCodec, WireError, encode_message
from tests.examples import examples
from tests.strategies import (
    MESSAGES,
    REQUESTS,
    VERDICTS,
    addresses,
    any_message,
    built,
    carried_out,
    configurations,
    kinds_of,
    ops,
    rows,
    senders,
)

RECEIVER = "10.0.0.2:8090"
CODEC = EnvelopeCodec(b"secret")

EVERYTHING: dict[type, st.SearchStrategy[object]] = {**MESSAGES, **REQUESTS, **VERDICTS}

some_messages = st.lists(any_message, min_size=1, max_size=2)
envelopes = st.builds(
    lambda sender, messages: CODEC.encode(sender, RECEIVER, [encode_message(message) for message in messages]),
    senders,
    some_messages,
)
bits = st.integers(0, 10**6)
"""The number of a bit, counted on from the end to the beginning again."""


def flipped(raw: bytes, bit: int) -> bytes:
    """The bytes with one bit the other way round."""
    index, bit = divmod(bit % (8 * len(raw)), 8)
    return raw[:index] + bytes([raw[index] ^ 1 << bit]) + raw[index + 1 :]


def sealed(body: bytes) -> bytes:
    """Any bytes under a genuine tag."""
    return CODEC._tag(body) + body


@st.composite
def damaged_bodies(draw: st.DrawFn) -> bytes:
    """A genuine envelope without its tag, with a bit flipped, a piece left out, or a piece of it put in elsewhere."""
    body = draw(envelopes)[TAG_BYTES:]
    start, end = sorted(draw(st.tuples(st.integers(0, len(body)), st.integers(0, len(body)))))
    at = draw(st.integers(0, len(body)))
    kinds = [flipped(body, draw(bits)), body[:start] + body[end:], body[:at] + body[start:end] + body[at:]]
    return draw(st.sampled_from(kinds))


class StrategyTests(SynchronousTestCase):
    """The laws speak of everything that can be said."""

    def test_every_kind_is_drawn(self) -> None:
        """No type of message, request or answer is left out; a new one needs a strategy first."""
        self.assertEqual(kinds_of(Message), set(MESSAGES))
        self.assertEqual(kinds_of(Question), set(REQUESTS))
        self.assertEqual(kinds_of(Verdict), set(VERDICTS))

    def test_every_field_is_drawn(self) -> None:
        """No field of a type is left out, or left at its default."""
        self.assertRaises(TypeError, built, Row, writer=st.just(b"writer"), counter=st.just(1))

    @examples(10)
    @given(st.tuples(*EVERYTHING.values()))
    def test_each_strategy_draws_its_kind(self, values: tuple[object, ...]) -> None:
        """What is drawn for a type is of that type."""
        self.assertEqual(list(EVERYTHING), [type(value) for value in values])


class EnvelopeLaws(SynchronousTestCase):
    """What nodes POST to each other."""

    @examples(25)
    @given(senders, addresses, st.tuples(*MESSAGES.values()).flatmap(st.permutations))
    def test_round_trip(self, sender: Sender, receiver: str, messages: list[Message]) -> None:
        """All messages arrive as they were said, in their order, with who sent them."""
        raw = CODEC.encode(sender, receiver, [encode_message(message) for message in messages])
        self.assertEqual((sender, messages), CODEC.decode(raw, receiver))

    @examples(40)
    @given(st.tuples(ops, rows, carried_out, configurations))
    def test_records(self, values: tuple[Op, Row, CarriedOut, Configuration]) -> None:
        """What is kept on disk is the same after it was written as bytes, however often."""
        for value in values:
            raw = msgspec.msgpack.encode(value)
            again = msgspec.msgpack.decode(raw, type=type(value))
            self.assertEqual((value, raw), (again, msgspec.msgpack.encode(again)))

    @examples(100)
    @given(st.binary(max_size=200))
    def test_any_bytes_are_refused(self, raw: bytes) -> None:
        """Bytes that no node made are refused, and do no worse."""
        self.assertRaises(WireError, CODEC.decode, raw, RECEIVER)

    @examples(60)
    @given(envelopes, bits, st.integers(0, 10**6), st.binary(min_size=1, max_size=4))
    def test_any_damage_is_noticed(self, raw: bytes, bit: int, length: int, more: bytes) -> None:
        """An envelope with any bit flipped, cut short at either end or made longer is refused, and does no worse."""
        cut = length % len(raw)
        for damaged in (flipped(raw, bit), raw[:cut], raw[cut + 1 :], raw + more, more + raw):
            self.assertRaises(WireError, CODEC.decode, damaged, RECEIVER)

    @examples(40)
    @given(envelopes, st.binary(max_size=5), addresses)
    def test_others_are_refused(self, raw: bytes, secret: bytes, receiver: str) -> None:
        """What was made under another secret, or for another node, is refused."""
        self.assertRaises(WireError, EnvelopeCodec(secret).decode, raw, RECEIVER)
        if receiver != RECEIVER:
            self.assertRaises(WireError, CODEC.decode, raw, receiver)

    @examples(150)
    @given(damaged_bodies() | st.binary(max_size=60))
    def test_any_bytes_under_a_genuine_tag(self, body: bytes) -> None:
        """Even a node of the cluster that makes nonsense is refused, or said something that can be said again."""
        try:
            sender, messages = CODEC.decode(sealed(body), RECEIVER)
        except WireError:
            return
        raw = CODEC.encode(sender, RECEIVER, [encode_message(message) for message in messages])
        _, again = CODEC.decode(raw, RECEIVER)
        self.assertEqual(raw, CODEC.encode(sender, RECEIVER, [encode_message(message) for message in again]))
