"""
The laws of what may follow a configuration.

Whatever is changed, in whatever order and whoever is up, the configuration stays sound, and nobody who may have writes
that nobody else has is forgotten.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication import changes, resharding
from kvsd.replication.configuration import Configuration, ConfigurationError
from tests.configurations import NODES, all_promoted, complaints, founded, holders_of, instance_of
from tests.examples import examples

T = TypeVar("T")


class Step(NamedTuple):
    """Something that is tried: what; with which of all that it can be done to; and which nodes are live."""

    kind: str
    which: int
    number: int
    live: frozenset[str]

    def of(self, things: Sequence[T]) -> T:
        """The one of some things with which it is tried; refused if there are none."""
        if not things:
            raise changes.ChangeRefused("there is nothing to do it to")
        return things[self.which % len(things)]


def _drain_source(now: Configuration, step: Step) -> Configuration:
    sources = [(tenure, shard) for tenure, tenancy in now.tenures.items() for shard in tenancy.sources]
    return resharding.drain_source(now, *step.of(sources))


def _drain_departed(now: Configuration, step: Step) -> Configuration:
    return changes.drain_departed(now, step.of([m for shard in now.shards.values() for m in shard.departed]))


def _come_back(now: Configuration, step: Step) -> Configuration:
    member = step.of([m for shard in now.shards.values() for m in shard.departed])
    return changes.add_learner(now, member.shard, member.node)


def _promote(now: Configuration, step: Step) -> Configuration:
    return changes.promote(now, step.of([m for shard in now.shards.values() for m in shard.learners]))


def _disk(now: Configuration, node: str) -> bytes:
    """The data directory that a node has now, or its next one if it is no node of the cluster."""
    used = {m.instance for m in now.everyone() if m.node == node} | {now.nodes.get(node, b"")}
    return max(used) or instance_of(node)


def _next_disk(now: Configuration, node: str) -> bytes:
    return instance_of(node, int(_disk(now, node).rstrip(b"-").rpartition(b"#")[2]) + 1)


TRIED: dict[str, Callable[[Configuration, Step], Configuration | None]] = {
    "add": lambda now, step: changes.add_node(now, node := step.of(NODES), _disk(now, node)),
    "remove": lambda now, step: changes.remove_node(now, step.of(NODES), step.live),
    "learn": lambda now, step: changes.add_learner(now, f"s{step.number - 1}", step.of(NODES)),
    "come back": _come_back,
    "promote": _promote,
    "reshard": lambda now, step: resharding.begin_reshard(now, step.number, step.live),
    "hand off": lambda now, step: resharding.hand_off(now, step.live),
    "abort": lambda now, step: resharding.abort(now),
    "drain a source": _drain_source,
    "drain a departed": _drain_departed,
    "wipe": lambda now, step: changes.lose(now, node := step.of(NODES), _next_disk(now, node), {}),
    "forget": lambda now, step: changes.lose(now, step.of(NODES), None, {}),
    "settle": lambda now, step: changes.settle(now, step.of(list(now.lost)), step.number),
}

OFTEN = [
    "reshard",
    "hand off",
    "promote",
    "promote",
    "remove",
    "add",
    "learn",
    "come back",
    "drain a source",
    "drain a departed",
]
up = st.sets(st.sampled_from(NODES), max_size=3).map(lambda down: frozenset(NODES) - down)
steps = st.builds(Step, st.sampled_from([*TRIED, *OFTEN]), st.integers(0, 11), st.integers(1, 5), up)
histories = st.lists(steps, min_size=10, max_size=60)
clusters = st.sampled_from([(1, 1), (2, 1), (4, 2), (5, 2), (7, 2), (7, 3), (9, 3), (12, 4)])


def attempted(now: Configuration, step: Step) -> Configuration | None:
    """What follows when a step is tried; None if it is refused or changes nothing."""
    try:
        return TRIED[step.kind](now, step)
    except (changes.ChangeRefused, ConfigurationError):
        return None


def happened(now: Configuration, history: Sequence[Step]) -> list[tuple[Step, Configuration, Configuration]]:
    """All steps that were not refused, each with the configuration before and after."""
    found = []
    for step in history:
        after = attempted(now, step)
        if after is not None:
            found.append((step, now, after))
            now = after
    return found


class LawsOfChanges(SynchronousTestCase):
    """Every configuration that can come about is sound."""

    @examples(60)
    @given(clusters, histories)
    def test_sound(self, cluster: tuple[int, int], history: list[Step]) -> None:
        """Each change leads to the next epoch, and to nothing that there is anything wrong with."""
        for step, before, after in happened(founded(*cluster), history):
            self.assertEqual((before.epoch + 1, []), (after.epoch, list(complaints(after))), step)
            self.assertTrue(before.next_shard <= after.next_shard and before.next_tenure <= after.next_tenure)

    @examples(60)
    @given(clusters, histories)
    def test_nobody_is_forgotten(self, cluster: tuple[int, int], history: list[Step]) -> None:
        """Who may have writes that nobody else has can be asked for them, until it is drained or known to be lost."""
        for step, before, after in happened(founded(*cluster), history):
            gone = holders_of(before) - holders_of(after)
            if step.kind == "drain a departed":
                self.assertTrue(len(gone) == 1 and not gone & {m for s in before.shards.values() for m in s.members})
            elif step.kind == "abort":
                self.assertTrue({member.shard for member in gone} <= set(changes.created(before)))
            else:
                self.assertTrue({member.writer for member in gone} <= after.lost.keys(), step)

    @examples(60)
    @given(clusters, histories)
    def test_no_name_is_used_again(self, cluster: tuple[int, int], history: list[Step]) -> None:
        """A writer that is gone never comes back, nor does a shard or a tenure."""
        now = founded(*cluster)
        gone: set[object] = set()
        for _, before, after in happened(now, history):
            gone |= _names(before) - _names(after)
            self.assertFalse(gone & _names(after))

    @examples(60)
    @given(clusters, histories)
    def test_slots_move_by_hand_off_alone(self, cluster: tuple[int, int], history: list[Step]) -> None:
        """Only a hand-off gives slots to another shard, and exactly those that were to move."""
        for step, before, after in happened(founded(*cluster), history):
            moving = {slot: move for move in before.pending.moves for slot in move.slots} if before.pending else {}
            if step.kind != "hand off":
                self.assertEqual(before.slots, after.slots)
                continue
            self.assertIsNone(after.pending)
            for slot, tenure in enumerate(before.slots):
                self.assertEqual(moving[slot].tenure if slot in moving else tenure, after.slots[slot])

    @examples(60)
    @given(clusters, histories)
    def test_where_writes_come_from(self, cluster: tuple[int, int], history: list[Step]) -> None:
        """Slots that move take along all sources that have not been drained, and their lineage, and the old owner."""
        for step, before, after in happened(founded(*cluster), history):
            if step.kind != "hand off" or before.pending is None:
                continue
            for slot in (move.slots[0] for move in before.pending.moves):
                tenure, owner = before.owner(slot)
                old, new = before.tenures[tenure], after.tenures[after.slots[slot]]
                self.assertTrue({owner, *old.sources} <= new.sources.keys())
                self.assertTrue({tenure, *(old.lineage if old.sources else ())} <= set(new.lineage))
                self.assertEqual({after.epoch}, set(new.sources.values()))

    @examples(60)
    @given(clusters, histories, st.integers(1, 5), up)
    def test_abort_undoes(
        self, cluster: tuple[int, int], history: list[Step], count: int, live: frozenset[str]
    ) -> None:
        """After a reshard that was begun and aborted, all is as it was; only the numbers that it used are not."""
        for _, _, now in happened(founded(*cluster), history):
            begun = attempted(now, Step("reshard", 0, count, live))
            if begun:
                undone = replace(resharding.abort(begun), epoch=now.epoch)
                numbers = {"next_shard": begun.next_shard, "next_tenure": begun.next_tenure}
                self.assertEqual(replace(now, **numbers), undone)

    @examples(40)
    @given(clusters, histories, st.integers(1, 5), up)
    def test_done_is_done(
        self, cluster: tuple[int, int], history: list[Step], count: int, live: frozenset[str]
    ) -> None:
        """Once a reshard is handed off and all have learnt, the same one with the same nodes has nothing to do."""
        for _, _, now in happened(founded(*cluster), history[:20]):
            begun = attempted(now, Step("reshard", 0, count, live))
            if begun:
                done = all_promoted(resharding.hand_off(all_promoted(begun), live))
                self.assertEqual([], list(complaints(done)))
                self.assertIsNone(resharding.begin_reshard(done, count, live))
                self.assertEqual(count, len(done.shard_ids()))


def _names(configuration: Configuration) -> set[object]:
    return {*configuration.everyone(), *configuration.shards, *configuration.tenures}
