"""What an append promises: all or nothing, in order, and an answer in every case."""

import sqlite3
from concurrent.futures import Future
from pathlib import Path

import pytest

from spoold.errors import SpoolClosedError, SpoolFailedError, SpoolFullError
from spoold.record import Event
from spoold.spool import local
from spoold.spool.store import commit
from spoold.spool.values import Receipt
from tests.support.clock import START_MS, FakeClock
from tests.support.events import make_big_drafts, make_draft, make_drafts, make_identify_draft
from tests.support.spools import MIB, OpenSpool, open_spool


def names(spool: OpenSpool, lane: str) -> list[str]:
    page = spool.spool.read(lane, 0, max_events=1000, max_bytes=MIB)
    assert all(isinstance(event, Event) for event in page.events)
    return [event.event_name for event in page.events if isinstance(event, Event)]


def test_an_appended_event_is_read_as_it_was_sent(spool: OpenSpool, lane: str) -> None:
    receipts = spool.append([make_draft("Signed Up"), make_identify_draft("u-9")])

    assert [(receipt.seq, receipt.duplicate) for receipt in receipts] == [(1, False), (2, False)]
    page = spool.spool.read(lane, 0, max_events=10, max_bytes=MIB)
    assert [(e.seq, e.kind, e.user_id) for e in page.events if isinstance(e, Event)] == [
        (1, "track", "u-81"),
        (2, "identify", "u-9"),
    ]


def test_nobody_is_answered_before_the_commit(spool: OpenSpool) -> None:
    futures = [spool.spool.append([make_draft()]) for _ in range(3)]

    assert not any(future.done() for future in futures)
    spool.commit()
    assert all(future.done() for future in futures)


def test_a_receipt_comes_after_the_commit_and_nothing_in_between(state_dir: Path, clock: FakeClock) -> None:
    seen: list[bool] = []
    future: Future[list[Receipt]] = Future()

    def watched(connection: sqlite3.Connection) -> None:
        seen.append(future.done())
        commit(connection)
        seen.append(future.done())

    with open_spool(state_dir, clock=clock, commit=watched) as opened:
        future = opened.spool.append([make_draft()])
        opened.commit()

    assert seen == [False, False]
    assert future.done()


def test_many_calls_handed_over_together_share_one_commit(spool: OpenSpool) -> None:
    futures = [spool.spool.append(make_drafts(3)) for _ in range(40)]
    spool.commit()

    assert spool.watcher.groups == [120]
    assert [receipt.seq for future in futures for receipt in future.result()] == [*range(1, 121)]


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 500, 501, 1000, 1234])
def test_a_call_of_any_size_gets_a_receipt_for_each_event(spool: OpenSpool, lane: str, count: int) -> None:
    receipts = spool.append(make_drafts(count))

    assert [receipt.seq for receipt in receipts] == [*range(1, count + 1)]
    assert spool.lane(lane).accepted == count
    assert spool.seqs(lane) == [*range(1, count + 1)]


def test_a_call_that_fails_leaves_nothing_behind(state_dir: Path) -> None:
    def refuse(_connection: sqlite3.Connection) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with open_spool(state_dir) as opened:
        opened.append(make_drafts(2))
    with open_spool(state_dir, commit=refuse) as opened:
        future = opened.spool.append(make_drafts(5))
        with pytest.raises(SpoolFailedError):
            opened.commit()
        assert isinstance(future.exception(timeout=0), SpoolFailedError)
    with open_spool(state_dir) as opened:
        assert opened.rows("SELECT count(*) FROM queue_journal") == [(2,)]
        assert opened.spool.stats().accepted == 2


def test_after_a_failed_commit_everybody_is_refused(state_dir: Path) -> None:
    def refuse(_connection: sqlite3.Connection) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with open_spool(state_dir, commit=refuse) as opened:
        futures = [opened.spool.append([make_draft()]) for _ in range(3)]
        with pytest.raises(SpoolFailedError):
            opened.commit()
        futures.append(opened.spool.append([make_draft()]))
        assert all(isinstance(future.exception(timeout=0), SpoolFailedError) for future in futures)
        with pytest.raises(SpoolFailedError):
            opened.spool.open_lane("late", "mixpanel", "latest")


def test_one_call_without_room_fails_alone_and_whole(state_dir: Path) -> None:
    with open_spool(state_dir, max_bytes=2 * MIB) as opened:
        small = opened.spool.append([make_draft()])
        large = opened.spool.append(make_big_drafts(200))
        other = opened.spool.append([make_draft()])
        opened.commit()

        assert isinstance(large.exception(timeout=0), SpoolFullError)
        assert [small.result()[0].seq, other.result()[0].seq] == [1, 2]
        assert opened.spool.stats().accepted == 2


def test_the_time_of_receipt_is_the_wall_clock_as_it_was(spool: OpenSpool, lane: str, clock: FakeClock) -> None:
    spool.append([make_draft()])
    clock.jump_wall(-3600)
    spool.append([make_draft()])

    events = spool.spool.read(lane, 0, max_events=10, max_bytes=MIB).events
    assert [e.received_at_ms for e in events if isinstance(e, Event)] == [START_MS, START_MS - 3_600_000]


def test_the_timestamp_column_rises_with_seq_when_the_wall_clock_jumps_back(spool: OpenSpool, clock: FakeClock) -> None:
    for jump in (0, -3600, 1, -10, 7200, -7200):
        clock.jump_wall(jump)
        spool.append([make_draft(), make_draft(event_id=bytes(8) + bytes([abs(jump) % 256] * 8))])

    stamps = [stamp for (stamp,) in spool.rows("SELECT timestamp FROM queue_journal ORDER BY _id")]
    assert stamps == sorted(stamps)


def test_what_may_wait_for_the_disk_is_bounded(spool: OpenSpool, lane: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "MAX_WAITING_BYTES", 50_000)
    taken = spool.spool.append(make_big_drafts(2))
    refused = spool.spool.append(make_big_drafts(1))

    error = refused.exception(timeout=0)
    assert isinstance(error, SpoolFullError)
    assert error.reason == "queue"
    spool.commit()
    assert len(taken.result()) == 2
    assert len(spool.append(make_big_drafts(2))) == 2
    assert spool.lane(lane).accepted == 4


def test_a_spool_that_stops_accepting_commits_what_it_was_given(spool: OpenSpool, lane: str) -> None:
    before = spool.spool.append(make_drafts(2))
    spool.spool.stop_accepting()
    after = spool.spool.append(make_drafts(2))
    spool.commit()

    assert len(before.result()) == 2
    assert isinstance(after.exception(timeout=0), SpoolClosedError)
    assert names(spool, lane) == ["Order Paid 0", "Order Paid 1"]


def test_close_commits_what_was_handed_over_and_refuses_what_comes_later(state_dir: Path) -> None:
    with open_spool(state_dir) as opened:
        future = opened.spool.append(make_drafts(2))
        opened.spool.close()
        opened.spool.close()
        assert len(future.result(timeout=0)) == 2
        assert isinstance(opened.spool.append([make_draft()]).exception(timeout=0), SpoolClosedError)
        with pytest.raises(SpoolClosedError):
            opened.spool.claim("mixpanel")
    with open_spool(state_dir) as opened:
        assert opened.spool.stats().accepted == 2
