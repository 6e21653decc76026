"""The end of a run: what replicas may hold, and what not."""

from collections.abc import Mapping

from twisted.trial.unittest import SynchronousTestCase

from kvsd.simulate.checkers.causal_order import CausalOrder
from kvsd.simulate.checkers.final import final_states
from kvsd.simulate.history import FinalState, Number, Version
from tests.simulation.tale import Tale

Rows = Mapping[str, Version]


def replica(node: str, rows: Rows, shard: str = "s0", live_keys: int | None = None) -> FinalState:
    """What a replica holds; it counts right, unless something else is said."""
    live = sum(version.value is not None for version in rows.values())
    return FinalState(node, shard, rows, live if live_keys is None else live_keys)


class FinalTests(SynchronousTestCase):
    """A history is told, and what is wrong with what replicas held in the end is asserted."""

    def setUp(self) -> None:
        """A history with nothing in it."""
        self.tale = Tale()
        self.stamps: dict[Number, int] = {}

    def assert_wrong(self, finals: list[FinalState], *expected: tuple[str, tuple[Number, ...]]) -> list[str]:
        """These and no other rules are broken; returns the sentences."""
        violations = final_states(CausalOrder(self.tale.history), finals, self.stamps)
        self.assertEqual(list(expected), [(violation.rule, violation.witness) for violation in violations])
        for violation in violations:
            for number in violation.witness:
                self.assertIn(str(self.tale.history[number]), violation.text)
        return [violation.text for violation in violations]

    def assert_right(self, *rows: Rows) -> None:
        """Nothing is wrong, if the replicas of a shard hold these rows."""
        self.assert_wrong([replica(f"n{number}", row) for number, row in enumerate(rows)])

    def assert_wrong_row(self, version: Version | None, *expected: tuple[str, tuple[Number, ...]]) -> None:
        """These rules are broken, if a replica holds this version of x (None: no row)."""
        self.assert_wrong([replica("n0", {} if version is None else {"x": version})], *expected)


class ConvergenceTests(FinalTests):
    """Replicas of a shard hold the same."""

    def setUp(self) -> None:
        """Two values were written."""
        super().setUp()
        self.tale.write("A", "x", "1", lost=True)
        self.tale.write("B", "x", "2", lost=True)

    def test_same(self) -> None:
        """All hold the same; a tombstone and no row at all are the same, too."""
        self.assert_right({"x": Version("1", 5)}, {"x": Version("1", 5), "y": Version(None, 7)})

    def test_no_replicas(self) -> None:
        """If nothing is known of the end, nothing is wrong with it."""
        self.tale.write("A", "y", "1")
        self.assert_right()

    def test_different_shards(self) -> None:
        """Replicas of different shards hold different keys."""
        self.assert_wrong([replica("n0", {"x": Version("1", 5)}, "s0"), replica("n1", {}, "s1")])

    def test_different_values(self) -> None:
        """Two replicas that hold different values of a key are both named."""
        finals = [replica("n0", {"x": Version("1", 5)}), replica("n1", {"x": Version("2", 6)})]
        (text,) = self.assert_wrong(finals, ("convergence", ()))
        for word in ("n0", "n1", "x", "1", "2", "s0"):
            self.assertIn(word, text)

    def test_row_that_is_not_everywhere(self) -> None:
        """A key that only one of two replicas has."""
        self.assert_wrong([replica("n0", {"x": Version("1", 5)}), replica("n1", {})], ("convergence", ()))
        self.assert_wrong([replica("n0", {}), replica("n1", {"x": Version("1", 5)})], ("convergence", ()))

    def test_wrong_count(self) -> None:
        """A replica that counts a key too many."""
        (text,) = self.assert_wrong([replica("n0", {"x": Version("1", 5)}, live_keys=2)], ("convergence", ()))
        self.assertIn("counts 2", text)

    def test_value_that_nobody_wrote(self) -> None:
        """A value out of thin air."""
        self.assert_wrong_row(Version("7", 5), ("unwritten value", ()))


class LostWriteTests(FinalTests):
    """What was acknowledged is there, unless it was overwritten."""

    def test_missing(self) -> None:
        """A key that was written and never deleted is not there."""
        write = self.tale.write("A", "x", "1")
        self.assert_wrong_row(None, ("lost write", (write,)))
        self.assert_wrong_row(Version(None, 5), ("lost write", (write,)))

    def test_write_without_answer(self) -> None:
        """A write that got no answer may be there or not; once someone has read it, it must be there."""
        write = self.tale.write("A", "x", "1", lost=True)
        self.assert_right({})
        self.assert_right({"x": Version("1", 5)})
        self.tale.read("B", "x", "1")
        self.assert_wrong_row(None, ("lost write", (write,)))

    def test_deleted(self) -> None:
        """A deletion that may have come later explains that a key is absent, answered or not."""
        self.tale.write("A", "x", "1")
        self.tale.delete("B", "x", lost=True)
        self.assert_right({})
        self.assert_right({"x": Version(None, 5)})
        self.assert_right({"x": Version("1", 5)})

    def test_deleted_before(self) -> None:
        """A deletion that the write came after does not explain that the key is absent."""
        self.tale.delete("A", "x")
        write = self.tale.write("A", "x", "1")
        self.assert_wrong_row(None, ("lost write", (write,)))

    def test_deletion_with_a_smaller_stamp(self) -> None:
        """A concurrent deletion explains nothing if its stamp is known to be the smaller one."""
        write, deletion = self.tale.write("A", "x", "1"), self.tale.delete("B", "x")
        self.stamps = {write: 5, deletion: 6}
        self.assert_right({}, {"x": Version(None, 6)})
        self.stamps = {write: 5, deletion: 4}
        self.assert_wrong_row(None, ("lost write", (write,)))

    def test_overwritten_version(self) -> None:
        """The version before the last one is there."""
        old, new = self.tale.write("A", "x", "1"), self.tale.write("A", "x", "2")
        self.assert_wrong_row(Version("1", 5), ("lost write", (old, new)))
        self.assert_right({"x": Version("2", 6)})

    def test_overwritten_by_a_write_without_answer(self) -> None:
        """A write that may not have happened need not have overwritten anything."""
        self.tale.write("A", "x", "1")
        self.tale.write("A", "x", "2", lost=True)
        self.assert_right({"x": Version("1", 5)})

    def test_smaller_stamp(self) -> None:
        """The winner of concurrent writes is the one with the larger stamp, if that is known."""
        one, two = self.tale.write("A", "x", "1"), self.tale.write("B", "x", "2")
        self.assert_right({"x": Version("1", 5)})
        self.stamps = {one: 5, two: 6}
        self.assert_wrong_row(Version("1", 5), ("lost write", (two,)))
        self.assert_right({"x": Version("2", 6)})

    def test_tombstone_with_a_smaller_stamp(self) -> None:
        """A tombstone is no better than its stamp."""
        write = self.tale.write("A", "x", "1")
        self.tale.delete("B", "x")
        self.stamps = {write: 5}
        self.assert_wrong_row(Version(None, 4), ("lost write", (write,)))


class DeletedValueTests(FinalTests):
    """What was deleted does not come back."""

    def test_back(self) -> None:
        """A value is there that was deleted by one who had seen it."""
        write, deletion = self.tale.write("A", "x", "1"), self.tale.delete("A", "x")
        self.assert_wrong_row(Version("1", 5), ("deleted value back", (write, deletion)))

    def test_back_though_written_again(self) -> None:
        """A value was deleted, another one written, and the first one is back."""
        write, deletion = self.tale.write("A", "x", "1"), self.tale.delete("A", "x")
        self.tale.write("A", "x", "2")
        self.assert_wrong_row(Version("1", 5), ("deleted value back", (write, deletion)))

    def test_write_that_was_carried_out_twice(self) -> None:
        """A value that was deleted may be there, if another try to write it may have been carried out later."""
        self.tale.write("A", "x", "1", lost=True)
        self.tale.write("A", "x", "1")
        self.tale.delete("A", "x")
        self.assert_right({"x": Version("1", 5)})
        self.assert_right({})

    def test_deletion_without_answer(self) -> None:
        """A deletion that got no answer need not have happened, unless someone saw that the key was gone."""
        write = self.tale.write("A", "x", "1")
        deletion = self.tale.delete("A", "x", lost=True)
        self.assert_right({"x": Version("1", 5)})
        self.tale.read("A", "x", None)
        self.assert_wrong_row(Version("1", 5), ("deleted value back", (write, deletion)))

    def test_concurrent_deletion(self) -> None:
        """A deletion by one who had not seen the value may have lost."""
        self.tale.write("A", "x", "1")
        self.tale.delete("B", "x")
        self.assert_right({"x": Version("1", 5)})
