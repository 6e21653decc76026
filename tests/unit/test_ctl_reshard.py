"""kvsctl plan, reshard, progress and abort."""

import json
import signal
import subprocess

from tests.ctl_case import CtlCase
from tests.fake_node import Asked, reshard

QUICK = ("--every", "0.01")
ENOUGH = "Not enough nodes to provide fault tolerance with requested shard count"


class PlanTests(CtlCase):
    """What a reshard would do."""

    def test_plan(self) -> None:
        """Moves, totals, members and fault tolerance, and nothing is changed."""
        lines = [" ".join(line.split()) for line in self.ctl("plan", "3").output.splitlines()]
        self.assertEqual(lines, [
            "from to slots keys size",
            "s0 s2 40 150 200.0 KiB",
            "",
            "To move: 40 slots (the least possible: 40), 150 keys, 200.0 KiB; 2 nodes change their shard.",
            "",
            "shard members after it (* = new there)",
            "s0 10.0.0.1:8090 10.0.0.3:8090",
            "s1 10.0.0.2:8090 10.0.0.4:8090",
            "s2 10.0.0.5:8090* 10.0.0.6:8090*",
            "",
            "Nodes that may fail in the weakest shard: 1 after it, 2 now.",
        ])  # fmt: skip
        self.assertEqual(self.node.paths("PUT"), [])

    def test_nothing_to_move(self) -> None:
        """A plan that moves nothing says so."""
        self.assertIn("Nothing is to be moved for 2 shards.", self.ctl("plan", "2").output)

    def test_json(self) -> None:
        """With --json it is the node's answer."""
        self.assertEqual(self.ctl_json("plan", "3")["slots-to-move"], 40)

    def test_refused(self) -> None:
        """Too many shards for the nodes, or fewer than one."""
        self.node.answers["GET", "/shard/reshard"] = (400, {"error": ENOUGH})
        self.assertIn(ENOUGH, self.fails(2, "plan", "9"))
        self.ctl("plan", "0", status=2)


class ReshardTests(CtlCase):
    """A reshard from beginning to end, without a terminal: it does not ask, and writes a line for each step."""

    def test_to_the_end(self) -> None:
        """The plan, a line for each step that says something new, and the end."""
        self.node.script = [reshard(0), reshard(120), reshard(120), reshard(200, "drain"), None]
        text = self.ctl("reshard", "3", *QUICK).output
        self.assertIn("To move: 40 slots", text)
        steps = [line for line in text.splitlines() if line.startswith("Resharding")]
        self.assertEqual(steps, [
            "Resharding to 3 shards: copy, 0 %, 0/200 keys, 50 keys/s, ETA 4 s",
            "Resharding to 3 shards: copy, 60 %, 120/200 keys, 50 keys/s, ETA 1.6 s",
            "Resharding to 3 shards: drain, 100 %, 200/200 keys, 50 keys/s, ETA 0 s",
        ])  # fmt: skip
        self.assertTrue(text.endswith("\nResharded: 3 shards, epoch 4.\n"), text)
        self.assertEqual(self.node.paths("PUT"), ["/shard/reshard?wait=false"])

    def test_json(self) -> None:
        """With --json there is a line for the plan, for each step, and for the result."""
        self.node.script = [reshard(120), None]
        lines = [json.loads(line) for line in self.ctl("reshard", "3", *QUICK, "--json").stdout.splitlines()]
        self.assertEqual([next(iter(line)) for line in lines], ["plan", "reshard", "result"])
        self.assertEqual(lines[1]["reshard"], reshard(120))
        self.assertEqual(lines[2], {"result": "resharded", "shard-count": 3, "epoch": 4})

    def test_nothing_to_do(self) -> None:
        """Where nothing is to be moved it is over at once."""
        self.assertTrue(self.ctl("reshard", "2").output.endswith("Resharded: 2 shards, epoch 4.\n"))
        self.assertNotIn("/kvsd/reshard", self.node.paths("GET"))

    def test_refused(self) -> None:
        """What can't be planned is not started."""
        self.node.answers["GET", "/shard/reshard"] = (400, {"error": ENOUGH})
        self.assertIn(ENOUGH, self.fails(2, "reshard", "9"))
        self.assertEqual(self.node.paths("PUT"), [])

    def test_conflict(self) -> None:
        """Another change under way: status 3, and how to look at it or end it."""
        self.node.answers["PUT", "/shard/reshard"] = (409, {"error": "A reshard is under way", "reshard": reshard(5)})
        result = self.ctl("reshard", "3", status=3)
        self.assertIn("A reshard is under way (follow it with 'kvsctl progress'", result.stderr)

    def test_aborted_by_somebody(self) -> None:
        """A reshard that ends while the shards stay as they were did not succeed."""
        self.node.script = [reshard(120)]

        def abort_after_first_look(request: Asked) -> None:
            if len([path for path in self.node.paths("GET") if path == "/kvsd/reshard"]) > 1:
                self.node.script.clear()

        self.node.on_ask = abort_after_first_look
        result = self.ctl("reshard", "3", *QUICK, status=6)
        self.assertIn("the reshard to 3 shards has ended without effect", result.stderr)
        self.assertNotIn("Resharded", result.stdout)

    def test_rebalance_is_aborted(self) -> None:
        """With the same number of shards, too, it is not taken for done while there is something to move."""
        self.node.answers["PUT", "/shard/reshard"] = (202, {"result": "started"})
        self.node.answers["GET", "/shard/reshard"] = (200, {"shard-count": 2, "slots-to-move": 5})
        self.assertIn("without effect", self.ctl("reshard", "2", *QUICK, status=6).stderr)

    def test_node_has_not_heard_yet(self) -> None:
        """A node that knows of no reshard in the first moment is asked again."""
        self.node.script = []

        def hear_later(request: Asked) -> None:
            if self.node.paths("GET").count("/kvsd/reshard") == 3 and not self.node.script:
                self.node.script = [reshard(120), None]

        self.node.on_ask = hear_later
        self.assertIn("60 %", self.ctl("reshard", "3", *QUICK).output)

    def test_silent_for_a_while(self) -> None:
        """Nodes may be away for a while: it is said, and the watching goes on."""
        self.node.script = [reshard(120), None]

        def fail_twice(request: Asked) -> None:
            looks = self.node.paths("GET").count("/kvsd/reshard")
            if looks in (1, 2):
                self.node.answers["GET", "/kvsd/reshard"] = (503, {"error": "Node is not ready"})
            else:
                self.node.answers.clear()

        self.node.on_ask = fail_twice
        text = self.ctl("reshard", "3", *QUICK).output
        self.assertEqual(text.count("Node is not ready"), 1)
        self.assertIn("Resharded: 3 shards", text)

    def test_silent_for_good(self) -> None:
        """When nobody answers any more, the watching ends, and it is said that the reshard does not."""
        self.node.answers["GET", "/kvsd/reshard"] = (503, {"error": "Node is not ready"})
        result = self.ctl("reshard", "3", *QUICK, status=4)
        self.assertIn("the reshard goes on without kvsctl", result.stderr)

    def test_interrupted(self) -> None:
        """Ctrl-C ends the watching, with status 130, and says how to look again; the reshard goes on."""
        self.node.script = [reshard(120)]
        process = self.process("reshard", "3", *QUICK, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

        def interrupt(request: Asked) -> None:
            if self.node.paths("GET").count("/kvsd/reshard") == 2:
                process.send_signal(signal.SIGINT)

        self.node.on_ask = interrupt
        said, error = process.communicate(timeout=30)
        self.assertEqual(process.returncode, 130)
        self.assertIn("60 %", said)
        again = f"look again: 'kvsctl --node {self.node.address} progress'"
        self.assertIn(f"kvsctl reshard 3: stopped watching; the reshard goes on ({again}", error)
        self.assertNotIn("Traceback", error)
        self.assertEqual(self.node.paths("DELETE"), [])

    def test_next_node_while_watching(self) -> None:
        """When the node that was asked dies, the next one is asked how far it is."""
        second = self.start_node()
        second.script = [reshard(160), None]
        self.node.script = [reshard(120)]

        def die(request: Asked) -> None:
            if self.node.paths("GET").count("/kvsd/reshard") == 2:
                self.node.answers["GET", "/kvsd/reshard"] = (0, None)

        self.node.on_ask = die
        text = self.ctl("reshard", "3", "--node", second.address, *QUICK).output
        self.assertIn("60 %", text)
        self.assertIn("80 %", text)
        self.assertIn("Resharded: 3 shards", text)


class ProgressTests(CtlCase):
    """Looking again, and ending it."""

    def test_progress(self) -> None:
        """A reshard that somebody started is followed to its end."""
        self.node.script = [reshard(120), reshard(160), None]
        text = self.ctl("progress", *QUICK).output
        self.assertIn("80 %", text)
        self.assertIn("Resharded: 3 shards", text)

    def test_progress_json(self) -> None:
        """With --json there is a line for each step."""
        self.node.script = [reshard(120), reshard(160), None]
        lines = [json.loads(line) for line in self.ctl("progress", *QUICK, "--json").stdout.splitlines()]
        self.assertEqual(lines[-1]["result"], "resharded")
        self.assertEqual(lines[0]["reshard"]["rows"], 160)

    def test_nothing_to_follow(self) -> None:
        """Where no reshard is under way there is nothing to follow."""
        self.assertIn("No reshard is under way", self.fails(1, "progress"))

    def test_abort(self) -> None:
        """A reshard is aborted once."""
        self.node.script = [reshard(120)]
        self.assertEqual(self.ctl("abort").output, "The reshard is aborted.\n")
        self.assertIn("No reshard is under way", self.fails(1, "abort"))
        self.node.script = [reshard(120)]
        self.assertEqual(self.ctl_json("abort"), {"result": "aborted"})

    def test_abort_too_late(self) -> None:
        """What is handed off already can't be aborted."""
        self.node.answers["DELETE", "/kvsd/reshard"] = (409, {"error": "It is handed off already"})
        self.assertIn("can't be aborted any more", self.fails(3, "abort"))
