"""What callers see while a commit is under way."""

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from spoold.api.analytics.v1 import service_pb2 as pb
from spoold.spool.local import LocalSpool
from spoold.spool.store import commit
from tests.integration.ingest.conftest import Door, running_spool

TRACK = pb.TrackEventRequest(event_name="a").SerializeToString()
BATCH = pb.TrackBatchRequest(items=[{"track": {"event_name": "a"}}] * 100).SerializeToString()


class Gate:
    """Holds commits up until it is opened."""

    def __init__(self) -> None:
        self.is_reached = threading.Event()
        self.is_open = threading.Event()
        self.commits = 0

    def commit(self, connection: sqlite3.Connection) -> None:
        self.is_reached.set()
        assert self.is_open.wait(30)
        commit(connection)
        self.commits += 1


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def spool(tmp_path: Path, gate: Gate) -> Iterator[LocalSpool]:
    with running_spool(tmp_path, commit=gate.commit) as spool:
        yield spool
        gate.is_open.set()


@pytest.fixture
def door(spool: LocalSpool) -> Iterator[Door]:
    with Door(spool) as door:
        yield door


@pytest.mark.parametrize(("method", "message", "events"), [("TrackEvent", TRACK, 1), ("TrackBatch", BATCH, 100)])
def test_nobody_is_answered_before_the_commit_and_a_batch_is_one(
    door: Door, gate: Gate, method: str, message: bytes, events: int
) -> None:
    call = door.method(method).future(message, timeout=20)
    assert gate.is_reached.wait(10)
    # The loop is free while the disk is busy: this is answered, and by then a reply that did not wait would be here.
    assert pb.HealthCheckResponse.FromString(door.send("HealthCheck", b"")).status == "healthy"
    assert not call.done()
    assert door.count("events_accepted", type="track") == 0
    gate.is_open.set()
    assert b"\x08\x01" in call.result()
    assert door.count("events_accepted", type="track") == events
    assert gate.commits == 1


def test_a_client_that_cancels_in_the_commit_leaves_its_event_accepted_and_no_noise(
    door: Door, gate: Gate, spool: LocalSpool
) -> None:
    call = door.method("TrackEvent").future(TRACK, timeout=20)
    assert gate.is_reached.wait(10)
    call.cancel()  # type: ignore[no-untyped-call]
    gate.is_open.set()
    door.send("TrackEvent", TRACK)
    assert spool.stats().accepted == 2
    assert door.count("events_accepted", type="track") == 2
    assert not door.noise


def test_stopping_lets_a_call_in_its_commit_finish(door: Door, gate: Gate) -> None:
    call = door.method("TrackEvent").future(TRACK, timeout=20)
    assert gate.is_reached.wait(10)
    stopped = door.begin(door.server.stop(20))
    gate.is_open.set()
    stopped.result(20)
    assert pb.TrackEventResponse.FromString(call.result()).success
