"""The figures that an operator watches."""

from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase

from kvsd.metrics import Metrics
from kvsd.status import Status

FIGURES = Status(
    epoch=3,
    shard="s1",
    live_keys=10,
    rows=13,
    tombstones=3,
    conflicts=2,
    log_ops=5,
    log_bytes=500,
    holdback_ops=4,
    holdback_bytes=400,
    holdback_oldest_seconds=1.5,
    lag_writes=6,
    lag_seconds=2.5,
    unstable_writes=7,
    dropped_ops=8,
    waiting=9,
    forwards_under_way=11,
    forwards_total=12,
    confirmed_total=13,
    peers={"10.0.0.2:8090": "alive", "10.0.0.3:8090": "suspect", "10.0.0.4:8090": "suspect", "10.0.0.5:8090": "down"},
    clock_ahead_ms=250,
    storage_full=True,
)


class MetricsTests(SynchronousTestCase):
    """What is observed can be read off."""

    def setUp(self) -> None:
        self.metrics = Metrics()

    def sample(self, name: str, **labels: str) -> float | None:
        """The value of a metric."""
        return self.metrics.registry.get_sample_value(name, labels)

    def test_requests(self) -> None:
        """Requests are counted and timed by verb and outcome."""
        self.metrics.observe_request("GET", "found", 0.25)
        self.metrics.observe_request("GET", "found", 0.5)
        self.assertEqual(self.sample("kvsd_requests_total", verb="GET", outcome="found"), 2)
        self.assertEqual(self.sample("kvsd_request_seconds_sum", verb="GET", outcome="found"), 0.75)
        self.assertEqual(self.sample("kvsd_request_seconds_bucket", verb="GET", outcome="found", le="0.25"), 1)
        self.assertIsNone(self.sample("kvsd_requests_total", verb="PUT", outcome="found"))

    def test_commits(self) -> None:
        """Syncs are timed, and their batches counted."""
        self.metrics.observe_commit(0.002, 30)
        self.assertEqual(self.sample("kvsd_sync_seconds_sum"), 0.002)
        self.assertEqual(self.sample("kvsd_sync_changes_sum"), 30)

    def test_posts(self) -> None:
        """POSTs to peers are timed, their messages counted, and their failures."""
        self.metrics.observe_post(100, 0.01, True)
        self.metrics.observe_post(1, 1.0, False)
        self.assertEqual(self.sample("kvsd_post_seconds_count"), 2)
        self.assertEqual(self.sample("kvsd_post_messages_sum"), 101)
        self.assertEqual(self.sample("kvsd_posts_failed_total"), 1)

    def test_status(self) -> None:
        """Every figure of the node's status is there."""
        self.metrics.watch(lambda: FIGURES)
        for name, value in (
            ("kvsd_configuration_epoch", 3),
            ("kvsd_keys", 10),
            ("kvsd_rows", 13),
            ("kvsd_tombstones", 3),
            ("kvsd_conflicts_total", 2),
            ("kvsd_log_ops", 5),
            ("kvsd_log_bytes", 500),
            ("kvsd_holdback_ops", 4),
            ("kvsd_holdback_bytes", 400),
            ("kvsd_holdback_oldest_seconds", 1.5),
            ("kvsd_replication_lag_writes", 6),
            ("kvsd_replication_lag_seconds", 2.5),
            ("kvsd_unstable_writes", 7),
            ("kvsd_dropped_ops_total", 8),
            ("kvsd_waiting_requests", 9),
            ("kvsd_forwards_under_way", 11),
            ("kvsd_forwards_total", 12),
            ("kvsd_confirmed_reads_total", 13),
            ("kvsd_suspected_peers", 2),
            ("kvsd_clock_ahead_seconds", 0.25),
            ("kvsd_storage_full", 1),
        ):
            self.assertEqual(self.sample(name), value, name)
        self.assertEqual(self.sample("kvsd_member", shard="s1"), 1)
        states = [self.sample("kvsd_peers", state=state) for state in ("alive", "suspect", "down", "unknown")]
        self.assertEqual(states, [1, 2, 1, 0])

    def test_member_of_no_shard(self) -> None:
        """A node in no shard has figures all the same."""
        self.metrics.watch(Status)
        self.assertEqual(self.sample("kvsd_keys"), 0)
        self.assertNotIn("kvsd_member{", self.metrics.exposition().decode())

    def test_format(self) -> None:
        """The text can be parsed, each metric has words of its own, and the process shows itself too."""
        self.metrics.watch(lambda: FIGURES)
        self.metrics.observe_request("GET", "found", 0.25)
        families = {
            family.name: family for family in text_string_to_metric_families(self.metrics.exposition().decode())
        }
        own = [
            family for name, family in families.items() if name.startswith("kvsd_") and not name.endswith("_created")
        ]
        self.assertEqual(len({family.documentation for family in own}), len(own))
        self.assertIn("process_resident_memory_bytes", families)
        self.assertIn("python_info", families)
        self.assertIn("python_gc_collections", families)

    def test_two_nodes(self) -> None:
        """Two nodes in one process have metrics of their own."""
        other = Metrics()
        other.observe_request("GET", "found", 1)
        self.assertIsNone(self.sample("kvsd_requests_total", verb="GET", outcome="found"))
