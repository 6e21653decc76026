"""One seed decides everything: the same plan leads to the same run, wherever and whenever it is made."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
from twisted.trial.unittest import SynchronousTestCase

import kvsd
from kvsd.simulate.faults.catalogue import KINDS
from kvsd.simulate.plan import Plan, draw_plan
from kvsd.simulate.run import Simulation, simulate

SEED, MINUTES, SHAPE = 11, 0.2, (4, 2)
CODE = str(Path(kvsd.__file__).parents[1])


def plan(seed: int = SEED) -> Plan:
    """The plan of a run with faults of all kinds."""
    return draw_plan(seed, tuple(KINDS), SHAPE, MINUTES * 60)


def program(hash_seed: str) -> str:
    """What the program prints of the same run, in a process of its own that hashes in another way."""
    options = ["--seed", str(SEED), "--minutes", str(MINUTES), "--nodes", str(SHAPE[0]), "--shards", str(SHAPE[1])]
    environment = {**os.environ, "PYTHONPATH": CODE, "PYTHONHASHSEED": hash_seed}
    command = [sys.executable, "-m", "kvsd.simulate", *options]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120).stdout


class ReplayTests(SynchronousTestCase):
    """Runs that are made again."""

    def run_of(self, plan: Plan) -> Simulation:
        """Make a run; nodes may end on failed syncs."""
        simulation = simulate([plan])
        self.assertEqual([], simulation.verdict.violations)
        return simulation

    def test_again(self) -> None:
        """A run that is made again in the same process is the same to the last byte."""
        first, second = self.run_of(plan()), self.run_of(plan())
        self.assertEqual(first.verdict, second.verdict)
        self.assertEqual(list(first.trace.recent), list(second.trace.recent))
        self.assertEqual(first.history, second.history)

    def test_other_processes(self) -> None:
        """The run is the same in any process, however it hashes, and so is every word of its story."""
        digest = self.run_of(plan()).verdict.digest
        stories = {program(hash_seed) for hash_seed in ("0", "1", "random")}
        self.assertEqual(1, len(stories))
        self.assertIn(digest, stories.pop())

    def test_other_seed(self) -> None:
        """Another seed is another run."""
        digests = {self.run_of(draw_plan(seed, (), (2, 1), 2.0)).verdict.digest for seed in range(3)}
        self.assertEqual(3, len(digests))

    def test_kept_plan(self) -> None:
        """A plan that was kept as JSON makes the same run."""
        kept = msgspec.json.decode(msgspec.json.encode(plan()), type=Plan)
        self.assertEqual(self.run_of(plan()).verdict.digest, self.run_of(kept).verdict.digest)

    def test_one_step_less(self) -> None:
        """The digest tells runs apart that differ in a single request."""
        whole = draw_plan(SEED, (), (2, 1), 5.0)
        busiest = max(whole.scripts, key=len)
        less = msgspec.structs.replace(whole, scripts=[s[1:] if s is busiest else s for s in whole.scripts])
        self.assertNotEqual(self.run_of(whole).verdict.digest, self.run_of(less).verdict.digest)
