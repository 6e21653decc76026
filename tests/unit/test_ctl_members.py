"""kvsctl add, remove, add-member, forget and losses: the nodes of a cluster."""

from tests.ctl_case import CtlCase

NODE = "10.0.0.4:8090"
OTHER = "10.0.0.5:8090"


class ViewTests(CtlCase):
    """Who is up."""

    def test_add(self) -> None:
        """A node is added once; what to do next is said."""
        self.assertIn(f"{NODE}: added. If it is in no shard, 'kvsctl add-member", self.ctl("add", NODE).output)
        self.assertIn(f"{NODE}: already present", self.ctl("add", NODE).output)
        self.assertEqual(self.node.asked[0].fields, {"socket-address": NODE})

    def test_remove(self) -> None:
        """A node is removed once; the second time there is none."""
        self.ctl("add", NODE)
        self.assertEqual(self.ctl("remove", NODE).output, f"{NODE}: deleted from the view\n")
        self.assertIn("View has no such replica", self.fails(1, "remove", NODE))

    def test_remove_who_is_down(self) -> None:
        """A node that is down is in no view; what gives it up for good is named."""
        self.node.others = {NODE: {"state": "down", "shard": "s0", "role": "member"}}
        line = self.fails(1, "remove", NODE)
        self.assertIn(f"View has no such replica: {NODE} is down, so it is out of the view already", line)
        self.assertIn(f"if it never comes back: kvsctl --node {self.node.address} forget {NODE}", line)

    def test_remove_refused(self) -> None:
        """A node that its shard can't do without stays."""
        error = "s0 would have no live member"
        self.node.answers["DELETE", "/view"] = (400, {"error": error})
        self.assertIn(error, self.fails(2, "remove", NODE))

    def test_json(self) -> None:
        """With --json the node's answers are written."""
        self.assertEqual(self.ctl_json("add", NODE), {"result": "added"})
        self.assertEqual(self.ctl_json("remove", NODE), {"result": "deleted"})


class MemberTests(CtlCase):
    """Who is a member of which shard."""

    def test_add_member(self) -> None:
        """A node becomes a member."""
        self.assertEqual(self.ctl("add-member", "s0", NODE).output, f"{NODE}: node added to shard s0\n")
        self.assertEqual(self.node.asked[0].fields, {"socket-address": NODE})
        self.assertEqual(self.ctl_json("add-member", "s0", NODE), {"result": "node added to shard"})

    def test_unknown_shard(self) -> None:
        """An unknown shard is not found; its name can't reach outside of its place in the path."""
        self.node.answers["PUT", "/shard/add-member/s9"] = (404, {"error": "Shard does not exist"})
        line = self.fails(1, "add-member", "s9", NODE)
        self.assertTrue(line.startswith(f"kvsctl add-member s9 {NODE}: {self.node.address}: Shard does not"), line)
        self.fails(1, "add-member", "../../view", NODE)
        self.assertEqual(self.node.paths("PUT")[-1], "/shard/add-member/..%2F..%2Fview")

    def test_conflict(self) -> None:
        """While another change is under way it is said how to look at that."""
        self.node.answers["PUT", "/shard/add-member/s0"] = (409, {"error": "A reshard is under way"})
        self.assertIn("kvsctl progress", self.fails(3, "add-member", "s0", NODE))


class ForgetTests(CtlCase):
    """Nodes that never come back."""

    def test_refused_without_consent(self) -> None:
        """Without --accept-loss nothing is done but to say what may be lost."""
        self.node.others = {NODE: {"state": "down", "shard": "s0", "role": "member"}}
        self.node.figures = {"unstable": 3}
        line = self.fails(2, "forget", NODE)
        for words in ("no other node has got would be lost for ever", "it is down, member of s0", "3 writes known"):
            self.assertIn(words, line)
        self.assertIn(f"kvsctl --node {self.node.address} forget {NODE} --accept-loss", line)
        self.assertEqual(self.node.paths("PUT"), [])

    def test_what_may_be_lost_is_asked_in_the_shard_of_the_node(self) -> None:
        """A node of another shard knows nothing of that; of several members the one that knows most is named."""
        members = [self.start_node(), self.start_node()]
        for number, member in enumerate(members, 4):
            member.figures = {"unstable": number}
        addresses = [member.address for member in members]
        shard = {"members": [*addresses, self.dead_node(), NODE], "learners": [], "departed": [], "keys": None}
        self.node.others = {NODE: {"state": "down", "shard": "s1", "role": "member"}}
        self.node.figures = {"unstable": 17, "shards": {"s1": shard}}
        self.assertIn(f"5 writes known at {addresses[1]} may not be at all members", self.fails(2, "forget", NODE))
        for member in members:
            self.assertEqual({"/kvsd/status"}, set(member.paths("GET")))

    def test_nobody_of_the_shard_knows_what_may_be_lost(self) -> None:
        """That nothing is known is no promise that nothing is lost."""
        self.node.others = {NODE: {"state": "down", "shard": "s1", "role": "member"}}
        self.node.figures = {"unstable": 17, "shards": {"s1": {"members": [self.dead_node(), NODE]}}}
        line = self.fails(2, "forget", NODE)
        self.assertIn("no other member of s1 answers, so nobody knows how much that is", line)
        self.assertNotIn("17 writes", line)

    def test_refused_though_alive(self) -> None:
        """For a node that is alive there is a better way."""
        self.node.others = {NODE: {"state": "alive", "shard": None, "role": "none"}}
        self.assertIn("it is alive, in no shard, so wait for it or end it", self.fails(2, "forget", NODE))

    def test_refused_for_an_unknown_node(self) -> None:
        """A node that nobody knows is told as that; it may be a slip of the pen."""
        self.assertIn("does not know that node", self.fails(2, "forget", NODE))

    def test_refused_while_nobody_can_be_asked(self) -> None:
        """The refusal needs no node that answers."""
        result = self.run_bare("--node", self.dead_node(), "forget", NODE)
        self.assertEqual(result.exit_code, 2)
        self.assertIn("lost for ever", result.stderr)

    def test_accepted(self) -> None:
        """With --accept-loss the node is forgotten."""
        said = self.ctl("forget", NODE, "--accept-loss").output
        self.assertEqual(said, f"{NODE}: forgotten. 'kvsctl losses' shows what was lost.\n")
        self.assertEqual(self.node.asked[-1].fields, {"socket-address": NODE, "accept-loss": True})
        self.assertEqual(self.ctl_json("forget", NODE, "--accept-loss"), {"result": "forgotten"})

    def test_force(self) -> None:
        """Several are given up at once, by force only."""
        self.assertIn("one node at a time", self.fails(2, "forget", NODE, OTHER, "--accept-loss"))
        line = self.fails(2, "forget", NODE, OTHER, "--force")
        self.assertIn(f"{OTHER} is not forgotten", line)
        self.assertIn(f"forget {NODE} {OTHER} --force --accept-loss", line)
        self.assertEqual(self.node.paths("PUT"), [])
        said = self.ctl("forget", NODE, OTHER, "--accept-loss", "--force").output
        self.assertEqual(said, f"{NODE}, {OTHER}: forgotten. 'kvsctl losses' shows what was lost.\n")
        fields = {"socket-addresses": [NODE, OTHER], "force": True, "accept-loss": True}
        self.assertEqual(self.node.asked[-1].fields, fields)


class LossTests(CtlCase):
    """What was lost."""

    def test_nothing(self) -> None:
        """Mostly nothing."""
        self.assertEqual(self.ctl("losses").output, "Nothing was ever lost with a forgotten node.\n")
        self.assertEqual(self.ctl_json("losses"), {"losses": []})

    def test_some(self) -> None:
        """Each writer is listed; what nobody knows is a question mark."""
        self.node.losses = [
            {"shard": "s0", "node": NODE, "writer": "a1b2c3d4e5f6", "known": 17, "kept": 15, "lost": 2},
            {"shard": "s1", "node": NODE, "writer": "a1b2c3d4e5f7", "known": 1234, "kept": None, "lost": None},
        ]
        header, first, second = (line.split() for line in self.ctl("losses").output.splitlines())
        self.assertEqual(header, ["shard", "node", "writer", "writes", "known", "kept", "lost"])
        self.assertEqual(first, ["s0", NODE, "a1b2c3d4e5f6", "17", "15", "2"])
        self.assertEqual(second, ["s1", NODE, "a1b2c3d4e5f7", "1,234", "?", "?"])
        self.assertEqual(self.ctl_json("losses"), {"losses": self.node.losses})
