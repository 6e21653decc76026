"""Two nodes of which one is gone for good, and then is not."""

from twisted.trial.unittest import SynchronousTestCase

from tests.acceptance.clusters import cluster_for, free_addresses
from tests.acceptance.door import ask, get, patiently, put, until


class ForcingTests(SynchronousTestCase):
    """An operator has the other node go on alone."""

    def test_one_of_two(self) -> None:
        """Without force nothing changes; with it everything does, and the lost node, when it is back, has no part in it."""
        one, two, new = free_addresses(3)
        cluster = cluster_for(self, 2, 1, addresses=[one, two])
        token = patiently(put, one, "key", 1, None).token
        cluster.kill(two)
        until("its end is seen", lambda: ask(one, "GET", "/view").body["view"] == [one], 10)
        body = {"socket-addresses": [two], "accept-loss": True, "force": True}
        answer = ask(one, "PUT", "/kvsd/forget", body)
        self.assertEqual((200, {"result": "forgotten"}), (answer.status, answer.body))
        self.assertEqual(201, ask(one, "PUT", "/view", {"socket-address": new}).status)
        found = get(one, "key", token)
        self.assertEqual((200, 1), (found.status, found.body["value"]))
        cluster.restart(two)
        until("it is fenced", lambda: "given up" in str(ask(two, "GET", "/kvsd/status").body["fenced"]), 10)
        refused = get(two, "key", None)
        self.assertEqual((503, "Node is not assigned to a shard"), (refused.status, refused.body["error"]))
