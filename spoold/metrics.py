"""Prometheus metrics: the names are a contract with dashboards (design: what it says).

Counters and histograms are fed where the thing happens; gauges are read from the spool at scrape time.
"""

from collections.abc import Callable, Iterable
from typing import Self

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from spoold.errors import ListenError

_COMMIT_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_COMMIT_EVENTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
_FLUSH_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

# A second series for each counter, telling when it began, doubles the page and answers nobody's question.
disable_created_metrics()  # type: ignore[no-untyped-call]

#: What these labels can say. Their series begin at 0, for Prometheus sees no growth in a series that begins at 1: the
#: first dead letter would raise no alarm.
_REFUSALS = (
    "invalid", "undecodable", "busy", "max_bytes", "min_free_bytes", "disk", "wal", "draining", "failed", "internal",
)  # fmt: skip
_DEAD_REASONS = ("rejected", "unsendable", "damaged")
_FLUSH_OUTCOMES = ("delivered", "partial", "retry", "split", "stop")

Gauges = Callable[[], Iterable[GaugeMetricFamily]]


class Metrics:
    """All instruments of one daemon, in a registry of their own. Safe from any thread."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"spoold_{name}", text, labels, registry=self.registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(f"spoold_{name}", text, labels, buckets=buckets, registry=self.registry)

        self.events_accepted = counter("events_accepted", "Events made durable.", "type")
        self.events_refused = counter("events_refused", "Events refused at the door.", "reason")
        self.events_duplicate = counter("events_duplicate", "Events whose id was in the journal already.")
        self.events_from_the_future = counter("events_from_the_future", "Events ahead of our clock, taken as now.")
        self.events_delivered = counter("events_delivered", "Events that the provider took.", "lane")
        self.events_dead = counter("events_dead", "Events set aside for good.", "lane", "reason")
        self.events_purged = counter("events_purged", "Events given up by command or policy.", "lane")
        self.events_filtered = counter("events_filtered", "Events that the lane's filter kept back.", "lane")
        self.events_replayed = counter("events_replayed", "Events sent again through a replay.", "lane")
        self.flushes = counter("flushes", "Requests to a provider.", "lane", "outcome")
        self.retries = counter("retries", "Requests that will be repeated.", "lane")
        self.damaged_records = counter("damaged_records", "Records that failed their checksum.")
        self.flush_seconds = histogram("flush_seconds", "From sending to the reply understood.", _FLUSH_SECONDS, "lane")
        self.commit_seconds = histogram("commit_seconds", "One commit, its fsync included.", _COMMIT_SECONDS)
        self.commit_events = histogram("commit_events", "Events that shared one commit.", _COMMIT_EVENTS)
        self.checkpoint_seconds = histogram("checkpoint_seconds", "One checkpoint; appends wait.", _COMMIT_SECONDS)
        for reason in _REFUSALS:
            self.events_refused.labels(reason)

    @property
    def duplicates(self) -> int:
        """Events whose id was in the journal already, since the process began."""
        return _total(self.events_duplicate)

    @property
    def refused(self) -> int:
        """Events refused at the door, for whatever reason, since the process began."""
        return _total(self.events_refused)

    def begin_lane(self, lane: str) -> None:
        """Have all series of a lane there, at 0 where nothing was counted yet."""
        counters = (self.events_delivered, self.events_purged, self.events_filtered, self.events_replayed, self.retries)
        for instrument in (*counters, self.flush_seconds):
            instrument.labels(lane)
        for reason in _DEAD_REASONS:
            self.events_dead.labels(lane, reason)
        for outcome in _FLUSH_OUTCOMES:
            self.flushes.labels(lane, outcome)

    def add_gauges(self, read: Gauges) -> None:
        """Ask ``read`` for gauges at each scrape."""
        self.registry.register(_GaugeCollector(read))


class MetricsServer:
    """Serves ``/metrics`` while the context lasts.

    Attributes:
        address: ``host:port`` as bound.
    """

    def __init__(self, metrics: Metrics, host: str, port: int) -> None:
        """Listen; port 0 is any free one.

        Raises:
            ListenError: The address can't be had.
        """
        try:
            self._server, self._thread = start_http_server(port, host, metrics.registry)
        except OSError as exc:
            address = f"{host}:{port}"
            raise ListenError(
                f"metrics.address (METRICS_ADDRESS) {address}: {exc.strerror}; "
                "name another address, or an empty one to switch metrics off",
                address=address,
            ) from exc
        self.address = f"{host}:{self._server.server_port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _total(counter: Counter) -> int:
    return int(sum(sample.value for metric in counter.collect() for sample in metric.samples))


class _GaugeCollector(Collector):
    def __init__(self, read: Gauges) -> None:
        self._read = read

    def collect(self) -> Iterable[Metric]:
        return self._read()

    def describe(self) -> Iterable[Metric]:
        # Registering must not read the spool: there are no fixed names to announce.
        return []
