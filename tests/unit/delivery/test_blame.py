"""Whom to blame: a provider that is out, or an event that it chokes on."""

from itertools import pairwise

import pytest

from spoold.delivery.batch import Call
from spoold.providers.base import Delivered, Outcome, Retry, Split
from tests.support.clock import FakeClock
from tests.support.lanes import OK, Answer, LaneRig, seqs

CHOKES = Retry("HTTP 500: oops", blames_content=True)


def choke(*bad: int) -> Answer:
    """A provider that fails whatever holds one of these."""

    def answer(call: Call) -> Outcome:
        return CHOKES if set(bad) & set(seqs(call)) else OK

    return answer


def live(rig: LaneRig, answer: Answer, seconds: int, status: int = 500) -> None:
    """The lane at work for so long."""
    for _ in range(seconds):
        rig.run(answer, status=status)
        rig.clock.advance(1)


@pytest.mark.parametrize("bad", [[1], [50], [23], [1, 2], [1, 50], [10, 40, 60]])
def test_an_event_that_a_provider_chokes_on_is_found_and_the_others_are_delivered(rig: LaneRig, bad: list[int]) -> None:
    rig.append(60)
    live(rig, choke(*bad), 600)
    assert rig.state.delivered == 60 - len(bad)
    # Others come along and pass.
    for _ in range(20):
        rig.append(50)
        live(rig, choke(*bad), 600)

    assert [seq for seq, *_ in rig.dead()] == bad
    assert (rig.state.delivered, rig.state.pending) == (1_060 - len(bad), 0)
    assert all(
        reason == "HTTP 500: oops (alone 5 times, while others were delivered)" for _, reason, _, _ in rig.dead()
    )


def test_it_fails_alone_five_times_with_others_delivered_in_between(rig: LaneRig) -> None:
    history: list[list[int]] = []

    def answer(call: Call) -> Outcome:
        history.append(seqs(call))
        return choke(7)(call)

    rig.append(50)
    live(rig, answer, 300)
    for _ in range(20):
        rig.append(50)
        live(rig, answer, 600)

    failed = [number for number, call in enumerate(history) if 7 in call]
    counted = [
        at
        for before, at in pairwise(failed)
        if history[at] == [7] and any(7 not in call for call in history[before + 1 : at])
    ]
    assert len(counted) == 5
    assert [seq for seq, *_ in rig.dead()] == [7]


def test_without_anything_else_to_send_nobody_is_blamed(rig: LaneRig) -> None:
    rig.append(1)
    live(rig, choke(1), 3_000)

    assert (rig.state.pending, rig.state.dead, rig.lane.state) == (1, 0, "down")


def test_an_outage_is_never_blamed_on_an_event(rig: LaneRig) -> None:
    rig.append(70)
    live(rig, lambda _call: CHOKES, 5_000)
    assert (rig.state.pending, rig.state.dead, rig.state.deferred, rig.lane.state) == (70, 0, 0, "down")

    live(rig, lambda _call: OK, 100)
    assert rig.state.delivered == 70


def test_outages_in_between_count_for_nobody(rig: LaneRig) -> None:
    for _ in range(10):
        rig.append(50)
        live(rig, lambda _call: CHOKES, 300)
        live(rig, lambda _call: OK, 100)

    assert (rig.state.delivered, rig.state.dead) == (500, 0)


def test_a_refused_connection_is_nobodys_fault(rig: LaneRig) -> None:
    rig.append(60)
    refused = Retry("no connection")
    live(rig, lambda call: refused if 7 in seqs(call) else OK, 2_000)

    assert (rig.state.dead, rig.state.deferred) == (0, 0)
    assert rig.state.pending > 0


def test_a_provider_that_names_a_time_speaks_of_itself(rig: LaneRig) -> None:
    rig.append(60)
    busy = Retry("HTTP 503: maintenance", after_seconds=20.0, blames_content=True)
    live(rig, lambda call: busy if 7 in seqs(call) else OK, 2_000)

    assert (rig.state.dead, rig.state.deferred) == (0, 0)


def test_a_suspect_is_remembered_over_a_restart(rig: LaneRig) -> None:
    rig.append(50)
    live(rig, choke(7), 600)
    assert rig.state.deferred == 1
    (failures,) = rig.opened.rows("SELECT failures FROM set_aside")[0]
    rig.restart()
    for _ in range(3):
        rig.append(50)
        live(rig, choke(7), 700)

    assert rig.opened.rows("SELECT failures FROM set_aside")[0][0] > failures
    live(rig, lambda _call: OK, 700)
    assert (rig.state.delivered, rig.state.deferred) == (200, 0)


def test_a_suspect_that_recovers_is_delivered(rig: LaneRig) -> None:
    rig.append(50)
    live(rig, choke(7), 600)
    live(rig, lambda _call: OK, 700)

    assert (rig.state.delivered, rig.state.pending, rig.state.deferred) == (50, 0, 0)


def test_a_refusal_may_be_repeated_before_it_counts(rig: LaneRig) -> None:
    refused = Split("HTTP 422: no", retries=2)
    rig.append(50)
    waits = rig.fail(refused, 2, status=422)
    assert waits == [1.0, 2.0]
    assert [len(call.items) for call in rig.calls] == [50, 50]

    rig.run(lambda call: refused if 7 in seqs(call) else Delivered(), status=422)
    assert [seq for seq, *_ in rig.dead()] == [7]
    assert rig.state.delivered == 49


def test_a_provider_may_find_fewer_refusals_suspicious(rig: LaneRig) -> None:
    rig.append(50)
    rig.run(Split("HTTP 403: Forbidden", suspicious_after=5), status=403)

    assert (rig.lane.state, rig.state.dead, rig.state.pending) == ("stopped", 0, 50)
    assert "5 events in a row were refused alike" in rig.state.retry.last_error


def test_refusals_alike_are_pending_again_even_where_they_were_settled(rig: LaneRig, clock: FakeClock) -> None:
    for _ in range(25):
        rig.append(1)
        clock.advance(10)
        rig.run(Split("HTTP 400: no"), status=400)
        if rig.lane.state == "stopped":
            break

    assert (rig.lane.state, rig.state.dead, rig.state.pending) == ("stopped", 0, 20)
    clock.advance(300)
    live(rig, lambda _call: OK, 20)
    assert (rig.state.delivered, rig.state.dead, rig.state.pending) == (20, 0, 0)


def test_a_probe_that_is_refused_alike_keeps_the_lane_stopped(rig: LaneRig, clock: FakeClock) -> None:
    rig.append(50)
    rig.run(Split("HTTP 400: no"), status=400)
    why = rig.state.retry.last_error
    for _ in range(30):
        clock.advance(300)
        assert len(rig.send(Split("HTTP 400: no"), 400).items) == 1
        assert (rig.lane.state, rig.state.retry.last_error) == ("stopped", why)

    assert (rig.state.dead, rig.state.pending) == (0, 50)
    clock.advance(300)
    rig.run()
    assert rig.state.delivered == 50


def test_a_bad_event_at_the_head_does_not_keep_a_lane_stopped(rig: LaneRig, clock: FakeClock) -> None:
    rig.append(50)
    rig.run(Split("HTTP 400: no"), status=400)
    assert rig.lane.state == "stopped"
    for _ in range(4):
        clock.advance(300)
        rig.run(lambda call: Split("HTTP 400: no") if 1 in seqs(call) else OK, status=400)

    assert [seq for seq, *_ in rig.dead()] == [1]
    assert (rig.state.delivered, rig.state.pending) == (49, 0)


def test_an_operator_may_accept_them_as_dead(rig: LaneRig) -> None:
    rig.append(50)
    rig.run(Split("HTTP 400: no"), status=400)
    rig.opened.spool.command("mixpanel", "accept_dead")
    rig.run(Split("HTTP 400: no"), status=400)

    assert (rig.state.dead, rig.state.pending) == (50, 0)
