"""
Causal tokens as clients carry them, under the cluster's secret and its id.
"""

from kvsd.replication.state import State
from kvsd.replication.token import EMPTY, Token, TokenCodec


class Tokens:
    """Turns tokens into text and back, for the cluster that the node belongs to at the moment."""

    def __init__(self, state: State, secret: bytes) -> None:
        self._state = state
        self._secret = secret
        self._cluster = ""
        self._codec = TokenCodec(secret, "")

    def decode(self, text: str) -> Token:
        """
        The token that a client sent; before a configuration is known, any text stands for the empty one.

        Raises TokenError where this cluster did not issue it.
        """
        return self._current().decode(text) if self._state.configuration else EMPTY

    def encode(self, token: Token) -> str:
        """The token as a client gets it."""
        return self._current().encode(token)

    def _current(self) -> TokenCodec:
        cluster = self._state.configuration.cluster if self._state.configuration else ""
        if self._cluster != cluster:
            self._cluster, self._codec = cluster, TokenCodec(self._secret, cluster)
        return self._codec
