"""A spool that a newer version has written: refused in words where it must be, and never moved; else it works."""

import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from spoold.errors import SpoolVersionError
from spoold.record import Event
from spoold.spool.offline import open_offline
from spoold.spool.schema import MIN_READER
from tests.support.front_door import front_door, track
from tests.support.services import start
from tests.support.spools import open_spool
from tests.upgrade.every_crash import NEWEST
from tests.upgrade.fixtures import (
    Ending,
    Fixture,
    check_balance,
    check_everything,
    format_of,
    pending,
    read_raw,
    records,
)
from tests.upgrade.old_life import lanes, servers

NEXT = NEWEST + 1
READER = MIN_READER[max(MIN_READER)]
SENTENCE = (
    f"the spool has format {NEXT}, which needs a program that reads format {NEXT}; "
    f"this one reads {NEWEST}: install the newer version again"
)


def write_as_newer(spool: Path, target: Path, *, min_reader: int) -> None:
    """Migrate as a newer version might, which is then killed: its log stays."""
    with closing(sqlite3.connect(spool / "spool.db", isolation_level=None)) as connection:
        connection.executescript(
            f"""
            PRAGMA wal_autocheckpoint = 0;
            BEGIN;
            CREATE TABLE colour (lane TEXT PRIMARY KEY, name TEXT NOT NULL);
            INSERT INTO colour VALUES ('events', 'blue');
            ALTER TABLE lane ADD COLUMN colour TEXT NOT NULL DEFAULT 'none';
            ALTER TABLE set_aside ADD COLUMN colour TEXT NOT NULL DEFAULT 'none';
            CREATE INDEX ledger_lane ON ledger (lane);
            UPDATE schema SET version = {NEXT}, min_reader = {min_reader};
            COMMIT;
            """
        )
        shutil.copytree(spool, target, ignore=shutil.ignore_patterns("*-shm"))


@pytest.fixture(params=["killed", "stopped"])
def fixture(request: pytest.FixtureRequest) -> Fixture:
    ending: Ending = request.param
    return Fixture(NEWEST, ending)


@pytest.fixture
def write(fixture: Fixture, tmp_path: Path) -> Callable[[int], Path]:
    """Make the daemon's spool one of the next format, which this oldest one can read."""

    def write(min_reader: int) -> Path:
        write_as_newer(fixture.unpack(tmp_path), tmp_path / "spool", min_reader=min_reader)
        assert (tmp_path / "spool" / "spool.db-wal").exists()
        return tmp_path / "spool"

    return write


def test_one_that_this_program_cannot_read_is_refused_in_words_and_never_moved(
    tmp_path: Path, write: Callable[[int], Path]
) -> None:
    spool = write(NEXT)
    before, names = records(spool), {path.name for path in spool.iterdir()}

    with servers() as services:
        daemon = start(tmp_path, *lanes(services, ["events"]))
        assert daemon.end() == 1
    assert daemon.wait_for_log("spoold ended")["error"] == SENTENCE
    with pytest.raises(SpoolVersionError, match=re.escape(SENTENCE)), open_offline(spool):
        pass

    assert {path.name for path in spool.iterdir()} <= names | {"lock", "spool.db-shm"}
    assert records(spool) == before
    assert format_of(spool) == (NEXT, NEXT)


def test_one_that_this_program_can_read_is_taken_as_it_is(
    fixture: Fixture, tmp_path: Path, write: Callable[[int], Path]
) -> None:
    spool = write(READER)
    before = records(spool)
    with open_spool(spool) as opened:
        check_everything(opened, fixture, before)
        left = {
            event.event_id for event in pending(opened, "slow") if isinstance(event, Event) and event.kind == "track"
        }

    with servers() as services, start(tmp_path, *lanes(services, ["events", "slow"])) as daemon:
        with front_door(daemon.address) as stub:
            (fresh,) = track(stub, "Fresh")
        for name, ids in (("events", {fresh}), ("slow", {*left, fresh})):
            services[name].wait_until(lambda name=name, ids=ids: services[name].events_by_insert_id.keys() == ids)  # type: ignore[misc]
        assert daemon.stop() == 0

    assert format_of(spool) == (NEXT, READER)
    assert read_raw(spool, "SELECT * FROM colour") == [("events", "blue")]
    with open_spool(spool) as opened:
        check_balance(opened)
