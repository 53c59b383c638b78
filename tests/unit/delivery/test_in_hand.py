"""How many bytes a lane has in hand: the backlog is on disk, and all lanes share one memory."""

from pathlib import Path

from spoold.delivery.batch import Call
from spoold.delivery.lane import Send
from tests.support.events import make_big_drafts
from tests.support.lanes import OK, LaneRig, PlainProvider, running_lane
from tests.support.spools import MIB

_EVENT_BYTES = 30_000


def large_events(rig: LaneRig, count: int) -> None:
    for _ in range(count // 100):
        rig.append(make_big_drafts(100, _EVENT_BYTES))


def size(call: Call) -> int:
    return sum(item.size for item in call.items)


def test_requests_under_way_hold_no_more_than_some_megabytes_together(state_dir: Path) -> None:
    with running_lane(state_dir, provider=PlainProvider(max_body_bytes=20 * MIB), in_flight=8) as rig:
        large_events(rig, 1_500)
        handed: list[Call] = []
        while isinstance(action := rig.step(), Send):
            handed.append(action.call)

        assert len(handed) > 1
        assert all(size(call) <= 4 * MIB for call in handed)
        assert sum(map(size, handed)) <= 12 * MIB
        for call in handed:
            rig.reply(call, OK)
        rig.run()
        rig.clock.advance(10)
        rig.run()
        assert (rig.state.delivered, rig.state.pending) == (1_500, 0)
