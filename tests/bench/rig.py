"""What the benchmarks share: servers in processes of their own, loads, and the machine's accounting."""

import os
import re
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import grpc

from spoold.api.analytics.v1 import service_pb2, service_pb2_grpc

HOME = Path("build/bench")
SERVICE = "analytics.v1.AnalyticsService"
#: A port on which nothing listens: a provider that is down.
DOWN = {"TEST_MODE": "false", "MIXPANEL_API_KEY": "bench-token", "MIXPANEL_ENDPOINT": "http://127.0.0.1:1"}
_CLIENTS, _STREAMS = 4, 16
_SYNCED_BYTES = 8240


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table.

    Attributes:
        ratio: The median over the pairs.
        target: What it should reach, or stay below.
        noise: Spread of two identical runs, or empty.
        detail: The absolute figures behind it.
    """

    name: str
    ratio: float
    target: float
    is_at_least: bool
    detail: str
    noise: str = ""

    @property
    def is_met(self) -> bool:
        """Whether the target is met."""
        return self.ratio >= self.target if self.is_at_least else self.ratio <= self.target


def make_event(number: int = 0, text: str = "pro") -> service_pb2.TrackEventRequest:
    """An event with three properties."""
    event = service_pb2.TrackEventRequest(event_name="Order Paid", user_id=f"u-{number}")
    event.properties["amount"].number_value = 12.5
    event.properties["plan"].string_value = text
    event.properties["trial"].bool_value = True
    return event


def make_batch(count: int, text: str = "pro") -> service_pb2.TrackBatchRequest:
    """A call with so many events."""
    return service_pb2.TrackBatchRequest(
        items=[service_pb2.BatchItem(track=make_event(number, text)) for number in range(count)]
    )


@contextmanager
def server(module: str) -> Iterator[tuple[int, int]]:
    """A server of this package in a process of its own: (port, pid)."""
    with subprocess.Popen(
        [sys.executable, "-m", f"tests.bench.{module}"], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline()), process.pid
        finally:
            process.kill()


@contextmanager
def home(name: str) -> Iterator[Path]:
    """An empty folder on the checkout's disk."""
    folder = HOME / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def load(
    address: str, pid: int, calls: int, method: str = "TrackEvent", body: bytes | None = None
) -> tuple[float, float]:
    """Calls a second with 64 in flight, and the server's CPU in microseconds a call."""
    message = make_event().SerializeToString() if body is None else body
    frame = HOME / "frame.bin"
    frame.parent.mkdir(parents=True, exist_ok=True)
    frame.write_bytes(b"\0" + struct.pack(">I", len(message)) + message)
    before = cpu_seconds(pid)
    headers = ["-H", "content-type: application/grpc", "-H", "te: trailers"]
    command = ["h2load", "-n", str(calls), "-c", str(_CLIENTS), "-m", str(_STREAMS), "-t1", *headers, "-d", str(frame)]
    url = f"http://{address}/{SERVICE}/{method}"
    told = subprocess.run([*command, url], capture_output=True, text=True, check=True).stdout
    assert f"{calls} succeeded" in told, told
    rate = re.search(r"finished in .*?, ([\d.]+) req/s", told)
    assert rate is not None, told
    return float(rate[1]), (cpu_seconds(pid) - before) / calls * 1e6


def latencies_ms(address: str, calls: int) -> list[float]:
    """What a lone caller waits for each call, sorted."""
    body = make_event().SerializeToString()
    waits: list[float] = []
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(f"/{SERVICE}/TrackEvent", bytes, bytes)
        for number in range(calls + 50):
            start = time.perf_counter()
            call(body)
            if number >= 50:
                waits.append((time.perf_counter() - start) * 1e3)
    return sorted(waits)


def batch_rate(address: str, request: service_pb2.TrackBatchRequest, calls: int) -> float:
    """Events a second through ``TrackBatch``, one call after another."""
    with grpc.insecure_channel(address) as channel:
        stub = service_pb2_grpc.AnalyticsServiceStub(channel)
        start = time.perf_counter()
        for _ in range(calls):
            reply = stub.TrackBatch(request, timeout=60)
            assert reply.results[0].success
        return calls * len(request.items) / (time.perf_counter() - start)


def appending_sync_ms(folder: Path, rounds: int = 200) -> float:
    """The median of one fdatasync after appending what a small commit writes."""
    fd = os.open(folder / "sync", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    waits = []
    try:
        for _ in range(rounds):
            os.write(fd, b"x" * _SYNCED_BYTES)
            start = time.perf_counter()
            os.fdatasync(fd)
            waits.append((time.perf_counter() - start) * 1e3)
    finally:
        os.close(fd)
    return median(waits)


def percentile(values: list[float], share: float) -> float:
    """Of sorted values."""
    return values[min(len(values) - 1, int(len(values) * share))]


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mib(pid: int) -> float:
    """VmRSS of a process."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def spread(values: list[float]) -> str:
    """From the lowest to the highest."""
    return f"{min(values):.2f} to {max(values):.2f}"
