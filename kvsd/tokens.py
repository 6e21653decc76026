"""
Causal tokens as clients carry them, under the cluster's secret and its id.
"""

from kvsd.replication.configuration import Configuration
from kvsd.replication.state import State
from kvsd.replication.token import EMPTY, Epoch, Stamp, Token, TokenCodec

MAX_KNOWN = 2048
MAX_KNOWN_LENGTH = 1024


class Tokens:
    """
    Turns tokens into text and back, for the cluster that the node belongs to at the moment.

    What a client is given comes back with its next request as a rule, so the last texts of ordinary length, at least
    MAX_KNOWN and less than twice as many, are known by heart.
    """

    def __init__(self, state: State, secret: bytes) -> None:
        self._state = state
        self._secret = secret
        self._configuration: Configuration | None = None
        self._codec = TokenCodec(secret, "")
        """For the cluster of this configuration, the last that was looked at."""
        self._known: dict[str, Token] = {}
        self._known_before: dict[str, Token] = {}
        """Tokens that this cluster is known to have issued, by their texts: the last, and as many before them."""
        self._texts: dict[tuple[Epoch, Stamp], str] = {}
        """The texts of tokens that depend on nothing, as those of most reads; of the last that were given out."""

    def decode(self, text: str) -> Token:
        """
        The token that a client sent; before a configuration is known, any text stands for the empty one.

        Raises TokenError where this cluster did not issue it.
        """
        if self._state.configuration is not self._configuration:
            self._follow()
        if self._configuration is None:
            return EMPTY
        known = self._known.get(text) or self._known_before.get(text)
        return known or self._learn(text, self._codec.decode(text))

    def encode(self, token: Token) -> str:
        """The token as a client gets it."""
        if self._state.configuration is not self._configuration:
            self._follow()
        if token.dependencies:
            text = self._codec.encode(token)
            self._learn(text, token)
            return text
        said = token.epoch, token.hlc
        text = self._texts.get(said, "")
        if not text:
            text = self._texts[said] = self._codec.encode(token)
            if len(self._texts) >= MAX_KNOWN:
                self._texts = {}
        if text not in self._known:
            self._learn(text, token)
        return text

    def _learn(self, text: str, token: Token) -> Token:
        if len(text) <= MAX_KNOWN_LENGTH:
            self._known[text] = token
            if len(self._known) >= MAX_KNOWN:
                self._known_before, self._known = self._known, {}
        return token

    def _follow(self) -> None:
        """Another configuration is in force: where it is another cluster's, nothing that is known here counts."""
        before, self._configuration = self._configuration, self._state.configuration
        cluster = self._configuration.cluster if self._configuration else ""
        if cluster != (before.cluster if before else ""):
            self._codec = TokenCodec(self._secret, cluster)
            self._known, self._known_before, self._texts = {}, {}, {}
