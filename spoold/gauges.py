"""The metrics that are read at scrape time: what is true of the spool and its lanes now."""

from collections.abc import Callable, Iterable, Mapping

from prometheus_client.core import GaugeMetricFamily

from spoold import __version__
from spoold.clock import Clock
from spoold.delivery.lane import Lane
from spoold.metrics import Metrics
from spoold.spool.balance import Audit
from spoold.spool.contract import Spool
from spoold.spool.rows import State
from spoold.spool.values import SpoolStats

LANE_STATES = ("idle", "sending", "backoff", "down", "stopped", "paused", "closed")


class CommitMetrics:
    """Feeds the histograms of commits; called on the writer's thread."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def committed(self, state: State, *, seconds: float, events: int) -> None:
        """A commit is durable."""
        del state
        self._metrics.commit_seconds.observe(seconds)
        if events:
            self._metrics.commit_events.observe(events)

    def checkpointed(self, seconds: float) -> None:
        """Appends waited for a checkpoint."""
        self._metrics.checkpoint_seconds.observe(seconds)


def read_gauges(
    spool: Spool, lanes: Callable[[], Mapping[str, Lane]], clock: Clock, audit: Callable[[], Audit | None]
) -> Callable[[], Iterable[GaugeMetricFamily]]:
    """What the registry calls at each scrape; costs the same however long the backlog (I8).

    Args:
        audit: The last one that came to its end.
    """

    def read() -> Iterable[GaugeMetricFamily]:
        yield from _spool_gauges(spool.stats(), audit())
        yield from _lane_gauges(spool, lanes(), clock.wall_ms())
        info = GaugeMetricFamily("spoold_build_info", "Always 1; the version is the label.", labels=["version"])
        info.add_metric([__version__], 1)
        yield info

    return read


def _spool_gauges(stats: SpoolStats, audit: Audit | None) -> Iterable[GaugeMetricFamily]:
    imbalance = 0 if audit is None else audit.events
    salvages = stats.salvages
    for name, text, value in (
        ("spool_bytes", "Size of the spool on disk, WAL and dead letters included.", stats.bytes),
        ("spool_max_bytes", "The limit of that size.", stats.max_bytes),
        ("dead_bytes", "Records that are set aside for good.", stats.dead_bytes),
        ("wal_bytes", "Size of the write-ahead log.", stats.wal_bytes),
        ("disk_free_bytes", "Free room on the spool's file system.", stats.disk_free_bytes),
        ("ledger_imbalance", "Events by which counters and disk differed in the last audit; 0 when well.", imbalance),
        (
            "salvages_running",
            "Damaged spools from which events are being brought over.",
            sum(one.is_running for one in salvages),
        ),
        ("salvaged_events", "Events brought over from damaged spools.", sum(one.recovered for one in salvages)),
        ("lost_events", "Events of damaged spools that were not found.", sum(one.lost for one in salvages)),
    ):
        yield GaugeMetricFamily(f"spoold_{name}", text, value=value)


def _lane_gauges(spool: Spool, running: Mapping[str, Lane], now_ms: int) -> Iterable[GaugeMetricFamily]:
    pending = _by_lane("pending_events", "Accepted and not settled.")
    deferred = _by_lane("deferred_events", "Pending, and standing aside for a while.")
    dead = _by_lane("dead_events", "Set aside for good.")
    oldest = _by_lane("oldest_pending_seconds", "Age of the oldest pending event.")
    states = _by_lane("lane_state", "1 for the state it is in.", "state")
    for state in spool.lanes():
        received_at_ms = spool.oldest_pending_at_ms(state.name)
        pending.add_metric([state.name], state.pending)
        deferred.add_metric([state.name], state.deferred)
        dead.add_metric([state.name], state.dead)
        oldest.add_metric([state.name], max(0.0, (now_ms - (received_at_ms or now_ms)) / 1000))
        lane = running.get(state.name)
        current = state.word(None if lane is None else lane.state)
        for name in LANE_STATES:
            states.add_metric([state.name, name], float(name == current))
    yield from (pending, deferred, dead, oldest, states)


def _by_lane(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"spoold_{name}", text, labels=["lane", *labels])
