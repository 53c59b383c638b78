"""Calls at a server: h2load's many in flight, a lone caller's one, and batches one after another."""

import re
import struct
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

import grpc

from spoold.api.analytics.v1 import service_pb2
from tests.bench.rig import cpu_seconds

_SERVICE = "analytics.v1.AnalyticsService"
_CONNECTIONS, _STREAMS = 4, 16
_WARM_CALLS = 50


class Load(NamedTuple):
    """What h2load found: calls a second, and the server's CPU microseconds a call."""

    rate: float
    cpu_us: float


def make_event(number: int = 0, text: str = "pro") -> service_pb2.TrackEventRequest:
    """An event with three properties."""
    event = service_pb2.TrackEventRequest(event_name="Order Paid", user_id=f"u-{number}")
    event.properties["amount"].number_value = 12.5
    event.properties["plan"].string_value = text
    event.properties["trial"].bool_value = True
    return event


def make_batch(count: int, text: str = "pro") -> bytes:
    """A TrackBatch call with so many events."""
    items = [service_pb2.BatchItem(track=make_event(number, text)) for number in range(count)]
    return service_pb2.TrackBatchRequest(items=items).SerializeToString()


def press(folder: Path, address: str, pid: int, *, calls: int, method: str, body: bytes) -> Load:
    """So many calls with 64 in flight."""
    frame = folder / "frame.bin"
    frame.write_bytes(b"\0" + struct.pack(">I", len(body)) + body)
    headers = ["-H", "content-type: application/grpc", "-H", "te: trailers"]
    shape = ["-n", str(calls), "-c", str(_CONNECTIONS), "-m", str(_STREAMS), "-t", "1"]
    url = f"http://{address}/{_SERVICE}/{method}"
    before = cpu_seconds(pid)
    command = ["h2load", *shape, *headers, "-d", str(frame), url]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    cpu_us = (cpu_seconds(pid) - before) / calls * 1e6
    rate = re.search(r"finished in .*?, ([\d.]+) req/s", told)
    assert rate is not None, told
    assert f" {calls} succeeded" in told, told
    return Load(float(rate[1]), cpu_us)


def lone_waits_ms(address: str, calls: int) -> list[float]:
    """What a lone caller waits for each TrackEvent."""
    body = make_event().SerializeToString()
    waits: list[float] = []
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(f"/{_SERVICE}/TrackEvent", bytes, bytes)
        for _ in range(_WARM_CALLS):
            call(body, timeout=10)
        for _ in range(calls):
            start = time.perf_counter()
            call(body, timeout=10)
            waits.append((time.perf_counter() - start) * 1e3)
    return waits


def send_batches(address: str, body: bytes, calls: int) -> float:
    """Seconds a TrackBatch call takes, one after another; every event must be taken."""
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(f"/{_SERVICE}/TrackBatch", bytes, bytes)
        start = time.perf_counter()
        for _ in range(calls):
            last = call(body, timeout=60)
        seconds = time.perf_counter() - start
    results = service_pb2.TrackBatchResponse.FromString(last).results
    assert results, "an empty answer to TrackBatch"
    assert all(result.success for result in results), results[0]
    return seconds / calls


def percentile(values: list[float], share: float) -> float:
    """The value below which this share of them lies."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]
