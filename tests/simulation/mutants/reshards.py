"""
Defects of reshards: slots are handed over before all is there, or what was written at the old place gets lost.
"""

from kvsd.replication import resharding, wishes
from kvsd.replication.configuration import Configuration
from kvsd.replication.exporting import Exports
from kvsd.replication.giving import Giving
from kvsd.replication.importing import Imports
from kvsd.replication.marks import Marks
from kvsd.replication.past import Past
from kvsd.replication.role import Role
from kvsd.replication.roster import Roster
from kvsd.replication.serving import Serving
from kvsd.replication.shard_duties import ShardDuties
from kvsd.replication.stability import Stability
from tests.simulation.mutants.planting import Plant, Planting

# Serving


def sources_unchecked(planting: Planting) -> None:
    """What a token depends on in the shard that a key came from has to be here, too."""
    planting.rewrite(Past, "needed", ("{tenancy.shard, *tenancy.sources}", "{tenancy.shard}"))


def own_part_of_the_token_only(planting: Planting) -> None:
    """A write whose author had seen writes of a source comes after those at every replica that takes it over."""
    planting.swap(Serving, "_names_source", lambda *_: False)


def own_shard_unchecked_for_what_moved(planting: Planting) -> None:
    """What a token depends on in the key's own shard has to be here also where the key came from another one."""
    own = "shard == tenancy.shard and not"
    planting.rewrite(Past, "_beyond", (own, "shard == tenancy.shard and not tenancy.lineage and not"))


def served_before_the_copy(planting: Planting) -> None:
    """A slot is served only by who has a complete copy of it."""
    planting.swap(Past, "is_ready", lambda *_: True)


# Stability


def importers_not_counted(planting: Planting) -> None:
    """A write is stable once those have it, too, who take it over."""
    planting.rewrite(Stability, "reported", ("in roster.importers(shard)", "in ()"))


def collected_while_there_are_sources(planting: Planting) -> None:
    """No tombstone is dropped while a source may still have writes for its key."""
    planting.rewrite(Stability, "_is_settled", (" and not configuration.tenures[tenure].sources", ""))


def pruned_of_shards_without_slots(planting: Planting) -> None:
    """A token names writes of a shard that owns nothing any more as long as others take them over."""
    planting.rewrite(
        Stability,
        "unstable",
        ("shard in configuration.shards", "shard in configuration.shard_ids()"),
    )


# Copies and tails


def covered_by_the_first_page(planting: Planting) -> None:
    """A copy covers what it covers when its last page is here."""
    planting.rewrite(Imports, "_issue", ("{} if message.cursor else ", ""))


def covered_beyond_the_page(planting: Planting) -> None:
    """The answer to a question for news covers what it brings, and not all that there is."""
    planting.rewrite(Exports, "_tail", ("cover if more else dict(role.vector)", "dict(role.vector)"))


def taken_over_without_dependencies(planting: Planting) -> None:
    """A version that is taken over depends on what it depended on before."""
    kept = "replace(record, tenure=errand.tenure)"
    planting.rewrite(Imports, "_issue", (kept, "replace(record, tenure=errand.tenure, dependencies={})"))


def taken_over_under_a_new_stamp(planting: Planting) -> None:
    """A version that is taken over keeps its stamp."""
    kept = "replace(record, tenure=errand.tenure)"
    later = "self._state.clock.latest + 1"
    planting.rewrite(Imports, "_issue", (kept, f"replace(record, tenure=errand.tenure, hlc={later})"))


def requests_not_taken_along(planting: Planting) -> None:
    """With the writes their requests are taken over, so that a retry is known at the new place."""
    planting.rewrite(Imports, "_issue", ("(role, records, requests, marks)", "(role, records, (), marks)"))


def requests_of_losers_not_taken_along(planting: Planting) -> None:
    """With a write that has lost to a later one, its request is taken over all the same."""
    planting.rewrite(Imports, "_issue", ("elif record.request:", "elif False:"))


def forgotten_not_taken_along(planting: Planting) -> None:
    """With the rows it is taken over how late the tombstones were that were dropped."""
    planting.rewrite(Imports, "_issue", ("forgotten=message.forgotten", "forgotten=0"))


# Marks


def marks_not_kept(planting: Planting) -> None:
    """What a shard was shown is remembered over a start."""
    planting.rewrite(Role, "changes", ("yield SetMarks(self.writer, self.marks)", "pass"))


def marks_not_copied(planting: Planting) -> None:
    """A copy of rows brings along what the shard was shown."""
    planting.rewrite(Giving, "_give_rows", ("role.marks.merged(Marks(forgotten=role.collected.latest))", "NO_MARKS"))


def marks_replaced(planting: Planting) -> None:
    """What a shard was shown later comes on top of what it was shown before."""
    planting.rewrite(Marks, "merged", ("_union(self.ready, other.ready)", "other.ready or self.ready"))


# Handing off


def handed_off_before_the_copy(planting: Planting) -> None:
    """Slots are handed off once they are copied."""
    planting.rewrite(ShardDuties, "hand_off", ("if not waits:", "if True:"))


def sources_forgotten_at_hand_off(planting: Planting) -> None:
    """After a hand-off, late writes at the old place are still taken over."""
    inherited = "dict.fromkeys(configuration.sources(move), configuration.epoch + 1)"
    planting.rewrite(resharding, "_handed_over", (inherited, "{}"))


def older_sources_forgotten(planting: Planting) -> None:
    """Slots that move on take along the sources that they still have."""
    found = "found.update((shard, self.pending.started) for shard in self.tenures[tenure].sources)"
    planting.rewrite(Configuration, "sources", (found, "pass"))


def members_of_emptied_shards_forgotten(planting: Planting) -> None:
    """The members of a shard that owns nothing any more depart, as they may have writes that nobody else has."""
    planting.rewrite(resharding, "hand_off", ("give_up(shards, member)", "shards[member.shard] = Shard()"))


def aborted_shard_left(planting: Planting) -> None:
    """A reshard that is aborted leaves nothing of the shards that it was to make."""
    planting.rewrite(resharding, "abort", ("if name not in unborn}\n    for", "}\n    for"))
    planting.swap(wishes, "abort", resharding.abort)


# Draining


def final_without_the_departed(planting: Planting) -> None:
    """A source is done with when the departed have shown all that they have, too."""
    planting.rewrite(
        Imports, "_finish", ("roster.shard(errand.source).holders()", "roster.shard(errand.source).members")
    )


def final_after_the_first(planting: Planting) -> None:
    """A source is done with when all its members have shown all that they have."""
    planting.rewrite(
        Imports, "_finish", ("all(member.writer in progress.done for", "any(member.writer in progress.done for")
    )


def drained_after_the_first(planting: Planting) -> None:
    """A source is struck out once all replicas have noted that they have all of it."""
    every = "self._configuration.shards[tenancy.shard].replicas()"
    planting.rewrite(ShardDuties, "drain", (every, f"{every}[:1]"))


# Sweeping


def copied_rows_not_kept(planting: Planting) -> None:
    """What a shard takes over is kept while the slots are still on their way."""
    planting.rewrite(Roster, "keeps", ("(tenure, shard) == (move.tenure, move.target)", "False"))


def never_swept(planting: Planting) -> None:
    """Rows that nobody can need any more are forgotten."""
    planting.swap(Role, "sweep_anew", lambda role, keeps: setattr(role, "keeps", keeps))


def keys_counted_where_they_were(planting: Planting) -> None:
    """The keys of slots that have moved are counted where they are now."""
    owned = vars(Roster)["owned"].func

    def before(roster: Roster) -> dict[str, list[tuple[int, int]]]:
        tenures = roster.configuration.tenures
        return {
            shard: [(min(tenures[tenure].lineage, default=tenure), slot) for tenure, slot in slots]
            for shard, slots in owned(roster).items()
        }

    planting.swap(Roster, "owned", property(before))


DEFECTS: list[Plant] = [
    sources_unchecked,
    own_part_of_the_token_only,
    own_shard_unchecked_for_what_moved,
    served_before_the_copy,
    importers_not_counted,
    collected_while_there_are_sources,
    pruned_of_shards_without_slots,
    covered_by_the_first_page,
    covered_beyond_the_page,
    taken_over_without_dependencies,
    taken_over_under_a_new_stamp,
    requests_not_taken_along,
    requests_of_losers_not_taken_along,
    forgotten_not_taken_along,
    marks_not_kept,
    marks_not_copied,
    marks_replaced,
    handed_off_before_the_copy,
    sources_forgotten_at_hand_off,
    older_sources_forgotten,
    members_of_emptied_shards_forgotten,
    aborted_shard_left,
    final_without_the_departed,
    final_after_the_first,
    drained_after_the_first,
    copied_rows_not_kept,
    never_swept,
    keys_counted_where_they_were,
]
