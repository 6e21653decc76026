"""
What an operator can watch: the metrics of a node in Prometheus' text format.

Counters and histograms are kept as things happen.  What can be read off the node at any moment is read when the
metrics are asked for, so it costs nothing in between.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from kvsd.status import Status

PEER_STATES: Final = ("alive", "suspect", "down", "unknown")

_FAST = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)


class Metrics:
    """The metrics of one node, in a registry of their own."""

    content_type: Final = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        requests = _Requests()
        self.registry.register(requests)
        self.observe_request: Callable[[str, str, float], None] = requests.observe
        """A key-value request was answered, or its client left: verb, outcome, seconds."""
        self._sync = self._histogram("kvsd_sync_seconds", "Time to make one batch of changes durable.", _FAST)
        self._batch = self._histogram("kvsd_sync_changes", "Changes that were made durable in one batch.", _SIZES)
        self._post = self._histogram("kvsd_post_seconds", "Time from a POST to a peer to its answer or failure.", _FAST)
        self._post_size = self._histogram("kvsd_post_messages", "Messages carried by one POST to a peer.", _SIZES)
        self._posts_failed = Counter(
            "kvsd_posts_failed",
            "POSTs to peers that had no answer that could be used.",
            registry=self.registry,
        )
        verified = Counter(
            "kvsd_verified_bytes",
            "Bytes of stored entries that were read in the background and found as they were written.",
            registry=self.registry,
        )
        self.observe_verified: Callable[[int], None] = verified.inc
        """So many bytes of the database are as they were written; may be called in any thread."""
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def watch(self, status: Callable[[], Status]) -> None:
        """Show also what status says whenever the metrics are asked for; to be called once."""
        self.registry.register(_StatusCollector(status))

    def show(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Show a figure, read anew whenever the metrics are asked for; to be called once for each name."""
        self.registry.register(_Figure(name, text, value))

    def count(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Show a figure that only grows, read anew whenever the metrics are asked for; to be called once for each name."""
        self.registry.register(_Figure(name, text, value, _counter))

    def observe_commit(self, seconds: float, changes: int) -> None:
        """A batch of changes was made durable."""
        self._sync.observe(seconds)
        self._batch.observe(changes)

    def observe_post(self, messages: int, seconds: float, ok: bool) -> None:
        """A POST to a peer ended, well or not."""
        self._post.observe(seconds)
        self._post_size.observe(messages)
        if not ok:
            self._posts_failed.inc()

    def exposition(self) -> bytes:
        """All metrics as text, in the format that ``content_type`` names."""
        return generate_latest(self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(name, text, buckets=buckets, registry=self.registry)


class _Requests(Collector):
    """
    Requests by verb and outcome, how many and how long.

    It counts by itself, and shows that in the library's terms when it is asked: the library's own counters take a lock
    and look their labels up each time, which is a good part of what a read costs.
    """

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], list[int]] = {}
        self._seconds: dict[tuple[str, str], float] = {}

    def observe(self, verb: str, outcome: str, seconds: float) -> None:
        """A request took so long."""
        labels = verb, outcome
        try:
            self._counts[labels][bisect_left(_FAST, seconds)] += 1
            self._seconds[labels] += seconds
        except KeyError:
            self._counts[labels] = [0] * (len(_FAST) + 1)
            self._seconds[labels] = 0.0
            self.observe(verb, outcome, seconds)

    def collect(self) -> Iterator[Metric]:
        times = HistogramMetricFamily(
            "kvsd_request_seconds",
            "Time from a key-value request's arrival to its answer, by verb and outcome.",
            labels=("verb", "outcome"),
        )
        answered = CounterMetricFamily(
            "kvsd_requests",
            "Key-value requests answered, by verb and outcome (hung-up: the client left before its answer).",
            labels=("verb", "outcome"),
        )
        bounds = [*(str(bound) for bound in _FAST), "+Inf"]
        for labels, counts in self._counts.items():
            totals = list(accumulate(counts))
            times.add_metric(labels, list(zip(bounds, totals, strict=True)), self._seconds[labels])
            answered.add_metric(labels, totals[-1])
        yield times
        yield answered


class _Figure(Collector):
    """A single figure, read anew for each scrape."""

    def __init__(
        self,
        name: str,
        text: str,
        value: Callable[[], float],
        family: Callable[[str, str, float], Metric] | None = None,
    ) -> None:
        self._name = name
        self._text = text
        self._value = value
        self._family = family or _gauge

    def collect(self) -> Iterator[Metric]:
        yield self._family(self._name, self._text, self._value())


class _StatusCollector(Collector):
    """A node's status, read anew for each scrape."""

    def __init__(self, status: Callable[[], Status]) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        status = self._status()
        yield from _replication(status)
        yield from _store(status)
        yield from _work(status)
        yield from _cluster(status)


def _replication(status: Status) -> Iterator[Metric]:
    yield _gauge(
        "kvsd_replication_lag_writes",
        "Writes that peers report and this replica lacks; stays near 0 in a healthy shard.",
        status.lag_writes,
    )
    yield _gauge(
        "kvsd_replication_lag_seconds",
        "For how long the oldest write that this replica lacks has been missing; over a few seconds something is wrong.",
        status.lag_seconds,
    )
    yield _gauge(
        "kvsd_members_behind",
        "Members of this node's shards that have lacked writes for over ten seconds, itself among them; /readyz names them.",
        status.members_behind,
    )
    yield _gauge("kvsd_holdback_ops", "Writes held back until what they depend on has come.", status.holdback_ops)
    yield _gauge("kvsd_holdback_bytes", "Size of the writes that are held back.", status.holdback_bytes)
    yield _gauge(
        "kvsd_holdback_oldest_seconds",
        "For how long the oldest of the writes held back has been waiting.",
        status.holdback_oldest_seconds,
    )
    yield _gauge(
        "kvsd_unstable_writes",
        "Writes not known yet to be at every member of the shard; grows while a member is away.",
        status.unstable_writes,
    )
    yield _counter(
        "kvsd_dropped_ops",
        "Writes from peers that were let go for want of room; they are fetched again.",
        status.dropped_ops,
    )


def _store(status: Status) -> Iterator[Metric]:
    yield _gauge("kvsd_keys", "Keys that have a value at this replica.", status.live_keys)
    yield _gauge("kvsd_rows", "Rows kept by this replica: keys with a value and tombstones.", status.rows)
    yield _gauge("kvsd_tombstones", "Deleted keys that are remembered until every member knows.", status.tombstones)
    yield _gauge("kvsd_log_ops", "Writes kept in the log for members that may lack them.", status.log_ops)
    yield _gauge("kvsd_log_bytes", "Size of the writes kept in the log.", status.log_bytes)
    yield _counter("kvsd_conflicts", "Concurrent writes of one key that were settled here.", status.conflicts)
    yield _gauge(
        "kvsd_storage_full",
        "1 while writes are refused for want of disk space, else 0.",
        float(status.storage_full),
    )


def _work(status: Status) -> Iterator[Metric]:
    yield _gauge("kvsd_waiting_requests", "Requests that wait for what they depend on.", status.waiting)
    yield _gauge("kvsd_unconfirmed_writes", "Writes that wait until enough replicas have them.", status.unconfirmed)
    yield _gauge(
        "kvsd_forwards_under_way",
        "Requests sent on to another node and not answered yet.",
        status.forwards_under_way,
    )
    yield _counter("kvsd_forwards", "Requests sent on to another node.", status.forwards_total)
    yield _counter(
        "kvsd_confirmed_reads", "Reads answered as another node had, which confirmed it.", status.confirmed_total
    )


def _cluster(status: Status) -> Iterator[Metric]:
    yield _gauge("kvsd_configuration_epoch", "The configuration in force here; equal at all nodes.", status.epoch)
    member = GaugeMetricFamily("kvsd_member", "1 for the shard that this node is a member of.", labels=("shard",))
    if status.shard is not None:
        member.add_metric((status.shard,), 1)
    yield member
    states = list(status.peers.values())
    peers = GaugeMetricFamily("kvsd_peers", "Other nodes, by how they are believed to be doing.", labels=("state",))
    for state in PEER_STATES:
        peers.add_metric((state,), states.count(state))
    yield peers
    yield _gauge("kvsd_suspected_peers", "Other nodes that are avoided: silent, or not yet trusted again.",
                 states.count("suspect"))  # fmt: skip
    yield _gauge(
        "kvsd_clock_ahead_seconds",
        "How far this node's clock is ahead of its peers'; writes are refused when it is too far.",
        status.clock_ahead_ms / 1000,
    )


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value=value)
