"""A million events behind a provider that is down: memory, and what a call costs then."""

from collections.abc import Callable

from tests.bench.figures import Figure, alternate
from tests.bench.load import lone_waits_ms, make_batch, percentile, send_batches
from tests.bench.rig import DOWN, get_status, home, resident_mib, status_ms
from tests.support.daemon_process import DaemonProcess

_EVENTS = 1_000_000
_WARM_EVENTS = 50_000
_CALL = 1_000
#: Makes an event of about 300 bytes.
_TEXT = "x" * 210
_SAMPLES = 50
_LONE_CALLS = 500
_BATCH_EVENTS, _BATCH_CALLS = 100, 150
_STATUS_CALLS = 150
_LEAST_PAIRS = 5


def backlog(pairs: int) -> list[Figure]:
    """Memory while it grows, then calls against those of a daemon that started empty."""
    with (
        home("full") as full_home,
        home("empty") as empty_home,
        DaemonProcess(full_home, **DOWN) as full,
        DaemonProcess(empty_home, **DOWN) as empty,
    ):
        memory = _pile_up(full)
        pairs = max(pairs, _LEAST_PAIRS)
        return [
            memory,
            _compare("lone p50, million / empty", pairs, full, empty, _lone_ms),
            _compare("TrackBatch(100) time, million / empty", pairs, full, empty, _batch_ms),
            _compare("GetStatus, million / empty", pairs, full, empty, _status_ms),
        ]


def _pile_up(daemon: DaemonProcess) -> Figure:
    body = make_batch(_CALL, _TEXT)
    send_batches(daemon.address, body, _WARM_EVENTS // _CALL)
    before = resident_mib(daemon.pid)
    samples, seconds = [before], 0.0
    calls = (_EVENTS - _WARM_EVENTS) // _CALL // _SAMPLES
    for _ in range(_SAMPLES):
        seconds += send_batches(daemon.address, body, calls) * calls
        samples.append(resident_mib(daemon.pid))
    pending = get_status(daemon).spool.pending
    assert pending == _EVENTS, f"{pending} are pending"
    rate = calls * _SAMPLES * _CALL / seconds
    detail = f"{before:.1f} MiB after {_WARM_EVENTS}, at most {max(samples):.1f}, {samples[-1]:.1f} at {pending}"
    growth = max(samples) - before
    return Figure("memory growth, MiB", [growth], 20, False, [], f"{detail}; {rate:.0f} events/s")


def _compare(
    name: str, pairs: int, full: DaemonProcess, empty: DaemonProcess, measure: Callable[[DaemonProcess], float]
) -> Figure:
    measure(empty)
    measure(full)
    found = alternate(pairs, lambda: measure(empty), lambda: measure(full))
    ours, theirs = found.medians(float)
    pending = [get_status(daemon).spool.pending for daemon in (full, empty)]
    detail = f"{ours:.2f} : {theirs:.2f} ms, {pending[0]} : {pending[1]} pending at the end"
    return Figure(name, found.ratios(float), 1.1, False, found.noise(float), detail)


def _lone_ms(daemon: DaemonProcess) -> float:
    return percentile(lone_waits_ms(daemon.address, _LONE_CALLS), 0.5)


def _batch_ms(daemon: DaemonProcess) -> float:
    return send_batches(daemon.address, make_batch(_BATCH_EVENTS), _BATCH_CALLS) * 1e3


def _status_ms(daemon: DaemonProcess) -> float:
    return status_ms(daemon, _STATUS_CALLS)
