"""Calls through the front door of a real daemon, against a handler that does nothing."""

import shutil
from statistics import median

from tests.bench.rig import (
    DOWN,
    Figure,
    appending_sync_ms,
    batch_rate,
    home,
    latencies_ms,
    load,
    make_batch,
    percentile,
    server,
    spread,
)
from tests.support.daemon_process import DaemonProcess

_CALLS = 12_000
_BATCH = 100
_BATCH_CALLS = 3_000
_LONE_CALLS = 1_000
_BACKLOG_CALLS = 400
_BACKLOG_BATCH = 500
_WAITS = {"INITIAL_RETRY_DELAY_MS": "500", "MAX_RETRY_DELAY_MS": "500"}


def unary(pairs: int) -> list[Figure]:
    """Durable calls at 64 in flight, and batches of 100, against doing nothing."""
    if shutil.which("h2load") is None:
        print("unary: skipped, h2load is missing (apt-get install nghttp2-client)")
        return []
    batch = make_batch(_BATCH).SerializeToString()
    with home("unary") as folder, server("do_nothing") as (port, pid), DaemonProcess(folder, **DOWN) as daemon:
        rows = []
        for _ in range(pairs):
            nothing, again = load(f"127.0.0.1:{port}", pid, _CALLS), load(f"127.0.0.1:{port}", pid, _CALLS)
            durable = load(daemon.address, daemon.pid, _CALLS)
            calls_a_second, _cpu = load(daemon.address, daemon.pid, _BATCH_CALLS, "TrackBatch", batch)
            rows.append((nothing, durable, again[0] / nothing[0], calls_a_second * _BATCH))
    noise = spread([row[2] for row in rows])
    calls = f"{median(r[1][0] for r in rows):.0f} against {median(r[0][0] for r in rows):.0f} calls/s"
    cpu = f"CPU {median(r[1][1] for r in rows):.0f} against {median(r[0][1] for r in rows):.0f} µs a call"
    events = f"{median(r[3] for r in rows):.0f} events/s"
    ratio = median(row[1][0] / row[0][0] for row in rows)
    batch_ratio = median(row[3] / row[1][0] for row in rows)
    return [
        Figure("durable call / doing nothing", ratio, 0.75, True, f"{calls}, {cpu}", noise),
        Figure("TrackBatch(100) / durable call", batch_ratio, 18, True, events),
    ]


def lone(pairs: int) -> list[Figure]:
    """What a lone caller waits, idle and while a lane drains at full speed."""
    idle_ratios, tail_ratios, details = [], [], []
    with server("do_nothing") as (port, _pid), server("fast_provider") as (provider_port, _provider_pid):
        for _ in range(pairs):
            with home("lone") as folder:
                nothing = latencies_ms(f"127.0.0.1:{port}", _LONE_CALLS)
                sync = appending_sync_ms(folder)
                with DaemonProcess(folder, **DOWN, **_WAITS) as daemon:
                    idle = latencies_ms(daemon.address, _LONE_CALLS)
                    batch_rate(daemon.address, make_batch(_BACKLOG_BATCH), _BACKLOG_CALLS)
                    daemon.stop()
                up = DOWN | _WAITS | {"MIXPANEL_ENDPOINT": f"http://127.0.0.1:{provider_port}"}
                with DaemonProcess(folder, **up) as daemon:
                    # The wait that the last daemon left behind is over when the first batch is through.
                    daemon.wait_for_log("batch flushed successfully")
                    busy = latencies_ms(daemon.address, _LONE_CALLS)
                    flushed = sum(log.get("event") == "batch flushed successfully" for log in daemon.logs)
            floor = percentile(nothing, 0.5) + sync
            idle_ratios.append(percentile(idle, 0.5) / floor)
            tail_ratios.append(percentile(busy, 0.99) / percentile(idle, 0.99))
            details.append((percentile(idle, 0.5), floor, percentile(idle, 0.99), percentile(busy, 0.99), flushed))
    p50, floor, idle_p99, busy_p99, flushed_batches = (median(column) for column in zip(*details, strict=True))
    return [
        Figure(
            "lone call p50 / (nothing + sync)", median(idle_ratios), 1.2, False,
            f"{p50:.2f} against {floor:.2f} ms", spread(idle_ratios),
        ),
        Figure(
            "lone call p99 draining / idle", median(tail_ratios), 5, False,
            f"{busy_p99:.2f} against {idle_p99:.2f} ms, {flushed_batches:.0f} batches drained", spread(tail_ratios),
        ),
    ]  # fmt: skip
