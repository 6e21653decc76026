"""What a reshard would come to, as it is told before anything is changed."""

from typing import Any

from kvsd.replication.configuration import NOT_ENOUGH_NODES
from tests.pure import PureCluster, with_limits
from tests.unit.test_membership import NEW, newcomer
from tests.unit.test_operations_resource import FIVE, FOUR, ONE, SIX, THREE, TWO, OperationsCase

PLAN = {"shard-count", "slots-to-move", "least-slots", "keys-to-move", "bytes-to-move", "nodes-to-move", "moves", "members",
        "fault-tolerance"}  # fmt: skip


class PlanTests(OperationsCase):
    """GET /shard/reshard"""

    def test_fields(self) -> None:
        """A plan has all that the documentation names, and the same at every node; nothing is changed by it."""
        plans = [self.get("/shard/reshard?shard-count=3", address) for address in (ONE, SIX)]
        plan = plans[0]
        self.assertEqual(plan, plans[1])
        self.assertEqual(PLAN, set(plan))
        self.assertEqual((3, 1365, 1365), (plan["shard-count"], plan["slots-to-move"], plan["least-slots"]))
        self.assertEqual({"before": 2, "after": 1}, plan["fault-tolerance"])
        self.assertEqual({"s0": [ONE, THREE], "s1": [TWO, FOUR], "s2": [FIVE, SIX]}, plan["members"])
        self.assertEqual([FIVE, SIX], plan["nodes-to-move"])
        self.assertEqual([("s0", "s2"), ("s1", "s2")], sorted((move["from"], move["to"]) for move in plan["moves"]))
        for total, field in (("slots-to-move", "slots"), ("keys-to-move", "keys"), ("bytes-to-move", "bytes")):
            self.assertEqual(plan[total], sum(move[field] for move in plan["moves"]))
        self.assertTrue(15 < plan["keys-to-move"] < 55)
        self.assertEqual({1}, {site.replica.state.epoch for site in self.cluster.live()})

    def test_comes_true(self) -> None:
        """What is planned is what the reshard does."""
        plan = self.get("/shard/reshard?shard-count=3")
        self.assertEqual(200, self.at(TWO, "PUT", "/shard/reshard", {"shard-count": 3}).status)
        self.cluster.run(3.0)
        status = self.get("/kvsd/status", FIVE)
        self.assertEqual(plan["members"], {name: shard["members"] for name, shard in status["shards"].items()})
        self.assertEqual(plan["keys-to-move"], status["shards"]["s2"]["keys"])
        plan = self.get("/shard/reshard?shard-count=3")
        self.assertEqual((0, 0, []), (plan["slots-to-move"], plan["keys-to-move"], plan["moves"]))

    def test_joining(self) -> None:
        """Nodes in no shard get one, which moves no keys."""
        newcomer(self.cluster)
        self.cluster.run(2.0)
        plan = self.get("/shard/reshard?shard-count=2")
        self.assertEqual(([NEW], 0, 0), (plan["nodes-to-move"], plan["slots-to-move"], plan["keys-to-move"]))

    def test_can_not_be(self) -> None:
        """Too few nodes are a 400, however large the number and however it is written."""
        for text in ("4", "0004", "4096", "4097", "1" + "0" * 30, "000000001" + "0" * 5000, "9" * 5000):
            self.assert_error(self.at(ONE, "GET", f"/shard/reshard?shard-count={text}"), 400, NOT_ENOUGH_NODES)
        self.assertEqual(3, self.get("/shard/reshard?shard-count=0000000000003")["shard-count"])

    def test_not_heard(self) -> None:
        """A node of the view that can't be heard is named, as long as there were enough with it."""
        self.cluster.crash(SIX)
        self.cluster.run(1.7)
        answer = self.at(ONE, "GET", "/shard/reshard?shard-count=3")
        error = f"There are enough nodes in the view, but these can't be heard: {SIX}; try again later"
        self.assert_error(answer, 503, error)
        self.assertEqual("1", answer.headers["retry-after"])
        self.cluster.run(4)
        self.assert_error(self.at(ONE, "GET", "/shard/reshard?shard-count=3"), 400, NOT_ENOUGH_NODES)

    def test_can_not_be_done(self) -> None:
        """Nor is a reshard to so many shards begun."""
        self.at(ONE, "GET", "/shard/ids")
        for count in ("4", "4097", "1" + "0" * 30, "9" * 400, "9" * 5000):
            answer = self.ask("PUT", "/shard/reshard", b'{"shard-count": %s}' % count.encode())
            self.assertEqual(400, answer.status, (len(count), answer))
        self.assertEqual({1}, {site.replica.state.epoch for site in self.cluster.live()})

    def test_shards_that_are_too_small_for_writes(self) -> None:
        """A reshard that leaves fewer members than writes ask for by default is refused, and so is its plan, with the reason."""
        self.cluster = PureCluster(6, 2, with_limits(least_members=3)).founded()
        reason = "s0 would have 2 members, and this node was started with --write-concern=3"
        self.assertIn(reason, str(self.assert_refused("GET", "/shard/reshard?shard-count=3")))
        self.assertIn(reason, str(self.assert_refused("PUT", "/shard/reshard", {"shard-count": 3})))
        self.assertEqual({1}, {site.replica.state.epoch for site in self.cluster.live()})
        for count in (2, 1):
            self.assertEqual(count, self.get(f"/shard/reshard?shard-count={count}")["shard-count"])
            self.assertEqual(200, self.at(ONE, "PUT", "/shard/reshard", {"shard-count": count}).status)

    def assert_refused(self, method: str, target: str, fields: object = None) -> Any:
        """A request is answered by 400; gives its error."""
        answer = self.at(ONE, method, target, fields)
        self.assertEqual(400, answer.status, answer)
        return answer.body["error"]

    def test_shard_that_can_not_be_asked(self) -> None:
        """Keys of a shard of which nobody is up are not known, and so is the sum."""
        for address in (TWO, FOUR, SIX):
            self.cluster.crash(address)
        self.cluster.run(2.0)
        plan = self.get("/shard/reshard?shard-count=1")
        self.assertEqual((None, None), (plan["keys-to-move"], plan["bytes-to-move"]))
        self.assertEqual([None], [move["keys"] for move in plan["moves"]])

    def test_while_one_is_under_way(self) -> None:
        """A plan is made from what is in force, also while a reshard is being prepared."""
        self.hold()
        self.assertEqual(PLAN, set(self.get("/shard/reshard?shard-count=3")))
        self.assertEqual(PLAN, set(self.get("/shard/reshard?shard-count=1", SIX)))
