"""A million events behind a provider that is down: memory, and what a call costs then."""

import time
from pathlib import Path
from statistics import median

import grpc

from spoold.api.spoold.admin.v1 import admin_pb2, admin_pb2_grpc
from tests.bench.rig import DOWN, Figure, batch_rate, home, latencies_ms, make_batch, percentile, resident_mib, spread
from tests.support.daemon_process import DaemonProcess

_EVENTS = 1_000_000
_WARM_EVENTS = 50_000
_CALL = 1_000
_TEXT = "x" * 200
_LONE_CALLS = 400
_STATUS_CALLS = 100


def backlog(pairs: int) -> list[Figure]:
    """Memory while it grows, then calls against an empty daemon's, alternating."""
    with (
        home("full") as full_home,
        home("empty") as empty_home,
        DaemonProcess(full_home, **DOWN) as full,
        DaemonProcess(empty_home, **DOWN) as empty,
    ):
        request = make_batch(_CALL, _TEXT)
        batch_rate(full.address, request, _WARM_EVENTS // _CALL)
        before = resident_mib(full.pid)
        highest = before
        for _ in range(10):
            batch_rate(full.address, request, (_EVENTS - _WARM_EVENTS) // _CALL // 10)
            highest = max(highest, resident_mib(full.pid))
        rows = [_compare(full, empty, full_home, empty_home) for _ in range(max(pairs, 3))]
    lone, rate, status = ([row[column] for row in rows] for column in range(3))
    memory = f"{before:.0f} MiB after {_WARM_EVENTS}, at most {highest:.0f} up to {_EVENTS} events"
    return [
        Figure("memory growth, MiB", highest - before, 20, False, memory),
        Figure("lone call at a million / empty", median(lone), 1.1, False, "", spread(lone)),
        Figure("TrackBatch time at a million / empty", median(rate), 1.1, False, "", spread(rate)),
        Figure("status at a million / empty", median(status), 1.1, False, "", spread(status)),
    ]


def _compare(full: DaemonProcess, empty: DaemonProcess, full_home: Path, empty_home: Path) -> tuple[float, ...]:
    lone = _lone_ms(full) / _lone_ms(empty)
    small = make_batch(100)
    rate = batch_rate(empty.address, small, 100) / batch_rate(full.address, small, 100)
    return lone, rate, _status_ms(full_home) / _status_ms(empty_home)


def _lone_ms(daemon: DaemonProcess) -> float:
    return percentile(latencies_ms(daemon.address, _LONE_CALLS), 0.5)


def _status_ms(folder: Path) -> float:
    waits = []
    with grpc.insecure_channel(f"unix:{(folder / 'admin.sock').absolute()}") as channel:
        stub = admin_pb2_grpc.AdminServiceStub(channel)
        for _ in range(_STATUS_CALLS):
            start = time.perf_counter()
            stub.GetStatus(admin_pb2.GetStatusRequest(), timeout=10)
            waits.append((time.perf_counter() - start) * 1e3)
    return median(waits)
