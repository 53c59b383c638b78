"""What each outcome of a call leads to: each event is delivered, set aside with its reason, or still pending."""

import pytest

from spoold.delivery.batch import Call
from spoold.delivery.lane import Wait
from spoold.errors import LeaseLostError, SpoolCorruptError
from spoold.providers.base import Deferral, Delivered, Outcome, Rejected, Retry, Split
from tests.support.clock import FakeClock
from tests.support.events import make_big_drafts, make_draft, make_drafts
from tests.support.lanes import Answer, LaneRig, seqs

REFUSED = Split("the batch is refused")


def refuse(*bad: int, too_large: bool = False) -> Answer:
    """A provider that refuses a whole call for one of its events, without saying which."""

    def answer(call: Call) -> Outcome:
        is_bad = bool(set(bad) & set(seqs(call)))
        return Split("the batch is refused", too_large=too_large) if is_bad else Delivered()

    return answer


def test_a_delivered_call_is_settled_in_one_commit(rig: LaneRig) -> None:
    rig.append(50)
    commits = len(rig.opened.watcher.groups)
    rig.send()

    assert len(rig.opened.watcher.groups) - commits == 1
    assert (rig.state.cursor, rig.state.delivered, rig.state.pending) == (50, 50, 0)
    assert rig.outcomes() == ["delivered"]


def test_events_named_dead_are_set_aside_and_the_others_are_delivered(rig: LaneRig) -> None:
    rig.append(50)
    rig.send(Delivered(dead=(Rejected(3, "'time' is invalid"), Rejected(49, "'$insert_id' is invalid"))), 400)

    assert rig.dead() == [(4, "'time' is invalid", 400, 1), (50, "'$insert_id' is invalid", 400, 1)]
    assert (rig.state.delivered, rig.state.dead, rig.state.pending) == (48, 2, 0)
    assert rig.outcomes() == ["partial"]
    assert rig.count("events_dead_total", reason="rejected") == 2


def test_every_event_of_a_call_may_be_named_dead(rig: LaneRig) -> None:
    rig.append(50)
    rig.send(Delivered(dead=tuple(Rejected(index, "no") for index in range(50))), 400)

    assert (rig.state.delivered, rig.state.dead, rig.state.pending) == (0, 50, 0)


def test_a_dead_letter_tells_how_often_it_was_sent(rig: LaneRig) -> None:
    rig.append(50)
    rig.fail(Retry("HTTP 503"), 3)
    rig.send(Delivered(dead=(Rejected(0, "no"),)), 400)

    assert rig.dead() == [(1, "no", 400, 4)]


def test_a_deferred_event_is_sent_again_alone_after_its_wait(rig: LaneRig, clock: FakeClock) -> None:
    rig.append(50)
    rig.send(Delivered(deferred=(Deferral(4, 30.0, "slow"), Deferral(9, 60.0, "slower"))))
    assert (rig.state.cursor, rig.state.delivered, rig.state.pending, rig.state.deferred) == (50, 48, 2, 2)
    assert rig.wait_seconds() == 30.0
    clock.advance(30)

    assert seqs(rig.send()) == [5]
    clock.advance(30)
    assert seqs(rig.send()) == [10]
    assert (rig.state.delivered, rig.state.pending, rig.state.deferred) == (50, 0, 0)


def test_a_deferral_does_not_hold_the_next_events(rig: LaneRig) -> None:
    rig.append(50)
    rig.send(Delivered(deferred=(Deferral(0, 5.0, "slow"),)))
    rig.append(50)

    assert [seqs(call)[0] for call in rig.run()] == [51]


def test_a_refused_call_is_halved_until_the_bad_event_stands_alone(rig: LaneRig) -> None:
    rig.append(50)
    calls = rig.run(refuse(20), status=400)

    assert rig.dead() == [(20, "the batch is refused", 400, 7)]
    assert (rig.state.delivered, rig.state.dead, rig.state.pending) == (49, 1, 0)
    assert len(calls) < 15


@pytest.mark.parametrize("bad", [[1], [50], [1, 2, 3], [1, 25, 26, 50], [*range(10, 20)]])
def test_only_the_bad_events_are_set_aside(rig: LaneRig, bad: list[int]) -> None:
    rig.append(50)
    rig.run(refuse(*bad), status=400)

    assert [seq for seq, *_ in rig.dead()] == bad
    assert (rig.state.delivered, rig.state.pending) == (50 - len(bad), 0)


def test_an_event_with_a_known_outcome_is_not_sent_again(rig: LaneRig) -> None:
    rig.append(50)
    taken: list[int] = []

    def answer(call: Call) -> Outcome:
        outcome = refuse(7, 33)(call)
        taken.extend(seqs(call) if isinstance(outcome, Delivered) else ())
        return outcome

    rig.run(answer, status=400)

    assert sorted(taken) == [seq for seq in range(1, 51) if seq not in (7, 33)]


def test_20_events_refused_alike_in_a_row_stop_the_lane_and_are_pending_again(rig: LaneRig, clock: FakeClock) -> None:
    rig.append(50)
    rig.run(REFUSED, status=400)

    assert rig.lane.state == "stopped"
    assert "20 events in a row were refused alike: the batch is refused" in rig.state.retry.last_error
    assert (rig.state.dead, rig.state.pending) == (0, 50)
    clock.advance(300)
    assert [seq for call in rig.run() for seq in seqs(call)] == [*range(1, 51)]
    assert (rig.state.dead, rig.state.delivered) == (0, 50)


def test_19_events_refused_alike_are_set_aside(rig: LaneRig) -> None:
    rig.append(50)
    rig.run(refuse(*range(1, 20)), status=400)

    assert (rig.lane.state, rig.state.dead, rig.state.delivered) == ("idle", 19, 31)


def test_events_refused_with_different_words_are_no_bad_key(rig: LaneRig) -> None:
    rig.append(50)
    rig.run(lambda call: Split(f"bad event {seqs(call)[0]}"), status=400)

    assert (rig.state.dead, rig.state.pending, rig.lane.state) == (50, 0, "idle")


def test_a_delivered_event_in_between_shows_that_the_key_is_good(rig: LaneRig) -> None:
    rig.append(50)
    rig.run(refuse(*range(1, 16), *range(17, 36)), status=400)

    assert (rig.state.dead, rig.state.delivered, rig.lane.state) == (34, 16, "idle")


def test_413_lowers_the_cap_for_the_calls_to_come(rig: LaneRig) -> None:
    rig.append(make_big_drafts(50))
    limit = 200_000

    def answer(call: Call) -> Outcome:
        is_large = sum(map(len, call.parts)) > limit
        return Split("HTTP 413", too_large=True) if is_large else Delivered()

    first = rig.run(answer, status=413)
    rig.append(make_big_drafts(50))
    second = rig.run(answer, status=413)

    assert sum(sum(map(len, call.parts)) > limit for call in first) > 0
    assert sum(sum(map(len, call.parts)) > limit for call in second) == 0
    assert (rig.state.delivered, rig.state.dead) == (100, 0)


def test_an_event_that_alone_is_too_large_is_set_aside(rig: LaneRig) -> None:
    rig.append([make_draft(), *make_big_drafts(1), make_draft()])
    rig.clock.advance(10)
    rig.run(refuse(2, too_large=True), status=413)

    assert [(seq, status) for seq, _, status, _ in rig.dead()] == [(2, 413)]
    assert rig.state.delivered == 2


def test_an_event_that_can_not_be_sent_is_set_aside_and_the_others_are_sent(rig: LaneRig) -> None:
    rig.append([make_draft("one"), make_draft("unsendable"), make_draft("two")])
    rig.clock.advance(10)

    assert seqs(rig.send()) == [1, 3]
    assert rig.dead() == [(2, "unsendable: it has no user", None, 0)]
    assert rig.count("events_dead_total", reason="unsendable") == 1


def test_a_batch_of_which_nothing_can_be_sent_needs_no_call(rig: LaneRig) -> None:
    rig.append([make_draft("unsendable") for _ in range(50)])

    assert isinstance(rig.step(), Wait)
    assert rig.calls == []
    assert (rig.state.dead, rig.state.pending) == (50, 0)


def test_a_damaged_event_is_set_aside_and_the_others_are_delivered(rig: LaneRig) -> None:
    rig.append(make_drafts(50))
    rig.opened.rows("UPDATE queue_journal SET data = substr(data, 1, 30) || x'00' || substr(data, 32) WHERE _id = 7")

    assert [seq for call in rig.run() for seq in seqs(call)] == [seq for seq in range(1, 51) if seq != 7]
    assert rig.dead() == [(7, "damaged", None, 0)]
    assert (rig.state.delivered, rig.state.dead, rig.opened.spool.stats().damaged) == (49, 1, 1)
    assert rig.count("events_dead_total", reason="damaged") == 1


def test_a_warning_changes_nothing(rig: LaneRig) -> None:
    rig.append(50)
    rig.send(Delivered(warning="50 sent, 49 counted"))

    assert (rig.state.delivered, rig.state.pending) == (50, 0)


def test_a_lane_that_changed_hands_settles_nothing_more(rig: LaneRig) -> None:
    rig.append(50)
    call = rig.call()
    rig.take_lane()

    with pytest.raises(LeaseLostError):
        rig.reply(call, Delivered())
    assert (rig.state.delivered, rig.state.pending) == (0, 50)


def test_a_reply_to_a_call_that_was_not_made_is_refused(rig: LaneRig) -> None:
    rig.append(50)
    call = rig.call()
    rig.reply(call, Delivered())

    with pytest.raises(ValueError, match="no such call"):
        rig.reply(call, Delivered())


def test_a_damaged_event_is_found_at_each_read_and_never_sent(rig: LaneRig) -> None:
    """I11: also one that was damaged after the lane had read it once, before a restart."""
    rig.append(50)
    rig.send(Retry("HTTP 503"))
    rig.opened.rows("UPDATE queue_journal SET data = substr(data, 1, 30) || x'00' || substr(data, 32) WHERE _id = 9")
    rig.restart(after_seconds=60)

    assert 9 not in [seq for call in rig.run() for seq in seqs(call)]
    assert [seq for seq, *_ in rig.dead()] == [9]


def test_a_journal_that_lost_what_a_lane_has_pending_is_called_corrupt(rig: LaneRig) -> None:
    """Better no delivery than a cursor that passes over what is not there (I4)."""
    rig.append(50)
    rig.opened.rows("DELETE FROM queue_journal")

    with pytest.raises(SpoolCorruptError, match="50 events pending but the journal has none behind 0"):
        rig.step()
    assert rig.state.pending == 50
