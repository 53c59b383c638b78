"""What a lane tries while its provider fails: the head and another in turn, and nothing that has to wait."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from spoold.delivery import judge
from spoold.delivery.batch import Call
from spoold.delivery.lane import Send, Wait
from spoold.providers.base import Deferral, Delivered, Encoded, Outcome, Retry, Unsendable
from spoold.record import Event
from spoold.spool.values import Selection
from tests.support.clock import FakeClock
from tests.support.events import make_draft, make_identify_draft
from tests.support.lanes import OK, LaneRig, PlainProvider, running_lane, seqs

NOBODYS_FAULT = Retry("no connection")
CHOKES = Retry("HTTP 500", blames_content=True)


class OrderedProvider(PlainProvider):
    """Everything on one route; profiles keep their place."""

    def encode(self, event: Event) -> Encoded | Unsendable:
        encoded = super().encode(event)
        assert isinstance(encoded, Encoded)
        return Encoded("events", encoded.parts, in_order=event.kind == "identify")


@pytest.fixture
def ordered(state_dir: Path, clock: FakeClock) -> Iterator[LaneRig]:
    with running_lane(state_dir, clock=clock, jitter=1.0, provider=OrderedProvider(), batch_size=4) as rig:
        yield rig


def calls_of(rig: LaneRig) -> list[Call]:
    """All calls that the lane hands out before it waits."""
    handed: list[Call] = []
    while isinstance(action := rig.step(), Send):
        handed.append(action.call)
    return handed


@pytest.mark.parametrize("pattern", ["tttitttt", "itttttti", "iiiiiiii", "ttttittt"])
@pytest.mark.parametrize("failures", [5, 6, 7, 8, 11, 12])
def test_a_probe_takes_no_profile_out_of_its_place(ordered: LaneRig, pattern: str, failures: int) -> None:
    ordered.append([make_draft() if letter == "t" else make_identify_draft() for letter in pattern])
    ordered.fail(NOBODYS_FAULT, failures)
    order: list[int] = []
    while len(order) < len(pattern):
        order += [seq for call in ordered.run() for seq in seqs(call)]
        ordered.clock.advance(10)

    places = {seq: place for place, seq in enumerate(order)}
    for profile in (seq for seq, letter in enumerate(pattern, 1) if letter == "i"):
        assert all((places[seq] < places[profile]) == (seq < profile) for seq in places if seq != profile)


@pytest.mark.parametrize("bad", [1, 3])
def test_a_profile_that_a_provider_chokes_on_is_found(ordered: LaneRig, bad: int) -> None:
    def answer(call: Call) -> Outcome:
        return CHOKES if bad in seqs(call) else OK

    for _ in range(12):
        ordered.append([make_identify_draft() for _ in range(4)])
        for _ in range(600):
            ordered.run(answer, status=500)
            ordered.clock.advance(1)

    assert [seq for seq, *_ in ordered.dead()] == [bad]
    assert (ordered.state.delivered, ordered.state.pending) == (47, 0)


def test_what_waits_is_no_probe(state_dir: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "MAX_DEFERRED", 0)
    with running_lane(state_dir, clock=clock, jitter=1.0, batch_size=2, in_flight=2) as rig:
        rig.append(4)
        first, second = calls_of(rig)
        rig.reply(second, Delivered(deferred=(Deferral(1, 3600.0, "throttled"),)))
        rig.reply(first, NOBODYS_FAULT, 503)
        clock.advance(1)
        rig.fail(NOBODYS_FAULT, 12)

        assert {seq for call in rig.calls[2:] for seq in seqs(call)} == {1, 2}


def test_calls_that_hang_count_among_those_under_way(rig: LaneRig) -> None:
    rig.append(500)
    _first, failing, *_others = calls_of(rig)
    rig.reply(failing, NOBODYS_FAULT, 503)
    rig.clock.advance(1)
    rig.send()

    # Three still hang.
    assert len(calls_of(rig)) == 1


def test_a_replay_that_waits_keeps_a_failing_lane_neither_busy_nor_from_what_is_due(
    state_dir: Path, clock: FakeClock
) -> None:
    with running_lane(state_dir, clock=clock, jitter=1.0, batch_size=3, provider=PlainProvider(max_parts=2)) as rig:
        rig.append(3)
        rig.run()
        rig.append(3)
        rig.send()
        rig.send(Delivered(deferred=(Deferral(0, 2.0, "throttled"),)))
        assert rig.state.deferred == 1
        rig.opened.spool.start_replay(Selection("mixpanel", until_ms=clock.wall_ms() + 1))
        first, second, *_ = calls_of(rig)
        rig.reply(first, Delivered(deferred=(Deferral(0, 3600.0, "throttled"),)))
        rig.reply(second, NOBODYS_FAULT, 503)
        assert rig.wait_seconds() == 1.0
        clock.advance(1)
        assert rig.wait_seconds() == 1.0
        clock.advance(1)

        assert seqs(rig.send()) == [6]


def test_a_search_for_another_event_ends_somewhere(
    state_dir: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spoold.delivery.supply._MAX_IN_HAND", 20)
    with running_lane(state_dir, clock=clock, jitter=1.0, batch_size=5) as rig:
        rig.append([make_draft(), *(make_draft("unsendable") for _ in range(90))])
        rig.fail(CHOKES, 40)

        assert rig.lane._window.unsettled <= 25


def test_a_lane_that_is_ahead_of_the_count_has_nothing_unread(rig: LaneRig, clock: FakeClock) -> None:
    """The file tells of a commit a moment before the spool's state does."""
    rig.append(10)
    rig.opened.spool.command("mixpanel", "flush")
    before = rig.opened.store.state
    rig.append(3)
    after = rig.opened.store.state
    call = rig.call()
    rig.opened.store.state = before
    rig.lane.request_stop(clock.monotonic() + 5)
    assert isinstance(rig.step(), Wait)
    rig.opened.store.state = after
    rig.reply(call, OK)

    rig.run()
    assert rig.state.pending == 0
