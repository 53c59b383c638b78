"""Events that leave a lane's way: deferred ones stay pending, dead letters do not, and each is in one place (I2)."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from spoold.record import Event
from spoold.spool.values import DAMAGED, PLANNED, DeadLetter, Deferred
from tests.support.clock import START_MS, FakeClock
from tests.support.events import make_draft, make_drafts
from tests.support.spools import OpenSpool, make_settlement, open_spool
from tests.unit.spool.moves import asides, everything, make_deferred, move, terms

DEAD, DEFERRED = "dead", "deferred"
#: Of ten events the first six are behind the cursor.
BEFORE = {1: DEFERRED, 2: DEFERRED, 3: DEFERRED, 4: DEFERRED, 5: DEAD, 6: DEAD}

#: What the next settlement says → (delivered, dead, filtered, purged, deferred, pending), and what stands aside anew.
STEPS: dict[str, tuple[dict[str, Any], tuple[int, ...], dict[int, str | None]]] = {
    "deferred, again": ({"deferred": [1, 2]}, (0, 2, 0, 0, 4, 8), {}),
    "deferred, then dead": ({"dead": [1]}, (0, 3, 0, 0, 3, 7), {1: DEAD}),
    "dead, then deferred": ({"deferred": [5]}, (0, 1, 0, 0, 5, 9), {5: DEFERRED}),
    "both at once": ({"dead": [1], "deferred": [5, 2]}, (0, 2, 0, 0, 4, 8), {1: DEAD, 5: DEFERRED}),
    "delivered": ({"released": (1, 2)}, (2, 2, 0, 0, 2, 6), {1: None, 2: None}),
    "filtered": ({"released": (3,), "released_filtered": 1}, (0, 2, 1, 0, 3, 7), {3: None}),
    "one delivered, two filtered": (
        {"released": (1, 2, 3), "released_filtered": 2}, (1, 2, 2, 0, 1, 5), {1: None, 2: None, 3: None}
    ),
    "ahead, then deferred": ({"upto": 7, "deferred": [7]}, (0, 2, 0, 0, 5, 8), {7: DEFERRED}),
    "ahead, then dead": ({"upto": 7, "dead": [7]}, (0, 3, 0, 0, 4, 7), {7: DEAD}),
    "ahead, between delivered ones": ({"upto": 9, "delivered": 2, "deferred": [8]}, (2, 2, 0, 0, 5, 6), {8: DEFERRED}),
    "all ahead": ({"upto": 10, "dead": [8, 10], "deferred": [7, 9]}, (0, 4, 0, 0, 6, 6),
                  {7: DEFERRED, 8: DEAD, 9: DEFERRED, 10: DEAD}),
    "everything at once": (
        {
            "upto": 10, "delivered": 1, "purged": 1, "dead": [8, 1], "deferred": [9, 5, 4],
            "released": (2, 3), "released_filtered": 1,
        },
        (2, 3, 1, 1, 3, 3),
        {1: DEAD, 2: None, 3: None, 5: DEFERRED, 8: DEAD, 9: DEFERRED},
    ),
    "nothing": ({}, (0, 2, 0, 0, 4, 8), {}),
}  # fmt: skip

#: What can't be, and the word that says why.
IMPOSSIBLE: dict[str, dict[str, Any]] = {
    "an event ahead is released": {"upto": 7, "released": (7,)},
    "an event behind the new cursor is released": {"released": (8,)},
    "a dead letter is released": {"released": (5,)},
    "an event that is nowhere is released": {"released": (99,)},
    "an event is released twice": {"released": (1, 1)},
    "a dead letter dies": {"dead": [5]},
    "an event that is nowhere dies": {"upto": 7, "dead": [99]},
    "a settled event dies": {"upto": 8, "delivered": 2, "dead": [0]},
    "an event dies and is released": {"dead": [1], "released": (1,)},
    "an event dies and is deferred": {"dead": [1], "deferred": [1]},
    "an event ahead dies and is deferred": {"upto": 7, "dead": [7], "deferred": [7]},
    "an event is deferred twice": {"deferred": [1, 1]},
    "an event is deferred and released": {"deferred": [1], "released": (1,)},
    "an event beyond the new cursor is deferred": {"upto": 7, "deferred": [8]},
    "an event ahead is deferred and nothing moves": {"deferred": [7]},
    "an event ahead is deferred and delivered": {"upto": 10, "delivered": 4, "deferred": [7]},
    "an event ahead is deferred, others are forgotten": {"upto": 10, "delivered": 2, "deferred": [7]},
    "more are filtered than released": {"released": (1,), "released_filtered": 2},
    "less than nothing is filtered": {"released": (1,), "released_filtered": -1},
    "something is filtered and nothing released": {"released_filtered": 1},
    "less than nothing is purged": {"upto": 8, "delivered": 3, "purged": -1},
    "one of several can't be": {"upto": 8, "delivered": 1, "dead": [8, 1], "deferred": [5], "released": (2, 99)},
}


def put_aside(spool: OpenSpool, lane: str) -> None:
    """Ten events, and the first six settled: four deferred, two dead."""
    spool.append(make_drafts(10))
    move(spool, lane, 6, dead=[5, 6], deferred=[1, 2, 3, 4])
    assert asides(spool, lane) == BEFORE
    assert terms(spool, lane) == (0, 2, 0, 0, 4, 8)


@pytest.mark.parametrize("step", STEPS)
def test_a_settlement_counts_each_event_in_one_place_and_a_restart_changes_nothing(state_dir: Path, step: str) -> None:
    says, expected, changes = STEPS[step]
    left = {seq: kind for seq, kind in {**BEFORE, **changes}.items() if kind is not None}
    with open_spool(state_dir) as opened:
        lane = opened.spool.open_lane("mixpanel", "mixpanel", "earliest").name
        put_aside(opened, lane)
        state = move(opened, lane, says.get("upto"), **{key: says[key] for key in says if key != "upto"})
        assert state == opened.lane(lane)
        assert (terms(opened, lane), asides(opened, lane)) == (expected, left)
        deferred = opened.spool.deferred(lane)
        assert [one.seq for one in deferred] == sorted(seq for seq, kind in left.items() if kind == DEFERRED)
    with open_spool(state_dir) as opened:
        assert opened.lane(lane) == state
        assert (terms(opened, lane), asides(opened, lane)) == (expected, left)
        assert opened.spool.deferred(lane) == deferred


@pytest.mark.parametrize("step", IMPOSSIBLE)
def test_what_can_not_be_is_refused_and_nothing_of_it_is_written(spool: OpenSpool, lane: str, step: str) -> None:
    put_aside(spool, lane)
    before, says = everything(spool), dict(IMPOSSIBLE[step])

    with pytest.raises(ValueError, match=f"lane {lane}"):
        move(spool, lane, says.pop("upto", None), **says)
    assert everything(spool) == before
    assert terms(spool, lane) == (0, 2, 0, 0, 4, 8)


@pytest.mark.parametrize("says", [{"dead": [4]}, {"deferred": [4]}])
def test_an_event_that_the_lane_missed_can_not_be_set_aside(
    spool: OpenSpool, lane: str, says: dict[str, list[int]]
) -> None:
    spool.append(make_drafts(3))
    spool.spool.close_lane(lane)
    spool.append(make_drafts(2))
    spool.spool.open_lane(lane, "mixpanel", "latest")
    spool.append(make_drafts(2))

    with pytest.raises(ValueError, match="event 4: it is neither ahead nor aside"):
        move(spool, lane, 6, delivered=3, **says)
    assert (terms(spool, lane), asides(spool, lane)) == ((0, 0, 0, 0, 0, 5), {})


def test_a_closed_lane_can_not_settle_what_came_later(spool: OpenSpool, lane: str) -> None:
    spool.append(make_drafts(3))
    spool.spool.close_lane(lane)
    spool.append(make_drafts(3))

    with pytest.raises(ValueError, match="can't settle 3 of 3 pending up to 6"):
        move(spool, lane, 6, delivered=2, dead=[5])
    assert (spool.lane(lane).cursor, terms(spool, lane)) == (0, (0, 0, 0, 0, 0, 3))


def test_a_lane_whose_way_ends_in_a_gap_must_account_for_all_before_it(spool: OpenSpool, lane: str) -> None:
    spool.append(make_drafts(3))
    spool.spool.close_lane(lane)
    spool.append(make_drafts(4))
    spool.spool.open_lane(lane, "mixpanel", "latest")

    with pytest.raises(ValueError, match="would pass 3 pending events and account for 2"):
        move(spool, lane, 3, delivered=2)
    assert terms(spool, lane) == (0, 0, 0, 0, 0, 3)


def test_a_closed_lane_keeps_its_deferred_events_and_may_settle_them(spool: OpenSpool, lane: str) -> None:
    put_aside(spool, lane)
    spool.spool.close_lane(lane)
    spool.append(make_drafts(5))
    assert terms(spool, lane) == (0, 2, 0, 0, 4, 8)

    move(spool, lane, 10, delivered=4, released=(1, 2), deferred=[5])
    assert terms(spool, lane) == (6, 1, 0, 0, 3, 3)
    spool.spool.open_lane(lane, "mixpanel", "latest")
    assert terms(spool, lane) == (6, 1, 0, 0, 3, 3)


def test_the_same_settlement_again_moves_nobody_twice(state_dir: Path) -> None:
    with open_spool(state_dir) as opened:
        lane = opened.spool.open_lane("mixpanel", "mixpanel", "earliest").name
        put_aside(opened, lane)
        settlement = replace(
            make_settlement(6, 8, dead=[1, 8], delivered=1),
            deferred=(make_deferred(5),),
            released=(2, 3),
            released_filtered=1,
        )
        lease = opened.spool.claim(lane)
        first = opened.spool.settle(lease, settlement)
        before = everything(opened)
        assert opened.spool.settle(lease, settlement) == first
        assert (everything(opened), terms(opened, lane)) == (before, (2, 3, 1, 0, 2, 4))
    with open_spool(state_dir) as opened:
        again = opened.spool.settle(opened.spool.claim(lane), settlement)
        assert again == replace(first, epoch=again.epoch)
        assert (everything(opened), terms(opened, lane)) == (before, (2, 3, 1, 0, 2, 4))


def test_what_is_known_of_a_deferred_event_is_what_was_said_last(spool: OpenSpool, lane: str) -> None:
    spool.append(make_drafts(4))
    first = [make_deferred(3), make_deferred(1, wait_ms=5, not_before_ms=9, attempts=2, reason="later", status=None)]
    move(spool, lane, 4, delivered=2, deferred=first)
    assert spool.spool.deferred(lane) == sorted(first)

    last = Deferred(3, 7, 8, 9, 4, "HTTP 503", 503)
    move(spool, lane, deferred=[last])
    assert spool.spool.deferred(lane) == [first[1], last]


def test_a_dead_letter_that_is_deferred_waits_as_it_was_told(spool: OpenSpool, lane: str) -> None:
    spool.append(make_drafts(2))
    move(spool, lane, 2, delivered=1, dead=[DeadLetter(2, "401", 401, 3)])

    back = make_deferred(2, wait_ms=0, attempts=3, reason="401", status=401)
    move(spool, lane, deferred=[back])

    assert spool.spool.deferred(lane) == [back]
    assert spool.spool.dead(lane, after=0, max_events=10) == []


def test_a_deferred_event_that_dies_tells_the_last_word_and_its_time(
    spool: OpenSpool, lane: str, clock: FakeClock
) -> None:
    receipt = spool.append([make_draft("Late")])[0]
    move(spool, lane, 1, deferred=[1])
    clock.advance(90)

    move(spool, lane, dead=[DeadLetter(1, "quota", 400, 6)])

    (letter,) = spool.spool.dead(lane, after=0, max_events=10)
    assert (letter.reason, letter.status, letter.attempts) == ("quota", 400, 6)
    assert letter.dead_at_ms == START_MS + 90_000
    assert spool.spool.find_dead(receipt.event_id) == [letter]


def test_the_spool_counts_an_event_that_several_lanes_deferred_once(spool: OpenSpool, lane: str) -> None:
    spool.spool.open_lane("other", "webhook", "earliest")
    spool.append(make_drafts(4))

    move(spool, lane, 4, delivered=2, deferred=[1, 2])
    assert spool.spool.stats().pending == 4, "the other lane has all of them ahead"
    move(spool, "other", 4, delivered=2, deferred=[2, 3])
    assert spool.spool.stats().pending == 3
    move(spool, lane, released=(2,))
    assert spool.spool.stats().pending == 3
    move(spool, "other", released=(2,))
    assert spool.spool.stats().pending == 2


def test_the_spool_counts_a_deferred_event_that_a_closed_lane_never_had(spool: OpenSpool, lane: str) -> None:
    spool.spool.open_lane("old", "webhook", "earliest")
    spool.append(make_drafts(3))
    spool.spool.close_lane("old")
    spool.append(make_drafts(3))

    move(spool, lane, 6, delivered=4, deferred=[2, 5])

    assert (spool.lane("old").pending, spool.lane(lane).pending) == (3, 2)
    assert spool.spool.stats().pending == 4, "1, 2 and 3 for the old lane, and 5"


def test_the_spool_counts_a_deferred_event_that_another_lane_missed(spool: OpenSpool, lane: str) -> None:
    spool.spool.open_lane("late", "webhook", "earliest")
    spool.append(make_drafts(2))
    spool.spool.close_lane("late")
    spool.append(make_drafts(4))
    spool.spool.open_lane("late", "webhook", "latest")
    spool.append(make_drafts(2))

    move(spool, lane, 8, delivered=5, deferred=[1, 4, 8])

    assert spool.spool.stats().pending == 5, "1, 2, 7 and 8 for the late lane, and 4"


def test_the_oldest_pending_event_may_stand_aside(spool: OpenSpool, lane: str, clock: FakeClock) -> None:
    for _ in range(4):
        spool.append(make_drafts(1))
        clock.advance(10)
    move(spool, lane, 3, delivered=1, dead=[1], deferred=[2])
    assert spool.spool.oldest_pending_at_ms(lane) == START_MS + 10_000
    assert spool.spool.stats().oldest_pending_at_ms == START_MS + 10_000
    assert spool.spool.oldest_pending_at_ms(lane, after=3) == START_MS + 30_000

    move(spool, lane, 4, delivered=1)
    assert spool.spool.oldest_pending_at_ms(lane) == START_MS + 10_000
    move(spool, lane, released=(2,))
    assert spool.spool.oldest_pending_at_ms(lane) is None
    assert spool.spool.stats().oldest_pending_at_ms is None


def test_the_story_of_a_deferred_event_says_pending_and_why(spool: OpenSpool, lane: str) -> None:
    receipt = spool.append(make_drafts(2))[0]

    def fate() -> tuple[str, str]:
        story = spool.spool.find(receipt.event_id)
        assert story is not None
        return story.lanes[0].fate, story.lanes[0].reason

    move(spool, lane, 2, delivered=1, deferred=[1])
    assert fate() == ("pending", "throttled")
    move(spool, lane, dead=[1])
    assert fate() == ("dead", "refused")
    move(spool, lane, deferred=[1])
    assert fate() == ("pending", "throttled")
    move(spool, lane, released=(1,))
    assert fate() == ("settled", "")


def test_trimming_touches_nobody_who_stands_aside(spool: OpenSpool, lane: str, clock: FakeClock) -> None:
    spool.append(make_drafts(5))
    move(spool, lane, 4, delivered=1, dead=[2], deferred=[1, 3])
    records = spool.rows("SELECT seq, record FROM set_aside")
    clock.advance(7200)

    assert [spool.spool.trim(2), spool.spool.trim(100), spool.spool.trim(100)] == [2, 2, 0]

    assert spool.rows("SELECT seq, record FROM set_aside") == records
    assert terms(spool, lane) == (1, 1, 0, 0, 2, 3)
    assert spool.spool.stats().pending == 3
    events = spool.spool.read_deferred(lane, [3, 1])
    assert [(event.seq, event.event_name) for event in events if isinstance(event, Event)] == [
        (1, "Order Paid 0"), (3, "Order Paid 2")
    ]  # fmt: skip
    move(spool, lane, released=(1, 3), deferred=[2])
    assert terms(spool, lane) == (3, 0, 0, 0, 1, 2)


def test_a_deferred_event_that_is_no_longer_there_is_left_out(spool: OpenSpool, lane: str) -> None:
    put_aside(spool, lane)
    assert [event.seq for event in spool.spool.read_deferred(lane, [4, 99, 2])] == [2, 4]


def test_damage_is_counted_once_whatever_the_way_of_the_event(spool: OpenSpool, lane: str) -> None:
    spool.spool.open_lane("other", "webhook", "earliest")
    spool.append(make_drafts(3))
    damaged = DeadLetter(2, DAMAGED, None, 0)
    move(spool, lane, 3, delivered=2, deferred=[2])
    assert spool.spool.stats().damaged == 0

    move(spool, lane, dead=[damaged])
    move(spool, "other", 2, delivered=1, dead=[damaged])
    assert (spool.spool.stats().damaged, terms(spool, lane)) == (1, (2, 1, 0, 0, 0, 0))


def test_a_settlement_that_plans_and_moves_leaves_its_row_in_the_ledger(spool: OpenSpool, lane: str) -> None:
    spool.append(make_drafts(4))

    move(spool, lane, outcome=PLANNED, batches=(2, 4))
    assert (spool.rows("SELECT * FROM ledger"), spool.lane(lane).batches) == ([], (2, 4))
    move(spool, lane, 2, outcome=PLANNED, filtered=2)

    assert terms(spool, lane) == (0, 0, 2, 0, 0, 2)
    assert spool.lane(lane).batches == (4,)


def test_refusals_are_accepted_until_a_deferred_event_is_delivered(spool: OpenSpool, lane: str) -> None:
    put_aside(spool, lane)
    spool.spool.command(lane, "accept_dead")

    assert move(spool, lane, 7, dead=[7]).accepts_dead
    assert move(spool, lane, released=(1,), released_filtered=1).accepts_dead
    assert not move(spool, lane, released=(2,)).accepts_dead
