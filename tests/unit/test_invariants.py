"""What must hold whatever happens raises an exception where it does not, also under ``python -O``."""

import subprocess
import sys
from pathlib import Path

from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication.invariant import InvariantBroken
from kvsd.replication.oplog import OpLog
from kvsd.replication.seal import Seal
from tests.builders import A, B, make_op, make_record
from tests.pure import ADDRESSES, PureCluster

ROOT = Path(__file__).parents[2]


class InvariantTests(SynchronousTestCase):
    """A cluster of three replicas whose mechanisms are asked for what must never be."""

    def setUp(self) -> None:
        """Found the cluster."""
        self.replica = PureCluster(3, 1).founded().sites[ADDRESSES[0]].replica
        self.role = self.replica.state.roles["s0"]

    def test_ops_are_applied_in_order(self) -> None:
        """An op that leaves a gap, or comes before its causes, is not applied."""
        for op in (make_op(A, 2), make_op(A, 1, {B: 1})):
            self.assertRaises(InvariantBroken, self.role.apply, op, 1)
        self.assertEqual({}, self.role.vector)

    def test_log_has_no_gaps(self) -> None:
        """An op that leaves a gap is not logged."""
        log = OpLog()
        log.append(make_op(A, 1))
        self.assertRaises(InvariantBroken, log.append, make_op(A, 3))

    def test_only_members_write(self) -> None:
        """Who is no member of a shard issues nothing there."""
        roster = self.replica.state.roster
        self.replica.state.roster = None
        issue = self.replica.broadcast.issue
        self.assertRaises(InvariantBroken, issue, self.role, make_record(), {}, acknowledge=False)
        self.replica.state.roster = roster

    def test_epochs_follow_one_another(self) -> None:
        """Nobody has anything decided but the epoch after the one in force."""
        configuration = self.replica.state.configuration
        assert configuration is not None
        wanted = replace(configuration, epoch=configuration.epoch + 2)
        self.assertRaises(InvariantBroken, self.replica.consensus.propose, wanted, self.replica.state.now)

    def test_keys_of_seals_are_short(self) -> None:
        """A key that would have to be hashed first makes no seal."""
        self.assertRaises(InvariantBroken, Seal, b"k" * 65, 8)


class OptimisedTests(SynchronousTestCase):
    """Python that leaves asserts out."""

    def test_invariants_hold_under_python_o(self) -> None:
        """All of the above holds where ``python -O`` runs."""
        modules = ["tests.unit.test_invariants.InvariantTests", "tests.unit.test_oplog", "tests.unit.test_holdback"]
        command = [sys.executable, "-O", "-B", "-m", "unittest", *modules]
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(0, ran.returncode, ran.stderr)
        self.assertIn("OK", ran.stderr)
