"""
Nodes with different secrets: what each of the two says of the other, in its log and to whoever asks whether it is ready.

A node can't tell whose secret is the wrong one.  Who was never accepted by any peer since the start and is refused by one
says so as a reason not to be ready; a node that was accepted goes on, be a peer that is started with another secret as it may.
"""

from collections.abc import Callable, Collection

from twisted.logger import Logger

STRANGERS_SECONDS = 60.0
"""How often the log tells of messages under another secret that name as their sender no node which is known here."""

_log = Logger()


class Refusals:
    """
    Which peers refuse this node, and which it refuses, for another secret; each is logged once, until that is over.

    ``known`` gives the nodes that are known here, which bounds what is kept; ``seconds`` reads a clock that never jumps.
    """

    def __init__(self, known: Callable[[], Collection[str]], seconds: Callable[[], float]) -> None:
        self._known = known
        self._seconds = seconds
        self._refused_by: set[str] = set()
        self._refused: set[str] = set()
        self._was_accepted = False
        self._strangers_told: float | None = None

    def refused_by(self, peer: str) -> None:
        """Note that a peer refuses what this node says."""
        if peer not in self._refused_by:
            self._refused_by = {each for each in self._refused_by if each in self._known()} | {peer}
            _log.warn(
                "refused by {peer}: another secret; it hears nothing of this node (set the same KVSD_SECRET at all nodes)",
                peer=peer,
            )

    def accepted_by(self, peer: str) -> None:
        """Note that a peer takes what this node says."""
        self._was_accepted = True
        if self._refused_by:
            self._refused_by.discard(peer)

    def refused(self, sender: str) -> None:
        """Note that this node refuses a message which names a sender; that need not be true."""
        if sender in self._known():
            if sender in self._refused:
                return
            self._refused = {each for each in self._refused if each in self._known()} | {sender}
        else:
            now = self._seconds()
            if self._strangers_told is not None and now - self._strangers_told < STRANGERS_SECONDS:
                return
            self._strangers_told = now
        _log.warn(
            "a message that names {sender} as its sender was refused: another secret (set the same KVSD_SECRET at all nodes)",
            sender=sender,
        )

    def heard(self, sender: str) -> None:
        """Note that a message of a node was made under this node's secret."""
        if self._refused:
            self._refused.discard(sender)

    def reasons(self) -> list[str]:
        """Return why this node, which no peer has accepted since its start, is not ready; nothing where one has."""
        if self._was_accepted:
            return []
        return [f"refused by {peer}: another secret" for peer in sorted(self._refused_by & set(self._known()))]
