"""A settlement is one step of a lane: cursor, counters, dead letters and ledger in one commit, or nothing."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from spoold.errors import ImpossibleSettlementError, LeaseLostError
from spoold.spool.values import DeadLetter, RetryState, Settlement
from tests.support.clock import START_MS, FakeClock
from tests.support.events import make_draft, make_drafts
from tests.support.spools import OpenSpool, make_settlement, open_spool

RETRY = RetryState(
    failures=3,
    is_stopped=True,
    wait_ms=4_000,
    not_before_ms=START_MS + 4_000,
    last_error="HTTP 503",
    last_error_at_ms=START_MS,
)


def everything(spool: OpenSpool) -> list[Any]:
    """What a refused settlement must not change."""
    tables = ("spool", "lane", "lane_gap", "set_aside", "ledger", "queue_journal")
    return [spool.rows(f"SELECT * FROM {table}") for table in tables] + [spool.spool.lanes()]


def test_a_settlement_moves_cursor_and_counters_together(spool: OpenSpool, lane: str) -> None:
    spool.append(make_drafts(6))

    spool.settle(spool.spool.claim(lane), 5, delivered=3, filtered=1, dead=[4])

    state = spool.lane(lane)
    assert (state.cursor, state.accepted, state.pending) == (5, 6, 1)
    assert (state.delivered, state.filtered, state.dead, state.purged) == (3, 1, 1, 0)
    assert spool.seqs(lane) == [6]


def test_a_settlement_that_moves_nothing_keeps_how_the_attempts_stand(state_dir: Path) -> None:
    with open_spool(state_dir) as opened:
        opened.spool.open_lane("mixpanel", "mixpanel", "earliest")
        opened.append(make_drafts(2))
        opened.settle(opened.spool.claim("mixpanel"), 0, retry=RETRY, outcome="retry", status=503)
    with open_spool(state_dir) as opened:
        assert opened.lane("mixpanel").retry == RETRY
        assert (opened.lane("mixpanel").cursor, opened.lane("mixpanel").pending) == (0, 2)


@pytest.mark.parametrize("after", [0, 1, 3, 99])
def test_a_settlement_decided_on_another_cursor_is_refused(spool: OpenSpool, lane: str, after: int) -> None:
    spool.append(make_drafts(4))
    lease = spool.spool.claim(lane)
    spool.settle(lease, 2)
    before = everything(spool)

    with pytest.raises(LeaseLostError, match=f"stands at 2, not {after}"):
        spool.spool.settle(lease, make_settlement(after, 4, delivered=1))
    assert everything(spool) == before


def test_the_same_settlement_again_changes_nothing(spool: OpenSpool, lane: str) -> None:
    spool.append(make_drafts(4))
    lease = spool.spool.claim(lane)
    settlement = make_settlement(0, 3, dead=[2])
    first = spool.spool.settle(lease, settlement)
    before = everything(spool)

    assert spool.spool.settle(lease, settlement) == first
    assert everything(spool) == before


def test_the_same_settlement_again_after_a_restart_changes_nothing(state_dir: Path) -> None:
    settlement = make_settlement(0, 2)
    with open_spool(state_dir) as opened:
        opened.spool.open_lane("mixpanel", "mixpanel", "earliest")
        opened.append(make_drafts(3))
        opened.spool.settle(opened.spool.claim("mixpanel"), settlement)
    with open_spool(state_dir) as opened:
        state = opened.spool.settle(opened.spool.claim("mixpanel"), settlement)
        assert (state.cursor, state.delivered, state.pending) == (2, 2, 1)


@pytest.mark.parametrize(
    "settlement",
    [
        make_settlement(0, 5, delivered=6),
        make_settlement(0, 5, delivered=4),
        make_settlement(0, 6),
        make_settlement(0, 3, delivered=-1),
        make_settlement(0, 3, delivered=4, filtered=-1),
        make_settlement(0, 3, delivered=3, filtered=3),
        make_settlement(0, 0, delivered=2),
        make_settlement(0, 3, dead=[5]),
        make_settlement(0, 3, dead=[0]),
        make_settlement(0, 3, dead=[2, 2]),
        make_settlement(0, -1, delivered=0),
    ],
    ids=lambda one: f"{one.upto}: {one.delivered} {one.filtered} {[letter.seq for letter in one.dead]}",
)
def test_counts_that_can_not_be_are_refused_and_change_nothing(
    spool: OpenSpool, lane: str, settlement: Settlement
) -> None:
    spool.append(make_drafts(5))
    lease = spool.spool.claim(lane)
    before = everything(spool)

    with pytest.raises(ValueError, match=f"lane {lane}"):
        spool.spool.settle(lease, settlement)
    assert everything(spool) == before


def test_a_lanes_mistake_is_its_own(spool: OpenSpool, lane: str) -> None:
    spool.append(make_drafts(5))
    lease = spool.spool.claim(lane)
    appended = spool.spool.append(make_drafts(2))

    with pytest.raises(ImpossibleSettlementError):
        spool.spool.settle(lease, make_settlement(0, 5, delivered=9))
    assert [receipt.seq for receipt in appended.result(timeout=0)] == [6, 7]
    spool.settle(lease, 7)


def test_a_dead_letter_keeps_its_record_and_its_reason(spool: OpenSpool, lane: str, clock: FakeClock) -> None:
    spool.append([make_draft("Good"), make_draft("Bad")])
    record = spool.rows("SELECT data FROM queue_journal WHERE _id = 2")[0][0]
    letter = DeadLetter(2, "'time' is too old", 400, 3)

    spool.settle(spool.spool.claim(lane), 2, dead=[letter])
    clock.advance(7200)
    assert spool.spool.trim(100) == 2

    columns = "lane, seq, kind, record, reason, status, attempts, set_aside_at_ms"
    assert spool.rows(f"SELECT {columns} FROM set_aside") == [
        (lane, 2, "dead", record, "'time' is too old", 400, 3, START_MS)
    ]
    assert spool.spool.stats().dead_bytes == len(record)
    assert spool.lane(lane).dead == 1


def test_each_lane_has_dead_letters_of_its_own(spool: OpenSpool, lane: str) -> None:
    spool.spool.open_lane("other", "webhook", "earliest")
    spool.append(make_drafts(2))

    spool.settle(spool.spool.claim(lane), 2, dead=[1])
    spool.settle(spool.spool.claim("other"), 1, dead=[1])

    assert spool.rows("SELECT lane, seq FROM set_aside ORDER BY lane") == [(lane, 1), ("other", 1)]
    assert (spool.lane(lane).dead, spool.lane("other").dead) == (1, 1)


def test_damage_is_counted_once_however_many_lanes_meet_it(spool: OpenSpool, lane: str) -> None:
    spool.spool.open_lane("other", "webhook", "earliest")
    spool.append(make_drafts(3))
    damaged = DeadLetter(2, "damaged", None, 0)

    spool.settle(spool.spool.claim(lane), 3, dead=[damaged])
    spool.settle(spool.spool.claim("other"), 3, dead=[damaged, DeadLetter(3, "refused", 400, 1)])

    assert spool.spool.stats().damaged == 1


def test_each_settlement_leaves_a_row_in_the_ledger(spool: OpenSpool, lane: str) -> None:
    spool.append(make_drafts(5))
    lease = spool.spool.claim(lane)
    spool.settle(lease, 0, retry=RETRY, outcome="retry", status=503, took_ms=1500)
    spool.settle(lease, 4, dead=[2], outcome="partial", took_ms=90)

    columns = "lane, after, upto, at_ms, took_ms, status, outcome, delivered, dead, filtered"
    assert spool.rows(f"SELECT {columns} FROM ledger ORDER BY id") == [
        (lane, 0, 0, START_MS, 1500, 503, "retry", 0, 0, 0),
        (lane, 0, 4, START_MS, 90, 200, "partial", 3, 1, 0),
    ]


@pytest.mark.parametrize("steps", [[10], [3, 3, 3], [1] * 10, [4, 100]])
def test_trimming_folds_the_ledger_so_that_it_still_tells_the_counters(
    spool: OpenSpool, lane: str, clock: FakeClock, steps: list[int]
) -> None:
    spool.append(make_drafts(10))
    lease = spool.spool.claim(lane)
    for upto in (5, 10):
        spool.settle(lease, upto - 2)
        spool.settle(lease, upto, dead=[upto], delivered=0, filtered=1)
    clock.advance(7200)

    for step in steps:
        spool.spool.trim(step)
        state = spool.lane(lane)
        in_ledger = spool.rows("SELECT total(delivered), total(dead), total(filtered) FROM ledger")[0]
        base = spool.rows("SELECT base_delivered, base_dead, base_filtered FROM lane")[0]
        told = [int(one + other) for one, other in zip(in_ledger, base, strict=True)]
        assert told == [state.delivered, state.dead, state.filtered] == [6, 2, 2]
    left = spool.rows("SELECT count(*) FROM queue_journal")[0][0]
    assert spool.rows("SELECT count(*) FROM ledger WHERE upto <= ?", 10 - left) == [(0,)]


def test_several_settlements_and_appends_share_one_commit(spool: OpenSpool, lane: str) -> None:
    spool.append(make_drafts(2))
    lease = spool.spool.claim(lane)
    commits = len(spool.watcher.groups)

    future = spool.spool.append(make_drafts(3))
    spool.settle(lease, 2)

    assert spool.watcher.groups[commits:] == [3]
    assert (len(future.result(timeout=0)), spool.lane(lane).delivered) == (3, 2)


def test_a_refused_settlement_does_not_take_its_neighbours_along(spool: OpenSpool, lane: str) -> None:
    spool.append(make_drafts(2))
    lease = spool.spool.claim(lane)
    future = spool.spool.append(make_drafts(3))

    with pytest.raises(LeaseLostError):
        spool.spool.settle(lease._replace(epoch=0), make_settlement(0, 2))

    assert len(future.result(timeout=0)) == 3
    assert spool.lane(lane).pending == 5


def test_a_closed_lane_still_settles_what_it_had(spool: OpenSpool, lane: str) -> None:
    spool.append(make_drafts(3))
    spool.spool.close_lane(lane)
    spool.append(make_drafts(3))
    lease = spool.spool.claim(lane)

    spool.settle(lease, 3)

    assert (spool.lane(lane).pending, spool.lane(lane).delivered) == (0, 3)
    assert spool.seqs(lane) == []
    with pytest.raises(ValueError, match="can't settle"):
        spool.settle(lease, 4)


def test_a_settlement_is_compared_by_its_id_alone(spool: OpenSpool, lane: str) -> None:
    spool.append(make_drafts(4))
    lease = spool.spool.claim(lane)
    spool.settle(lease, 2, id=b"one")

    repeated = replace(make_settlement(0, 4), id=b"one")

    assert spool.spool.settle(lease, repeated).cursor == 2
