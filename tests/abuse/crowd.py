"""Honest load at its heaviest: many callers with the largest batches, and a backlog behind providers that are out."""

import json
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc

from spoold.api.analytics.v1 import service_pb2 as pb
from spoold.ingest.servicer import MAX_BATCH_ITEMS, MAX_MESSAGE_BYTES
from tests.abuse.siege import MAX_RESIDENT_MIB, resident_peak_mib
from tests.abuse.wire import SERVICE
from tests.support.daemon_process import DaemonProcess
from tests.support.provider_server import Hang, ProviderServer, Reply
from tests.support.services import KINDS, Services, lane, services, start

_CALLERS = 64
_LARGE_CALLS = 2
_SMALL_EVENTS = 300_000
_CALL_SECONDS = 120.0
_ALL_KINDS = 4
#: Busy, or full for a moment: a caller repeats it. The library does so four times, the last after 16 s.
_REPEATING = (
    ("grpc.use_local_subchannel_pool", 1),
    (
        "grpc.service_config",
        json.dumps(
            {
                "methodConfig": [
                    {
                        "name": [{"service": SERVICE}],
                        "retryPolicy": {
                            "maxAttempts": 5,
                            "initialBackoff": "0.5s",
                            "maxBackoff": "16s",
                            "backoffMultiplier": 3,
                            "retryableStatusCodes": ["RESOURCE_EXHAUSTED"],
                        },
                    }
                ]
            }
        ),
    ),
    # A call that is larger is sent once.
    ("grpc.per_rpc_retry_buffer_size", 2 * MAX_MESSAGE_BYTES),
)
#: Beside it an item has its tags and its event's other fields.
_ITEM_FRAME_BYTES = 60


def run_round(seed: int) -> dict[str, int]:
    """Largest batches by 64 callers at once, then 300 000 events in small ones, behind providers that are out or slow.

    Raises:
        AssertionError: The daemon took too much memory, or refused an event that it should have taken.
    """
    rng = random.Random(seed)
    kinds = rng.sample(KINDS, rng.choice([1, _ALL_KINDS]))
    trouble = rng.choice(["down", "hangs", "well"])
    with TemporaryDirectory(prefix="spoold-crowd-") as home, services(kinds) as servers:
        for server in servers.values():
            _make(server, trouble)
        with start(Path(home), *_tables(servers)) as daemon:
            try:
                figures = {"acknowledged": press(daemon, _CALLERS, _LARGE_CALLS, largest_batch(rng))}
                figures["acknowledged"] += pile_up(daemon, _SMALL_EVENTS)
                check_memory(daemon)
            except AssertionError as exc:
                told = f"{exc}; providers {kinds}, which are {trouble}"
                raise AssertionError(f"tests.abuse.crowd.run_round({seed}): {told}") from exc
    return figures


def press(daemon: DaemonProcess, callers: int, calls: int, batch: bytes) -> int:
    """So many callers at once, each on a connection of its own; returns how many events were acknowledged."""
    with ThreadPoolExecutor(callers) as pool:
        taken = pool.map(lambda _: _send(daemon.address, batch, calls), range(callers))
        return sum(taken)


def pile_up(daemon: DaemonProcess, events: int) -> int:
    """Small events by a few callers, until there are so many."""
    item = pb.BatchItem(track=pb.TrackEventRequest(event_name="Order Paid", user_id="u-81"))
    batch = pb.TrackBatchRequest(items=[item] * MAX_BATCH_ITEMS).SerializeToString()
    callers = 4
    return press(daemon, callers, events // MAX_BATCH_ITEMS // callers, batch)


def largest_batch(rng: random.Random) -> bytes:
    """As many items as a batch may have, in nearly as many bytes as a message may have, of text or of small values."""
    room = MAX_MESSAGE_BYTES // MAX_BATCH_ITEMS - _ITEM_FRAME_BYTES
    event = pb.TrackEventRequest(event_name="Order Paid", user_id="u-81")
    if rng.random() < 0.5:
        event.properties["text"].string_value = "x" * room
    else:
        event.properties["list"].list_value.values.extend([pb.PropertyValue()] * (room // 2 - 10))
    batch = pb.TrackBatchRequest(items=[pb.BatchItem(track=event)] * MAX_BATCH_ITEMS).SerializeToString()
    assert 0.9 * MAX_MESSAGE_BYTES < len(batch) <= MAX_MESSAGE_BYTES
    return batch


def check_memory(daemon: DaemonProcess) -> float:
    """The most that it ever was, in MiB."""
    most = resident_peak_mib(daemon.pid)
    assert most < MAX_RESIDENT_MIB, f"{most:.0f} MiB resident"
    return most


def _send(address: str, batch: bytes, calls: int) -> int:
    taken = 0
    with grpc.insecure_channel(address, _REPEATING) as channel:
        call = channel.unary_unary(f"/{SERVICE}/TrackBatch", bytes, bytes)
        for _ in range(calls):
            results = pb.TrackBatchResponse.FromString(call(batch, timeout=_CALL_SECONDS)).results
            assert all(result.success for result in results)
            taken += len(results)
    return taken


def _make(server: ProviderServer, trouble: str) -> None:
    if trouble == "down":
        server.always(Reply(503))
    elif trouble == "hangs":
        server.always(Hang(threading.Event()))


def _tables(servers: Services) -> list[str]:
    # Amplitude's other endpoint takes the largest requests of all.
    options = {"amplitude": {"api": "batch"}}
    return [lane(kind, server, kind, timeout="2s", **options.get(kind, {})) for kind, server in servers.items()]
