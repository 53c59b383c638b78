"""How long a lane waits after a failure, and that it waits for ever rather than drop."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoold.delivery.backoff import RetryPolicy
from spoold.delivery.lane import Wait
from spoold.providers.base import Retry
from tests.support.clock import FakeClock, FakeEntropy
from tests.support.lanes import LaneRig, running_lane, seqs

RETRY = Retry("HTTP 503")


@pytest.mark.parametrize(
    ("failures", "ceiling"), [(1, 1.0), (2, 2.0), (3, 4.0), (4, 8.0), (5, 16.0), (6, 30.0), (7, 30.0), (60, 30.0)]
)
def test_a_wait_is_anything_up_to_a_ceiling_that_doubles_to_its_cap(failures: int, ceiling: float) -> None:
    policy = RetryPolicy(max_attempts=100)

    waits = [policy.wait_seconds(failures, RETRY, FakeEntropy(jitter=jitter)) for jitter in (0.0, 0.5, 1.0)]

    assert waits == [0.0, ceiling / 2, ceiling]


@pytest.mark.parametrize("failures", [5, 6, 1_000_000])
def test_a_lane_that_is_down_probes_every_max_delay(failures: int) -> None:
    waits = [RetryPolicy().wait_seconds(failures, RETRY, FakeEntropy(jitter=jitter)) for jitter in (0.0, 1.0)]

    assert waits == [30.0, 30.0]


@pytest.mark.parametrize(
    ("after_seconds", "expected"), [(7.0, 7.0), (45.0, 45.0), (3600.0, 3600.0), (86_400.0, 3600.0)]
)
@pytest.mark.parametrize("failures", [1, 4, 50])
def test_retry_after_wins_up_to_its_cap(failures: int, after_seconds: float, expected: float) -> None:
    assert RetryPolicy().wait_seconds(failures, Retry("429", after_seconds), FakeEntropy()) == expected


def test_a_retry_after_of_nothing_is_no_leave_to_hammer() -> None:
    assert RetryPolicy().wait_seconds(4, Retry("503", 0.0), FakeEntropy(jitter=1.0)) == 8.0
    assert RetryPolicy().wait_seconds(50, Retry("503", 0.0), FakeEntropy()) == 30.0


@pytest.mark.parametrize("after_seconds", [None, 0.0])
def test_what_the_fact_sheet_asks_for_is_a_minimum(after_seconds: float | None) -> None:
    retry = Retry("429", after_seconds, min_seconds=2.0, extra_jitter_seconds=(1.0, 5.0))

    waits = [RetryPolicy().wait_seconds(1, retry, FakeEntropy(jitter=jitter)) for jitter in (0.0, 1.0)]

    assert waits == [3.0, 7.0]


@given(st.integers(1, 10**9), st.integers(0, 2**32))
def test_no_wait_of_the_backoff_exceeds_its_cap_or_is_negative(failures: int, seed: int) -> None:
    policy = RetryPolicy(max_attempts=2**31, initial_delay_seconds=0.3, max_delay_seconds=12.0)

    assert 0.0 <= policy.wait_seconds(failures, RETRY, FakeEntropy(seed)) <= 12.0


def test_a_lane_waits_longer_and_longer_and_then_probes(rig: LaneRig) -> None:
    rig.append(50)

    assert rig.fail(RETRY, 8) == [1.0, 2.0, 4.0, 8.0, 30.0, 30.0, 30.0, 30.0]


def test_429_delays_the_next_attempt_by_retry_after(rig: LaneRig, clock: FakeClock) -> None:
    rig.append(50)
    rig.send(Retry("HTTP 429", after_seconds=90.0), 429)
    assert rig.lane.next_attempt_at == clock.monotonic() + 90.0
    clock.advance(89.9)
    assert rig.wait_seconds() == pytest.approx(0.1)
    clock.advance(0.1)

    assert len(rig.call().items) == 50
    assert rig.lane.next_attempt_at is None


def test_new_events_do_not_end_the_wait_after_a_failure(rig: LaneRig) -> None:
    rig.append(50)
    rig.send(RETRY, 503)
    rig.append(500)

    wait = rig.wait()

    assert wait.seconds == 1.0
    assert wait.min_pending > 10**9


def test_a_repeat_is_the_same_request_byte_for_byte(rig: LaneRig, clock: FakeClock) -> None:
    rig.append(20)
    clock.advance(10)
    first = rig.send(RETRY).parts
    clock.advance(1)
    rig.append(40)
    again = rig.send(RETRY).parts
    rig.restart(after_seconds=3600)
    # A lane that is back begins where it stood; it may send more, never others.
    third = rig.send().parts

    assert first == again == third[:20]


def test_a_success_ends_the_failures(rig: LaneRig) -> None:
    rig.append(50)
    rig.fail(RETRY, 3)
    assert (rig.state.retry.failures, rig.state.retry.last_error, rig.lane.state) == (3, "HTTP 503", "backoff")
    rig.send()

    assert (rig.state.retry.failures, rig.state.retry.last_error, rig.lane.state) == (0, "", "idle")
    assert rig.state.delivered == 50


def test_a_lane_never_drops_however_long_an_outage_lasts(rig: LaneRig) -> None:
    rig.append(70)
    rig.fail(RETRY, 500)

    assert (rig.state.pending, rig.state.dead, rig.state.delivered) == (70, 0, 0)
    assert sorted(seq for call in rig.run() for seq in seqs(call)) == [*range(1, 71)]


def test_a_failure_is_counted_and_kept_in_the_ledger(rig: LaneRig) -> None:
    rig.append(50)
    rig.fail(RETRY, 2)
    rig.send()

    assert rig.outcomes() == ["retry", "retry", "delivered"]
    assert rig.opened.rows("SELECT status, delivered FROM ledger ORDER BY id") == [(503, 0), (503, 0), (200, 50)]
    assert rig.count("retries_total") == 2
    assert rig.count("flushes_total", outcome="retry") == 2
    assert rig.count("events_delivered_total") == 50


@pytest.mark.parametrize("passed_seconds", [0, 30, 99])
def test_a_wait_survives_a_restart(rig: LaneRig, passed_seconds: float) -> None:
    rig.append(50)
    rig.send(Retry("HTTP 429", after_seconds=100.0), 429)
    rig.restart(after_seconds=passed_seconds)

    assert rig.wait_seconds() == pytest.approx(100 - passed_seconds)
    assert rig.lane.state == "backoff"


@pytest.mark.parametrize(
    ("jump_seconds", "expected"), [(-86_400, 100.0), (-50, 100.0), (50, 50.0), (100, 0.0), (86_400, 0.0)]
)
def test_a_wall_clock_that_jumps_never_makes_a_wait_longer_than_it_was(
    rig: LaneRig, clock: FakeClock, jump_seconds: float, expected: float
) -> None:
    rig.append(50)
    rig.send(Retry("HTTP 429", after_seconds=100.0), 429)
    clock.jump_wall(jump_seconds)
    rig.restart()

    action = rig.step()
    assert (action.seconds if isinstance(action, Wait) else 0.0) == pytest.approx(expected)


def test_a_running_wait_does_not_look_at_the_wall_clock(rig: LaneRig, clock: FakeClock) -> None:
    rig.append(50)
    rig.send(Retry("HTTP 429", after_seconds=100.0), 429)
    for jump in (-86_400, 172_800):
        clock.jump_wall(jump)
        assert rig.wait_seconds() == 100.0


def test_failures_in_a_row_survive_a_restart(rig: LaneRig) -> None:
    rig.append(50)
    rig.fail(RETRY, 4)
    rig.restart()
    assert rig.lane.state == "backoff"

    assert rig.fail(RETRY, 1) == [30.0]
    rig.restart()
    assert rig.lane.state == "down"


def test_the_owner_sets_the_attempts_and_the_delays(state_dir: Path) -> None:
    policy = RetryPolicy(max_attempts=3, initial_delay_seconds=0.5, max_delay_seconds=60.0)
    with running_lane(state_dir, jitter=1.0, retry=policy) as rig:
        rig.append(50)
        assert rig.fail(RETRY, 4) == [0.5, 1.0, 60.0, 60.0]
