"""When a flush is due: by count, by age, at once after a start; and what a jumping wall clock does to it."""

from pathlib import Path

import pytest

from spoold.delivery.lane import Send, Wait
from tests.support.clock import FakeClock
from tests.support.events import make_big_drafts
from tests.support.lanes import LaneRig, PlainProvider, running_lane, seqs
from tests.support.spools import KIB


def test_an_empty_lane_waits_for_its_first_event(rig: LaneRig) -> None:
    assert rig.wait() == Wait(None, 1)
    assert rig.lane.state == "idle"


def test_50_events_are_due_at_once(rig: LaneRig) -> None:
    rig.append(49)
    assert rig.wait() == Wait(10.0, 50)
    rig.append(1)
    assert seqs(rig.call()) == [*range(1, 51)]
    assert rig.lane.state == "sending"


def test_fewer_are_due_when_the_oldest_is_10_seconds_old(rig: LaneRig, clock: FakeClock) -> None:
    rig.append(1)
    assert rig.wait() == Wait(10.0, 50)
    clock.advance(4)
    rig.append(2)
    assert rig.wait() == Wait(6.0, 50)
    clock.advance(6)
    assert seqs(rig.call()) == [1, 2, 3]


def test_the_age_counts_from_receipt_however_late_the_lane_looks(rig: LaneRig, clock: FakeClock) -> None:
    rig.append(1)
    clock.advance(7)
    assert rig.wait() == Wait(3.0, 50)


def test_120_events_go_as_50_50_and_the_rest(rig: LaneRig, clock: FakeClock) -> None:
    rig.append(120)
    assert [len(call.items) for call in rig.run()] == [50, 50]
    assert rig.wait_seconds() == 10.0
    clock.advance(10)
    assert [len(call.items) for call in rig.run()] == [20]
    assert (rig.state.delivered, rig.state.pending) == (120, 0)


@pytest.mark.parametrize("pending", [1, 49])
def test_what_is_pending_at_a_start_is_due_at_once(rig: LaneRig, pending: int) -> None:
    rig.append(pending)
    rig.restart()

    assert len(rig.call().items) == pending


def test_after_the_first_flush_of_a_start_the_interval_counts_again(rig: LaneRig) -> None:
    rig.append(3)
    rig.restart()
    rig.run()
    rig.append(2)

    assert rig.wait() == Wait(10.0, 50)


@pytest.mark.parametrize("jump_seconds", [-86_400, -3600, -5, 3600, 86_400])
def test_a_wall_clock_that_jumps_delays_a_flush_by_at_most_one_interval(
    rig: LaneRig, clock: FakeClock, jump_seconds: float
) -> None:
    rig.append(1)
    rig.step()
    clock.jump_wall(jump_seconds)
    clock.advance(9.999)
    assert isinstance(rig.step(), Wait)
    clock.advance(0.001)
    assert isinstance(rig.step(), Send)


@pytest.mark.parametrize("jump_seconds", [-86_400, -5, 5, 86_400])
def test_a_jump_before_the_lane_looks_delays_a_flush_by_at_most_one_interval(
    rig: LaneRig, clock: FakeClock, jump_seconds: float
) -> None:
    rig.append(1)
    clock.jump_wall(jump_seconds)
    action = rig.step()

    if isinstance(action, Wait):
        assert action.seconds is not None
        assert 0 < action.seconds <= 10


@pytest.mark.parametrize(("pending", "first"), [(1000, 50), (1001, 1001), (3000, 2000)])
def test_behind_more_than_20_batches_requests_are_filled(rig: LaneRig, pending: int, first: int) -> None:
    rig.append(pending)

    assert len(rig.send().items) == first


def test_a_backlog_is_sent_back_to_back_and_then_in_batches_again(rig: LaneRig, clock: FakeClock) -> None:
    rig.append(2_130)
    assert [len(call.items) for call in rig.run()] == [2000, 50, 50]
    clock.advance(10)
    assert [len(call.items) for call in rig.run()] == [30]
    assert rig.state.delivered == 2_130


@pytest.mark.parametrize(("max_parts", "max_body_bytes"), [(7, 1000 * KIB), (2000, 100 * KIB)])
def test_a_request_never_exceeds_the_providers_limits(state_dir: Path, max_parts: int, max_body_bytes: int) -> None:
    provider = PlainProvider(max_parts, max_body_bytes)
    with running_lane(state_dir, provider=provider) as rig:
        rig.append(make_big_drafts(50))
        calls = rig.run()

    assert [seq for call in calls for seq in seqs(call)] == [*range(1, 51)]
    assert all(len(call.parts) <= max_parts for call in calls)
    assert all(2 + sum(len(part) + 1 for part in call.parts) <= max_body_bytes for call in calls)
    assert len(calls) > 5


def test_an_event_larger_than_the_limit_goes_alone(state_dir: Path) -> None:
    with running_lane(state_dir, provider=PlainProvider(max_body_bytes=10 * KIB), batch_size=3) as rig:
        rig.append(make_big_drafts(3))

        assert [seqs(call) for call in rig.run()] == [[1], [2], [3]]


@pytest.mark.parametrize(("batch_size", "interval_seconds"), [(1, 1.0), (7, 300.0), (1000, 2.5)])
def test_the_owner_sets_size_and_interval(state_dir: Path, batch_size: int, interval_seconds: float) -> None:
    with running_lane(state_dir, batch_size=batch_size, interval_seconds=interval_seconds) as rig:
        if batch_size > 1:
            rig.append(batch_size - 1)
            assert rig.wait() == Wait(interval_seconds, batch_size)
        rig.append(1)
        assert len(rig.call().items) == batch_size
