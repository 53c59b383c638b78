"""A reader outside spoold that pins the log: refused beyond a bound, and over when the reader is gone."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from spoold.errors import SpoolFullError
from spoold.spool.reader import connect_reader
from spoold.spool.space import SpaceLimits
from tests.support.events import make_big_drafts, make_drafts
from tests.support.spools import MIB, OpenSpool, open_spool


@pytest.fixture
def opened(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenSpool]:
    monkeypatch.setattr(SpaceLimits, "pinned_wal_bytes", property(lambda _: 2 * MIB))
    with open_spool(state_dir, min_free_bytes=MIB) as opened:
        opened.spool.open_lane("mixpanel", "mixpanel", "earliest")
        opened.append(make_drafts(5))
        yield opened


def pin(opened: OpenSpool) -> sqlite3.Connection:
    """A reader that has begun and does not end."""
    reader = connect_reader(opened.directory / "spool.db")
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM queue_journal").fetchone()
    return reader


def fill_up(opened: OpenSpool) -> SpoolFullError:
    """Append until it is refused, and say why."""
    while opened.spool.stats().refusing is None:
        opened.append(make_big_drafts(5))
    with pytest.raises(SpoolFullError) as caught:
        opened.append(make_drafts(1))
    return caught.value


def test_a_log_that_a_reader_pins_is_bounded(opened: OpenSpool) -> None:
    with closing(pin(opened)):
        error = fill_up(opened)

        assert error.reason == opened.spool.stats().refusing == "wal"
        assert "a reader outside spoold pins" in str(error)
        assert opened.store.wal_bytes() < 3 * MIB


def test_a_lane_goes_on_while_a_reader_pins_the_log(opened: OpenSpool) -> None:
    with closing(pin(opened)):
        fill_up(opened)
        opened.settle(opened.spool.claim("mixpanel"), 5)

    assert opened.lane("mixpanel").delivered == 5


@pytest.mark.parametrize("nudge", ["append", "trim"])
def test_appends_are_taken_again_when_the_reader_is_gone(opened: OpenSpool, nudge: str) -> None:
    with closing(pin(opened)):
        fill_up(opened)

    if nudge == "trim":
        opened.spool.trim(100)
    else:
        with pytest.raises(SpoolFullError):
            opened.append(make_drafts(1))

    assert opened.spool.stats().refusing is None
    for _ in range(20):
        opened.append(make_big_drafts(10))
    assert opened.store.wal_bytes() < 3 * MIB


def test_a_reader_that_never_ends_is_refused_for_as_long(opened: OpenSpool) -> None:
    with closing(pin(opened)):
        fill_up(opened)
        for _ in range(5):
            opened.spool.trim(100)
            assert opened.spool.stats().refusing == "wal"
