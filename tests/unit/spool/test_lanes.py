"""A lane is a cursor: where it starts, what happens while it is closed, and who may move it."""

from pathlib import Path

import pytest

from spoold.errors import LeaseLostError, UnknownLaneError
from spoold.spool.values import LaneState
from tests.support.clock import START_MS, FakeClock
from tests.support.events import make_draft, make_drafts
from tests.support.spools import OpenSpool, make_settlement, open_spool


def balance(lane: LaneState) -> int:
    """I2: what is accepted is in exactly one place."""
    return lane.accepted - lane.delivered - lane.dead - lane.filtered - lane.purged - lane.pending


def test_a_lane_that_opens_at_the_latest_has_nothing_before_it(spool: OpenSpool) -> None:
    spool.append(make_drafts(3))
    state = spool.spool.open_lane("new", "mixpanel", "latest")
    spool.append(make_drafts(2))

    assert (state.accepted, state.cursor) == (0, 3)
    assert spool.seqs("new") == [4, 5]
    assert spool.lane("new").pending == 2


def test_a_lane_that_opens_at_the_earliest_has_all_that_is_retained(spool: OpenSpool, clock: FakeClock) -> None:
    spool.append(make_drafts(4))
    clock.advance(7200)
    spool.spool.trim(2)
    spool.spool.open_lane("new", "mixpanel", "earliest")
    spool.append(make_drafts(1))

    assert spool.seqs("new") == [3, 4, 5]
    assert (spool.lane("new").accepted, spool.lane("new").pending) == (3, 3)


def test_a_lane_that_opens_at_the_earliest_of_an_empty_journal_begins_with_the_next_event(
    spool: OpenSpool, clock: FakeClock
) -> None:
    spool.append(make_drafts(4))
    clock.advance(7200)
    spool.spool.trim(100)
    spool.spool.open_lane("new", "mixpanel", "earliest")
    spool.append(make_drafts(1))

    assert spool.seqs("new") == [5]
    assert spool.lane("new").pending == 1


def test_opening_again_changes_nothing(spool: OpenSpool, lane: str) -> None:
    spool.append(make_drafts(2))
    before = spool.lane(lane)

    assert spool.spool.open_lane(lane, "mixpanel", "latest") == before
    assert spool.spool.lanes() == [before]


def test_a_lane_may_change_its_kind(spool: OpenSpool, lane: str) -> None:
    spool.append(make_drafts(2))

    state = spool.spool.open_lane(lane, "webhook", "latest")

    assert (state.kind, state.pending) == ("webhook", 2)


def test_a_closed_lane_keeps_what_it_had_and_accrues_nothing(spool: OpenSpool, lane: str) -> None:
    spool.append(make_drafts(3))
    closed = spool.spool.close_lane(lane)
    spool.append(make_drafts(5))

    assert (closed.is_closed, closed.pending) == (True, 3)
    assert spool.spool.close_lane(lane) == spool.lane(lane)
    assert (spool.lane(lane).accepted, spool.lane(lane).pending) == (3, 3)


def test_a_reopened_lane_goes_on_where_it_was_without_what_it_missed(spool: OpenSpool, lane: str) -> None:
    spool.append(make_drafts(3))
    spool.spool.close_lane(lane)
    spool.append(make_drafts(5))
    reopened = spool.spool.open_lane(lane, "mixpanel", "latest")
    spool.append(make_drafts(2))

    assert (reopened.pending, reopened.missed) == (3, 5)
    assert spool.seqs(lane) == [1, 2, 3, 9, 10]
    assert (spool.lane(lane).accepted, spool.lane(lane).pending) == (5, 5)


def test_a_lane_settles_over_its_gap_and_still_balances(spool: OpenSpool, lane: str) -> None:
    spool.append(make_drafts(3))
    spool.spool.close_lane(lane)
    spool.append(make_drafts(5))
    spool.spool.open_lane(lane, "mixpanel", "latest")
    spool.append(make_drafts(2))
    lease = spool.spool.claim(lane)

    spool.settle(lease, 9, delivered=4)

    state = spool.lane(lane)
    assert (state.cursor, state.delivered, state.pending, state.missed, balance(state)) == (9, 4, 1, 0, 0)
    assert spool.seqs(lane) == [10]


def test_a_lane_may_have_several_gaps(spool: OpenSpool, lane: str) -> None:
    for _ in range(3):
        spool.append(make_drafts(2))
        spool.spool.close_lane(lane)
        spool.append(make_drafts(3))
        spool.spool.open_lane(lane, "mixpanel", "latest")
    spool.append(make_drafts(1))

    assert spool.seqs(lane) == [1, 2, 6, 7, 11, 12, 16]
    assert (spool.lane(lane).accepted, spool.lane(lane).missed) == (7, 9)


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
def test_a_page_never_shows_what_was_missed(spool: OpenSpool, lane: str, limit: int) -> None:
    for _ in range(3):
        spool.append(make_drafts(2))
        spool.spool.close_lane(lane)
        spool.append(make_drafts(3))
        spool.spool.open_lane(lane, "mixpanel", "latest")

    found, after, is_end = list[int](), 0, False
    while not is_end:
        page = spool.spool.read(lane, after, max_events=limit, max_bytes=1 << 20)
        found += [event.seq for event in page.events]
        after, is_end = page.after, page.is_end
    assert found == [1, 2, 6, 7, 11, 12]


def test_closing_and_opening_without_events_in_between_leaves_no_gap(spool: OpenSpool, lane: str) -> None:
    spool.append(make_drafts(2))
    spool.spool.close_lane(lane)
    spool.spool.open_lane(lane, "mixpanel", "latest")
    spool.append(make_drafts(1))

    assert spool.rows("SELECT * FROM lane_gap") == []
    assert (spool.seqs(lane), spool.lane(lane).pending) == ([1, 2, 3], 3)


def test_what_a_reopened_lane_missed_is_pending_for_nobody(spool: OpenSpool, lane: str, clock: FakeClock) -> None:
    spool.append(make_drafts(2))
    spool.settle(spool.spool.claim(lane), 2)
    spool.spool.close_lane(lane)
    spool.append(make_drafts(5))
    clock.advance(7200)
    spool.spool.open_lane(lane, "mixpanel", "latest")

    stats = spool.spool.stats()
    assert (stats.pending, stats.retained, stats.oldest_pending_at_ms) == (0, 7, None)
    assert spool.spool.trim(100) == 7
    spool.append(make_drafts(1))
    assert spool.seqs(lane) == [8]
    assert (spool.spool.stats().pending, spool.spool.stats().retained) == (1, 0)


def test_the_oldest_pending_event_is_not_one_that_the_lane_missed(
    spool: OpenSpool, lane: str, clock: FakeClock
) -> None:
    spool.spool.close_lane(lane)
    spool.append(make_drafts(5))
    clock.advance(60)
    spool.spool.open_lane(lane, "mixpanel", "latest")
    spool.append(make_drafts(1))

    assert spool.spool.oldest_pending_at_ms(lane) == START_MS + 60_000
    assert spool.spool.stats().oldest_pending_at_ms == START_MS + 60_000


def test_pending_counts_each_event_once_however_many_lanes_want_it(spool: OpenSpool, lane: str) -> None:
    spool.spool.open_lane("other", "webhook", "earliest")
    spool.append(make_drafts(5))
    spool.settle(spool.spool.claim(lane), 4)
    spool.settle(spool.spool.claim("other"), 2)

    stats = spool.spool.stats()
    assert (stats.accepted, stats.pending, stats.retained) == (5, 3, 2)


def test_a_claim_fences_the_owner_before(spool: OpenSpool, lane: str) -> None:
    spool.append(make_drafts(2))
    old = spool.spool.claim(lane)
    new = spool.spool.claim(lane)
    before = spool.lane(lane)

    with pytest.raises(LeaseLostError, match="epoch 2, not 1"):
        spool.settle(old, 1)
    assert spool.lane(lane) == before
    spool.settle(new, 1)
    assert spool.lane(lane).cursor == 1


def test_a_claim_after_a_restart_fences_the_process_before(state_dir: Path) -> None:
    with open_spool(state_dir) as opened:
        opened.spool.open_lane("mixpanel", "mixpanel", "earliest")
        old = opened.spool.claim("mixpanel")
    with open_spool(state_dir) as opened:
        new = opened.spool.claim("mixpanel")
        assert new.epoch > old.epoch
        with pytest.raises(LeaseLostError):
            opened.spool.settle(old, make_settlement(0, 0))


def test_everything_about_a_lane_survives_a_restart(state_dir: Path, clock: FakeClock) -> None:
    with open_spool(state_dir, clock=clock) as opened:
        opened.spool.open_lane("mixpanel", "mixpanel", "earliest")
        opened.spool.open_lane("old", "webhook", "latest")
        opened.append(make_drafts(4))
        opened.settle(opened.spool.claim("mixpanel"), 3, dead=[2])
        opened.spool.close_lane("old")
        opened.append(make_drafts(2))
        opened.spool.open_lane("old", "webhook", "latest")
        lanes, stats, seqs = opened.spool.lanes(), opened.spool.stats(), opened.seqs("old")
    with open_spool(state_dir, clock=clock) as opened:
        assert opened.spool.lanes() == lanes
        assert opened.seqs("old") == seqs == [1, 2, 3, 4]
        again = opened.spool.stats()
        assert (again.accepted, again.pending, again.retained) == (stats.accepted, stats.pending, stats.retained)


@pytest.mark.parametrize("what", ["claim", "close_lane", "oldest_pending_at_ms", "nudge"])
def test_a_lane_that_does_not_exist_is_named_beside_those_that_do(spool: OpenSpool, lane: str, what: str) -> None:
    with pytest.raises(UnknownLaneError, match=f"no lane is named 'nobody'; there are: {lane}"):
        getattr(spool.spool, what)("nobody")


def test_the_story_of_an_event_says_what_each_lane_made_of_it(spool: OpenSpool, lane: str) -> None:
    spool.spool.open_lane("closed", "webhook", "latest")
    spool.spool.close_lane("closed")
    receipts = spool.append(make_drafts(4))
    spool.spool.open_lane("late", "webhook", "latest")
    receipts += spool.append([make_draft()])
    spool.settle(spool.spool.claim(lane), 3, dead=[2])

    stories = [spool.spool.find(receipt.event_id) for receipt in receipts]

    fates = [{fate.lane: (fate.fate, fate.reason) for fate in story.lanes} for story in stories if story]
    assert [fate[lane] for fate in fates] == [
        ("settled", ""), ("dead", "refused"), ("settled", ""), ("pending", ""), ("pending", "")
    ]  # fmt: skip
    assert [fate["late"][0] for fate in fates] == ["none"] * 4 + ["pending"]
    assert {fate["closed"][0] for fate in fates} == {"none"}


def test_the_story_of_an_event_that_a_lane_missed_says_so_after_the_lane_has_passed_it(
    spool: OpenSpool, lane: str
) -> None:
    spool.spool.close_lane(lane)
    missed = spool.append([make_draft()])[0]
    spool.spool.open_lane(lane, "mixpanel", "latest")
    spool.append([make_draft()])
    spool.settle(spool.spool.claim(lane), 2, delivered=1)

    story = spool.spool.find(missed.event_id)

    assert story is not None
    assert [fate.fate for fate in story.lanes] == ["none"]
    assert spool.lane(lane).missed == 0


def test_what_a_lane_missed_is_forgotten_with_its_events(spool: OpenSpool, lane: str, clock: FakeClock) -> None:
    spool.spool.close_lane(lane)
    spool.append(make_drafts(3))
    spool.spool.open_lane(lane, "mixpanel", "latest")
    spool.append([make_draft()])
    spool.settle(spool.spool.claim(lane), 4, delivered=1)
    clock.advance(7200)

    assert spool.spool.trim(100) == 4
    assert spool.rows("SELECT * FROM lane_gap") == []


def test_pending_counts_what_a_closed_lane_still_has(spool: OpenSpool, lane: str) -> None:
    spool.spool.open_lane("old", "webhook", "earliest")
    spool.append(make_drafts(3))
    spool.spool.close_lane("old")
    spool.append(make_drafts(10))
    lease = spool.spool.claim(lane)

    spool.settle(lease, 11)

    stats = spool.spool.stats()
    assert (spool.lane("old").pending, spool.lane(lane).pending) == (3, 2)
    assert (stats.pending, stats.retained) == (5, 8)


def test_pending_counts_nothing_that_a_lane_missed(spool: OpenSpool, lane: str) -> None:
    spool.append(make_drafts(2))
    spool.spool.close_lane(lane)
    spool.append(make_drafts(4))
    spool.spool.open_lane(lane, "mixpanel", "latest")
    spool.append(make_drafts(3))
    lease = spool.spool.claim(lane)

    assert spool.spool.stats().pending == 5
    spool.settle(lease, 7, delivered=3)
    assert spool.spool.stats().pending == 2
