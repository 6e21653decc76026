"""``python -m kvsd.simulate``: what it prints, and what it ends with."""

import gc
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import msgspec
from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

import kvsd
from kvsd.replication.broadcast import Broadcast
from kvsd.simulate.__main__ import KEPT_IN, main
from kvsd.simulate.plan import Fault, Plan, draw_plan
from kvsd.simulate.story import LAST_EVENTS

CODE = str(Path(kvsd.__file__).parents[1])
SHORT = ("--minutes", "0.05", "--faults", "none", "--nodes", "2")


class CommandTests(SynchronousTestCase):
    """The command, called in this process and in a directory of its own."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory(prefix="kvsd-simulate-")
        self.addCleanup(directory.cleanup)
        self.addCleanup(os.chdir, Path.cwd())
        os.chdir(directory.name)
        self.addCleanup(gc.set_threshold, *gc.get_threshold())
        self.addCleanup(gc.unfreeze)

    def simulate(self, *options: str) -> Result:
        """Call the command."""
        return CliRunner().invoke(main, options)

    def assert_ends(self, result: Result, status: int) -> list[str]:
        """The command ended with a status, and not with a traceback; returns the lines that it printed."""
        self.assertEqual(status, result.exit_code, result.output)
        self.assertIsInstance(result.exception, SystemExit | None)
        return result.output.rstrip().splitlines()

    def plant_a_defect(self) -> None:
        """From now on, no replica ever applies what another one wrote."""
        self.patch(Broadcast, "deliver", lambda *_: [])


class OneRunTests(CommandTests):
    """A single run is told as a story."""

    def test_story(self) -> None:
        """A run tells who is who, what happened and when, and that no promise was broken."""
        lines = self.assert_ends(self.simulate("--seed", "3", "--minutes", "0.1", "--nodes", "3"), 0)
        self.assertEqual("shard s0: n1 (10.0.0.1:8090), n2 (10.0.0.2:8090), n3 (10.0.0.3:8090)", lines[0])
        told = [line for line in lines if re.match(r" +\d+\.\d{3} s  ", line)]
        times = [float(line.split()[0]) for line in told]
        self.assertEqual(sorted(times), times)
        self.assertEqual(3, len([line for line in told if "founded" in line]))
        self.assertEqual(1, len([line for line in told if line.endswith("all is mended")]))
        self.assertTrue(any("No promise was broken" in line for line in lines), lines)

    def test_no_faults(self) -> None:
        """A run without faults has nothing of them in its story."""
        output = "\n".join(self.assert_ends(self.simulate(*SHORT), 0))
        self.assertIn("0 faults", output)
        self.assertNotIn("crash", output)

    def test_broken_promise(self) -> None:
        """A run that breaks a promise shows what, the last events, and how to see it again; it ends with status 1."""
        self.plant_a_defect()
        lines = self.assert_ends(self.simulate("--seed", "4", *SHORT), 1)
        output = "\n".join(lines)
        self.assertIn("VIOLATIONS:", output)
        self.assertIn("  liveness: ", output)
        self.assertEqual(
            "Seed 4 failed. To see it again: python -m kvsd.simulate"
            " --seed 4 --nodes 2 --shards 1 --minutes 0.05 --faults none",
            lines[-1],
        )
        last = lines[next(number for number, line in enumerate(lines) if line.startswith("The last events of ")) :]
        self.assertEqual(LAST_EVENTS, len([line for line in last if re.match(r" +\d+\.\d{3} s  ", line)]))
        self.assertIn("Heartbeat(", "\n".join(last))

    def test_smaller_plan(self) -> None:
        """A failing run can be cut down to a plan that is kept, and run again from there."""
        self.plant_a_defect()
        output = self.simulate("--seed", "4", *SHORT, "--shrink").output
        self.assertIn(f"0 faults and 0 steps of clients are enough: python -m kvsd.simulate --plan {KEPT_IN}", output)
        lines = self.assert_ends(self.simulate("--plan", str(KEPT_IN)), 1)
        self.assertTrue(lines[-1].endswith(f"python -m kvsd.simulate --plan {KEPT_IN}"))


class ManyRunsTests(CommandTests):
    """Many runs are summed up."""

    def test_sum(self) -> None:
        """The last line says how much was tried and that nothing was broken, the one before it how fast that was."""
        lines = self.assert_ends(self.simulate("--seeds", "3", "--minutes", "0.05", "--nodes", "2", "--jobs", "1"), 0)
        figures = (
            r"3 schedules, [\d,]+ client operations, [\d,]+ faults of \d+ kinds, \d+\.\d simulated hours: no violation"
        )
        self.assertRegex(lines[-1], f"^{figures}$")
        self.assertRegex(lines[-2], r"[\d,]+ client operations a second and [\d,]+ times real time on 1 processes")
        self.assertTrue(lines[-3].startswith("Orders: "))
        self.assertTrue(lines[-4].startswith("Faults: "))

    def test_failures(self) -> None:
        """Each seed that fails is named with how to see it again; the last line names them all, and the status is 1."""
        self.plant_a_defect()
        lines = self.assert_ends(self.simulate("--seed", "7", "--seeds", "2", *SHORT, "--jobs", "1"), 1)
        for seed in (7, 8):
            command = f"python -m kvsd.simulate --seed {seed} --nodes 2 --shards 1 --minutes 0.05 --faults none"
            self.assertIn(f"Seed {seed} failed: {command}", lines)
        self.assertTrue(any(line.startswith("  liveness: ") for line in lines))
        self.assertTrue(lines[-1].startswith("2 schedules, ") and lines[-1].endswith(": 2 FAILED, seeds 7, 8"), lines)

    def test_processes(self) -> None:
        """The runs are the same on several processes, and nothing but the sum is printed."""
        options = ["--seeds", "6", "--minutes", "0.05", "--faults", "loss,crash", "--jobs"]
        program = [sys.executable, "-m", "kvsd.simulate", *options, "2"]
        environment = {**os.environ, "PYTHONPATH": CODE}
        ended = subprocess.run(program, env=environment, capture_output=True, text=True, check=False, timeout=120)
        self.assertEqual((0, ""), (ended.returncode, ended.stderr))
        alone = self.assert_ends(self.simulate(*options, "1"), 0)
        several = ended.stdout.rstrip().splitlines()
        self.assertEqual([alone[0], alone[-1]], [several[0], several[-1]])
        self.assertEqual(4, len(several))


class MistakeTests(CommandTests):
    """Options that make no sense are refused, clearly and with status 2."""

    def assert_refused(self, why: str, *options: str) -> None:
        """The command refuses some options, for this reason."""
        output = " ".join(" ".join(self.assert_ends(self.simulate(*options), 2)).split())
        self.assertIn(why, output)
        self.assertNotIn("Traceback", output)

    def keep(self, plan: Plan) -> str:
        """Write a plan down; returns the name of the file."""
        Path("plan.json").write_bytes(msgspec.json.encode(plan))
        return "plan.json"

    def test_unknown_fault(self) -> None:
        """A kind of fault that there is not is named, and so are those that there are."""
        self.assert_refused("there is no fault 'flood'; there are: loss, ", "--faults", "crash,flood")

    def test_too_few_nodes(self) -> None:
        """Each shard takes two nodes."""
        self.assert_refused("3 shards need at least 6 nodes", "--nodes", "5", "--shards", "3")

    def test_many_runs_of_one_plan(self) -> None:
        """What is for one run can't be asked of many."""
        self.assert_refused("--plan and --shrink are for one run", "--seeds", "2", "--shrink")

    def test_no_such_file(self) -> None:
        """A plan that is not there can't be run."""
        self.assert_refused("does not exist", "--plan", "nowhere.json")

    def test_no_plan(self) -> None:
        """A file that holds no plan is refused, whatever it holds."""
        for content in (b"", b"nonsense", b"\xff\xfe\x00", b"[]", b"{}", b'{"seed": "x"}'):
            Path("plan.json").write_bytes(content)
            self.assert_refused("plan.json is no plan: ", "--plan", "plan.json")

    def test_plans_that_can_not_be_run(self) -> None:
        """A plan for a cluster or with faults that there can't be is refused."""
        plan = draw_plan(1, (), (3, 1), 1.0)
        wrong = {
            "2 shards on 3 nodes": msgspec.structs.replace(plan, shards=2),
            "0 shards on 3 nodes": msgspec.structs.replace(plan, shards=0),
            "speaks of nodes beyond the 3": msgspec.structs.replace(plan, faults=[Fault("loss", 1.0, 1.0, (3, 0))]),
            "a kind that there is not: flood": msgspec.structs.replace(plan, faults=[Fault("flood", 1.0, 1.0, (0, 1))]),
            "limits that there are not: patience": msgspec.structs.replace(plan, limits={"patience": 1}),
        }
        for why, other in wrong.items():
            self.assert_refused(why, "--plan", self.keep(other))

    def test_help(self) -> None:
        """The command says what it does and what can be chosen."""
        output = "\n".join(self.assert_ends(self.simulate("--help"), 0))
        options = [option for parameter in main.params for option in parameter.opts]
        self.assertEqual([], [option for option in options if option not in output])
        self.assertIsInstance(main, click.Command)
