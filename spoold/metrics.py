"""Prometheus metrics: the names are a contract with dashboards (design: what it says).

Counters and histograms are fed where the thing happens; gauges are read from the spool at scrape time.
"""

import socket
import socketserver
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from io import BytesIO
from typing import Any, Self

from prometheus_client import CollectorRegistry, Counter, Histogram, MetricsHandler, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from spoold.errors import ListenError

_COMMIT_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_COMMIT_EVENTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
_FLUSH_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

#: Prometheus, its twin, and a person who looks: the others are for those who connect and say nothing. When all are
#: taken and none ends within the patience, the older half is cut off. A scrape takes some milliseconds.
_MOST_SCRAPES = 16
_PATIENCE_SECONDS = 0.1
_MAX_HEAD_BYTES = 16_384

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

    At most ``_MOST_SCRAPES`` are answered at once, each on a thread; when more come, who lets us wait gives way.

    Attributes:
        address: ``host:port`` as bound.
    """

    def __init__(self, metrics: Metrics, host: str, port: int) -> None:
        """Listen; port 0 is any free one.

        Raises:
            ListenError: The address can't be had.
        """
        try:
            self._server = _ScrapeServer(host, port, metrics.registry)
        except OSError as exc:
            address = f"{host}:{port}"
            raise ListenError(
                f"metrics.address (METRICS_ADDRESS) {address}: {exc.strerror}; "
                "name another address, or an empty one to switch metrics off",
                address=address,
            ) from exc
        self.address = f"{host}:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._server.begin()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._server.end()


class _ScrapeServer(socketserver.TCPServer):
    """Accepts on one thread, which alone knows who is being served."""

    allow_reuse_address = True
    #: Who finds it full tries again after a second.
    request_queue_size = 128

    def __init__(self, host: str, port: int, registry: CollectorRegistry) -> None:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        self.address_family, _, _, _, address = found[0]
        super().__init__((str(address[0]), int(address[1])), type("_Scrape", (_Scrape,), {"registry": registry}))
        self._pool = ThreadPoolExecutor(_MOST_SCRAPES + 1, thread_name_prefix="metrics")
        self._scrapes: dict[Future[None], socket.socket] = {}

    def begin(self) -> None:
        """Accept from now on."""
        self._accepting = self._pool.submit(self.serve_forever)

    def end(self) -> None:
        """Accept no more, and cut off who is still being served."""
        self.shutdown()
        self._accepting.result()
        self._cut_off(len(self._scrapes))
        self._pool.shutdown()
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Have it served, as soon as there is a thread for it."""
        while len(self._scrapes) >= _MOST_SCRAPES:
            done, _ = wait(self._scrapes, _PATIENCE_SECONDS, return_when=FIRST_COMPLETED)
            if not done:
                self._cut_off(_MOST_SCRAPES // 2)
            for scrape in done:
                del self._scrapes[scrape]
        self._scrapes[self._pool.submit(self._serve, request, client_address)] = request

    def _cut_off(self, most: int) -> None:
        """End those that have been there for the longest: their threads read an end, or fail to write."""
        for request in list(self._scrapes.values())[:most]:
            with suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)

    def _serve(self, request: Any, client_address: Any) -> None:
        # A caller who has gone before his answer is nobody's trouble.
        with suppress(OSError):
            self.finish_request(request, client_address)
        self.shutdown_request(request)


class _Scrape(MetricsHandler):
    #: For each piece that is read or written.
    timeout = 5.0

    def setup(self) -> None:
        super().setup()
        # Left to itself http.server takes 6 MiB of headers.
        self.rfile = BytesIO(self._receive_head())

    def _receive_head(self) -> bytes:
        head = bytearray()
        while b"\r\n\r\n" not in head and len(head) < _MAX_HEAD_BYTES:
            if not (received := self.connection.recv(4_096)):
                break
            head += received
        return bytes(head)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing: who scrapes is in no log."""


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
