"""What operators ask of a node: the cluster, a reshard that is planned or under way, and what was lost."""

import json
from typing import Any

from twisted.internet.defer import Deferred, succeed
from typing_extensions import override

from kvsd.insight import Insight
from kvsd.oversight import Oversight
from kvsd.replication.messages import Heartbeat, Imported, Message
from kvsd.replication.requests import ForgetNode, Outcome, Request, Reshard
from kvsd.resources.root import make_site
from tests.fakes import FakeNode
from tests.http_case import Answer, HttpCase
from tests.pure import ADDRESSES, PureCluster
from tests.unit.test_membership import NEW, newcomer

ONE, TWO, THREE, FOUR, FIVE, SIX = ADDRESSES
STATUS = {"address", "instance", "cluster", "epoch", "shard", "ready", "reasons", "nodes", "shards", "lag-writes", "lag-s",
          "holdback", "unstable", "waiting", "driver", "duties", "fenced", "forced"}  # fmt: skip
RESHARD = {"shard-count", "stage", "epoch", "seconds", "moves", "rows", "rows-expected", "rate", "eta-s"}
MOVE = {"tenure", "from", "to", "slots", "rows", "rows-expected", "bytes", "lag", "stage", "blocker", "rate", "eta-s"}


class PureNode(FakeNode):
    """A node of a cluster of replicas that are moved by hand; time passes for it while it is asked."""

    def __init__(self, cluster: PureCluster, address: str) -> None:
        super().__init__()
        self.address, self._cluster, self._site = address, cluster, cluster.sites[address]
        replica = self._site.replica
        self.insight = Insight(replica, self.now)  # type: ignore[assignment]
        self.oversight = Oversight(replica, self.insight, self.now)

    def now(self) -> Any:
        """The time."""
        return self._cluster.now(self._site)

    @override
    def ask(self, request: Request) -> Deferred[Outcome]:
        ticket = self._cluster.submit(self.address, request)
        for _ in range(100):
            if ticket in self._site.outcomes:
                break
            self._cluster.run(0.1)
        return succeed(self._site.outcomes[ticket])


class OperationsCase(HttpCase):
    """A cluster of six nodes with two shards, with 100 keys."""

    def setUp(self) -> None:
        super().setUp()
        self.found()

    def found(self, shards: int = 2) -> None:
        """Found the cluster."""
        self.cluster = PureCluster(6, shards).founded()
        for number in range(100):
            self.cluster.put(ADDRESSES[number % 6], f"key{number}", "1")
        self.cluster.run(1.0)

    def at(self, address: str, method: str, target: str, fields: object = None) -> Answer:
        """One request at a node of the cluster, and its reply, which is never a 500."""
        self.site = make_site(PureNode(self.cluster, address), self.metrics, self.limits, self.clock)
        answer = self.ask(method, target, None if fields is None else json.dumps(fields).encode())
        self.assertNotEqual(500, answer.status, (method, target))
        return answer

    def get(self, target: str, address: str = ONE) -> Any:
        """What a node says."""
        answer = self.at(address, "GET", target)
        self.assertEqual(200, answer.status, answer)
        return answer.body

    def hold(self) -> None:
        """Begin a reshard to three shards that does not get beyond its copies."""
        self.cluster.cut = lambda sender, receiver, message: isinstance(message, Imported)
        self.cluster.submit(ONE, Reshard(3))
        self.cluster.run(1.0)


class StatusTests(OperationsCase):
    """GET /kvsd/status"""

    def test_fields(self) -> None:
        """A status has all that the documentation names."""
        status = self.get("/kvsd/status", THREE)
        self.assertEqual(STATUS, set(status))
        self.assertEqual(
            (THREE, 1, "s0", True, []), tuple(status[f] for f in ("address", "epoch", "shard", "ready", "reasons"))
        )
        self.assertEqual(self.cluster.configuration.cluster, status["cluster"])
        self.assertEqual({"state": "alive", "shard": "s1", "role": "member"}, status["nodes"][FOUR])
        self.assertEqual(list(ADDRESSES), list(status["nodes"]))
        shards = status["shards"]
        self.assertEqual([[ONE, THREE, FIVE], [TWO, FOUR, SIX]], [shard["members"] for shard in shards.values()])
        self.assertEqual(([], [], None), tuple(shards["s1"][f] for f in ("learners", "departed", "keys")))
        self.assertEqual((0, 0.0, 0, 0), tuple(status[f] for f in ("lag-writes", "lag-s", "holdback", "waiting")))
        self.assertEqual((ONE, {}), (status["driver"], status["duties"]))
        both = shards["s0"]["keys"] + self.get("/kvsd/status", TWO)["shards"]["s1"]["keys"]
        self.assertEqual(100, both)

    def test_duties(self) -> None:
        """The driver says what it did last and when, and what keeps it from going on."""
        newcomer(self.cluster)
        self.cluster.run(2.0)
        duties = self.get("/kvsd/status")["duties"]
        self.assertEqual(
            {"last": f"let {NEW} in", "blocked-by": None}, {k: v for k, v in duties["admit"].items() if k != "ago-s"}
        )
        self.assertGreater(duties["admit"]["ago-s"], 0.5)
        self.assertEqual({"last": None, "ago-s": None, "blocked-by": None}, duties["lose"])
        self.hold()
        self.assertIn(" is still copying ", self.get("/kvsd/status")["duties"]["hand-off"]["blocked-by"])

    def test_nodes(self) -> None:
        """Nodes that are down, learn or have no place are shown as such."""
        newcomer(self.cluster)
        self.cluster.run(2.0)
        nodes = self.get("/kvsd/status")["nodes"]
        self.assertEqual({"state": "alive", "shard": None, "role": "none"}, nodes[NEW])
        self.assertEqual(200, self.at(ONE, "PUT", "/shard/add-member/s0", {"socket-address": NEW}).status)
        self.cluster.crash(SIX)
        self.cluster.run(4.0)
        status = self.get("/kvsd/status")
        self.assertEqual(
            ({"state": "alive", "shard": "s0", "role": "member"}, "down"),
            (status["nodes"][NEW], status["nodes"][SIX]["state"]),
        )

    def test_no_configuration(self) -> None:
        """A node that knows none yet says so, and answers all other questions as well as it can."""
        self.cluster.cut = lambda sender, receiver, message: True
        newcomer(self.cluster)
        status = self.get("/kvsd/status", NEW)
        self.assertEqual(STATUS, set(status))
        found = tuple(status[field] for field in ("cluster", "epoch", "shard", "ready", "nodes", "shards", "driver"))
        self.assertEqual(("", 0, None, False, {}, {}, None), found)
        self.assertEqual(["no configuration is known yet"], status["reasons"])
        self.assertEqual({"reshard": None}, self.get("/kvsd/reshard", NEW))
        self.assertEqual({"losses": []}, self.get("/kvsd/losses", NEW))
        answer = self.at(NEW, "GET", "/shard/reshard?shard-count=2")
        self.assert_error(answer, 503, "Node knows no configuration yet")


class ReshardTests(OperationsCase):
    """GET and DELETE /kvsd/reshard"""

    def test_none(self) -> None:
        """Where none is under way there is nothing to tell and nothing to give up."""
        self.assertEqual({"reshard": None}, self.get("/kvsd/reshard"))
        self.assert_error(self.at(TWO, "DELETE", "/kvsd/reshard"), 404, "No reshard is under way")

    def test_copy(self) -> None:
        """While slots are copied it is said how far that is, at any node."""
        self.hold()
        for address in ADDRESSES:
            reshard = self.get("/kvsd/reshard", address)["reshard"]
            self.assertEqual(RESHARD, set(reshard))
            self.assertEqual((3, "copy", 2, 0), tuple(reshard[f] for f in ("shard-count", "stage", "epoch", "rows")))
            self.assertEqual(
                [("s0", "s2", "copy"), ("s1", "s2", "copy")],
                [(m["from"], m["to"], m["stage"]) for m in reshard["moves"]],
            )
            self.assertEqual([MOVE, MOVE], [set(move) for move in reshard["moves"]])
            self.assertEqual(reshard["rows-expected"], sum(move["rows-expected"] for move in reshard["moves"]))
            self.assertGreater(reshard["rows-expected"], 10)
            self.assertGreater(reshard["seconds"], 0.5)

    def test_blocker(self) -> None:
        """It is said who is missed; what can't be counted is null."""
        self.hold()
        for address in (TWO, FOUR, SIX):
            self.cluster.crash(address)
        self.cluster.run(1.5)
        moves = self.get("/kvsd/reshard")["reshard"]["moves"]
        self.assertEqual(
            [None, "no member of s1 is up, which is to give the keys"], [move["blocker"] for move in moves]
        )
        self.assertIsNone(moves[1]["rows-expected"])

    def test_drain(self) -> None:
        """After the hand-off it is said whose late writes may still come, until there are none."""
        self.hold()
        self.cluster.crash(FOUR)
        self.cluster.heal()
        self.cluster.run(6.0)
        reshard = self.get("/kvsd/reshard")["reshard"]
        self.assertEqual((3, "drain"), (reshard["shard-count"], reshard["stage"]))
        (move,) = reshard["moves"]
        self.assertEqual(("s1", "s2", "drain"), (move["from"], move["to"], move["stage"]))
        self.assertEqual(f"{FOUR} is down and may have writes that nobody else has", move["blocker"])
        self.assertEqual(move["rows"], move["rows-expected"])
        self.assertEqual(409, self.at(TWO, "DELETE", "/kvsd/reshard").status)
        self.cluster.restart(FOUR)
        self.cluster.run(6.0)
        self.assertEqual({"reshard": None}, self.get("/kvsd/reshard"))

    def test_abort(self) -> None:
        """A reshard is given up."""
        self.hold()
        answer = self.at(TWO, "DELETE", "/kvsd/reshard")
        self.assertEqual((200, {"result": "aborted"}), (answer.status, answer.body))
        self.cluster.run(1.0)
        self.assertEqual({"reshard": None}, self.get("/kvsd/reshard"))

    def test_conflict(self) -> None:
        """Whoever asks for another one is shown the one that is under way."""
        self.hold()
        answer = self.at(TWO, "PUT", "/shard/reshard", {"shard-count": 2})
        self.assertEqual((409, {"error", "reshard"}), (answer.status, set(answer.body)))
        self.assertEqual("A reshard to 3 shards is under way, since epoch 2", answer.body["error"])
        self.assertEqual(RESHARD, set(answer.body["reshard"]))

    def test_result(self) -> None:
        """A reshard is waited for, or not; where there is nothing to do it is done."""
        self.assertEqual(200, self.at(ONE, "PUT", "/shard/reshard", {"shard-count": 2}).status)
        answer = self.at(TWO, "PUT", "/shard/reshard?wait=false", {"shard-count": 3})
        self.assertEqual((202, {"result": "started", "status": "/kvsd/reshard"}), (answer.status, answer.body))
        self.cluster.run(6.0)
        answer = self.at(TWO, "PUT", "/shard/reshard", {"shard-count": 2})
        self.assertEqual((200, {"result": "resharded"}), (answer.status, answer.body))
        for count in (4, 10**9, 2**63 - 1):
            self.assertEqual(400, self.at(TWO, "PUT", "/shard/reshard", {"shard-count": count}).status)


class LossesTests(OperationsCase):
    """GET /kvsd/losses and PUT /kvsd/forget"""

    def test_forget(self) -> None:
        """What was lost with a node that is forgotten is counted, once it is known what the others have."""

        def cut(sender: str, receiver: str, message: Message) -> bool:
            return sender == FOUR and not isinstance(message, Heartbeat)

        body = {"socket-address": FOUR, "accept-loss": True}
        self.assert_error(
            self.at(ONE, "PUT", "/kvsd/forget", body), 400, f"{FOUR} is up: remove it instead, which loses nothing"
        )
        role = self.cluster.sites[FOUR].replica.state.roles["s1"]
        kept = role.vector[role.writer]
        self.cluster.cut = cut
        for number in range(3):
            self.cluster.put(FOUR, self.cluster.key_of("s1"), str(number))
        self.cluster.run(0.3)
        self.cluster.crash(FOUR)
        self.cluster.heal()
        self.cluster.run(4.0)
        answer = self.at(ONE, "PUT", "/kvsd/forget", body)
        self.assertEqual((200, {"result": "forgotten"}), (answer.status, answer.body))
        self.cluster.run(2.0)
        loss = {"shard": "s1", "node": FOUR, "writer": role.writer.hex(), "known": kept + 3, "kept": kept, "lost": 3}
        self.assertEqual({"losses": [loss]}, self.get("/kvsd/losses", SIX))
        self.assertEqual(404, self.at(ONE, "PUT", "/kvsd/forget", body).status)

    def test_force(self) -> None:
        """Where most voters are gone, those that are left go on without all of them; the status says so."""
        gone = [ONE, TWO, FOUR]
        body = {"socket-addresses": gone, "accept-loss": True, "force": True}
        for address in gone:
            self.cluster.crash(address)
        self.cluster.run(6.0)
        answer = self.at(SIX, "PUT", "/kvsd/forget", body)
        self.assertEqual((200, {"result": "forgotten"}), (answer.status, answer.body))
        step = {"epoch": 2, "given-up": gone, "voters": 3}
        status = self.get("/kvsd/status", SIX)
        self.assertEqual(([step], None), (status["forced"], status["fenced"]))
        self.cluster.restart(ONE)
        self.cluster.run(5.0)
        status = self.get("/kvsd/status", ONE)
        self.assertIn("was given up by an operator", status["fenced"])
        self.assertEqual((False, [status["fenced"]]), (status["ready"], status["reasons"]))

    def test_bad_bodies(self) -> None:
        """Nodes are named in one of two ways, and several of them by force only."""
        named = "Object missing required field `socket-address`, or with force `socket-addresses`, and not both"
        for body, error in (
            ({}, named),
            ({"socket-addresses": []}, named),
            ({"socket-address": FOUR, "socket-addresses": [SIX]}, named),
            ({"socket-addresses": [FOUR, SIX]}, "Without force nodes are forgotten one after another"),
            ({"socket-addresses": ["x"]}, "socket-address is not IP:PORT"),
        ):
            self.assert_error(self.at(ONE, "PUT", "/kvsd/forget", {**body, "accept-loss": True}), 400, error)

    def test_not_known_yet(self) -> None:
        """Until that is known, it is null."""
        self.cluster.crash(FOUR)
        self.cluster.crash(SIX)
        self.cluster.run(4.0)
        self.cluster.submit(ONE, ForgetNode(FOUR))
        self.cluster.run(1.0)
        (loss,) = self.get("/kvsd/losses")["losses"]
        self.assertEqual((None, None), (loss["kept"], loss["lost"]))


class MethodsTests(OperationsCase):
    """Wrong methods."""

    def test_wrong_method(self) -> None:
        """A path that does not know a method says which ones it knows."""
        for target, allowed in (("/kvsd/status", "GET, HEAD"), ("/kvsd/losses", "GET, HEAD"), ("/kvsd/waiting", "GET, HEAD"),
                                ("/kvsd/reshard", "DELETE, GET, HEAD"), ("/shard/reshard", "GET, HEAD, PUT")):  # fmt: skip
            answer = self.at(ONE, "POST", target, {})
            self.assert_error(answer, 405, f"Method not allowed here; allowed: {allowed}")
