"""Sending again: dead letters, and ranges of the journal, behind live traffic."""

from pathlib import Path

import pytest

from spoold.delivery.batch import Call
from spoold.providers.base import Deferral, Delivered, Outcome, Rejected, Retry, Split
from spoold.spool.values import Replay, Selection
from tests.support.clock import FakeClock
from tests.support.events import make_draft
from tests.support.lanes import OK, LaneRig, PlainProvider, running_lane, seqs


def replay(rig: LaneRig, **conditions: object) -> Replay:
    return rig.opened.spool.start_replay(Selection("mixpanel", **conditions))  # type: ignore[arg-type]


def state_of(rig: LaneRig) -> tuple[str, int, int, int]:
    newest = rig.opened.spool.replays()[0]
    return newest.state, newest.sent, newest.failed, newest.revived


def bury(rig: LaneRig, count: int) -> None:
    """So many dead letters among 50 events."""
    rig.append(50)
    rig.send(Delivered(dead=tuple(Rejected(index, "bad") for index in range(count))), 400)


def test_dead_letters_are_pending_again_and_sent(rig: LaneRig) -> None:
    bury(rig, 3)
    replay(rig, is_dead=True)

    assert [seqs(call) for call in rig.run()] == [[1, 2, 3]]
    assert (rig.state.dead, rig.state.delivered, rig.state.pending) == (0, 50, 0)
    assert state_of(rig) == ("done", 0, 0, 3)


def test_one_that_is_still_refused_is_dead_again_and_tells_all_its_attempts(rig: LaneRig) -> None:
    bury(rig, 3)
    replay(rig, is_dead=True)
    rig.send(Delivered(dead=(Rejected(1, "still bad"),)), 400)
    rig.run()

    assert rig.dead() == [(2, "still bad", 400, 2)]
    assert (rig.state.dead, rig.state.delivered, rig.state.pending) == (1, 49, 0)


def test_a_range_is_sent_again_and_changes_no_term(rig: LaneRig) -> None:
    rig.append(100)
    rig.run()
    before = rig.state
    replay(rig)
    sent = [seq for call in rig.run() for seq in seqs(call)]

    assert sent == [*range(1, 101)]
    assert state_of(rig) == ("done", 100, 0, 0)
    assert (rig.state.delivered, rig.state.pending, rig.state.cursor) == (before.delivered, 0, before.cursor)
    assert rig.count("events_replayed_total") == 100
    assert rig.count("events_delivered_total") == 100


def test_live_events_go_first(rig: LaneRig) -> None:
    rig.append(100)
    rig.run()
    replay(rig)
    rig.append(50)

    assert seqs(rig.send())[0] == 101


def test_a_replay_of_many_lets_live_events_through(rig: LaneRig) -> None:
    rig.append(2_000)
    rig.run()
    rig.clock.advance(10)
    rig.run()
    replay(rig)
    order: list[int] = []
    for _ in range(4):
        order.append(seqs(rig.send())[0])
        rig.append(50)

    assert order[0] == 1
    assert order[1:] == [2001, 2051, 2101]
    rig.run()
    assert state_of(rig)[:2] == ("done", 2_000)


def test_it_goes_on_after_a_restart_where_it_was(rig: LaneRig) -> None:
    rig.append(1_200)
    rig.run()
    rig.clock.advance(10)
    rig.run()
    replay(rig)
    rig.send()
    assert state_of(rig)[:2] == ("running", 500)
    rig.restart()

    assert [seqs(call)[0] for call in rig.run()] == [501, 1001]
    assert state_of(rig)[:2] == ("done", 1_200)


def test_what_is_refused_in_a_replay_counts_as_failed_and_is_no_dead_letter(rig: LaneRig) -> None:
    rig.append(50)
    rig.run()
    replay(rig)
    rig.send(Delivered(dead=(Rejected(4, "too old"),)), 400)

    assert state_of(rig) == ("done", 49, 1, 0)
    assert (rig.state.dead, rig.dead()) == (0, [])


def test_a_row_of_refusals_alike_in_a_replay_stops_the_lane(rig: LaneRig) -> None:
    rig.append(50)
    rig.run()
    replay(rig)
    rig.run(Split("HTTP 400: no"), status=400)

    assert (rig.lane.state, rig.state.dead, rig.dead()) == ("stopped", 0, [])
    rig.clock.advance(300)
    rig.run()
    assert state_of(rig) == ("done", 50, 0, 0)


def test_what_is_deferred_in_a_replay_holds_up_the_replay_alone(rig: LaneRig, clock: FakeClock) -> None:
    rig.append(50)
    rig.run()
    replay(rig)
    rig.send(Delivered(deferred=(Deferral(0, 30.0, "throttled"),)))
    assert (rig.state.deferred, rig.state.pending) == (0, 0)
    rig.append(50)
    assert [seqs(call)[0] for call in rig.run()] == [51]
    clock.advance(30)

    assert [seqs(call) for call in rig.run()] == [[1]]
    assert state_of(rig) == ("done", 50, 0, 0)


def test_a_failure_is_waited_out(rig: LaneRig, clock: FakeClock) -> None:
    rig.append(50)
    rig.run()
    replay(rig)
    rig.send(Retry("HTTP 503"), 503)
    assert rig.wait_seconds() == 1.0
    clock.advance(1)
    rig.run()

    assert state_of(rig) == ("done", 50, 0, 0)
    assert rig.state.retry.failures == 0


def test_a_restart_in_the_midst_of_a_page_revives_each_dead_letter(state_dir: Path) -> None:
    with running_lane(state_dir, provider=PlainProvider(max_parts=10), in_flight=2) as rig:
        rig.append(50)
        rig.run(lambda call: Delivered(dead=tuple(Rejected(i, "bad") for i in range(0, len(call.items), 2))))
        replay(rig)
        first, second = rig.call(), rig.call()
        rig.reply(first, OK)
        rig.append(50)
        # What is live is settled, and with it what is known of the page.
        live = rig.call()
        while seqs(live)[0] > 50:
            rig.reply(live, OK)
            live = rig.call()
        assert (rig.state.delivered, second.is_flying) == (75, True)
        rig.restart(after_seconds=60)
        rig.run()

        assert (rig.state.dead, rig.state.pending, rig.state.delivered) == (0, 0, 100)
        assert state_of(rig)[3] == 25


def test_it_is_the_probe_where_there_is_nothing_else(rig: LaneRig) -> None:
    rig.append(50)
    rig.run()
    replay(rig)
    rig.send(Retry("HTTP 503"), 503)
    rig.restart(after_seconds=60)
    rig.run()

    assert state_of(rig) == ("done", 50, 0, 0)
    assert rig.state.retry.failures == 0


def test_a_cancelled_one_sends_nothing_more(rig: LaneRig) -> None:
    rig.append(1_200)
    rig.run()
    rig.clock.advance(10)
    rig.run()
    running = replay(rig)
    rig.send()
    rig.opened.spool.cancel_replay(running.id)

    assert len(rig.run()) <= 1
    assert state_of(rig)[0] == "cancelled"


def test_only_what_is_meant_is_sent(rig: LaneRig) -> None:
    rig.append([make_draft("a"), make_draft("b"), make_draft("a", user_id="other")])
    rig.clock.advance(10)
    rig.run()
    replay(rig, event_names=("a",), user_id="u-81")

    assert [seqs(call) for call in rig.run()] == [[1]]


def test_what_can_not_be_sent_counts_as_failed(rig: LaneRig) -> None:
    rig.append([make_draft("unsendable"), make_draft("fine")])
    rig.clock.advance(10)
    rig.run()
    replay(rig)
    rig.run()

    # The dead letter became pending again, and is dead once more.
    assert (rig.state.dead, rig.state.delivered, rig.state.pending) == (1, 1, 0)
    assert state_of(rig) == ("done", 1, 0, 1)


def test_many_dead_letters_go_in_steps(rig: LaneRig) -> None:
    rig.append(1_500)
    rig.run(lambda call: Delivered(dead=tuple(Rejected(index, "bad") for index in range(len(call.items)))))
    rig.clock.advance(10)
    rig.run(lambda call: Delivered(dead=tuple(Rejected(index, "bad") for index in range(len(call.items)))))
    assert rig.state.dead == 1_500
    replay(rig, is_dead=True)
    sent = [seq for call in rig.run() for seq in seqs(call)]

    assert sorted(sent) == [*range(1, 1_501)]
    assert (rig.state.dead, rig.state.delivered, rig.state.pending) == (0, 1_500, 0)
    assert state_of(rig) == ("done", 0, 0, 1_500)


@pytest.mark.parametrize("when", ["before its answer", "after its answer"])
def test_a_crash_repeats_no_more_than_what_was_not_settled(rig: LaneRig, when: str) -> None:
    bury(rig, 10)
    rig.append(50)
    rig.run()
    replay(rig)
    sent: list[int] = []

    def answer(call: Call) -> Outcome:
        sent.extend(seqs(call))
        return OK

    call = rig.call()
    if when == "after its answer":
        rig.reply(call, answer(call))
    rig.restart()
    rig.run(answer)

    assert sorted(sent) == [*range(1, 101)]
    assert (rig.state.dead, rig.state.delivered, rig.state.pending) == (0, 100, 0)


@pytest.mark.parametrize("bad", [1, 20, 50])
def test_an_event_that_the_provider_chokes_on_holds_up_neither_its_replay_for_ever_nor_the_lane(
    rig: LaneRig, bad: int
) -> None:
    def answer(call: Call) -> Outcome:
        return Retry("HTTP 500", blames_content=True) if bad in seqs(call) else OK

    rig.append(50)
    rig.run()
    replay(rig)
    for _ in range(40):
        rig.append(50)
        for _ in range(60):
            rig.run(answer, status=500)
            rig.clock.advance(1)

    assert state_of(rig) == ("done", 49, 1, 0)
    assert (rig.state.dead, rig.state.pending, rig.state.retry.failures) == (0, 0, 0)


@pytest.mark.parametrize("bad", [1, 20])
def test_it_is_found_by_the_replays_own_events_too(rig: LaneRig, bad: int) -> None:
    rig.append(50)
    rig.run()
    replay(rig)
    taken: list[int] = []
    for _ in range(600):
        for call in rig.run(
            lambda call: Retry("HTTP 500", blames_content=True) if bad in seqs(call) else OK, status=500
        ):
            taken += [seq for seq in seqs(call) if bad not in seqs(call)]
        rig.clock.advance(1)

    assert sorted(taken) == [seq for seq in range(1, 51) if seq != bad]
