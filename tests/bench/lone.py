"""What a lone caller waits: idle, and while a lane drains a backlog at full speed."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from tests.bench.figures import Figure, alternate
from tests.bench.load import lone_waits_ms, make_batch, percentile, send_batches
from tests.bench.rig import DOWN, appending_sync_ms, get_status, home, server
from tests.support.daemon_process import DaemonProcess

_CALLS = 1_500
_BACKLOG_CALLS, _BACKLOG_BATCH = 450, 500
_SLICES = 15
#: A drain is measured no further than this, so that the lane works to the end of the last slice.
_LEAST_LEFT = 25_000
_IS_DRAINING = "batch flushed successfully"
_SETTINGS = DOWN | {"INITIAL_RETRY_DELAY_MS": "500", "MAX_RETRY_DELAY_MS": "500"}


@dataclass(frozen=True, slots=True)
class _Waits:
    """A lone caller's waits, and for a drain its seconds, events and what was left."""

    ms: list[float]
    seconds: float = 0.0
    drained: int = 0
    left: int = 0

    @property
    def p99(self) -> float:
        return percentile(self.ms, 0.99)


def lone(pairs: int) -> list[Figure]:
    """The median when idle, then the 99th percentile of a drain."""
    return [_idle(pairs), _draining(pairs)]


def _idle(pairs: int) -> Figure:
    floors: list[tuple[float, float]] = []
    with home("idle") as folder, server("do_nothing") as (port, _pid), DaemonProcess(folder, **_SETTINGS) as daemon:

        def floor() -> float:
            nothing = percentile(lone_waits_ms(f"127.0.0.1:{port}", _CALLS), 0.5)
            floors.append((nothing, appending_sync_ms(folder)))
            return sum(floors[-1])

        found = alternate(pairs, floor, lambda: percentile(lone_waits_ms(daemon.address, _CALLS), 0.5))
    ours, theirs = found.medians(float)
    nothing, sync = (median(column) for column in zip(*floors, strict=True))
    detail = f"{ours:.2f} : {theirs:.2f} ms (nothing {nothing:.2f}, sync {sync:.2f})"
    return Figure("lone p50 / (doing nothing + sync)", found.ratios(float), 1.2, False, found.noise(float), detail)


def _draining(pairs: int) -> Figure:
    with server("fast_provider") as (port, _pid):
        found = alternate(pairs, _idle_waits, lambda: _drain_waits(port))
    ours, theirs = found.medians(_p99)
    seconds, drained, left = (
        median(column) for column in zip(*((one.seconds, one.drained, one.left) for one in found.b), strict=True)
    )
    detail = (
        f"{ours:.2f} : {theirs:.2f} ms, {min(len(one.ms) for one in found.b)} calls in a drain of {seconds:.1f} s "
        f"({drained / seconds:.0f} events/s, {left:.0f} left)"
    )
    return Figure("lone p99 draining / idle", found.ratios(_p99), 5, False, found.noise(_p99), detail)


def _idle_waits() -> _Waits:
    with home("quiet") as folder, DaemonProcess(folder, **_SETTINGS) as daemon:
        return _Waits(lone_waits_ms(daemon.address, _CALLS))


def _drain_waits(port: int) -> _Waits:
    with home("drain") as folder:
        with DaemonProcess(folder, **_SETTINGS) as daemon:
            send_batches(daemon.address, make_batch(_BACKLOG_BATCH), _BACKLOG_CALLS)
            daemon.stop()
        up = _SETTINGS | {"MIXPANEL_ENDPOINT": f"http://127.0.0.1:{port}"}
        with DaemonProcess(folder, **up) as daemon:
            # The wait that the last daemon left behind is over when the first batch is through.
            daemon.wait_for_log(_IS_DRAINING)
            return _while_draining(daemon, lambda: lone_waits_ms(daemon.address, _CALLS // _SLICES))


def _while_draining(daemon: DaemonProcess, measure: Callable[[], list[float]]) -> _Waits:
    """In slices, for as long as enough is left; a slice at whose end nothing was left would not count."""
    first = get_status(daemon).lanes[0]
    start = time.perf_counter()
    ms: list[float] = []
    seconds, last = 0.0, first
    for _ in range(_SLICES):
        waits = measure()
        now = get_status(daemon).lanes[0]
        if not now.pending:
            break
        ms += waits
        seconds, last = time.perf_counter() - start, now
        if now.pending < _LEAST_LEFT:
            break
    assert ms, f"the backlog of {first.pending} was gone before a slice was measured"
    return _Waits(ms, seconds, last.delivered - first.delivered, last.pending)


def _p99(waits: _Waits) -> float:
    return waits.p99
