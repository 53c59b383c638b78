"""Moments as people write them."""

import os
import re
import time
from collections.abc import Iterator

import pytest
from spoolctl.moments import parse_moment
from spoolctl.render import format_time

from tests.support.clock import START_MS

_HOUR_MS = 3_600_000


@pytest.fixture(autouse=True)
def _berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An hour ahead of UTC in winter and two in summer."""
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        ("2026-11-24T00:00:00Z", START_MS),
        ("2026-11-24T02:00:00.5+02:00", START_MS + 500),
        ("2026-11-24T01:00", START_MS),
        ("2026-11-24 01:00:00", START_MS),
        ("2026-11-24", START_MS - _HOUR_MS),
        ("2026-07-01T02:00", 1_782_864_000_000),
        ("2h", START_MS - 2 * _HOUR_MS),
        (" 1.5h ", START_MS - 5_400_000),
        ("7d", START_MS - 7 * 24 * _HOUR_MS),
        ("500ms", START_MS - 500),
        ("1795478400", START_MS),
        ("1795478400.25", START_MS + 250),
        ("0", 0),
        ("9" * 40 + "d", 0),
    ],
)
def test_each_form_is_a_moment(text: str, at_ms: int) -> None:
    assert parse_moment(text, START_MS) == at_ms


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("yesterday", "'yesterday' is no time"),
        ("", "'' is no time"),
        ("2026-13-01", "'2026-13-01' is no time"),
        ("0001-01-01T00:00", "'0001-01-01T00:00' is no time"),
        ("12:30", "'12:30' is no time"),
        ("2 fortnights", "'2 fortnights' must be a duration"),
        ("1.2.3h", "'1.2.3h' must be a duration"),
        ("1795478400000", "can only be milliseconds"),
        ("20261124", "before 2001"),
        ("3600", "before 2001"),
        ("9" * 400, "can only be milliseconds"),
        ("-2h", "is no time"),
    ],
)
def test_what_is_none_is_refused_with_the_reason(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        parse_moment(text, START_MS)


def test_a_time_that_is_shown_can_be_typed() -> None:
    assert format_time(START_MS) == "2026-11-24 01:00:00"
    assert parse_moment(format_time(START_MS), 0) == START_MS


def test_the_zone_is_the_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "TZ", "UTC")
    time.tzset()
    assert parse_moment("2026-11-24", 0) == START_MS
