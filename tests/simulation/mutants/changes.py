"""
Defects of changes of nodes and members: somebody serves too early, or is forgotten too early.
"""

from kvsd.replication import changes, configuration, resharding, state
from kvsd.replication.administration import Administration
from kvsd.replication.antientropy import AntiEntropy
from kvsd.replication.causality import writer_id
from kvsd.replication.losses import Losses
from kvsd.replication.reports import Reports
from kvsd.replication.roster import Roster
from kvsd.replication.shard_duties import ShardDuties
from kvsd.replication.stability import Stability
from kvsd.replication.state import State
from kvsd.replication.vetting import Vetting
from tests.simulation.mutants.planting import Plant, Planting

# Answers


def changed_before_sync(planting: Planting) -> None:
    """Who asked for a change hears of it once it is durable."""
    planting.rewrite(Administration, "_end", (" else None)", " else 0)"))


# Epochs


def token_epoch_ignored(planting: Planting) -> None:
    """A token of a later configuration is judged only by who knows that configuration."""
    planting.rewrite(Vetting, "vet", ("token.epoch > state.epoch", "False"))


def reports_of_any_epoch(planting: Planting) -> None:
    """What a member reports counts in the configuration in which it says so, and in no other."""
    planting.rewrite(Reports, "vector", ("peer and peer.epoch == state.epoch", "peer"))
    planting.rewrite(Reports, "marks", ("peer and peer.epoch == state.epoch", "peer"))


# Learners


def learners_not_counted(planting: Planting) -> None:
    """A write is stable once the learners have it, too."""
    counted = "for member in roster.shard(shard).replicas()]"
    planting.rewrite(Stability, "reported", (counted, counted.replace("replicas()", "members")))


def learner_serves(planting: Planting) -> None:
    """A learner serves nothing."""
    planting.rewrite(Roster, "__init__", ("if member in self.shard(shard).members}", "}"))


def promoted_at_once(planting: Planting) -> None:
    """A learner becomes a member once it has all that a member had."""
    planting.rewrite(ShardDuties, "promote", ("self._is_whole(member)", "True"))


def whole_at_once(planting: Planting) -> None:
    """A learner says that it is whole once it has all that a member had in the same configuration."""
    planting.rewrite(AntiEntropy, "_judge_learner", ("dominates(role.durable, role.target)", "True"))


# The departed


def departed_not_noted(planting: Planting) -> None:
    """Who loses its place as a member departs, as it may have writes that nobody else has."""
    planting.rewrite(changes, "give_up", ("member in shard.members and member.instance", "False"))
    planting.swap(resharding, "give_up", changes.give_up)


def departed_role_dissolved(planting: Planting) -> None:
    """A departed member keeps what it has until it is struck out."""
    mine = "member is not None and member.writer == role.writer"
    planting.rewrite(state, "_is_place", (mine, f"{mine} and member in roster.shard(role.shard).replicas()"))


def departed_role_not_restored(planting: Planting) -> None:
    """A departed member takes up what it has on disk when it starts."""
    kept = "(known or {}).pop(member.writer, None)"
    planting.rewrite(State, "learn", (kept, f"({kept} if member in roster.shard(shard).replicas() else None)"))


def departed_struck_out_at_once(planting: Planting) -> None:
    """A departed member is struck out once all others have its writes."""
    planting.rewrite(ShardDuties, "retire", ("self._is_drained(member)", "True"))


def departed_struck_out_unheard(planting: Planting) -> None:
    """A departed member that was not heard of in this configuration may have writes that nobody else has."""
    spoke = "spoke and peer is not None and peer.met and departed.shard not in peer.vectors"
    planting.rewrite(Reports, "owes_nothing", (spoke, "True"), ("self._recalled(departed.writer)", "False"))


def departed_struck_out_behind_importers(planting: Planting) -> None:
    """A departed member is kept while another shard takes over writes of its own."""
    planting.rewrite(ShardDuties, "retire", ("self._configuration.importers(name)", "False"))
    planting.rewrite(changes, "drain_departed", ("configuration.importers(member.shard)", "False"))


def departed_not_asked(planting: Planting) -> None:
    """Those who stay fetch the writes of the departed."""
    planting.rewrite(Reports, "everyone", ("roster.shard(shard).everyone()", "roster.shard(shard).replicas()"))


def collected_while_some_departed(planting: Planting) -> None:
    """No tombstone is dropped while a departed member may still have writes."""
    planting.rewrite(Stability, "_is_unsettled", (" or roster.shard(shard).departed", ""))


# Names and lost disks


def same_writer_for_ever(planting: Planting) -> None:
    """A node that leaves a shard for good and comes back writes under another name."""
    planting.swap(configuration, "writer_id", lambda node, instance, shard, epoch: writer_id(node, instance, shard, 0))


def same_writer_after_a_wipe(planting: Planting) -> None:
    """A node that lost its disk writes under another name."""
    planting.swap(configuration, "writer_id", lambda node, instance, shard, epoch: writer_id(node, b"", shard, 0))


def settled_without_agreement(planting: Planting) -> None:
    """What is left of a lost writer's writes is settled once all who may have some agree."""
    differ = "len(holders) > 1 or max(others) > max(holders, default=0)"
    planting.rewrite(Losses, "_held", (differ, "False"), ("holders.pop() if holders", "min(holders) if holders"))


def collected_before_losses_settle(planting: Planting) -> None:
    """No tombstone is dropped while it is open what is left of a lost writer's writes."""
    planting.rewrite(Stability, "_is_unsettled", ("loss.shard == shard and loss.kept is None for", "False for"))


DEFECTS: list[Plant] = [
    changed_before_sync,
    token_epoch_ignored,
    reports_of_any_epoch,
    learners_not_counted,
    learner_serves,
    promoted_at_once,
    whole_at_once,
    departed_not_noted,
    departed_role_dissolved,
    departed_role_not_restored,
    departed_struck_out_at_once,
    departed_struck_out_unheard,
    departed_struck_out_behind_importers,
    departed_not_asked,
    collected_while_some_departed,
    same_writer_for_ever,
    same_writer_after_a_wipe,
    settled_without_agreement,
    collected_before_losses_settle,
]
