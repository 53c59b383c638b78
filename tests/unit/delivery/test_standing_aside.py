"""Events that the provider will take later: the lane runs on, they stay pending, and come back in their time."""

from pathlib import Path

import pytest

from spoold.delivery import judge
from spoold.delivery.lane import Done
from spoold.delivery.standby import Standby
from spoold.providers.base import Deferral, Delivered, Outcome, Rejected, Retry
from spoold.spool.values import Deferred
from tests.support.clock import FakeClock
from tests.support.lanes import OK, LaneRig, running_lane, seqs


def throttle(*indexes: int, seconds: float = 30.0) -> Delivered:
    return Delivered(deferred=tuple(Deferral(index, seconds, "throttled") for index in indexes))


def test_it_stays_pending_and_the_lane_moves_on(rig: LaneRig) -> None:
    rig.append(50)
    rig.send(throttle(3, 7), 429)

    assert (rig.state.cursor, rig.state.delivered, rig.state.pending, rig.state.deferred) == (50, 48, 2, 2)
    assert rig.opened.rows("SELECT seq, kind, reason, status, attempts FROM set_aside") == [
        (4, "deferred", "throttled", 429, 1),
        (8, "deferred", "throttled", 429, 1),
    ]
    assert rig.opened.spool.stats().pending == 2


def test_what_is_wanted_again_at_once_is_sent_again_without_a_wait(rig: LaneRig) -> None:
    rig.append(50)
    rig.send(Delivered(dead=(Rejected(0, "bad"),), deferred=tuple(Deferral(i, 0, "resend") for i in range(1, 50))), 400)

    assert (rig.state.dead, rig.state.delivered, rig.state.deferred) == (0, 0, 0)
    assert seqs(rig.send()) == [*range(2, 51)]
    assert (rig.state.dead, rig.state.delivered) == (1, 49)


def test_a_provider_that_wants_all_of_it_again_at_once_is_not_spun_on(rig: LaneRig) -> None:
    rig.append(50)
    rig.send(throttle(*range(50), seconds=0), 429)

    assert (rig.wait_seconds(), rig.state.retry.failures, rig.state.retry.last_error) == (1.0, 1, "throttled")


def test_it_comes_back_together_with_others_that_are_due(rig: LaneRig, clock: FakeClock) -> None:
    rig.append(100)
    rig.send(throttle(0))
    rig.send(throttle(1))
    clock.advance(30)

    assert [seqs(call) for call in rig.run()] == [[1, 52]]
    assert (rig.state.delivered, rig.state.pending) == (100, 0)


@pytest.mark.parametrize(
    ("outcome", "terms"),
    [
        (OK, (50, 0, 0)),
        (Delivered(dead=(Rejected(0, "bad"),)), (49, 1, 0)),
        (throttle(0, seconds=60), (49, 0, 1)),
        (Retry("HTTP 503"), (49, 0, 1)),
    ],
    ids=["delivered", "dead", "deferred again", "failed"],
)
def test_what_may_become_of_it(rig: LaneRig, clock: FakeClock, outcome: Outcome, terms: tuple[int, int, int]) -> None:
    rig.append(50)
    rig.send(throttle(3))
    clock.advance(30)
    call = rig.send(outcome, 400)

    assert [item.attempts for item in call.items] == [2]
    assert (rig.state.delivered, rig.state.dead, rig.state.deferred) == terms
    assert rig.state.pending == rig.state.deferred
    rig.restart(after_seconds=3600)
    rig.run()
    assert rig.state.pending == 0


def test_its_wait_survives_a_restart(rig: LaneRig) -> None:
    rig.append(50)
    rig.send(throttle(3, seconds=3600))
    rig.restart(after_seconds=600)

    assert rig.wait_seconds() == 3000.0


@pytest.mark.parametrize("jump_seconds", [-86_400, 86_400])
def test_a_wall_clock_that_jumps_delays_it_by_no_more_than_its_wait(
    rig: LaneRig, clock: FakeClock, jump_seconds: int
) -> None:
    rig.append(50)
    rig.send(throttle(3, seconds=600))
    clock.jump_wall(jump_seconds)
    rig.restart()
    clock.advance(600)

    assert seqs(rig.send()) == [4]


def test_new_events_are_not_hurried_by_old_ones_aside(rig: LaneRig, clock: FakeClock) -> None:
    rig.append(50)
    rig.send(throttle(3, seconds=3600))
    clock.advance(100)
    rig.append(1)

    assert rig.wait_seconds() == 10.0


def test_an_operators_flush_does_not_wait_for_it(rig: LaneRig) -> None:
    rig.append(50)
    rig.send(throttle(3, seconds=3600))
    rig.opened.spool.command("mixpanel", "flush")

    assert seqs(rig.send()) == [4]


def test_a_stop_does_not_wait_for_it(rig: LaneRig, clock: FakeClock) -> None:
    rig.append(50)
    rig.send(throttle(3))
    rig.lane.request_stop(clock.monotonic() + 25)

    assert isinstance(rig.step(), Done)
    assert rig.state.pending == 1


def test_where_too_many_stand_aside_the_lane_waits(
    state_dir: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judge, "MAX_DEFERRED", 10)
    with running_lane(state_dir, clock=clock, in_flight=1) as rig:
        rig.append(100)
        rig.send(throttle(*range(10)))
        rig.send(throttle(*range(5), seconds=60))
        assert (rig.state.deferred, rig.state.delivered) == (10, 40)
        clock.advance(30)
        sent = [seq for call in rig.run() for seq in seqs(call)]
        assert sent == [*range(1, 11)]
        clock.advance(30)
        assert [seq for call in rig.run() for seq in seqs(call)] == [*range(51, 56)]
        assert (rig.state.delivered, rig.state.pending) == (100, 0)


def test_it_is_not_sent_while_the_lane_waits_out_a_failure(rig: LaneRig, clock: FakeClock) -> None:
    rig.append(50)
    rig.send(throttle(3, seconds=1))
    rig.append(50)
    rig.send(Retry("HTTP 429", after_seconds=60.0), 429)
    clock.advance(30)

    assert rig.wait_seconds() == 30.0


def test_a_lane_that_is_down_tries_what_is_ahead_too(rig: LaneRig, clock: FakeClock) -> None:
    rig.append(50)
    rig.send(throttle(3, seconds=1))
    clock.advance(1)
    rig.fail(Retry("HTTP 503"), 6)
    rig.append(50)

    assert seqs(rig.send())[0] > 50


def deferred(seq: int, wait_ms: int = 0, not_before_ms: int = 0) -> Deferred:
    return Deferred(seq, wait_ms, not_before_ms, 1, 0, "later", 429)


def test_the_standby_hands_out_who_is_due_once() -> None:
    standby = Standby([deferred(5, 1000, 11_000), deferred(3), deferred(9, 9_000, 99_000)], now=100.0, wall_ms=10_000)

    assert (len(standby), standby.next_due_at) == (3, 100.0)
    assert standby.take_due(101.0, 50) == [3, 5]
    assert standby.take_due(101.0, 50) == []
    assert standby.next_due_at == 109.0
    standby.add(deferred(3), 102.0)
    standby.remove(9)
    assert standby.take_due(200.0, 50) == [3]


def test_the_standby_hurries() -> None:
    standby = Standby([deferred(seq, 1000 * seq, 10**9) for seq in (1, 2, 3)], now=0.0, wall_ms=0)
    standby.hurry(0.5)

    assert standby.take_due(0.5, 2) == [1, 2]
