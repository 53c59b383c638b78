"""Batches whose membership is decided once: the receiver knows them by their id."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from spoold.delivery.batch import Call
from spoold.providers.base import Deferral, Delivered, Limits, Retry, Split
from tests.support.clock import FakeClock
from tests.support.lanes import OK, LaneRig, PlainProvider, running_lane, seqs


class KeepingProvider(PlainProvider):
    """Its receiver drops a batch whose id it has seen."""

    @property
    def routes(self) -> dict[str, Limits]:
        return {route: replace(limits, keeps_batches=True) for route, limits in super().routes.items()}


@pytest.fixture
def rig(state_dir: Path, clock: FakeClock) -> Iterator[LaneRig]:
    with running_lane(state_dir, clock=clock, jitter=1.0, provider=KeepingProvider(max_parts=50)) as rig:
        yield rig


def ids(calls: list[Call]) -> list[tuple[str, list[int]]]:
    return [(call.batch_id, seqs(call)) for call in calls]


def test_a_repeat_has_the_same_events_and_the_same_id(rig: LaneRig, clock: FakeClock) -> None:
    rig.append(20)
    clock.advance(10)
    first = rig.send(Retry("HTTP 503"), 503)
    rig.append(100)
    clock.advance(1)
    again = rig.send(Retry("HTTP 503"), 503)
    rig.restart(after_seconds=60)
    third, *others = rig.run()

    assert ids([first]) == ids([again]) == ids([third])
    assert [len(call.items) for call in others] == [50, 50]


def test_several_under_way_are_the_same_after_a_crash(rig: LaneRig) -> None:
    rig.append(170)
    before = [rig.call(), rig.call(), rig.call()]
    rig.append(200)
    rig.restart()

    assert ids(rig.run())[:3] == ids(before)


def test_only_those_that_are_not_settled_are_remembered(rig: LaneRig) -> None:
    rig.append(150)
    first, second, third = rig.call(), rig.call(), rig.call()
    ends = [rig.state.batches]
    rig.reply(first, OK)
    ends.append(rig.state.batches)
    assert ends == [(50, 100, 150), (100, 150)]
    rig.reply(second, OK)
    rig.reply(third, OK)

    assert (list(rig.state.batches), rig.state.delivered) == ([], 150)


def test_a_probe_of_an_outage_is_the_whole_batch(rig: LaneRig) -> None:
    rig.append(50)
    rig.fail(Retry("HTTP 503", blames_content=True), 9, status=503)

    assert len({call.batch_id for call in rig.calls}) == 1
    assert len({call.batch_id for call in rig.run()}) == 1


def test_a_batch_that_is_refused_is_halved(rig: LaneRig) -> None:
    rig.append(50)
    rig.run(lambda call: Split("HTTP 400: no") if 7 in seqs(call) else OK, status=400)

    assert [seq for seq, *_ in rig.dead()] == [7]
    assert (rig.state.delivered, rig.state.pending) == (49, 0)


def test_a_batch_before_what_the_lane_missed_ends_where_it_ended(rig: LaneRig, clock: FakeClock) -> None:
    rig.append(5)
    rig.opened.spool.close_lane("mixpanel")
    rig.append(7)
    rig.restart()
    clock.advance(10)
    before = rig.send(Retry("HTTP 503"), 503)
    assert rig.state.batches == (12,)
    rig.append(60)
    rig.restart(after_seconds=60)

    calls = rig.run()
    assert ids(calls)[:1] == ids([before])
    assert [seq for call in calls for seq in seqs(call)] == [*range(1, 6), *range(13, 73)]


def test_deciding_costs_no_line_in_the_ledger(rig: LaneRig) -> None:
    rig.append(50)
    rig.run()

    assert rig.outcomes() == ["delivered"]


def test_a_backlog_is_cut_into_batches_that_are_kept(rig: LaneRig) -> None:
    rig.append(3_000)
    before = [rig.call() for _ in range(4)]
    rig.restart()
    rig.append(500)

    calls = rig.run()
    assert ids(calls)[:4] == ids(before)
    assert sorted(seq for call in calls for seq in seqs(call)) == [*range(1, 3_501)]


@pytest.mark.parametrize("provider", [KeepingProvider(max_parts=20), KeepingProvider(max_body_bytes=2_000)])
def test_a_batch_is_one_request_where_one_does_not_hold_as_many(
    state_dir: Path, clock: FakeClock, provider: KeepingProvider
) -> None:
    with running_lane(state_dir, clock=clock, jitter=1.0, provider=provider) as rig:
        rig.append(200)
        first, second, third = rig.call(), rig.call(), rig.call()
        # What is known in the midst of a batch must not shift the others.
        rig.reply(first, Delivered(deferred=(Deferral(len(first.items) - 1, 0.0, "again"),)))
        rig.reply(third, Retry("HTTP 503"), 503)
        assert 0 < rig.state.cursor < seqs(second)[0]
        rig.restart(after_seconds=60)
        later = ids(rig.run())

        assert ids([second, third]) == [one for one in later if one in ids([second, third])]


def test_a_cap_that_was_learnt_and_forgotten_changes_no_batch(rig: LaneRig) -> None:
    rig.append(50)
    rig.run(lambda call: Split("HTTP 413", too_large=True) if len(call.items) == 50 else OK, status=413)
    rig.append(100)
    before = [rig.call(), rig.call(), rig.call()]
    assert len(before[0].items) < 50
    rig.restart()

    assert ids(rig.run())[:3] == ids(before)
