"""Which keys have changed lately."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication import key_changes
from kvsd.replication.key_changes import MAX_KEYS, MAX_TOLD, KeyChanges

KEYS = st.sampled_from("abcdef")


class KeyChangesTests(SynchronousTestCase):
    """Keys that change one after another."""

    @given(st.lists(KEYS | st.just("*"), max_size=30), st.integers(1, 8))
    def test_never_unchanged_that_has_changed(self, changed: list[str], room: int) -> None:
        """Compared with the whole tale: what is said to be as it was is, and what was told to have changed covers all that has."""
        self.patch(key_changes, "MAX_KEYS", room)
        changes = KeyChanges()
        for key in changed:
            if key == "*":
                changes.note_all()
            else:
                changes.note(key)
        self.assertEqual(changes.count, len(changed))
        for count in range(len(changed) + 1):
            later = changed[count:]
            told = changes.after(count)
            expected = {key: len(changed) - changed[::-1].index(key) for key in later}
            self.assertIn(told, (None, expected))
            for key in "abcdef":
                unchanged = changes.unchanged(key, count)
                self.assertFalse(unchanged and (key in later or "*" in later))
                self.assertEqual(unchanged, told is not None and key not in told)

    def test_all_that_there_is_room_for(self) -> None:
        """Of so many keys it is known, and of no more."""
        changes = KeyChanges()
        changes.note("first")
        for number in range(MAX_KEYS):
            changes.note(f"key{number}")
            changes.note(f"key{number}")
        self.assertTrue(changes.unchanged("other", 1))
        self.assertFalse(changes.unchanged("other", 0))
        self.assertFalse(changes.unchanged("key0", 1))
        self.assertTrue(changes.unchanged("key0", 3))

    def test_all_that_is_told(self) -> None:
        """Where too many have changed, that is all that is told."""
        changes = KeyChanges()
        for number in range(MAX_TOLD + 1):
            changes.note(f"key{number}")
        self.assertIsNone(changes.after(0))
        self.assertEqual(len(changes.after(1) or ()), MAX_TOLD)
