"""Replays: how they go on, survive a restart, end and are forgotten; and what trimming leaves them."""

from pathlib import Path
from typing import Any

import pytest

from spoold.errors import LaneClosedError, SpoolFullError, UnknownLaneError, UnknownReplayError
from spoold.spool.values import ReplayStep, Selection
from tests.support.clock import FakeClock
from tests.support.events import make_big_drafts, make_draft
from tests.support.spools import MIB, OpenSpool, open_spool
from tests.unit.spool.moves import everything, move, terms
from tests.unit.spool.replaying import (
    ALL,
    COUNTED,
    LANE,
    TO_SEND,
    at,
    fill,
    ids,
    run,
    start,
    state,
    step,
)


def test_a_dead_letter_is_revived_once_however_often_it_dies(mixed: OpenSpool) -> None:
    replay = start(mixed, is_dead=True)
    other = start(mixed, is_dead=True)
    assert step(mixed, replay.id) == ([], [6])
    move(mixed, LANE, dead=[6])

    assert state(mixed, replay.id).state == "done"
    assert run(mixed, other.id) == ([], [6]), "another word of the operator"


def test_a_dead_letter_that_came_back_meanwhile_is_counted_by_nobody_twice(mixed: OpenSpool) -> None:
    replay = start(mixed, is_dead=True)
    page = mixed.spool.read_replay(replay.id, max_events=10)
    move(mixed, LANE, deferred=[6])

    move(mixed, LANE, replay=ReplayStep(replay.id, page.upto, 0, 0, (6,), is_done=True))

    assert state(mixed, replay.id).revived == 0
    assert terms(mixed, LANE) == (1, 0, 1, 1, 2, 4)


def test_a_replay_counts_what_was_sent_and_what_failed(mixed: OpenSpool) -> None:
    replay = start(mixed)
    move(mixed, LANE, replay=ReplayStep(replay.id, 5, 3, 2, (), is_done=False))
    move(mixed, LANE, replay=ReplayStep(replay.id, 9, 1, 1, (6,), is_done=False))

    now = state(mixed, replay.id)
    assert (now.sent, now.failed, now.revived, now.state) == (4, 3, 1, "running")
    assert now.progress == pytest.approx(9 / 13)


def test_a_replay_goes_on_after_a_restart_where_it_was(state_dir: Path, clock: FakeClock) -> None:
    with open_spool(state_dir, clock=clock) as opened:
        fill(opened, clock)
        conditions: dict[str, Any] = {"event_ids": ids(opened, *ALL), "event_names": ("Odd", "Even"), "since_ms": at(2)}
        number = start(opened, **conditions).id
        sent, revived = step(opened, number, 4)
        before = opened.spool.replays()
    with open_spool(state_dir, clock=clock) as opened:
        assert opened.spool.replays() == before
        running = opened.spool.next_replay(LANE)
        assert running is not None
        assert running.selection == Selection(LANE, **conditions)
        while state(opened, number).state == "running":
            more = step(opened, number, 4)
            sent, revived = sent + more[0], revived + more[1]
        assert (sent, revived) == (sorted(TO_SEND - {1}), [6])


def test_the_same_step_again_counts_nothing_twice(mixed: OpenSpool) -> None:
    replay = start(mixed)
    settled = [
        move(mixed, LANE, replay=ReplayStep(replay.id, 9, 5, 1, (6,), is_done=False), id=b"one") for _ in range(2)
    ]

    assert settled[0].deferred == settled[1].deferred == 2
    assert (state(mixed, replay.id).sent, state(mixed, replay.id).failed) == (5, 1)


def test_a_cancelled_replay_stays_so_with_what_was_sent_by_then(mixed: OpenSpool, clock: FakeClock) -> None:
    replay = start(mixed)
    step(mixed, replay.id, 2)
    page = mixed.spool.read_replay(replay.id, max_events=100)
    clock.advance(1)
    cancelled = mixed.spool.cancel_replay(replay.id)
    cancelled_at_ms = clock.wall_ms()
    clock.advance(1)

    # What was under way is counted; dead letters are left where they are.
    move(mixed, LANE, replay=ReplayStep(replay.id, page.upto, 3, 0, tuple(page.revived), is_done=page.is_end))

    assert (page.revived, page.is_end) == ([6], True)
    assert (cancelled.state, cancelled.sent, cancelled.finished_at_ms) == ("cancelled", 2, cancelled_at_ms)
    now = mixed.spool.cancel_replay(replay.id)
    assert (now.state, now.sent, now.revived, now.finished_at_ms) == ("cancelled", 5, 0, cancelled_at_ms)
    assert mixed.spool.next_replay(LANE) is None
    assert terms(mixed, LANE) == COUNTED


def test_a_replay_that_is_done_can_not_be_cancelled_any_more(mixed: OpenSpool) -> None:
    replay = start(mixed)
    run(mixed, replay.id)
    done = state(mixed, replay.id)

    assert mixed.spool.cancel_replay(replay.id) == done


def test_replays_run_one_after_the_other_the_oldest_first(mixed: OpenSpool) -> None:
    mixed.spool.open_lane("other", "webhook", "latest")
    first, other, second = start(mixed), start(mixed, lane="other"), start(mixed)

    assert [replay.id for replay in mixed.spool.replays()] == [3, 2, 1]
    running = [mixed.spool.next_replay(name) for name in (LANE, "other", "nobody")]
    assert [one and one.id for one in running] == [first.id, other.id, None]
    mixed.spool.cancel_replay(first.id)
    following = mixed.spool.next_replay(LANE)
    assert following is not None
    assert following.id == second.id


def test_the_last_hundred_that_ended_are_kept_and_all_that_run(state_dir: Path, clock: FakeClock) -> None:
    with open_spool(state_dir, clock=clock) as opened:
        fill(opened, clock)
        running = start(opened).id
        for _ in range(150):
            opened.spool.cancel_replay(start(opened).id)
        newest = start(opened, since_ms=at(99)).id
        kept = opened.spool.replays()
    assert newest == 152
    assert [replay.id for replay in kept] == [*range(152, 52, -1), running]
    with open_spool(state_dir, clock=clock) as opened:
        assert opened.spool.replays() == kept
        assert start(opened).id == 153


def test_trimming_waits_for_a_replay_that_has_still_to_send(mixed: OpenSpool, clock: FakeClock) -> None:
    move(mixed, LANE, 13, delivered=2)
    clock.advance(7200)
    replay = start(mixed, since_ms=at(3))
    assert [mixed.spool.trim(100), mixed.spool.trim(100)] == [2, 0]

    step(mixed, replay.id, 5)
    assert [mixed.spool.trim(100), mixed.spool.trim(100)] == [5, 0]
    run_on = step(mixed, replay.id)
    assert (run_on, state(mixed, replay.id).state) == (([8, 9, 10, 11, 12, 13], []), "done")
    assert mixed.spool.trim(100) == 6


@pytest.mark.parametrize("conditions", [{"is_dead": True}, {"event_ids": (b"nowhere, 16 byte",)}])
def test_trimming_does_not_wait_for_a_replay_that_needs_no_journal(
    mixed: OpenSpool, clock: FakeClock, conditions: dict[str, Any]
) -> None:
    move(mixed, LANE, 13, delivered=2)
    start(mixed, **conditions)
    clock.advance(7200)

    assert mixed.spool.trim(100) == 13


def test_trimming_does_not_wait_for_a_cancelled_replay(mixed: OpenSpool, clock: FakeClock) -> None:
    move(mixed, LANE, 13, delivered=2)
    replay = start(mixed)
    clock.advance(7200)
    assert mixed.spool.trim(100) == 0

    mixed.spool.cancel_replay(replay.id)
    assert mixed.spool.trim(100) == 13


def test_a_full_spool_does_not_wait_for_a_replay_which_sends_what_is_left(state_dir: Path) -> None:
    with open_spool(state_dir, max_bytes=6 * MIB) as opened:
        opened.spool.open_lane(LANE, "webhook", "earliest")
        opened.append(make_big_drafts(100))
        move(opened, LANE, 100, delivered=100)
        by_range = start(opened, until_ms=at(99))
        by_id = start(opened, event_ids=ids(opened, 1, 2, 3, 4, 98, 99, 100))
        while opened.spool.stats().refusing is None:
            try:
                opened.append(make_big_drafts(5))
            except SpoolFullError:
                break
        assert opened.spool.trim(90) == 90

        assert run(opened, by_range.id, 4)[0][:10] == list(range(91, 101))
        assert run(opened, by_id.id, 2) == ([98, 99, 100], []), "a page of ids that are all forgotten is no end"


def test_a_closed_lane_takes_no_replay_and_keeps_the_one_it_has(mixed: OpenSpool) -> None:
    replay = start(mixed)
    mixed.spool.close_lane(LANE)

    with pytest.raises(LaneClosedError, match=f"lane {LANE} is closed"):
        start(mixed)
    assert mixed.spool.replays() == [replay]
    mixed.spool.open_lane(LANE, "webhook", "latest")
    assert run(mixed, replay.id) == (sorted(TO_SEND), [6])


def test_what_does_not_exist_is_named(mixed: OpenSpool) -> None:
    with pytest.raises(UnknownLaneError, match=f"no lane is named 'nobody'; there are: {LANE}"):
        start(mixed, lane="nobody")
    with pytest.raises(UnknownLaneError):
        mixed.spool.matches(Selection("nobody"), None, max_events=10)
    for call in (mixed.spool.cancel_replay, lambda number: mixed.spool.read_replay(number, max_events=1)):
        with pytest.raises(UnknownReplayError, match="there is no replay 7"):
            call(7)
    assert mixed.spool.replays() == []


def test_a_step_of_a_replay_that_was_forgotten_leaves_nothing_behind(mixed: OpenSpool) -> None:
    before = everything(mixed)

    with pytest.raises(UnknownReplayError):
        move(mixed, LANE, 10, dead=[10], released=(7,), replay=ReplayStep(7, 5, 1, 0, (), is_done=True))

    mixed.commit()
    assert everything(mixed) == before
    assert terms(mixed, LANE) == COUNTED


@pytest.mark.parametrize(("lane", "upto", "sent"), [("other", 9, 1), (LANE, 4, 1), (LANE, 14, 1), (LANE, 9, -1)])
def test_a_step_that_can_not_be_is_refused(mixed: OpenSpool, lane: str, upto: int, sent: int) -> None:
    mixed.spool.open_lane("other", "webhook", "earliest")
    replay = start(mixed)
    step(mixed, replay.id, 5)
    before = everything(mixed)

    with pytest.raises(ValueError, match=f"lane {lane} can't go on with replay {replay.id}"):
        move(mixed, lane, replay=ReplayStep(replay.id, upto, sent, 0, (6,), is_done=False))
    assert everything(mixed) == before


def test_no_page_is_longer_than_a_thousand_events(spool: OpenSpool, lane: str) -> None:
    chosen = tuple(number.to_bytes(16, "little") for number in range(1, 1101))
    spool.append([make_draft(event_id=event_id) for event_id in chosen])
    move(spool, lane, 1100, dead=range(1, 1101))

    for selection in (Selection(lane), Selection(lane, is_dead=True), Selection(lane, event_ids=chosen)):
        matches = spool.spool.matches(selection, None, max_events=5000)
        assert (len(matches.events), matches.is_end) == (1000, False)
        page = spool.spool.read_replay(spool.spool.start_replay(selection).id, max_events=5000)
        assert (len(page.events) + len(page.revived), page.is_end) == (1000, False)
    assert len(spool.spool.dead(lane, after=0, max_events=5000)) == 1000


@pytest.mark.parametrize("is_dead", [True, False])
def test_a_full_page_is_the_last_one_where_nothing_is_left(mixed: OpenSpool, *, is_dead: bool) -> None:
    replay = start(mixed, is_dead=is_dead, until_ms=None if is_dead else at(4))

    page = mixed.spool.read_replay(replay.id, max_events=1 if is_dead else 3)

    assert (len(page.events), page.revived, page.is_end) == ((0, [6], True) if is_dead else (3, [], True))
