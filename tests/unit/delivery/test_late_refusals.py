"""Refusals that come in when the lane has stopped already."""

from collections import deque

from spoold.delivery.batch import Call
from spoold.delivery.lane import Send
from spoold.providers.base import Split
from tests.support.lanes import OK, LaneRig

_FORBIDDEN = Split("HTTP 403: Forbidden", suspicious_after=5)


def test_events_refused_alike_while_the_lane_stopped_are_pending_too(rig: LaneRig) -> None:
    rig.append(50)
    under_way: deque[Call] = deque()
    while rig.lane.state != "stopped":
        while isinstance(action := rig.step(), Send):
            under_way.append(action.call)
        rig.reply(under_way.popleft(), _FORBIDDEN, 403)
    assert any(len(call.items) == 1 for call in under_way)
    for call in under_way:
        rig.reply(call, _FORBIDDEN, 403)
    assert (rig.state.dead, rig.state.pending) == (0, 50)

    # The probe, then the rest.
    rig.clock.advance(300)
    rig.run(OK)
    assert (rig.state.delivered, rig.state.dead) == (50, 0)
