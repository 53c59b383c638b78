"""Refusals alike in a row, where the same event is refused more than once, late, or by an operator's leave."""

import gc

from spoold.delivery.blame import Refusal
from spoold.delivery.lane import Send
from spoold.providers.base import Split
from spoold.spool.values import Selection
from tests.support.lanes import OK, LaneRig

REFUSED = Split("HTTP 403: Forbidden", suspicious_after=4)


def replay_dead(rig: LaneRig) -> None:
    rig.opened.spool.start_replay(Selection("mixpanel", is_dead=True))


def refuse_one(rig: LaneRig) -> None:
    rig.append(1)
    rig.clock.advance(10)
    rig.run(REFUSED, status=403)


def test_an_event_that_was_refused_twice_in_the_row_is_pending_once(rig: LaneRig) -> None:
    refuse_one(rig)
    for _ in range(3):
        replay_dead(rig)
        rig.run(REFUSED, status=403)

    assert (rig.lane.state, rig.state.dead, rig.state.pending) == ("stopped", 0, 1)
    rig.clock.advance(300)
    rig.run(OK)
    assert (rig.state.delivered, rig.state.pending) == (1, 0)


def test_one_that_was_settled_twice_in_the_row_is_pending_once(rig: LaneRig) -> None:
    refuse_one(rig)
    replay_dead(rig)
    rig.run(REFUSED, status=403)
    refuse_one(rig)
    refuse_one(rig)

    assert (rig.lane.state, rig.state.dead, rig.state.pending) == ("stopped", 0, 3)
    rig.clock.advance(300)
    rig.run(OK)
    rig.clock.advance(10)
    rig.run(OK)
    assert (rig.state.delivered, rig.state.pending) == (3, 0)


def test_several_bad_events_that_stand_aside_do_not_keep_their_lane_stopped(rig: LaneRig) -> None:
    for _ in range(4):
        refuse_one(rig)
    assert (rig.lane.state, rig.state.deferred, rig.state.pending) == ("stopped", 3, 4)
    rig.append(5)
    rig.restart()

    for _ in range(20):
        rig.clock.advance(300)
        rig.run(lambda call: REFUSED if min(item.seq for item in call.items) <= 4 else OK, status=403)

    assert rig.state.delivered == 5


def test_a_refusal_that_comes_in_when_the_lane_has_stopped_is_no_dead_letter(rig: LaneRig) -> None:
    rig.append(200)
    under_way = []
    while isinstance(action := rig.step(), Send):
        under_way.append(action.call)
    while rig.lane.state != "stopped":
        rig.reply(under_way.pop(0), REFUSED, 403)
        while isinstance(action := rig.step(), Send):
            under_way.append(action.call)
    assert any(len(call.items) == 1 for call in under_way)
    for call in under_way:
        rig.reply(call, REFUSED, 403)

    assert (rig.state.dead, rig.state.pending) == (0, 200)
    rig.clock.advance(300)
    rig.run(OK)
    assert (rig.state.delivered, rig.state.dead) == (200, 0)


def test_dead_letters_that_an_operator_accepts_are_not_kept_in_memory(rig: LaneRig) -> None:
    rig.opened.spool.command("mixpanel", "accept_dead")
    rig.append(50)
    rig.run(REFUSED, status=403)

    assert rig.state.dead == 50
    gc.collect()
    assert not [one for one in gc.get_objects() if isinstance(one, Refusal)]
