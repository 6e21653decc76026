"""Probes: is the process alive, is the node ready, what are its figures."""

from kvsd.replication.requests import Counted
from kvsd.status import Status
from tests.http_case import HttpCase


class HealthTests(HttpCase):
    """For those who watch over the node."""

    def test_alive(self) -> None:
        """A process that answers is alive, ready or not."""
        self.node.insight.reasons = ["the disk is full"]
        answer = self.ask("GET", "/healthz")
        self.assertEqual((answer.status, answer.body), (200, {"status": "alive"}))

    def test_ready(self) -> None:
        """A node with nothing against it is ready."""
        answer = self.ask("GET", "/readyz")
        self.assertEqual((answer.status, answer.body), (200, {"status": "ready"}))

    def test_behind(self) -> None:
        """Members that stay behind are named, whether the node is ready or not."""
        self.node.insight.laggards = ["10.0.0.3:8090 has lacked writes of s0 for 12 s"]
        answer = self.ask("GET", "/readyz")
        self.assertEqual((answer.status, answer.body), (200, {"status": "ready", "behind": self.node.insight.laggards}))
        self.node.insight.reasons = ["the disk is full"]
        answer = self.ask("GET", "/readyz")
        self.assertEqual((answer.status, answer.body["behind"]), (503, self.node.insight.laggards))

    def test_ready_and_alone(self) -> None:
        """A node that serves without having heard all others since its start is ready, and says so."""
        self.node.insight.loneliness = "this node serves alone"
        answer = self.ask("GET", "/readyz")
        self.assertEqual((200, {"status": "ready", "alone": "this node serves alone"}), (answer.status, answer.body))

    def test_not_ready(self) -> None:
        """A node that is not ready says why, all of it."""
        self.node.insight.reasons = ["the disk is full", "it is in no shard"]
        answer = self.ask("GET", "/readyz")
        self.assertEqual(answer.status, 503)
        self.assertEqual(
            answer.body, {"error": "Node is not ready", "reasons": ["the disk is full", "it is in no shard"]}
        )
        self.assertEqual(answer.headers["retry-after"], "1")

    def test_metrics(self) -> None:
        """The metrics are text for Prometheus, with the node's figures of the moment."""
        self.node.insight.figures = Status(live_keys=7)
        answer = self.ask("GET", "/metrics")
        self.assertEqual(answer.status, 200)
        self.assertTrue(answer.headers["content-type"].startswith("text/plain; version="))
        self.assertEqual(answer.headers["content-length"], str(len(answer.content)))
        self.assertIn(b"\nkvsd_keys 7.0\n", answer.content)
        self.node.insight.figures = Status(live_keys=8)
        self.assertIn(b"\nkvsd_keys 8.0\n", self.ask("GET", "/metrics").content)

    def test_requests_are_counted(self) -> None:
        """Each request about a key is counted by its verb and its outcome, with the time it took."""
        self.ask("GET", "/kvs/a")
        self.ask("HEAD", "/kvs/a")
        self.ask("PUT", "/kvs/a", b"[]")
        self.ask("GET", "/view")
        self.node.outcome = None
        connection = self.connect()
        connection.send(b"DELETE /kvs/a HTTP/1.1\r\nHost: x\r\n\r\n")
        self.clock.advance(0.3)
        self.node.open[0].callback(Counted(1))  # no answer to what was asked
        self.assertEqual(len(self.flushLoggedErrors(AssertionError)), 1)
        self.assertEqual(self.sample("kvsd_requests_total", verb="GET", outcome="unassigned"), 2)
        self.assertEqual(self.sample("kvsd_requests_total", verb="PUT", outcome="bad-request"), 1)
        self.assertEqual(self.sample("kvsd_requests_total", verb="DELETE", outcome="error"), 1)
        self.assertEqual(self.sample("kvsd_request_seconds_sum", verb="DELETE", outcome="error"), 0.3)
