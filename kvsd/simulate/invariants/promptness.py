"""
Promptness: no request waits for what is there.
"""

from kvsd.replication.replica import Replica
from kvsd.simulate.monitor import Invariant


class Promptness(Invariant):
    """Looks at the requests that wait, whenever time passes."""

    def ticked(self, replica: Replica) -> None:
        """Whatever still waits after a tick lacks something, or names writers that the node does not know yet."""
        state = replica.state
        for waiter in replica.waiting.explained(state.now):
            bound = state.configuration is not None and state.configuration.is_bound()
            if bound and not waiter["lacks"] and not waiter["epoch-needed"]:
                self.accuse(
                    "waits-for-nothing", f"{state.identity.address} lacks nothing for {waiter}, which still waits"
                )
