"""An operator's words: pause, resume, flush."""

import pytest

from spoold.delivery.lane import Done
from spoold.providers.base import Retry, Stop
from tests.support.clock import FakeClock
from tests.support.lanes import OK, LaneRig, seqs


def say(rig: LaneRig, word: str) -> None:
    rig.opened.spool.command("mixpanel", word)  # type: ignore[arg-type]


def test_a_paused_lane_sends_nothing_and_keeps_everything(rig: LaneRig, clock: FakeClock) -> None:
    say(rig, "pause")
    rig.append(500)
    clock.advance(3600)

    assert rig.wait().seconds is None
    assert (rig.lane.state, rig.lane.next_attempt_at, rig.state.pending) == ("paused", None, 500)


def test_what_is_under_way_is_still_settled(rig: LaneRig) -> None:
    rig.append(50)
    call = rig.call()
    say(rig, "pause")
    rig.reply(call, OK)

    assert (rig.state.delivered, rig.lane.state) == (50, "paused")


def test_a_pause_survives_a_restart(rig: LaneRig) -> None:
    rig.append(50)
    say(rig, "pause")
    rig.restart()

    assert rig.wait().seconds is None
    assert rig.lane.state == "paused"


def test_a_resumed_lane_sends_at_once(rig: LaneRig) -> None:
    say(rig, "pause")
    rig.append(3)
    rig.step()
    say(rig, "resume")

    assert seqs(rig.send()) == [1, 2, 3]
    assert rig.lane.state == "idle"


def test_a_paused_lane_makes_no_final_flush(rig: LaneRig, clock: FakeClock) -> None:
    rig.append(50)
    say(rig, "pause")
    rig.lane.request_stop(clock.monotonic() + 25)

    assert isinstance(rig.step(), Done)
    assert rig.state.pending == 50


def test_a_flush_does_not_wait_for_the_interval(rig: LaneRig) -> None:
    rig.append(120)
    rig.run()
    say(rig, "flush")

    assert [len(call.items) for call in rig.run()] == [20]
    rig.append(1)
    assert rig.wait_seconds() == 10.0


def test_a_flush_before_there_is_anything_changes_nothing(rig: LaneRig) -> None:
    say(rig, "flush")
    rig.step()
    rig.append(1)

    assert rig.wait_seconds() == 10.0


@pytest.mark.parametrize("word", ["flush", "resume"])
def test_a_wait_after_a_failure_is_cut_short(rig: LaneRig, word: str) -> None:
    rig.append(50)
    rig.send(Retry("HTTP 429", after_seconds=3600.0), 429)
    say(rig, word)

    assert len(rig.send().items) == 50
    assert rig.state.delivered == 50


def test_a_stopped_lane_that_is_resumed_tries_one_event_at_once(rig: LaneRig) -> None:
    rig.append(50)
    rig.send(Stop("HTTP 401"), 401)
    say(rig, "resume")

    assert len(rig.send(Stop("HTTP 401"), 401).items) == 1
    assert (rig.lane.state, rig.wait_seconds()) == ("stopped", 300.0)


def test_a_word_said_while_the_daemon_was_down_is_not_needed_twice(rig: LaneRig) -> None:
    rig.append(50)
    rig.send(Retry("HTTP 429", after_seconds=3600.0), 429)
    say(rig, "flush")
    rig.restart()

    assert rig.wait_seconds() == 3600.0
