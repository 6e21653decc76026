"""Nodes that die, return and join, as clients and operators see it."""

import contextlib
import subprocess
import time

from twisted.trial.unittest import SynchronousTestCase

from kvsd.local.cluster import LocalCluster
from kvsd.local.launch import start, twistd
from tests.acceptance.clusters import cluster_for, free_addresses, key_counts, members
from tests.acceptance.door import Answer, ask, get, patiently, put, until, until_found

LEFT_WITHIN = 10
SEEN_WITHIN = 5
SERVING_WITHIN = 5


def view(address: str) -> list[str]:
    """The nodes that a node believes to be up."""
    found: list[str] = ask(address, "GET", "/view").body["view"]
    return found


class OutageTests(SynchronousTestCase):
    """Four nodes in two shards."""

    def setUp(self) -> None:
        self.cluster = cluster_for(self, 4, 2)
        self.addresses = self.cluster.addresses
        self.shards = members(self.addresses[0])
        self.keys: dict[str, list[str]] = {"s0": [], "s1": []}
        self.token = None
        for number in range(40):
            answer = patiently(put, self.addresses[number % 4], f"key{number}", number, self.token)
            self.assertEqual(answer.status, 201)
            self.keys[answer.body["shard-id"]].append(f"key{number}")
            self.token = answer.token

    def kill(self, *victims: str) -> list[str]:
        """Kill nodes and wait until no view has them; gives the others."""
        others = sorted(set(self.addresses) - set(victims))
        for victim in victims:
            self.cluster.kill(victim)
        until("dead nodes out of all views", lambda: all(view(other) == others for other in others), LEFT_WITHIN)
        return others

    def test_return(self) -> None:
        """A dead node is out of all views in 10 s, in them 5 s after its return, and has its data 5 s later."""
        victim = self.shards["s0"][1]
        others = self.kill(victim)
        for number, key in enumerate(self.keys["s0"]):
            answer = patiently(put, others[number % 3], key, "meanwhile", self.token)
            self.assertEqual(answer.status, 200)
            self.token = answer.token
        self.cluster.restart(victim)
        everybody = sorted(self.addresses)
        until(
            "all four in all views", lambda: all(view(address) == everybody for address in everybody), SEEN_WITHIN + 2
        )
        for key in self.keys["s0"]:
            until_found(victim, key, self.token, SERVING_WITHIN)
            self.assertEqual(get(victim, key, self.token).body["value"], "meanwhile")
        counts = {shard: len(keys) for shard, keys in self.keys.items()}

        def has_its_data() -> bool:
            values = {get(victim, key).body["value"] for key in self.keys["s0"]}
            return values == {"meanwhile"} and key_counts(victim) == counts

        until("its own copy of all keys, token or not", has_its_data, SERVING_WITHIN)

    def test_write_concern(self) -> None:
        """A write may be wanted on several disks; with one of two members dead it is on one, and that is said."""
        first, second = self.shards["s0"]
        other, key = self.shards["s1"][0], self.keys["s0"][0]
        for address in (first, other):
            answer = ask(address, "PUT", f"/kvs/{key}?w=majority", {"value": "twice", "causal-metadata": self.token})
            self.assertEqual((200, {"replicas": 2, "of": 2}), (answer.status, answer.body["durability"]))
            self.token = answer.token
        self.kill(second)
        told = (
            504,
            {
                "error": "Stored on 1 of 2, not rolled back",
                "durability": {"replicas": 1, "of": 2},
                "causal-metadata": True,
                "shard-id": "s0",
            },
        )
        for address in (first, other):
            fields = {"value": "once", "causal-metadata": self.token}
            answer = ask(address, "PUT", f"/kvs/{key}?w=all", fields, headers={"Prefer": "wait=1"})
            self.assertEqual(told, answer.said)
            self.assertEqual("1", answer.headers["preference-applied"].removeprefix("wait="))
            self.token = answer.token
            self.assertEqual("once", get(first, key, self.token).body["value"])
        refused = ask(first, "PUT", f"/kvs/{key}?w=3", {"value": "never", "causal-metadata": self.token})
        self.assertEqual((400, {"error": "w=3 asks for more replicas than shard s0 has members (2)"}), refused.said)
        self.cluster.restart(second)
        until_found(second, key, self.token, SERVING_WITHIN)
        answer = ask(first, "DELETE", f"/kvs/{key}?w=all", {"causal-metadata": self.token})
        self.assertEqual((200, {"replicas": 2, "of": 2}), (answer.status, answer.body["durability"]))

    def test_shard_gone(self) -> None:
        """Where no member of a shard is left, its keys are unavailable and those of the other shard are served."""
        others = self.kill(*self.shards["s1"])
        for address in others:
            for answer in (get(address, self.keys["s1"][0]), put(address, self.keys["s1"][0], 1)):
                expected = {"error": "Shard is unavailable; try again later", "shard-id": "s1"}
                self.assertEqual(answer.said, (503, expected))
            for key in self.keys["s0"]:
                self.assertEqual(patiently(put, address, key, "on", self.token).status, 200)
        for address in self.shards["s1"]:
            self.cluster.restart(address)
        self.cluster.ready()
        for key in self.keys["s1"]:
            until_found(others[0], key, self.token, SERVING_WITHIN)

    def answers_after_restart(self, address: str, seconds: float) -> list[Answer]:
        """End a node in order, start it again, and ask it about a key of its shard over and over once it listens."""
        (shard,) = (shard for shard, nodes in self.shards.items() if address in nodes)
        self.cluster.terminate(address)
        self.cluster.restart(address)
        answers: list[Answer] = []
        end = time.monotonic() + 10
        while time.monotonic() < end:
            with contextlib.suppress(OSError, EOFError):
                answers.append(get(address, self.keys[shard][0]))
                answers.append(put(address, self.keys[shard][1], len(answers)))
            if len(answers) == 2:
                end = time.monotonic() + seconds
        return answers

    def test_restart_while_another_node_is_down(self) -> None:
        """A member that may not serve yet what it has forwards to another member, from its first instant on."""
        self.cluster.kill(self.shards["s1"][0])
        answers = self.answers_after_restart(self.shards["s0"][0], 3.5)
        self.assertGreater(len(answers), 20)
        self.assertEqual({200}, {answer.status for answer in answers}, answers)

    def test_rolling_restart(self) -> None:
        """No member says that it is assigned to no shard while one after the other is started again."""
        for address in self.addresses:
            answers = self.answers_after_restart(address, 1.0)
            self.assertEqual({200}, {answer.status for answer in answers}, answers)
            self.cluster.ready()


class SecretTests(SynchronousTestCase):
    """A member that is started again with another secret than the others have."""

    def test_another_secret(self) -> None:
        """It says that it is refused, in its log and as the reason why it is not ready; the others go on, and say whom they refuse."""
        cluster = cluster_for(self, 3, 1)
        other, _, victim = cluster.addresses
        cluster.terminate(victim)
        secret = cluster.data / "another-secret"
        secret.touch(0o600)
        secret.write_text("another secret")
        log = cluster.data / "victim.log"
        process = start([*cluster.command(victim), f"--secret-file={secret}"], cluster.data, log)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        until("it listens", lambda: ask(victim, "GET", "/healthz").status == 200, SEEN_WITHIN + 3)
        reason = f"refused by {other}: another secret"
        until("it says why", lambda: reason in ask(victim, "GET", "/readyz").body["reasons"], SEEN_WITHIN)
        self.assertIn(reason, log.read_text())
        refused = f"{victim} as its sender was refused: another secret"
        until("the peer says so", lambda: refused in cluster.log(other).read_text(), SEEN_WITHIN)
        self.assertEqual(200, ask(other, "GET", "/readyz").status)
        time.sleep(3.5)  # by now it would serve alone
        self.assertEqual(503, ask(victim, "GET", "/readyz").status)


class NewcomerTests(SynchronousTestCase):
    """A node that is started later, with a view and no number of shards."""

    def newcomer(self, cluster: LocalCluster) -> str:
        """Start such a node."""
        address = free_addresses(1)[0]
        settings = (f"--socket-address={address}", f"--view={','.join([*cluster.addresses, address])}")
        data = f"--data-dir={cluster.data / 'newcomer'}"
        command = [*twistd(), "-n", "--pidfile=", "kvsd", *settings, data]
        process: subprocess.Popen[bytes] = start(command, cluster.data, cluster.data / "newcomer.log")
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return address

    def test_spare(self) -> None:
        """It learns the shards from the others, and serves no keys, as it is a member of none."""
        cluster = cluster_for(self, 2, 1)
        token = put(cluster.addresses[0], "key", 1).token
        address = self.newcomer(cluster)
        until("it listens", lambda: ask(address, "GET", "/healthz").status == 200, SEEN_WITHIN + 3)
        until("it knows the shards", lambda: members(address) == members(cluster.addresses[0]), SEEN_WITHIN)
        self.assertEqual(ask(address, "GET", "/shard/node-shard-id").said, (200, {"node-shard-id": None}))
        for answer in (get(address, "key", token), put(address, "key", 1)):
            self.assertEqual(answer.status, 503)
            self.assertEqual(answer.body["error"], "Node is not assigned to a shard")
        self.assertEqual(ask(address, "GET", "/readyz").status, 503)
