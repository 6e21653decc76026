"""
Plans that once found a defect, cut down to what it takes; each is run again, and must break no promise any more.
"""

from pathlib import Path

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from kvsd.simulate.plan import Plan
from kvsd.simulate.run import simulate

PLANS = Path(__file__).with_name("plans")


class FoundPlansTests(SynchronousTestCase):
    """One test for each defect."""

    def hold(self, name: str, kind: str) -> None:
        """A plan is kept to, in which a fault of a kind happens."""
        plan = msgspec.json.decode((PLANS / f"{name}.json").read_bytes(), type=Plan)
        verdict = simulate([plan]).verdict
        self.assertGreater(verdict.faults[kind], 0, "the fault that this is about did not happen")
        self.assertEqual([], [str(violation) for violation in verdict.violations])

    def test_served_before_meeting_the_others(self) -> None:
        """A node that is started with a backup carries nothing out before its peers can say that it lacks something."""
        self.hold("served-before-meeting-the-others", "stale-disk")

    def test_backup_without_the_writes_of_others(self) -> None:
        """A node notices that it has a backup also where only writes of others are missing there."""
        self.hold("backup-without-the-writes-of-others", "stale-disk")

    def test_dropped_behind_a_late_post(self) -> None:
        """A request that waits for a link to get free is sent when the POST before it was merely late."""
        self.hold("dropped-behind-a-late-post", "overtaking")

    def test_right_data_refused(self) -> None:
        """A node whose right data is put back after a backup goes on, whatever it heard while it had the backup."""
        self.hold("right-data-refused", "stale-disk")

    def test_imported_before_meeting_the_others(self) -> None:
        """A node that is started with a backup issues nothing that it takes over from another of its own shards."""
        self.hold("imported-before-meeting-the-others", "stale-disk")

    def test_struck_out_by_itself_before_its_sync(self) -> None:
        """A node whose disk is behind does not decide that all others have what it wrote."""
        self.hold("struck-out-by-itself-before-its-sync", "stuck-disk")
