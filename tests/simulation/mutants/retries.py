"""
Defects of requests that are tried again, by a client or by the node that sends them on.
"""

from kvsd.replication.forwarding import Forwarding
from kvsd.replication.giving import Giving
from kvsd.replication.role import Role
from kvsd.replication.serving import Serving
from tests.simulation.mutants.planting import Plant, Planting

TRY = "replace(self.request, wait=wait, tried=self.tried)"


def stamp_drawn_at_each_try(planting: Planting) -> None:
    """All tries of a write that is sent on carry one stamp."""
    planting.rewrite(Forwarding, "attempt", (TRY, TRY.replace(")", ", stamp=0)")))


def stamp_drawn_again_at_home(planting: Planting) -> None:
    """A write that was sent on and may have been carried out keeps its stamp when it is carried out here."""
    planting.rewrite(Forwarding, "here", (" and not self.tried", ""))


def other_id_at_each_try(planting: Planting) -> None:
    """All tries of a write that is sent on carry one id."""
    new = 'request=f"{self.request.request}/{self.deadline}"'
    planting.rewrite(Forwarding, "attempt", (TRY, TRY.replace(")", f", {new})")))


def outdated_write_carried_out(planting: Planting) -> None:
    """A write that is sent on and that is older than what is there becomes no op."""
    planting.rewrite(Serving, "_write", ("if 0 < request.stamp <= latest:", "if False:"))


def repeats_not_recognised(planting: Planting) -> None:
    """A request that was carried out here is not carried out again."""
    planting.rewrite(Serving, "_write", ("role.requests.get(request.key, request.request)", "None"))


def requests_of_others_not_remembered(planting: Planting) -> None:
    """A request that was carried out by another member is remembered when its op is applied."""
    remember = "kept += self.requests.remember(record)"
    planting.rewrite(Role, "apply", (remember, f"if op.writer == self.writer: {remember}"))


def requests_not_copied(planting: Planting) -> None:
    """A copy brings the requests along that led to its rows."""
    copied = "[] if cursor else role.requests.beyond(message.vector, limits.page_requests)"
    planting.rewrite(Giving, "_give_rows", (copied, "[]"))


DEFECTS: list[Plant] = [
    stamp_drawn_at_each_try,
    stamp_drawn_again_at_home,
    other_id_at_each_try,
    outdated_write_carried_out,
    repeats_not_recognised,
    requests_of_others_not_remembered,
    requests_not_copied,
]
