"""What is forgotten, when, and that the room comes back. Never what a lane has not settled."""

from pathlib import Path

import pytest

from spoold.errors import SpoolFullError
from tests.support.clock import FakeClock
from tests.support.events import make_big_drafts, make_draft, make_drafts
from tests.support.spools import KIB, MIB, OpenSpool, open_spool


def settle_all(spool: OpenSpool, lane: str) -> None:
    """Everything that the lane has pending is delivered."""
    state = spool.lane(lane)
    spool.settle(spool.spool.claim(lane), spool.store.state.spool.last_seq, delivered=state.pending)


def fill_up(spool: OpenSpool) -> None:
    """Append until it is refused."""
    while True:
        spool.append(make_big_drafts(5))


def seqs(spool: OpenSpool) -> list[int]:
    """What is still in the journal."""
    return [seq for (seq,) in spool.rows("SELECT _id FROM queue_journal ORDER BY _id")]


def test_delivered_events_stay_until_their_retention_is_over(spool: OpenSpool, lane: str, clock: FakeClock) -> None:
    spool.append(make_drafts(3))
    settle_all(spool, lane)
    clock.advance(3600)
    assert (spool.spool.trim(100), spool.spool.stats().retained) == (0, 3)

    clock.advance(0.001)
    assert (spool.spool.trim(100), spool.spool.stats().retained) == (3, 0)


def test_only_what_is_old_enough_is_forgotten(spool: OpenSpool, lane: str, clock: FakeClock) -> None:
    spool.append(make_drafts(2))
    clock.advance(3000)
    spool.append(make_drafts(2))
    settle_all(spool, lane)
    clock.advance(1000)

    assert spool.spool.trim(100) == 2
    assert seqs(spool) == [3, 4]


def test_what_a_lane_has_not_settled_is_never_forgotten(spool: OpenSpool, lane: str, clock: FakeClock) -> None:
    spool.spool.open_lane("slow", "webhook", "earliest")
    spool.append(make_drafts(6))
    spool.settle(spool.spool.claim(lane), 5)
    spool.settle(spool.spool.claim("slow"), 2)
    clock.advance(1_000_000)

    assert [spool.spool.trim(100), spool.spool.trim(100)] == [2, 0]
    assert spool.seqs("slow") == [3, 4, 5, 6]


def test_what_a_closed_lane_still_has_is_never_forgotten(spool: OpenSpool, lane: str, clock: FakeClock) -> None:
    spool.append(make_drafts(2))
    spool.spool.close_lane(lane)
    spool.append(make_drafts(2))
    clock.advance(1_000_000)
    assert spool.spool.trim(100) == 0

    spool.settle(spool.spool.claim(lane), 2)
    assert spool.spool.trim(100) == 4


def test_without_a_lane_events_wait_for_nobody(spool: OpenSpool, clock: FakeClock) -> None:
    spool.append(make_drafts(3))
    assert spool.spool.trim(100) == 0
    clock.advance(7200)
    assert spool.spool.trim(100) == 3


def test_a_step_forgets_no_more_than_it_may(spool: OpenSpool, lane: str, clock: FakeClock) -> None:
    spool.append(make_drafts(10))
    settle_all(spool, lane)
    clock.advance(7200)

    assert [spool.spool.trim(4) for _ in range(4)] == [4, 4, 2, 0]


def test_a_retention_of_nothing_forgets_what_is_delivered(state_dir: Path, clock: FakeClock) -> None:
    with open_spool(state_dir, clock=clock, retention_seconds=0) as opened:
        opened.spool.open_lane("mixpanel", "mixpanel", "earliest")
        opened.append(make_drafts(5))
        opened.settle(opened.spool.claim("mixpanel"), 3)
        clock.advance(0.001)

        assert opened.spool.trim(100) == 3
        assert opened.seqs("mixpanel") == [4, 5]


def test_forgotten_events_take_their_callers_ids_along(spool: OpenSpool, lane: str, clock: FakeClock) -> None:
    spool.append([make_draft(event_id=bytes([number]) * 16) for number in range(1, 5)])
    spool.settle(spool.spool.claim(lane), 3)
    clock.advance(7200)
    spool.spool.trim(100)

    assert spool.rows("SELECT key, seq FROM caller_id") == [(b"\x04" * 8, 4)]


def test_a_full_spool_forgets_delivered_events_early(state_dir: Path) -> None:
    with open_spool(state_dir, max_bytes=6 * MIB) as opened:
        opened.spool.open_lane("mixpanel", "mixpanel", "earliest")
        opened.append(make_big_drafts(100))
        settle_all(opened, "mixpanel")
        assert opened.spool.trim(1000) == 0
        with pytest.raises(SpoolFullError):
            fill_up(opened)
        assert opened.spool.trim(1000) == 100


def test_a_disk_that_runs_low_forgets_delivered_events_early(spool: OpenSpool, lane: str) -> None:
    spool.append(make_drafts(5))
    spool.settle(spool.spool.claim(lane), 4)
    assert spool.spool.trim(100) == 0

    spool.free_bytes = spool.limits.min_free_bytes - 1
    assert spool.spool.trim(100) == 4
    assert spool.seqs(lane) == [5]


def test_a_limit_below_what_is_there_deletes_nothing(state_dir: Path) -> None:
    with open_spool(state_dir) as opened:
        opened.spool.open_lane("mixpanel", "mixpanel", "earliest")
        opened.append(make_big_drafts(200))
    with open_spool(state_dir, max_bytes=MIB) as opened:
        assert opened.spool.trim(1000) == 0
        assert len(opened.seqs("mixpanel")) == 200
        with pytest.raises(SpoolFullError, match="max_bytes"):
            opened.append(make_drafts(1))


def test_the_room_of_forgotten_events_goes_back_to_the_disk(spool: OpenSpool, lane: str, clock: FakeClock) -> None:
    for _ in range(10):
        spool.append(make_big_drafts(100))
    settle_all(spool, lane)
    spool.store.checkpoint()
    file = spool.directory / "spool.db"
    before = file.stat().st_size
    clock.advance(7200)

    while spool.spool.trim(100):
        pass
    for _ in range(6):
        spool.spool.trim(100)
        spool.store.checkpoint()

    kept = 4 * MIB
    assert before > 19 * MIB
    assert file.stat().st_size < kept + MIB
    assert spool.store.used_bytes() < spool.store.file_bytes() - kept + MIB


def test_where_the_disk_is_low_all_of_it_goes_back_at_once(spool: OpenSpool, lane: str) -> None:
    spool.append(make_big_drafts(100))
    settle_all(spool, lane)
    spool.free_bytes = spool.limits.min_free_bytes - 1

    for _ in range(10):
        spool.spool.trim(1000)

    assert (spool.directory / "spool.db").stat().st_size < 300 * KIB
    spool.free_bytes = spool.limits.min_free_bytes + MIB
    assert spool.append(make_big_drafts(10))


def test_a_step_gives_back_a_bounded_part_of_the_room(spool: OpenSpool, lane: str, clock: FakeClock) -> None:
    for _ in range(10):
        spool.append(make_big_drafts(100))
    settle_all(spool, lane)
    clock.advance(7200)
    before = spool.rows("PRAGMA page_count")[0][0]

    spool.spool.trim(1000)

    given_back = (before - spool.rows("PRAGMA page_count")[0][0]) * 4096
    assert 3.9 * MIB < given_back <= 4.1 * MIB
