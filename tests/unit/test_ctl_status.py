"""kvsctl status: the cluster at one glance."""

from tests.ctl_case import CtlCase
from tests.fake_node import reshard

DOWN = "10.0.0.3:8090"


class StatusTests(CtlCase):
    """What is shown, as plain text."""

    def rows(self, *words: str) -> dict[str, list[str]]:
        """The lines of the status, each cut into words, by the first word; the first line with it counts."""
        lines = [line.split() for line in self.ctl("status", *words).output.splitlines()]
        return {line[0]: line for line in reversed(lines) if line}

    def test_quiet_cluster(self) -> None:
        """Nodes, shards and epoch; keys of a shard that the node is no member of are asked for."""
        rows = self.rows()
        self.assertEqual(rows["As"][-4:], ["cluster", "a1b2c3d4e5f6,", "epoch", "4"])
        own = [self.node.address, "s0", "member", "alive", "yes", "4", "0", "-", "0", "0", "0"]
        self.assertEqual(rows[self.node.address], own)
        self.assertEqual(rows["s0"], ["s0", "1,200", self.node.address])
        self.assertEqual(rows["s1"], ["s1", "1,400", self.node.address])
        self.assertNotIn("Resharding", self.ctl("status").output)

    def test_other_nodes(self) -> None:
        """Each node that is not down is asked for its own figures."""
        second, dead = self.start_node(), self.dead_node()
        late = {"address": second.address, "epoch": 3, "lag-writes": 12034, "lag-s": 74.2, "holdback": 31}
        second.figures = {**late, "ready": False, "reasons": ["it lacks writes"]}
        self.node.others = {
            second.address: {"state": "alive", "shard": "s1", "role": "learner"},
            dead: {"state": "suspect", "shard": "s1", "role": "member"},
            DOWN: {"state": "down", "shard": "s0", "role": "member"},
        }
        rows = self.rows()
        figures = ["no", "3", "12,034", "1", "min", "14", "s", "31", "0", "0"]
        self.assertEqual(rows[DOWN], [DOWN, "s0", "member", "down", *["-"] * 7])
        text = self.ctl("status").output
        self.assertIn(f"{second.address} is not ready: it lacks writes\n", text)
        self.assertIn(f"{dead} does not answer: Connection refused\n", text)
        shown = [line.split() for line in text.splitlines() if line.startswith(second.address)][1]
        self.assertEqual(shown, [second.address, "s1", "learner", "alive", *figures])

    def test_one(self) -> None:
        """With --one nobody else is asked."""
        second = self.start_node()
        self.node.others = {second.address: {"state": "alive", "shard": "s1", "role": "member"}}
        self.assertEqual(self.rows("--one")[second.address][4:], ["-"] * 7)
        self.assertEqual(second.asked, [])

    def test_duties(self) -> None:
        """What each duty did last and what blocks it, at all nodes; one with neither is left out."""
        second = self.start_node()
        second.figures = {"address": second.address}
        self.node.others = {second.address: {"state": "alive", "shard": "s1", "role": "member"}}
        self.node.duties = {
            "bind": {"last": "all is bound", "ago-s": 12.4, "blocked-by": None},
            "collect": {"last": None, "ago-s": None, "blocked-by": "10.0.0.3:8090 is down"},
            "drain": {"last": None, "ago-s": None, "blocked-by": None},
        }
        second.duties = {
            "bind": {"last": "all is bound", "ago-s": 1.0, "blocked-by": None},
            "handoff": {"last": "sent rows", "ago-s": 0.2, "blocked-by": "waits for epoch 5"},
        }
        lines = [" ".join(line.split()) for line in self.ctl("status").output.splitlines()]
        here, there = self.node.address, second.address
        self.assertEqual(lines[lines.index("duty node last did ago blocked by") + 1 :], [
            f"bind {here} all is bound 12 s -",
            f"collect {here} - - 10.0.0.3:8090 is down",
            f"bind {there} all is bound 1 s -",
            f"handoff {there} sent rows 0.2 s waits for epoch 5",
        ])  # fmt: skip

    def test_reshard_under_way(self) -> None:
        """A reshard is shown with how far it is, and how to follow it."""
        self.node.script = [reshard(120, blocker="10.0.0.3:8090 is down")]
        text = self.ctl("status").output
        self.assertIn("Resharding to 3 shards: copy, 60 %, 120/200 keys, 50 keys/s, ETA 1.6 s, blocked: s0 → s2", text)
        self.assertIn(f"(kvsctl --node {self.node.address} progress follows it)", text)

    def test_learners_and_departed(self) -> None:
        """Columns for learners and departed members are there when somebody stands in them."""
        shard = {"members": [self.node.address], "learners": [DOWN], "departed": ["10.0.0.9:8090"], "keys": 5}
        self.node.figures = {"shards": {"s0": shard}}
        self.assertEqual(self.rows()["s0"], ["s0", "5", self.node.address, DOWN, "10.0.0.9:8090"])

    def test_keys_unknown(self) -> None:
        """Where nobody can count the keys of a shard there is a question mark."""
        self.node.answers["GET", "/shard/key-count/s1"] = (503, {"error": "Shard is unavailable; try again later"})
        self.assertEqual(self.rows()["s1"][1], "?")

    def test_json(self) -> None:
        """With --json it is the asked node's answer, with all keys counted, the reshard, and the other nodes."""
        second, dead = self.start_node(), self.dead_node()
        self.node.others = {each: {"state": "alive", "shard": "s1"} for each in (second.address, dead)}
        self.node.script = [reshard(120)]
        said = self.ctl_json("status")
        self.assertEqual((said["address"], said["epoch"]), (self.node.address, 4))
        self.assertEqual([shard["keys"] for shard in said["shards"].values()], [1200, 1400])
        self.assertEqual(said["reshard"], reshard(120))
        self.assertEqual(said["others"][second.address]["address"], second.address)
        self.assertIn("does not answer", said["others"][dead]["error"])
