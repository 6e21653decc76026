"""
Defects of invitations: who was not heard yet is counted on, told too much, or never let go.
"""

from kvsd.replication import dealing, resharding
from kvsd.replication.invitations import Invitations
from kvsd.replication.node_duties import NodeDuties
from kvsd.replication.state import State
from tests.simulation.mutants.planting import Plant, Planting


def invited_is_a_peer(planting: Planting) -> None:
    """A node that was never heard is no peer, and is told nothing."""
    planting.rewrite(State, "learn", ("set(roster.everyone) - silent", "set(roster.everyone)"))


def invited_asked_all_the_time(planting: Planting) -> None:
    """A node that was never heard is asked for a sign of life every few seconds, and not at every tick."""
    planting.rewrite(Invitations, "due", ("if at > latest", "if False"))


def invited_has_a_place(planting: Planting) -> None:
    """A node that was never heard gets no place by a reshard."""
    planting.rewrite(dealing, "deal", ("if instance and node in live}", "if not instance or node in live}"))
    planting.swap(resharding, "deal", dealing.deal)


def invited_for_ever(planting: Planting) -> None:
    """A node that was never heard is taken out of the cluster after a while."""
    planting.swap(NodeDuties, "dismiss", lambda _: iter(()))


DEFECTS: list[Plant] = [invited_is_a_peer, invited_asked_all_the_time, invited_has_a_place, invited_for_ever]
