"""How fast a lane works off a backlog, and whether another lane that hangs slows it down."""

import shutil
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from statistics import median

import requests

from spoold.api.analytics.v1 import service_pb2
from spoold.providers.base import Encoded, ProviderSettings, Stamp
from spoold.providers.mixpanel import Mixpanel
from spoold.record import Draft, Event, encode_record, read_record
from tests.bench.figures import Figure, alternate
from tests.bench.load import make_batch, percentile, send_batches
from tests.bench.rig import DOWN, cpu_seconds, get_status, home, server
from tests.support.daemon_process import DaemonProcess, Log
from tests.support.spools import running_spool

_EVENTS = 100_000
_CALL = 1_000
_REQUEST_EVENTS = 2_000
_IN_FLIGHT = 4
_LATENCY_SECONDS = 0.1
_HANGING_SECONDS = 3600.0
_DRAIN_SECONDS = 60.0
_SENT, _SETTLED = "flushing batch", "batch flushed successfully"

_FLUSH_EVENTS, _FLUSHES = 50, 100
_HEALTHY = DOWN | {"BATCH_SIZE": str(_FLUSH_EVENTS)}
_NEIGHBOUR_BACKLOG_CALLS = 20


def catching_up(pairs: int) -> list[Figure]:
    """A backlog against a bare loop, then a healthy lane beside one that hangs."""
    return [_drain(pairs), _healthy(pairs)]


def _drain(pairs: int) -> Figure:
    drafts = [Draft("track", _event(number)) for number in range(_EVENTS)]
    bodies = _ready_bodies(drafts)
    with home("filled") as filled, server("fast_provider", str(_LATENCY_SECONDS)) as (port, _pid):
        _fill(filled / "spool", drafts)
        url = f"http://127.0.0.1:{port}"
        drains: list[_Drain] = []

        def drain() -> float:
            drains.append(_drain_once(filled, url))
            return drains[-1].rate

        found = alternate(pairs, lambda: _bare_rate(url, bodies), drain)
    ours, theirs = found.medians(float)
    detail = (
        f"{ours:.0f} : {theirs:.0f} events/s, {_EVENTS} pending, {_LATENCY_SECONDS:g} s to each answer, "
        f"at most {_IN_FLIGHT} under way, {median(one.requests for one in drains):.0f} : {len(bodies)} requests, "
        f"{median(one.cpu_seconds for one in drains):.2f} s of CPU from start to end"
    )
    return Figure("drain / bare loop of ready bodies", found.ratios(float), 0.7, True, found.noise(float), detail)


class _Drain:
    """From the first request to the last settlement, as the daemon's own log tells it."""

    def __init__(self, daemon: DaemonProcess) -> None:
        sent = [log for log in daemon.logs if log.get("event") == _SENT]
        settled = [log for log in daemon.logs if log.get("event") == _SETTLED]
        assert sum(log["event_count"] for log in settled) == _EVENTS, "not every event was delivered once"
        seconds = _moment(settled[-1]) - _moment(sent[0])
        self.rate = _EVENTS / seconds
        self.requests = len(sent)
        # Of its whole life: starting is a third of it.
        self.cpu_seconds = cpu_seconds(daemon.pid)


def _drain_once(filled: Path, url: str) -> _Drain:
    with home("catching-up") as folder:
        shutil.copytree(filled, folder, dirs_exist_ok=True)
        with DaemonProcess(folder, **DOWN | {"MIXPANEL_ENDPOINT": url}) as daemon:
            daemon.wait_until(_is_last, "end of the backlog", _DRAIN_SECONDS)
            return _Drain(daemon)


def _is_last(log: Log) -> bool:
    return log.get("event") == _SETTLED and log["pending"] == 0


def _moment(log: Log) -> float:
    return datetime.fromisoformat(log["timestamp"]).timestamp()


def _bare_rate(url: str, bodies: list[bytes]) -> float:
    """Events a second of threads that do nothing but post."""
    left = deque(bodies)
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}

    def post() -> None:
        with requests.Session() as session:
            session.trust_env = False
            while left:
                session.post(f"{url}/import?strict=1", data=left.popleft(), headers=headers, timeout=30)

    start = time.perf_counter()
    with ThreadPoolExecutor(_IN_FLIGHT) as pool:
        for done in [pool.submit(post) for _ in range(_IN_FLIGHT)]:
            done.result()
    return _EVENTS / (time.perf_counter() - start)


def _event(number: int) -> bytes:
    """One with five properties."""
    event = service_pb2.TrackEventRequest(event_name="Order Paid", user_id=f"user-{number % 20_000}")
    event.properties["amount"].number_value = number % 9_000 / 100
    event.properties["currency"].string_value = ("EUR", "USD", "SEK")[number % 3]
    event.properties["items"].number_value = number % 7 + 1
    event.properties["plan"].string_value = ("free", "pro")[number % 2]
    event.properties["trial"].bool_value = number % 5 == 0
    return event.SerializeToString()


def _ready_bodies(drafts: list[Draft]) -> list[bytes]:
    """What a drain sends of these events, ids and times aside."""
    provider = Mixpanel(ProviderSettings("http://127.0.0.1", "bench-token"))
    now_ms = time.time_ns() // 1_000_000
    parts: list[bytes] = []
    for number, draft in enumerate(drafts):
        event = read_record(number, encode_record(draft, number.to_bytes(16), now_ms))
        assert isinstance(event, Event)
        encoded = provider.encode(event)
        assert isinstance(encoded, Encoded)
        parts += encoded.parts
    stretches = range(0, len(parts), _REQUEST_EVENTS)
    return [provider.request("import", parts[at : at + _REQUEST_EVENTS], Stamp(now_ms, "")).body for at in stretches]


def _fill(directory: Path, drafts: list[Draft]) -> None:
    """A spool with all of them pending for the lane that the daemon will have."""
    directory.mkdir()
    with running_spool(directory) as opened:
        opened.spool.open_lane("mixpanel", "mixpanel", "earliest")
        for start in range(0, len(drafts), _CALL):
            opened.spool.append(drafts[start : start + _CALL]).result(timeout=60)


def _healthy(pairs: int) -> Figure:
    with (
        server("fast_provider") as (port, _pid),
        server("fast_provider", str(_HANGING_SECONDS)) as (hanging_port, _hanging_pid),
        _lanes("alone", port) as alone,
        _lanes("beside", port, hanging_port) as beside,
    ):
        found = alternate(pairs, lambda: _flush_ms(alone), lambda: _flush_ms(beside))
        pending = next(lane.pending for lane in get_status(beside).lanes if lane.name == "segment")
        assert pending > _CALL * _NEIGHBOUR_BACKLOG_CALLS, f"the hanging lane has only {pending} pending"
    ours, theirs = found.medians(float)
    detail = f"{ours:.2f} : {theirs:.2f} ms from due to delivered, the median of {_FLUSHES}"
    name = "flush of a healthy lane, beside a hanging one / alone"
    return Figure(name, found.ratios(float), 1.2, False, found.noise(float), detail)


@contextmanager
def _lanes(name: str, port: int, hanging_port: int | None = None) -> Iterator[DaemonProcess]:
    """A daemon with a lane whose provider answers at once and, if wanted, one with a backlog whose provider hangs."""
    settings = _HEALTHY | {"MIXPANEL_ENDPOINT": f"http://127.0.0.1:{port}"}
    if hanging_port is not None:
        settings |= {"ANALYTICS_PROVIDER": "mixpanel,segment", "SEGMENT_API_KEY": "bench-key"}
        settings |= {"SEGMENT_ENDPOINT": f"http://127.0.0.1:{hanging_port}"}
    with home(name) as folder, DaemonProcess(folder, **settings) as daemon:
        send_batches(daemon.address, make_batch(_CALL), _NEIGHBOUR_BACKLOG_CALLS)
        daemon.wait_until(_is_last, "end of the warm-up")
        yield daemon


def _flush_ms(daemon: DaemonProcess) -> float:
    """From the reply to a call that makes a flush due, to its delivery."""
    body = make_batch(_FLUSH_EVENTS)
    waits: list[float] = []
    for _ in range(_FLUSHES):
        daemon.logs.clear()
        send_batches(daemon.address, body, 1)
        start = time.perf_counter()
        daemon.wait_until(_is_last, "delivery")
        waits.append((time.perf_counter() - start) * 1e3)
    return percentile(waits, 0.5)
