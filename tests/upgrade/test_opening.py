"""A spool of each format ever written opens in this version, with everything in it."""

from pathlib import Path

import pytest

from spoold.spool import store
from spoold.spool.offline import open_offline
from spoold.spool.schema import MIN_READER, shipped_migrations
from tests.support.clock import FakeClock
from tests.support.spools import open_spool
from tests.upgrade.every_crash import NEWEST
from tests.upgrade.fixtures import ALL, Fixture, check_balance, check_everything, format_of, pending, records
from tests.upgrade.make_fixture import COMMITS


@pytest.fixture(params=ALL, ids=str)
def fixture(request: pytest.FixtureRequest) -> Fixture:
    found: Fixture = request.param
    return found


def test_each_format_has_its_fixture() -> None:
    """Whoever adds a migration makes one for the new format: see ``make_fixture``."""
    assert list(COMMITS) == list(range(1, NEWEST + 1)) == sorted({fixture.version for fixture in ALL})
    assert [version for version, commit in COMMITS.items() if commit is None] == [NEWEST]


def test_everything_is_in_it(fixture: Fixture, state_dir: Path, clock: FakeClock) -> None:
    spool = fixture.unpack(state_dir)
    before = records(spool)
    assert format_of(spool)[0] == fixture.version
    assert (spool / "spool.db-wal").exists() == (fixture.ending == "killed")

    for _ in range(2):
        with open_spool(spool, clock=clock) as opened:
            check_everything(opened, fixture, before)

    assert format_of(spool) == (NEWEST, MIN_READER[max(MIN_READER)])


def test_a_reader_while_the_daemon_is_down_sees_the_same(fixture: Fixture, state_dir: Path) -> None:
    spool = fixture.unpack(state_dir)
    with open_spool(spool) as opened:
        lanes, left = opened.spool.lanes(), opened.spool.stats().pending
    with open_offline(spool) as offline:
        assert offline.lanes() == lanes
        assert offline.pending() == left


def test_everything_goes_on(fixture: Fixture, state_dir: Path, clock: FakeClock) -> None:
    with open_spool(fixture.unpack(state_dir), clock=clock) as opened:
        for lane in opened.spool.lanes():
            ahead = [event.seq for event in pending(opened, lane.name) if event.seq > lane.cursor]
            aside = tuple(one.seq for one in opened.spool.deferred(lane.name))
            upto = max(ahead, default=lane.cursor)
            lease = opened.spool.claim(lane.name)
            opened.settle(lease, upto, delivered=len(ahead), released=aside)
            assert opened.lane(lane.name).pending == 0
        clock.advance(1e9)
        while opened.spool.trim(5):
            pass

        check_balance(opened)
        assert opened.rows("SELECT count(*) FROM queue_journal") == [(0,)]


def test_a_loss_would_be_seen(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A migration that drops a record, or changes a counter, fails here."""
    for number, harm in enumerate(["DELETE FROM queue_journal WHERE _id = 15", "UPDATE lane SET delivered = 1"]):
        migrations = shipped_migrations()
        migrations[2] += f"{harm};\n"
        (state_dir / f"{number}").mkdir()
        spool = ALL[0].unpack(state_dir / f"{number}")
        before = records(spool)
        monkeypatch.setattr(store, "shipped_migrations", lambda migrations=migrations: migrations)
        with open_spool(spool) as opened, pytest.raises(AssertionError):
            check_everything(opened, ALL[0], before)
        monkeypatch.undo()
