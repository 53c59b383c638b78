"""A series that is there from the start: Prometheus counts its first event too."""

from collections.abc import Set as AbstractSet

import pytest

from spoold.delivery.report import LaneReport
from spoold.delivery.sender import Attempt
from spoold.errors import InvalidEventError, SpoolClosedError, SpoolFailedError, SpoolFullError
from spoold.ingest.intake import BusyError
from spoold.ingest.status import refusal
from spoold.log import get_logger
from spoold.metrics import Metrics
from spoold.providers.base import Delivered
from spoold.spool.values import DAMAGED, DeadLetter, RetryState, Settlement

Series = tuple[str, tuple[tuple[str, str], ...]]


def series(metrics: Metrics) -> AbstractSet[Series]:
    found = (sample for family in metrics.registry.collect() for sample in family.samples)
    return {(sample.name, tuple(sorted(sample.labels.items()))) for sample in found}


def settlement(*dead: DeadLetter) -> Settlement:
    return Settlement(b"id", 0, 5, 1, 1, dead, RetryState(), "partial", 200, 10)


def test_all_series_of_a_lane_are_there_before_anything_happens_in_it() -> None:
    metrics = Metrics()
    report = LaneReport("crm", get_logger("tests"), metrics)
    before = series(metrics)

    report.replied(Attempt(Delivered(), 200, 0.1), "partial")
    report.settled(
        settlement(
            DeadLetter(1, DAMAGED, None, 0), DeadLetter(2, "unsendable: no user", None, 0), DeadLetter(3, "no", 400, 1)
        ),
        pending=0,
    )
    report.failed(1, "HTTP 503", 1, wait_seconds=1.0, status=503)
    report.purged(1, pending=0)

    assert series(metrics) == before
    assert metrics.registry.get_sample_value("spoold_events_dead_total", {"lane": "crm", "reason": "rejected"}) == 1


@pytest.mark.parametrize(
    "error",
    [
        InvalidEventError([("event_name", "is required")]),
        BusyError("too many"),
        SpoolClosedError("closed"),
        SpoolFailedError("EIO"),
        *(SpoolFullError("full", reason=reason) for reason in ("max_bytes", "min_free_bytes", "disk", "wal")),
        RuntimeError("unforeseen"),
    ],
)
def test_each_reason_of_a_refusal_has_a_series_from_the_start(error: Exception) -> None:
    metrics = Metrics()
    before = series(metrics)

    metrics.events_refused.labels(refusal(error).reason).inc()

    assert series(metrics) == before
    assert metrics.refused == 1


def test_a_lane_that_begins_anew_goes_on_counting() -> None:
    metrics = Metrics()
    LaneReport("crm", get_logger("tests"), metrics).purged(3, pending=0)
    LaneReport("crm", get_logger("tests"), metrics)

    assert metrics.registry.get_sample_value("spoold_events_purged_total", {"lane": "crm"}) == 3
