"""Several requests under way at once: settled in order, and ordered where the provider minds."""

from pathlib import Path

import pytest

from spoold.delivery.batch import Call
from spoold.delivery.lane import Send, Wait
from spoold.providers.base import Delivered, Encoded, Outcome, Retry, Stop, Unsendable
from spoold.record import Event
from tests.support.clock import FakeClock
from tests.support.events import make_drafts, make_identify_draft
from tests.support.lanes import OK, LaneRig, PlainProvider, running_lane, seqs

RETRY = Retry("HTTP 503")


def calls_of(rig: LaneRig) -> list[Call]:
    """All calls that the lane hands out before it waits."""
    handed: list[Call] = []
    while isinstance(action := rig.step(), Send):
        handed.append(action.call)
    return handed


def test_as_many_as_in_flight_are_handed_out(rig: LaneRig) -> None:
    rig.append(300)
    calls = calls_of(rig)

    assert [seqs(call)[0] for call in calls] == [1, 51, 101, 151]
    assert rig.wait() == Wait(None, rig.wait().min_pending)
    assert rig.lane.state == "sending"
    rig.reply(calls[0], OK)
    assert seqs(rig.call())[0] == 201


@pytest.mark.parametrize("in_flight", [1, 2, 20])
def test_the_owner_says_how_many(state_dir: Path, in_flight: int) -> None:
    with running_lane(state_dir, in_flight=in_flight, batch_size=2) as rig:
        rig.append(40)

        assert len(calls_of(rig)) == in_flight


def test_answers_in_any_order_are_settled_in_order(rig: LaneRig) -> None:
    rig.append(150)
    first, second, third = calls_of(rig)
    rig.reply(third, OK)
    rig.reply(second, OK)
    assert (rig.state.cursor, rig.state.delivered) == (0, 0)

    rig.reply(first, OK)
    assert (rig.state.cursor, rig.state.delivered, rig.outcomes()) == (150, 150, ["delivered"])


def test_a_restart_repeats_only_what_was_not_settled(rig: LaneRig) -> None:
    rig.append(150)
    first, _second, third = calls_of(rig)
    rig.reply(third, OK)
    rig.reply(first, OK)
    rig.restart()

    assert [seq for call in rig.run() for seq in seqs(call)] == [*range(51, 151)]


def test_a_failure_holds_back_what_is_not_under_way_yet(rig: LaneRig) -> None:
    rig.append(300)
    first, second, third, fourth = calls_of(rig)
    rig.reply(second, RETRY, 503)

    assert rig.wait_seconds() == 1.0
    assert rig.lane.state == "backoff"
    for call in (first, third, fourth):
        rig.reply(call, OK)
    assert (rig.state.delivered, rig.state.retry.failures) == (50, 1)


def test_failures_of_one_moment_count_as_one(rig: LaneRig, clock: FakeClock) -> None:
    rig.append(300)
    for call in calls_of(rig):
        rig.reply(call, RETRY, 503)

    assert (rig.state.retry.failures, rig.wait_seconds()) == (1, 1.0)
    clock.advance(1)
    assert [seqs(call)[0] for call in calls_of(rig)] == [1]


def test_a_success_of_an_earlier_moment_ends_no_wait(rig: LaneRig) -> None:
    rig.append(100)
    first, second = calls_of(rig)
    rig.reply(second, Retry("HTTP 429", after_seconds=60.0), 429)
    rig.reply(first, OK)

    assert (rig.wait_seconds(), rig.state.retry.failures) == (60.0, 1)


def test_a_longer_wait_that_another_answer_asks_for_is_kept_over_a_restart(rig: LaneRig) -> None:
    rig.append(100)
    first, second = calls_of(rig)
    rig.reply(second, RETRY, 503)
    rig.reply(first, Retry("HTTP 429", after_seconds=60.0), 429)
    assert (rig.wait_seconds(), rig.state.retry.failures) == (60.0, 1)
    rig.restart(after_seconds=20)

    assert rig.wait_seconds() == 40.0


def test_a_probe_that_was_under_way_does_not_shorten_a_wait_that_another_answer_asked_for(
    rig: LaneRig, clock: FakeClock
) -> None:
    rig.append(150)
    first, second, _third = calls_of(rig)
    rig.reply(second, RETRY, 503)
    clock.advance(1)
    probe = rig.call()
    rig.reply(first, Retry("HTTP 429", after_seconds=600.0), 429)
    rig.reply(probe, RETRY, 503)
    assert rig.wait_seconds() == 600.0
    rig.restart(after_seconds=100)

    assert rig.wait_seconds() == 500.0


def test_a_success_of_this_moment_ends_a_wait_that_an_answer_from_before_had_asked_for(rig: LaneRig) -> None:
    rig.append(100)
    first, late = rig.call(), rig.call()
    rig.reply(first, RETRY, 503)
    rig.clock.advance(rig.wait_seconds())
    probe = rig.call()
    rig.reply(late, Retry("HTTP 429", after_seconds=600.0), 429)
    rig.reply(probe, OK)
    assert rig.call().items == late.items


def test_a_call_that_hangs_does_not_hold_up_the_probe(rig: LaneRig, clock: FakeClock) -> None:
    rig.append(300)
    hanging, second, _third, _fourth = calls_of(rig)
    rig.reply(second, RETRY, 503)
    clock.advance(1)

    (probe,) = calls_of(rig)
    assert seqs(probe)[0] == 51
    rig.reply(probe, OK)
    rig.reply(hanging, OK)
    assert rig.state.cursor == 100


def test_while_a_lane_comes_back_there_is_one_at_a_time(rig: LaneRig) -> None:
    rig.append(2_000)
    rig.fail(RETRY, 5)
    rig.send()

    assert len(calls_of(rig)) == 1


def test_a_stop_is_obeyed_whenever_it_comes(rig: LaneRig) -> None:
    rig.append(100)
    first, second = calls_of(rig)
    rig.reply(first, RETRY, 503)
    rig.reply(second, Stop("HTTP 401"), 401)

    assert (rig.lane.state, rig.wait_seconds()) == ("stopped", 300.0)


def test_a_deadline_ends_the_final_flush_although_calls_are_under_way(rig: LaneRig, clock: FakeClock) -> None:
    rig.append(100)
    calls_of(rig)
    rig.lane.request_stop(clock.monotonic() + 5)
    assert rig.wait_seconds() == 5.0
    clock.advance(5)

    assert not isinstance(rig.step(), Wait)
    assert rig.state.pending == 100


class OrderedProvider(PlainProvider):
    """Everything on one route; profiles keep their place."""

    def encode(self, event: Event) -> Encoded | Unsendable:
        encoded = super().encode(event)
        assert isinstance(encoded, Encoded)
        return Encoded("events", encoded.parts, in_order=event.kind == "identify")


def test_a_profile_keeps_its_place_among_the_events(state_dir: Path) -> None:
    with running_lane(state_dir, provider=OrderedProvider(), batch_size=2) as rig:
        rig.append([*make_drafts(4), make_identify_draft(), *make_drafts(5)])
        before = calls_of(rig)
        assert [seqs(call) for call in before] == [[1, 2], [3, 4]]
        rig.reply(before[1], OK)
        assert calls_of(rig) == []
        rig.reply(before[0], OK)
        (ordered,) = calls_of(rig)
        assert seqs(ordered) == [5, 6]
        rig.reply(ordered, OK)

        assert [seqs(call) for call in calls_of(rig)] == [[7, 8], [9, 10]]


def test_profiles_of_one_route_do_not_overtake_each_other(state_dir: Path) -> None:
    with running_lane(state_dir, provider=OrderedProvider(), batch_size=1) as rig:
        rig.append([make_identify_draft() for _ in range(3)])

        order: list[list[int]] = []
        while calls := calls_of(rig):
            order.append([seq for call in calls for seq in seqs(call)])
            rig.reply(calls[0], OK)
        assert order == [[1], [2], [3]]


def test_a_backlog_fills_each_of_several_requests(state_dir: Path) -> None:
    with running_lane(state_dir, provider=PlainProvider(max_parts=300)) as rig:
        rig.append(3_000)

        assert [len(call.items) for call in calls_of(rig)] == [300] * 4


def test_a_backlog_fills_requests_by_bytes_and_leaves_no_remainders(state_dir: Path) -> None:
    with running_lane(state_dir, provider=PlainProvider(max_body_bytes=20_000)) as rig:
        rig.append(3_000)
        rig.clock.advance(10)
        calls = rig.run()

    sizes = [len(call.items) for call in calls]
    assert sum(sizes) == 3_000
    assert min(sizes[:8]) > 0.9 * max(sizes)


def test_every_event_is_delivered_once_whatever_the_order_of_the_answers(rig: LaneRig, clock: FakeClock) -> None:
    taken: list[int] = []
    under_way: list[Call] = []
    rig.append(700)
    outcomes: list[Outcome] = [OK, RETRY, OK, OK, Retry("HTTP 429", after_seconds=3.0), OK]
    for turn in range(2_000):
        action = rig.step()
        if isinstance(action, Send):
            under_way.append(action.call)
            continue
        if under_way:
            call = under_way.pop(turn * 7 % len(under_way))
            outcome = outcomes[turn % len(outcomes)]
            taken += seqs(call) if isinstance(outcome, Delivered) else []
            rig.reply(call, outcome)
        elif rig.state.pending == 0:
            break
        else:
            clock.advance(1)

    assert sorted(taken) == [*range(1, 701)]
    assert rig.state.delivered == 700
