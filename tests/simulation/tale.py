"""A small notation for histories: who wrote and read what, one line for each operation."""

from typing import Literal

from kvsd.simulate.history import History, Number, Operation


class Tale:
    """
    A history that is told operation by operation.

    Each operation is asked and answered, at 0-1, 2-3, 4-5 and so on simulated seconds, before the next one is asked,
    and carries the token of its client's last one that was answered, unless something else is said.
    """

    def __init__(self) -> None:
        self.history: History = []
        self._last: dict[str, Number] = {}

    def write(
        self,
        client: str,
        key: str,
        value: str | None,
        after: tuple[Number, ...] | None = None,
        asked: float | None = None,
        answered: float | None = None,
        lost: bool = False,
    ) -> Number:
        """A client writes a value, or deletes (None); if lost it hears nothing of it."""
        return self._tell(client, "write", key, value, after, asked, answered, lost)

    def delete(self, client: str, key: str, after: tuple[Number, ...] | None = None, lost: bool = False) -> Number:
        """A client deletes a key."""
        return self.write(client, key, None, after, lost=lost)

    def read(
        self,
        client: str,
        key: str,
        value: str | None,
        after: tuple[Number, ...] | None = None,
        asked: float | None = None,
        answered: float | None = None,
    ) -> Number:
        """A client reads a value, or that there is none."""
        return self._tell(client, "read", key, value, after, asked, answered, lost=False)

    def _tell(
        self,
        client: str,
        kind: Literal["read", "write"],
        key: str,
        value: str | None,
        after: tuple[Number, ...] | None,
        asked: float | None,
        answered: float | None,
        lost: bool,
    ) -> Number:
        number = len(self.history)
        if after is None:
            after = (self._last[client],) if client in self._last else ()
        begin = 2.0 * number if asked is None else asked
        end = None if lost else begin + 1 if answered is None else answered
        self.history.append(Operation(number, client, kind, key, value, after, begin, end))
        if not lost:
            self._last[client] = number
        return number
