"""The final flush: what is pending goes out while there is time, and what is left stays on disk."""

from spoold.delivery.lane import Done, Send
from spoold.providers.base import Deferral, Delivered, Retry, Stop
from tests.support.clock import FakeClock
from tests.support.events import make_draft, make_identify_draft
from tests.support.lanes import LaneRig, seqs


def stop(rig: LaneRig, budget_seconds: float = 25.0) -> None:
    rig.lane.request_stop(rig.clock.monotonic() + budget_seconds)


def test_an_empty_lane_is_done_at_once(rig: LaneRig) -> None:
    stop(rig)

    assert rig.step() == Done()


def test_what_is_pending_goes_out_without_waiting_for_its_interval(rig: LaneRig) -> None:
    rig.append(3)
    rig.wait()
    stop(rig)

    assert [seqs(call) for call in rig.run()] == [[1, 2, 3]]
    assert rig.step() == Done()
    assert rig.state.pending == 0


def test_the_final_flush_takes_several_calls_where_it_must(rig: LaneRig) -> None:
    rig.append(120)
    stop(rig)

    assert [len(call.items) for call in rig.run()] == [50, 50, 20]
    assert rig.step() == Done()


def test_the_final_flush_ends_at_its_deadline(rig: LaneRig) -> None:
    rig.append(200)
    stop(rig)
    for _ in range(2):
        rig.reply(rig.call(), Delivered(), took_seconds=12.5)

    assert rig.step() == Done()
    assert (rig.state.delivered, rig.state.pending) == (100, 100)


def test_a_call_gets_no_more_time_than_is_left(rig: LaneRig, clock: FakeClock) -> None:
    rig.append(50)
    stop(rig, 25.0)
    clock.advance(7)
    action = rig.step()

    assert isinstance(action, Send)
    assert action.timeout_seconds == 18.0


def test_a_lane_that_waits_out_a_failure_makes_no_extra_attempt(rig: LaneRig) -> None:
    rig.append(50)
    rig.send(Retry("HTTP 503"))
    stop(rig)

    assert rig.step() == Done()
    assert (len(rig.calls), rig.state.pending) == (1, 50)


def test_a_failure_in_the_final_flush_ends_it(rig: LaneRig) -> None:
    rig.append(50)
    stop(rig)
    rig.send(Retry("HTTP 503", after_seconds=2.0))

    assert rig.step() == Done()
    assert (rig.state.pending, rig.state.retry.failures) == (50, 1)


def test_a_stopped_lane_keeps_what_it_has(rig: LaneRig) -> None:
    rig.append(50)
    rig.send(Stop("HTTP 401"), 401)
    stop(rig)

    assert rig.step() == Done()
    assert rig.state.pending == 50


def test_what_is_deferred_stays_pending(rig: LaneRig) -> None:
    rig.append(50)
    stop(rig)
    rig.send(Delivered(deferred=(Deferral(49, 5.0, "slow"),)))

    assert rig.step() == Done()
    assert (rig.state.delivered, rig.state.pending) == (49, 1)


def test_what_was_delivered_before_the_deadline_is_settled_although_its_batch_is_not(rig: LaneRig) -> None:
    """Else a clean stop would repeat at the next start what the provider has confirmed."""
    rig.append([*(make_draft() for _ in range(3)), make_identify_draft()])
    stop(rig, 5.0)
    rig.reply(rig.call(), Delivered(), took_seconds=5.0)

    assert rig.step() == Done()
    assert (rig.state.cursor, rig.state.delivered, rig.state.pending) == (3, 3, 1)
    rig.restart()
    assert [seqs(call) for call in rig.run()] == [[4]]


def test_what_is_left_is_due_at_once_at_the_next_start(rig: LaneRig) -> None:
    rig.append(70)
    stop(rig, 1.0)
    rig.reply(rig.call(), Delivered(), took_seconds=2.0)
    assert rig.step() == Done()
    rig.restart()

    assert seqs(rig.call()) == [*range(51, 71)]
