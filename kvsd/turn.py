"""What is done once at the end of a turn of the reactor, however often it was wished for in it."""

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime


class EndOfTurn:
    """Calls an action once the events at hand have all been seen to, if anybody wished for it meanwhile."""

    def __init__(self, reactor: IReactorTime, action: Callable[[], None]) -> None:
        self._reactor = reactor
        self._action = action
        self._wished = False

    def wish(self) -> None:
        """Have the action called at the end of this turn."""
        if not self._wished:
            self._wished = True
            self._reactor.callLater(0, self._act)

    def _act(self) -> None:
        self._wished = False
        self._action()
