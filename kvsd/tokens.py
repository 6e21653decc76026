"""
Causal tokens as clients carry them, under the cluster's secret and its id.
"""

from collections import OrderedDict

from kvsd.replication.state import State
from kvsd.replication.token import EMPTY, Token, TokenCodec

MAX_KNOWN = 4096
MAX_KNOWN_LENGTH = 1024


class Tokens:
    """
    Turns tokens into text and back, for the cluster that the node belongs to at the moment.

    What a client is given comes back with its next request as a rule, so the last texts of ordinary length are known by
    heart.
    """

    def __init__(self, state: State, secret: bytes) -> None:
        self._state = state
        self._secret = secret
        self._cluster = ""
        self._codec = TokenCodec(secret, "")
        self._known: OrderedDict[str, Token] = OrderedDict()
        """The last tokens that this cluster is known to have issued, by their texts."""

    def decode(self, text: str) -> Token:
        """
        The token that a client sent; before a configuration is known, any text stands for the empty one.

        Raises TokenError where this cluster did not issue it.
        """
        if not self._state.configuration:
            return EMPTY
        codec = self._current()
        return self._known.get(text) or self._learn(text, codec.decode(text))

    def encode(self, token: Token) -> str:
        """The token as a client gets it."""
        text = self._current().encode(token)
        self._learn(text, token)
        return text

    def _learn(self, text: str, token: Token) -> Token:
        if len(text) <= MAX_KNOWN_LENGTH:
            self._known[text] = token
            if len(self._known) > MAX_KNOWN:
                self._known.popitem(last=False)
        return token

    def _current(self) -> TokenCodec:
        cluster = self._state.configuration.cluster if self._state.configuration else ""
        if self._cluster != cluster:
            self._cluster, self._codec = cluster, TokenCodec(self._secret, cluster)
            self._known.clear()
        return self._codec
