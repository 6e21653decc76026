"""The laws of causal tokens: what they say survives, one token has one text, and no other text is believed."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication.token import MAX_TOKEN_BYTES, TAG_BYTES, Token, TokenCodec, TokenError
from tests.builders import A, B, tokens
from tests.examples import examples

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
CODEC = TokenCodec(b"secret", "cluster")

characters = st.characters() | st.integers(0xD800, 0xDFFF).map(chr)
"""Any character, and often half of a surrogate pair, which no bytes can stand for."""
texts = st.text(characters, max_size=60) | st.text(st.sampled_from(ALPHABET), max_size=80)
small_tokens = st.builds(
    Token,
    st.integers(0, 2),
    st.integers(0, 2),
    st.dictionaries(
        st.sampled_from(("s0", "s1", "s10")),
        st.fixed_dictionaries({}, optional=dict.fromkeys((A, B), st.sampled_from((1, 127, 128)))),
        max_size=3,
    ),
)
"""Few tokens, so that two are often equal; shards of which nothing was seen among them."""
any_tokens = tokens | small_tokens


def genuine(body: bytes) -> str:
    """A text that carries the cluster's tag over any bytes."""
    return urlsafe_b64encode(body + CODEC._tag(body)).rstrip(b"=").decode()


def body_of(text: str) -> bytes:
    """What the tag of a text is over."""
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))[:-TAG_BYTES]


def normal(token: Token) -> Token:
    """The token without shards of which nothing was seen."""
    return Token(token.epoch, token.hlc, {shard: vector for shard, vector in token.dependencies.items() if vector})


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """A genuine text with one character changed, left out, put in or swapped, or with either end cut off."""
    text = CODEC.encode(draw(any_tokens))
    at, other = draw(st.integers(0, len(text) - 1)), draw(st.sampled_from(ALPHABET) | characters)
    return draw(
        st.sampled_from(
            (
                text[:at] + other + text[at + 1 :],
                text[:at] + text[at + 1 :],
                text[:at] + other + text[at:],
                text[:at] + text[at + 1 : at + 2] + text[at] + text[at + 2 :],
                text[:at],
                text[at + 1 :],
                text[:-1] + other,
                text[:-1] + ALPHABET[ALPHABET.index(text[-1]) ^ 1],  # its bits may mean nothing
                text + other,
                text + text,
            )
        ).filter(lambda changed: changed != text)
    )


@st.composite
def damaged_bodies(draw: st.DrawFn) -> bytes:
    """A genuine token's bytes, without the tag, with one of them changed, put in or left out, or some cut off."""
    body = body_of(CODEC.encode(draw(any_tokens)))
    at, other = draw(st.integers(0, len(body))), draw(st.sampled_from((0, 1, 0x7F, 0x80, 0x81, 0xFF)))
    changed = draw(st.sampled_from((b"", bytes([other]), body[at : at + 1] + bytes([other]))))
    return body[:at] + changed + body[at + draw(st.integers(0, 1)) :]


@st.composite
def sloppy_bodies(draw: st.DrawFn) -> bytes:
    """A token's bytes by another writer: with entries in any order, shards without any, numbers longer than need be."""

    def number(value: int) -> bytes:
        digits = [value >> shift & 0x7F for shift in range(0, 63, 7)]
        least = max(1, -(-value.bit_length() // 7))
        size = least + draw(st.sampled_from((0, 0, 0, 0, 0, 1)))
        return bytes(digit | 0x80 for digit in digits[: size - 1]) + bytes([digits[size - 1]])

    token = draw(small_tokens)
    body = b"\1" + number(token.epoch) + token.hlc.to_bytes(8, "big") + number(len(token.dependencies))
    for shard, vector in draw(st.permutations(list(token.dependencies.items()))):
        body += number(int(shard[1:])) + number(len(vector))
        for writer, counter in draw(st.permutations(list(vector.items()))):
            body += writer + number(counter)
    return body


class TokenLaws(SynchronousTestCase):
    """Tokens as text and back."""

    @examples(60)
    @given(any_tokens)
    def test_round_trip(self, token: Token) -> None:
        """Whatever a token says comes back."""
        text = CODEC.encode(token)
        self.assertEqual(normal(token), CODEC.decode(text))
        self.assertEqual(text, CODEC.encode(CODEC.decode(text)))

    @examples(100)
    @given(small_tokens, small_tokens, st.booleans())
    def test_one_token_has_one_text(self, x: Token, y: Token, reverse: bool) -> None:
        """Two texts are equal exactly where the tokens are, in whatever order their entries were learnt."""
        self.assertEqual(normal(x) == normal(y), CODEC.encode(x) == CODEC.encode(y))
        turned = {shard: dict(reversed(vector.items())) for shard, vector in reversed(x.dependencies.items())}
        self.assertEqual(CODEC.encode(x), CODEC.encode(Token(x.epoch, x.hlc, turned)))

    @examples(40)
    @given(any_tokens)
    def test_safe_everywhere(self, token: Token) -> None:
        """A text needs no escape in JSON, in a URL, in a header or in a shell's quotes."""
        text = CODEC.encode(token)
        self.assertEqual(f'"{text}"', json.dumps(text))
        self.assertEqual(text, quote(text, safe=""))
        self.assertTrue(text.isascii() and text.replace("-", "").replace("_", "").isalnum())
        self.assertLessEqual(len(body_of(text)) + TAG_BYTES, MAX_TOKEN_BYTES)

    @examples(120)
    @given(texts)
    def test_any_text_is_refused(self, text: str) -> None:
        """A text that nobody issued is refused, and does no worse."""
        self.assertRaises(TokenError, CODEC.decode, text)

    @examples(120)
    @given(damaged())
    def test_any_damage_is_noticed(self, text: str) -> None:
        """A genuine text that was changed anywhere is refused, and does no worse."""
        self.assertRaises(TokenError, CODEC.decode, text)

    @examples(40)
    @given(any_tokens, st.binary(max_size=5), st.text(max_size=5))
    def test_others_are_refused(self, token: Token, secret: bytes, cluster: str) -> None:
        """What another cluster issued, or another secret made, is refused."""
        text = CODEC.encode(token)
        for other in (TokenCodec(secret, "cluster"), TokenCodec(b"secret", cluster), TokenCodec(secret, cluster)):
            self.assertRaises(TokenError, other.decode, text)

    @examples(300)
    @given(damaged_bodies() | sloppy_bodies() | st.binary(max_size=40).map(b"\1".__add__))
    def test_what_is_believed_is_canonical(self, body: bytes) -> None:
        """Even under a genuine tag bytes are refused unless they are just those of a token that can be issued."""
        text = genuine(body)
        try:
            token = CODEC.decode(text)
        except TokenError:
            return
        self.assertEqual(text, CODEC.encode(token))
