"""Down, stopped and back again: small probes, nothing lost, no burst."""

import pytest

from spoold.delivery.batch import Call
from spoold.providers.base import Delivered, Outcome, Retry, Split, Stop
from tests.support.clock import FakeClock
from tests.support.lanes import LaneRig, seqs

RETRY = Retry("HTTP 503")
STOP = Stop("HTTP 401: the key is wrong")


def test_a_lane_is_down_after_5_failures_in_a_row(rig: LaneRig) -> None:
    rig.append(50)
    states = []
    for _ in range(5):
        rig.fail(RETRY, 1)
        states.append(rig.lane.state)

    assert states == ["backoff"] * 4 + ["down"]


def test_a_lane_that_is_down_probes_with_10_events_and_another_in_turn(rig: LaneRig) -> None:
    rig.append(100)
    rig.fail(RETRY, 8)

    assert [len(call.items) for call in rig.calls] == [50, 50, 50, 50, 50, 10, 1, 10]
    assert rig.lane.state == "down"


def test_a_lane_that_is_back_sends_twice_as_much_each_time(rig: LaneRig) -> None:
    rig.append(5_000)
    rig.fail(RETRY, 5)
    sizes = [len(call.items) for call in rig.run()]

    assert sizes[:7] == [10, 20, 40, 80, 160, 320, 640]
    assert all(size <= 10 * 2**number for number, size in enumerate(sizes))
    assert max(sizes) == 2_000
    assert rig.state.delivered == 5_000


def test_a_ramp_that_meets_a_failure_starts_anew_after_the_next_outage(rig: LaneRig) -> None:
    rig.append(3_000)
    rig.fail(RETRY, 5)
    for _ in range(4):
        rig.send()
    rig.fail(RETRY, 5)

    assert len(rig.send().items) == 10
    assert len(rig.send().items) <= 20


@pytest.mark.parametrize("failures", [4, 11, 12])
def test_after_an_outage_the_events_are_in_order_but_for_a_probe(rig: LaneRig, failures: int) -> None:
    rig.append(60)
    rig.fail(RETRY, failures)
    probe, *delivered = [seq for call in rig.run() for seq in seqs(call)]

    assert probe in (1, 50)
    assert delivered == sorted({*range(1, 61)} - {probe})


def test_a_stopped_lane_probes_with_one_event_every_5_minutes(rig: LaneRig) -> None:
    rig.append(100)

    assert rig.fail(STOP, 4, status=401) == [300.0] * 4
    assert [len(call.items) for call in rig.calls] == [50, 1, 1, 1]
    assert (rig.lane.state, rig.state.retry.last_error) == ("stopped", "HTTP 401: the key is wrong")
    assert (rig.state.pending, rig.state.dead) == (100, 0)


def test_a_stopped_lane_resumes_by_itself_without_a_burst(rig: LaneRig, clock: FakeClock) -> None:
    rig.append(100)
    rig.fail(STOP, 3, status=401)
    sizes = [len(call.items) for call in rig.run()]
    clock.advance(10)
    sizes += [len(call.items) for call in rig.run()]

    assert sizes[:4] == [1, 2, 4, 8]
    assert (rig.lane.state, rig.state.pending, rig.state.retry.is_stopped) == ("idle", 0, False)


def test_a_restart_probes_a_stopped_lane_at_once(rig: LaneRig) -> None:
    rig.append(100)
    rig.send(STOP, 401)
    rig.restart()
    assert rig.lane.state == "stopped"

    assert len(rig.send(STOP, 401).items) == 1
    assert rig.wait_seconds() == 300.0


@pytest.mark.parametrize("failures", [1, 4, 10])
def test_a_stopped_lane_that_meets_a_passing_trouble_stays_stopped(rig: LaneRig, failures: int) -> None:
    rig.append(100)
    rig.fail(STOP, 1, status=401)
    rig.fail(RETRY, failures)

    assert rig.lane.state == "stopped"
    assert len(rig.call().items) == 1


def test_an_event_refused_for_good_also_shows_that_the_provider_is_back(rig: LaneRig) -> None:
    rig.append(100)
    rig.fail(STOP, 2, status=401)
    rig.send(Split("bad event"), 400)

    assert rig.lane.state == "idle"
    assert (rig.state.retry.failures, rig.state.dead, rig.state.pending) == (0, 1, 99)


def test_nothing_is_lost_in_a_long_life_of_every_kind_of_trouble(rig: LaneRig, clock: FakeClock) -> None:
    troubles: list[Outcome] = [RETRY, STOP, Split("too large", too_large=True), Retry("429", 60.0), Split("odd")]
    seen: list[int] = []

    def answer(call: Call) -> Outcome:
        if len(call.items) > 1 and len(rig.calls) % 7 in (1, 4):
            return troubles[len(rig.calls) % len(troubles)]
        seen.extend(seqs(call))
        return Delivered()

    for _ in range(30):
        rig.append(40)
        rig.run(answer)
        clock.advance(400)
        if len(rig.calls) % 5 == 0:
            rig.restart()
    clock.advance(400)
    rig.run()

    assert (rig.state.pending, rig.state.dead, rig.state.delivered) == (0, 0, 1200)
    assert set(seen) <= set(range(1, 1201))
