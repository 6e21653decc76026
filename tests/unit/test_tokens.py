"""Tokens as a node hands them out: those of its cluster, of which it knows the last by heart."""

from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication.limits import Limits
from kvsd.replication.state import Identity, State
from kvsd.replication.token import EMPTY, Token, TokenError
from kvsd.tokens import MAX_KNOWN, MAX_KNOWN_LENGTH, Tokens
from tests.configurations import founded


class TokensTests(SynchronousTestCase):
    """The tokens of a node of three."""

    def setUp(self) -> None:
        self.state = State(Identity("10.0.0.1:8090", b"i" * 16, 1), Limits())
        self.tokens = Tokens(self.state, b"secret")
        self.state.configuration = founded(3, 1)

    def issue(self, count: int, start: int = 0) -> list[tuple[str, Token]]:
        """So many tokens, each with its text."""
        issued = [Token(1, number) for number in range(start, start + count)]
        return [(self.tokens.encode(token), token) for token in issued]

    def test_last_by_heart(self) -> None:
        """The last tokens that were issued are known, and so is what was worked out since."""
        first, *others = self.issue(MAX_KNOWN)
        for text, token in (first, *others):
            self.assertIs(self.tokens.decode(text), token)
        self.issue(MAX_KNOWN, MAX_KNOWN)
        known = self.tokens.decode(first[0])
        self.assertEqual(known, first[1])
        self.assertIsNot(known, first[1])
        self.assertIs(self.tokens.decode(first[0]), known)

    def test_same_text(self) -> None:
        """Equal tokens have one text, whatever was issued between them; it stays known while it is given out."""
        text = self.tokens.encode(Token(1, 1))
        for number in range(3):
            self.assertEqual(self.tokens.encode(Token(1, 1)), text)
            self.assertEqual(
                self.tokens.encode(Token(1, 2 + number, {"s0": {b"writer": 1}})),
                self.tokens.encode(Token(1, 2 + number, {"s0": {b"writer": 1}})),
            )
            self.issue(MAX_KNOWN, 100)
            self.assertEqual(self.tokens.decode(text), Token(1, 1))
        self.assertNotEqual(self.tokens.encode(Token(1, 2)), self.tokens.encode(Token(2, 1)))

    def test_long_texts_are_not_kept(self) -> None:
        """A token with a great past is worked out each time."""
        token = Token(1, 1, {"s0": {number.to_bytes(6, "big"): 1 for number in range(MAX_KNOWN_LENGTH // 6)}})
        text = self.tokens.encode(token)
        self.assertEqual(self.tokens.decode(text), token)
        self.assertIsNot(self.tokens.decode(text), token)

    def test_configurations(self) -> None:
        """Tokens outlive a configuration, and not a cluster."""
        ((text, token),) = self.issue(1)
        configuration = self.state.configuration
        assert configuration is not None
        self.state.configuration = replace(configuration, epoch=2)
        self.assertIs(self.tokens.decode(text), token)
        self.state.configuration = founded(2, 1)
        self.assertRaises(TokenError, self.tokens.decode, text)
        self.state.configuration = configuration
        self.assertEqual(self.tokens.decode(text), token)

    def test_before_a_configuration(self) -> None:
        """Of a cluster that is not known yet any text may be a token, and says nothing."""
        self.state.configuration = None
        self.assertEqual(self.tokens.decode("nonsense"), EMPTY)
