"""What callers hear when the spool takes nothing."""

import sqlite3
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2
from structlog.testing import capture_logs

from spoold.api.analytics.v1 import service_pb2 as pb
from tests.integration.ingest.conftest import Door, Refused, running_spool

TRACK = pb.TrackEventRequest(event_name="a").SerializeToString()
BATCH = pb.TrackBatchRequest(items=[{"track": {"event_name": "a"}}, {"track": {"event_name": "b"}}]).SerializeToString()


@pytest.mark.parametrize(("method", "message", "events"), [("TrackEvent", TRACK, 1), ("TrackBatch", BATCH, 2)])
def test_a_full_spool_is_resource_exhausted_with_a_retry_hint(
    tmp_path: Path, method: str, message: bytes, events: int
) -> None:
    with running_spool(tmp_path, max_bytes=4096) as spool, Door(spool) as door:
        error = door.refused(method, message)
        assert error.code == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert error.details(error_details_pb2.RetryInfo()).retry_delay.ToMilliseconds() > 0
        assert door.count("events_refused", reason="max_bytes") == events
        assert door.count("events_accepted", type="track") == 0


@pytest.mark.parametrize(("method", "message"), [("TrackEvent", TRACK), ("TrackBatch", BATCH)])
def test_a_spool_that_is_closing_is_unavailable(tmp_path: Path, method: str, message: bytes) -> None:
    with running_spool(tmp_path) as spool, Door(spool) as door:
        spool.stop_accepting()
        error = door.refused(method, message)
        assert error.code == grpc.StatusCode.UNAVAILABLE
        assert "nothing was stored" in error.sentence
        assert door.count("events_refused", reason="draining") >= 1


def test_a_commit_that_fails_is_unavailable_and_its_outcome_unknown(tmp_path: Path) -> None:
    def broken(_: sqlite3.Connection) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with running_spool(tmp_path, commit=broken) as spool, Door(spool) as door:
        call = door.method("TrackEvent")
        futures = [call.future(TRACK, timeout=20) for _ in range(20)]
        errors = [Refused.of(future.exception()) for future in futures]
        assert {error.code for error in errors} == {grpc.StatusCode.UNAVAILABLE}
        assert all("unknown: repeat it with the same event_id" in error.sentence for error in errors)
        assert door.count("events_refused", reason="failed") == 20
        assert not door.noise


def test_an_unforeseen_error_is_internal_is_logged_once_and_leaks_nothing(tmp_path: Path) -> None:
    with running_spool(tmp_path) as spool, Door(spool) as door, capture_logs() as logs:
        door.condition = RuntimeError("secret detail")
        error = door.refused("HealthCheck", b"")
        assert error.code == grpc.StatusCode.INTERNAL
        assert "secret detail" not in str(error.call.trailing_metadata()) + error.sentence
    assert [str(entry["exc_info"]) for entry in logs if entry["log_level"] == "error"] == ["secret detail"]
