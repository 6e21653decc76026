"""The causal token: what it says comes back, and nothing else is believed."""

from base64 import urlsafe_b64encode
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication.token import EMPTY, MAX_TOKEN_BYTES, Token, TokenCodec, TokenError
from tests.builders import A, B, modest, tokens

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


class TokenCodecTests(SynchronousTestCase):
    """Tokens as text and back."""

    def setUp(self) -> None:
        """Make a codec and a token of a usual size."""
        self.codec = TokenCodec(b"secret", "cluster")
        self.token = Token(3, 1_800_000_000_000 << 16, {"s0": {A: 7, B: 300}, "s12": {A: 1}})

    @modest
    @given(tokens)
    def test_round_trip(self, token: Token) -> None:
        """Any token comes back as it was, and one token has one text."""
        text = self.codec.encode(token)
        self.assertEqual(token, self.codec.decode(text))
        self.assertEqual(text, self.codec.encode(self.codec.decode(text)))
        self.assertTrue(set(text) <= set(ALPHABET))

    def test_order_of_entries_does_not_matter(self) -> None:
        """Equal tokens have equal texts, in whatever order their entries were learnt."""
        other = Token(3, 1_800_000_000_000 << 16, {"s12": {A: 1}, "s0": {B: 300, A: 7}})
        self.assertEqual(self.codec.encode(self.token), self.codec.encode(other))

    def test_shard_without_writes_is_left_out(self) -> None:
        """A shard of which nothing was seen takes no room."""
        self.assertEqual(self.codec.encode(EMPTY), self.codec.encode(Token(dependencies={"s0": {}})))

    def test_quiet_token_is_short(self) -> None:
        """The token of a client whose past is stable is a few characters; with twelve unstable writes under 160."""
        self.assertLess(len(self.codec.encode(Token(1, 1_800_000_000_000 << 16))), 35)
        busy = {f"s{n}": {bytes([n]) * 6: 10_000, bytes([n + 9]) * 6: 20_000} for n in range(6)}
        self.assertLess(len(self.codec.encode(Token(1, 1_800_000_000_000 << 16, busy))), 190)

    @modest
    @given(st.text(max_size=60))
    def test_any_text_is_refused(self, text: str) -> None:
        """No text that was made up is believed, and none does worse than being refused."""
        self.assertRaises(TokenError, self.codec.decode, text)

    @modest
    @given(st.binary(max_size=80))
    def test_any_bytes_are_refused(self, raw: bytes) -> None:
        """No bytes that were made up are believed."""
        self.assertRaises(TokenError, self.codec.decode, urlsafe_b64encode(raw).rstrip(b"=").decode())

    @modest
    @given(st.binary(max_size=60))
    def test_any_bytes_under_a_genuine_tag(self, body: bytes) -> None:
        """Bytes that carry this cluster's tag are a token or refused; a text that is taken is the token's own."""
        text = urlsafe_b64encode(body + self.codec._tag(body)).rstrip(b"=").decode()
        try:
            token = self.codec.decode(text)
        except TokenError:
            return
        self.assertIsInstance(token, Token)

    def test_every_changed_character_is_noticed(self) -> None:
        """A token with any one character changed, taken out or put in is refused."""
        text, random = self.codec.encode(self.token), Random(1)
        for index, character in enumerate(text):
            for other in ALPHABET.replace(character, ""):
                self.assertRaises(TokenError, self.codec.decode, text[:index] + other + text[index + 1 :])
            self.assertRaises(TokenError, self.codec.decode, text[:index] + text[index + 1 :])
            self.assertRaises(TokenError, self.codec.decode, text[:index] + random.choice(ALPHABET) + text[index:])
        for end in ("=", "==", " ", "\n", "\0", "A", "é", "\ud800"):
            self.assertRaises(TokenError, self.codec.decode, text + end)

    def test_tokens_of_other_clusters_are_refused(self) -> None:
        """A token of another cluster, or made under another secret, is told apart."""
        text = self.codec.encode(self.token)
        for codec in (TokenCodec(b"secret", "other"), TokenCodec(b"other", "cluster"), TokenCodec(b"", "cluster")):
            self.assertRaises(TokenError, codec.decode, text)

    def test_long_texts_are_refused_unread(self) -> None:
        """A text that is longer than any token is refused for its length."""
        with self.assertRaises(TokenError) as caught:
            self.codec.decode("A" * (MAX_TOKEN_BYTES * 2))
        self.assertIn("longer", str(caught.exception))

    def test_numbers_longer_than_need_be_are_refused(self) -> None:
        """A number with idle bytes at its end would give one token two texts: it is refused even under a genuine tag."""
        body = b"\x01\x83\x00" + bytes(8) + b"\x00"
        with self.assertRaises(TokenError) as caught:
            self.codec.decode(urlsafe_b64encode(body + self.codec._tag(body)).rstrip(b"=").decode())
        self.assertIn("longer than it need be", str(caught.exception))

    def test_unknown_format_is_named(self) -> None:
        """A genuine token of a format to come is refused as such."""
        body = b"\x02whatever"
        with self.assertRaises(TokenError) as caught:
            self.codec.decode(urlsafe_b64encode(body + self.codec._tag(body)).rstrip(b"=").decode())
        self.assertIn("format 2", str(caught.exception))


class TokenTests(SynchronousTestCase):
    """A token grows by what its client sees."""

    def test_merging_keeps_the_later_of_each(self) -> None:
        """The epoch, the stamp and each writer's counter are the larger ones; the original stays as it was."""
        token = Token(2, 10, {"s0": {A: 5}})
        merged = token.merged(1, 20, {"s0": {A: 3, B: 1}, "s1": {A: 1}})
        self.assertEqual(Token(2, 20, {"s0": {A: 5, B: 1}, "s1": {A: 1}}), merged)
        self.assertEqual(Token(2, 10, {"s0": {A: 5}}), token)

    def test_a_write_is_added_without_touching_the_original(self) -> None:
        """A token that a write was added to shares nothing that changes with the one before."""
        token = Token(2, 10, {"s0": {A: 5}, "s1": {B: 1}})
        self.assertEqual(Token(3, 11, {"s0": {A: 6}, "s1": {B: 1}}), token.merged(3, 11, {"s0": {A: 6}}))
        self.assertEqual(Token(3, 11, {"s0": {A: 5, B: 2}, "s1": {B: 1}}), token.merged(3, 11, {"s0": {B: 2}}))
        self.assertEqual(Token(2, 10, {"s0": {A: 5}, "s1": {B: 1}}), token)
