"""
Upkeep: rows that no configuration needs any more, and roles that are over, are forgotten little by little.
"""

from kvsd.replication.effects import DropRole
from kvsd.replication.state import State


class Upkeep:
    """Sweeps this node's roles."""

    def __init__(self, state: State) -> None:
        self._state = state

    def tick(self) -> None:
        """Drop some rows: all that are over have an equal share."""
        state, room = self._state, self._state.limits.sweep_rows
        for role in state.roles.values():
            role.store.copies.tick()
            state.out.keep_all(role.sweep(room, state.out.written + 1))
        for role in list(state.dissolving):
            for change in role.dissolve(max(1, room // len(state.dissolving)), state.out.written + 1):
                state.out.keep(change)
                if isinstance(change, DropRole):
                    state.dissolving.remove(role)
