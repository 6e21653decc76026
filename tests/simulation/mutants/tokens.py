"""
Defects of serving: tokens that are not gone by, or that don't say what their client has seen.
"""

from kvsd.replication import serving
from kvsd.replication.forwarding import Forwarding
from kvsd.replication.reader import Reader
from kvsd.replication.role import Role
from kvsd.replication.serving import Serving
from kvsd.replication.stability import Stability
from kvsd.replication.vetting import Vetting
from tests.simulation.mutants.delivery import AFTER_CAUSES
from tests.simulation.mutants.planting import Plant, Planting


def token_unchecked(planting: Planting) -> None:
    """A request is served only where all that its token depends on in the key's shard is there."""
    planting.rewrite(Vetting, "_lacking", ("self._past.lacking(role, tenure, token)", "{}"))
    planting.rewrite(Role, "apply", AFTER_CAUSES)


def plain_without_its_causes(planting: Planting) -> None:
    """A token is taken for one that needs no closer look only where all that it names is here."""
    planting.rewrite(Vetting, "_is_plain", (" or not dominates(role.vector, vector)", ""))
    planting.rewrite(Role, "apply", AFTER_CAUSES)


def plain_after_a_move(planting: Planting) -> None:
    """It is none where the key's slot came from other shards, of whose writes some may still be on their way."""
    planting.rewrite(
        Vetting,
        "_is_plain",
        ("past.get(role.shard)", "past.get(role.shard, {})"),
        (" or len(past) > 1", ""),
        (" and not state.configuration.tenures[tenure].sources", ""),
    )


def dependencies_not_stored(planting: Planting) -> None:
    """A version is kept with the writes that its author had seen."""
    stored = "dependencies=self._stability.unstable(request.token.dependencies)"
    planting.rewrite(Serving, "_record", (stored, "dependencies={}"))


def read_without_dependencies(planting: Planting) -> None:
    """The token of a read names what the version that it saw depends on."""
    planting.rewrite(Reader, "having_seen", ("unstable(record.dependencies)", "{}"))


def read_without_dot(planting: Planting) -> None:
    """The token of a read names the version that it saw."""
    planting.rewrite(Reader, "having_seen", ("unstable({origin.shard: {origin.writer: origin.counter}})", "{}"))


def written_without_dot(planting: Planting) -> None:
    """The token of a write names the write."""
    planting.rewrite(serving, "having_written", (", origin.writer: origin.counter}", "}"))


def deletion_not_seen(planting: Planting) -> None:
    """The token of a read that finds a key deleted names the deletion."""
    planting.rewrite(
        Reader,
        "shown",
        (
            "return Absent(role.shard, seen), position",
            "return Absent(role.shard, self._stability.pruned(token)), position",
        ),
    )


def repeat_without_dot(planting: Planting) -> None:
    """The answer to a request that was carried out before names what it wrote."""
    planting.rewrite(Serving, "_repeated", ("self.reader.having_seen(request.token, earlier)", "request.token"))


def token_forgets_its_past(planting: Planting) -> None:
    """The token of an answer names all that the request's token named and that is not stable."""
    planting.rewrite(Reader, "having_seen", ("unstable(token.dependencies)", "{}"))
    planting.rewrite(serving, "having_written", ("dict(record.dependencies)", "{}"))


def token_not_sent_on(planting: Planting) -> None:
    """A request that is sent on goes with its token."""
    forwarded = "return self.request if self.request.wait == wait else replace(self.request, wait=wait)"
    planting.rewrite(
        Forwarding, "attempt", (forwarded, "return replace(self.request, wait=wait, token=type(self.request.token)())")
    )


def pruned_one_too_early(planting: Planting) -> None:
    """A token is pruned of what is stable, and of nothing more."""
    planting.rewrite(Stability, "unstable", ("counter > stable.get(writer, 0)", "counter > stable.get(writer, 0) + 1"))


DEFECTS: list[Plant] = [
    token_unchecked,
    plain_without_its_causes,
    plain_after_a_move,
    dependencies_not_stored,
    read_without_dependencies,
    read_without_dot,
    written_without_dot,
    deletion_not_seen,
    repeat_without_dot,
    token_forgets_its_past,
    token_not_sent_on,
    pruned_one_too_early,
]
