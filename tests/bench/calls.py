"""Calls at 64 in flight: a durable event against a handler that does nothing, a batch against single events."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.bench.figures import Figure, alternate
from tests.bench.load import Load, make_batch, make_event, press
from tests.bench.rig import DOWN, get_status, home, server
from tests.support.daemon_process import DaemonProcess

_UNARY, _BATCH = "durable call / doing nothing", "TrackBatch(100) / durable call, events/s"
_CALLS = 12_000
_BATCH_EVENTS = 100
_BATCH_CALLS = 2_000
_MISSING = "h2load is missing: apt-get install nghttp2-client"

Press = Callable[[int, str, bytes], Load]


def unary(pairs: int) -> list[Figure]:
    """Durable TrackEvent against doing nothing."""
    if shutil.which("h2load") is None:
        return [Figure(_UNARY, detail=_MISSING, unmeasured="skipped")]
    event = make_event().SerializeToString()
    with home("nothing") as folder, server("do_nothing") as (port, pid), _daemon("unary") as durable:

        def nothing(calls: int, method: str, body: bytes) -> Load:
            return press(folder, f"127.0.0.1:{port}", pid, calls=calls, method=method, body=body)

        warm = _CALLS // 4
        nothing(warm, "TrackEvent", event)
        durable(warm, "TrackEvent", event)
        found = alternate(
            pairs, lambda: nothing(_CALLS, "TrackEvent", event), lambda: durable(_CALLS, "TrackEvent", event)
        )
    ours, theirs = found.medians(_rate)
    our_cpu, their_cpu = found.medians(lambda load: load.cpu_us)
    detail = f"{ours:.0f} : {theirs:.0f} calls/s, CPU {our_cpu:.0f} : {their_cpu:.0f} µs/call"
    return [Figure(_UNARY, found.ratios(_rate), 0.75, True, found.noise(_rate), detail)]


def batch(pairs: int) -> list[Figure]:
    """Events a second in batches of 100 against one by one."""
    if shutil.which("h2load") is None:
        return [Figure(_BATCH, detail=_MISSING, unmeasured="skipped")]
    event, many = make_event().SerializeToString(), make_batch(_BATCH_EVENTS)

    with _daemon("batch") as durable:

        def batches() -> Load:
            found = durable(_BATCH_CALLS, "TrackBatch", many)
            return Load(found.rate * _BATCH_EVENTS, found.cpu_us / _BATCH_EVENTS)

        durable(_CALLS // 4, "TrackEvent", event)
        durable(_BATCH_CALLS // 4, "TrackBatch", many)
        found = alternate(pairs, lambda: durable(_CALLS, "TrackEvent", event), batches)
    ours, theirs = found.medians(_rate)
    our_cpu, their_cpu = found.medians(lambda load: load.cpu_us)
    detail = f"{ours:.0f} : {theirs:.0f} events/s, CPU {our_cpu:.1f} : {their_cpu:.0f} µs/event"
    return [Figure(_BATCH, found.ratios(_rate), 18, True, found.noise(_rate), detail)]


@contextmanager
def _daemon(name: str) -> Iterator[Press]:
    """A daemon with a provider that is down, and how to press it."""
    with home(name) as folder, DaemonProcess(folder, **DOWN) as daemon:

        def press_counted(calls: int, method: str, body: bytes) -> Load:
            # To h2load a gRPC error is a success.
            before = get_status(daemon).spool.accepted
            found = press(folder, daemon.address, daemon.pid, calls=calls, method=method, body=body)
            accepted = get_status(daemon).spool.accepted - before
            assert accepted == calls * (_BATCH_EVENTS if method == "TrackBatch" else 1), f"{accepted} were accepted"
            return found

        yield press_counted


def _rate(load: Load) -> float:
    return load.rate
