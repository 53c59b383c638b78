"""What the admin API answers an operator who acts: lanes, dead letters, replays."""

import time
from collections.abc import Callable

import grpc
import pytest
from spoolctl.client import Admin, Target
from spoolctl.failure import Exit, Failure

from spoold.api.spoold.admin.v1 import admin_pb2
from spoold.record import format_uuid
from spoold.spool.values import DeadLetter, Lease, Matches, ReplayStep, RetryState, Selection
from tests.integration.admin.conftest import Desk, LaneSight
from tests.support.events import make_draft, make_drafts, make_identify_draft

_NOBODYS_ID = "0199c2f0-7a00-7000-8000-00000000002a"


def append(desk: Desk, count: int) -> list[str]:
    return [format_uuid(one.event_id) for one in desk.opened.spool.append(make_drafts(count)).result(timeout=20)]


def settle(desk: Desk, upto: int, **overrides: object) -> Lease:
    lease = desk.opened.spool.claim("mixpanel")
    desk.opened.settle(lease, upto, **overrides)
    return lease


def command(desk: Desk, word: str, lane: str = "mixpanel") -> admin_pb2.LaneStatus:
    reply: admin_pb2.LaneStatus = desk.stub.CommandLane(
        admin_pb2.CommandLaneRequest(lane=lane, command=word), timeout=10
    )
    return reply


def dead(desk: Desk, **fields: str) -> list[admin_pb2.DeadLetter]:
    return list(desk.stub.ListDead(admin_pb2.ListDeadRequest(**fields), timeout=10))


def counts(desk: Desk, **fields: object) -> list[admin_pb2.EventCount]:
    selection = admin_pb2.Selection(**{"lane": "mixpanel", **fields})  # type: ignore[arg-type]
    return list(desk.stub.CountEvents(selection, timeout=20))


def count(desk: Desk, **fields: object) -> int:
    return counts(desk, **fields)[-1].matched


def start(desk: Desk, **fields: object) -> admin_pb2.Replay:
    selection = admin_pb2.Selection(**{"lane": "mixpanel", **fields})  # type: ignore[arg-type]
    reply: admin_pb2.Replay = desk.stub.StartReplay(selection, timeout=10)
    return reply


def replays(desk: Desk) -> list[admin_pb2.Replay]:
    return list(desk.stub.ListReplays(admin_pb2.ListReplaysRequest(), timeout=10).replays)


def refusal(call: Callable[[], object]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code(), caught.value.details() or ""


@pytest.mark.parametrize("state", ["idle", "sending", "backoff", "down", "stopped"])
def test_a_paused_lane_says_so_whatever_else_is_wrong_with_it(desk: Desk, state: str) -> None:
    desk.lanes["mixpanel"] = LaneSight(state, next_attempt_at=desk.clock.monotonic() + 5)

    paused, resumed = command(desk, "pause"), command(desk, "resume")

    assert (paused.state, paused.HasField("next_attempt_seconds")) == ("paused", False)
    assert (resumed.state, resumed.next_attempt_seconds) == (state, 5)


def test_a_lane_is_told_and_remembers(desk: Desk) -> None:
    append(desk, 3)

    assert command(desk, "accept_dead").pending == 3
    assert desk.opened.lane("mixpanel").accepts_dead
    command(desk, "flush")
    assert desk.opened.lane("mixpanel").flushes > 0
    command(desk, "pause")
    assert desk.opened.lane("mixpanel").is_paused


@pytest.mark.parametrize(
    ("word", "lane", "code", "said"),
    [
        ("pause", "nope", grpc.StatusCode.NOT_FOUND, "'nope'"),
        ("pause", "", grpc.StatusCode.NOT_FOUND, "''"),
        ("pause", "old", grpc.StatusCode.FAILED_PRECONDITION, "old"),
        ("flush", "old", grpc.StatusCode.FAILED_PRECONDITION, "old"),
        ("explode", "mixpanel", grpc.StatusCode.INVALID_ARGUMENT, "'explode' is none of pause, resume"),
    ],
)
def test_a_word_that_a_lane_cant_take_is_refused(
    desk: Desk, word: str, lane: str, code: grpc.StatusCode, said: str
) -> None:
    desk.opened.spool.open_lane("old", "mixpanel", "earliest")
    desk.opened.spool.close_lane("old")

    found, text = refusal(lambda: command(desk, word, lane))

    assert found == code
    assert said in text


def test_a_dead_letter_is_told_whole(desk: Desk) -> None:
    (event_id,) = append(desk, 1)
    settle(desk, 1, dead=[DeadLetter(1, "properties.time: too old", 400, 3)])

    (letter,) = dead(desk)

    assert (letter.lane, letter.seq, letter.status, letter.attempts) == ("mixpanel", 1, 400, 3)
    assert letter.reason == "properties.time: too old"
    assert f'"event_id":"{event_id}"' in letter.event
    assert '"event_name":"Order Paid 0"' in letter.event
    assert letter.dead_at_ms > 0
    assert dead(desk, event_id=event_id.upper()) == [letter]
    assert dead(desk, event_id=event_id, lane="other") == []
    assert dead(desk, event_id=_NOBODYS_ID) == []


def test_dead_letters_come_lane_by_lane_and_page_by_page(desk: Desk) -> None:
    desk.opened.spool.open_lane("other", "mixpanel", "earliest")
    append(desk, 450)
    settle(desk, 450, dead=range(1, 451))
    desk.opened.settle(desk.opened.spool.claim("other"), 1, dead=[1])

    assert [(letter.lane, letter.seq) for letter in dead(desk)] == [
        *(("mixpanel", seq) for seq in range(1, 451)),
        ("other", 1),
    ]
    assert [letter.seq for letter in dead(desk, lane="other")] == [1]


def test_dead_letters_that_cant_be_listed_are_refused(desk: Desk) -> None:
    assert refusal(lambda: dead(desk, lane="nope"))[0] == grpc.StatusCode.NOT_FOUND
    assert refusal(lambda: dead(desk, event_id="order-17"))[0] == grpc.StatusCode.INVALID_ARGUMENT


def test_a_letter_that_was_never_sent_has_no_status(desk: Desk) -> None:
    append(desk, 1)
    settle(desk, 1, dead=[DeadLetter(1, "unsendable: no id", None, 0)])

    assert not dead(desk)[0].HasField("status")


def test_what_a_selection_holds_is_counted(desk: Desk) -> None:
    ids = append(desk, 5)
    desk.opened.spool.append([make_draft("Order Paid 0", user_id="u-1"), make_identify_draft("u-2")]).result(20)
    settle(desk, 7, dead=[2, 3])

    assert count(desk, since_ms=0) == 7
    assert count(desk, is_dead=True) == 2
    assert count(desk, event_ids=[ids[0], ids[1].upper(), _NOBODYS_ID]) == 2
    assert count(desk, event_names=["Order Paid 0", "Order Paid 4"]) == 3
    assert count(desk, user_id="u-1") == 1
    assert count(desk, user_id="u-81", event_names=["Order Paid 0"]) == 1
    assert count(desk, until_ms=1) == 0


def test_counting_goes_page_by_page_and_says_how_far_it_is(desk: Desk) -> None:
    append(desk, 1100)
    settle(desk, 1100)

    found = counts(desk, since_ms=0)

    assert len(found) == 3
    assert [one.is_end for one in found] == [False, False, True]
    assert [one.matched for one in found] == [500, 1000, 1100]
    assert sorted(one.progress for one in found) == [one.progress for one in found]
    assert found[-1].progress == 1


@pytest.mark.parametrize(
    ("fields", "code", "said"),
    [
        ({"lane": "nope"}, grpc.StatusCode.NOT_FOUND, "'nope'"),
        ({"event_ids": ["order-17"]}, grpc.StatusCode.INVALID_ARGUMENT, "'order-17' is no UUID"),
        ({"event_ids": [_NOBODYS_ID] * 1001}, grpc.StatusCode.INVALID_ARGUMENT, "1001 are given"),
    ],
)
def test_a_selection_that_makes_no_sense_is_refused(
    desk: Desk, fields: dict[str, object], code: grpc.StatusCode, said: str
) -> None:
    for ask in (counts, start):
        found, text = refusal(lambda ask=ask: ask(desk, **fields))  # type: ignore[misc]
        assert found == code
        assert said in text


def test_a_replay_is_listed_with_what_it_selects(desk: Desk) -> None:
    ids = append(desk, 3)
    settle(desk, 3)

    first = start(desk, since_ms=0, until_ms=2**42, event_names=["Order Paid 1"], user_id="u-81")
    second = start(desk, event_ids=[ids[0].upper()])

    assert (first.state, first.sent, first.failed, first.revived) == ("running", 0, 0, 0)
    assert not first.HasField("finished_at_ms")
    assert first.selection == admin_pb2.Selection(
        lane="mixpanel", since_ms=0, until_ms=2**42, event_names=["Order Paid 1"], user_id="u-81"
    )
    assert list(second.selection.event_ids) == [ids[0]]
    assert [one.id for one in replays(desk)] == [second.id, first.id]


def test_a_replay_says_how_far_it_is(desk: Desk) -> None:
    append(desk, 4)
    lease = settle(desk, 4)
    replay = start(desk, since_ms=0)
    step = ReplayStep(id=replay.id, upto=2, sent=1, failed=1, revived=(), is_done=False)
    desk.opened.settle(lease, 4, delivered=0, replay=step, outcome="replay", retry=RetryState())

    (now,) = replays(desk)

    assert (now.sent, now.failed, now.state) == (1, 1, "running")
    assert 0 < now.progress < 1


def test_a_closed_lane_gets_no_replay(desk: Desk) -> None:
    append(desk, 1)
    settle(desk, 1)
    desk.opened.spool.close_lane("mixpanel")

    code, text = refusal(lambda: start(desk, since_ms=0))

    assert code == grpc.StatusCode.FAILED_PRECONDITION
    assert "mixpanel" in text


def test_a_replay_is_cancelled_once_and_for_all(desk: Desk) -> None:
    append(desk, 1)
    settle(desk, 1)
    replay = start(desk, since_ms=0)

    def cancel(number: int) -> admin_pb2.Replay:
        reply: admin_pb2.Replay = desk.stub.CancelReplay(admin_pb2.CancelReplayRequest(id=number), timeout=10)
        return reply

    assert cancel(replay.id).state == cancel(replay.id).state == "cancelled"
    assert replays(desk)[0].HasField("finished_at_ms")
    assert refusal(lambda: cancel(99))[0] == grpc.StatusCode.NOT_FOUND


def test_a_count_that_nobody_wants_any_more_ends(desk: Desk) -> None:
    append(desk, 1000)
    settle(desk, 1000)
    matches = desk.opened.spool.matches

    def without_end(selection: Selection, after: int | None, *, max_events: int) -> Matches:
        return matches(selection, None if after is None else 0, max_events=max_events)._replace(is_end=False)

    desk.opened.spool.matches = without_end  # type: ignore[method-assign]
    call = desk.stub.CountEvents(admin_pb2.Selection(lane="mixpanel", since_ms=0), timeout=20)
    assert next(iter(call)).matched == 500

    call.cancel()
    before = time.monotonic()
    desk.run(desk.server.stop(5))

    # It would have waited for a call that counts on.
    assert time.monotonic() - before < 4


@pytest.mark.parametrize(
    ("ask", "code"),
    [
        (lambda admin: admin.command_lane("nope", "pause"), Exit.NOTHING),
        (lambda admin: admin.command_lane("mixpanel", "explode"), Exit.REFUSED),
        (lambda admin: list(admin.dead(lane="nope")), Exit.NOTHING),
        (lambda admin: list(admin.count(admin_pb2.Selection(lane="nope"))), Exit.NOTHING),
        (lambda admin: admin.cancel_replay(7), Exit.NOTHING),
    ],
)
def test_a_refusal_is_an_exit_code(desk: Desk, ask: Callable[[Admin], object], code: Exit) -> None:
    with Target(desk.path, desk.path).admin() as admin, pytest.raises(Failure) as caught:
        ask(admin)

    assert caught.value.code == code
