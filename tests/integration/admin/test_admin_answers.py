"""What the admin API answers."""

import grpc
import pytest

from spoold import __version__
from spoold.api.spoold.admin.v1 import admin_pb2
from spoold.record import format_uuid
from spoold.spool.values import RetryState
from tests.integration.admin.conftest import Desk, LaneSight
from tests.support.clock import FakeClock
from tests.support.events import make_drafts
from tests.support.spools import OpenSpool

_NOBODYS_ID = "0199c2f0-7a00-7000-8000-00000000002a"


def append(opened: OpenSpool, count: int) -> list[str]:
    return [format_uuid(one.event_id) for one in opened.spool.append(make_drafts(count)).result(timeout=20)]


def settle(opened: OpenSpool, upto: int, **overrides: object) -> None:
    opened.settle(opened.spool.claim("mixpanel"), upto, **overrides)


def status(desk: Desk) -> admin_pb2.GetStatusReply:
    reply: admin_pb2.GetStatusReply = desk.stub.GetStatus(admin_pb2.GetStatusRequest(), timeout=10)
    return reply


def story(desk: Desk, event_id: str) -> admin_pb2.GetStoryReply:
    reply: admin_pb2.GetStoryReply = desk.stub.GetStory(admin_pb2.GetStoryRequest(event_id=event_id), timeout=10)
    return reply


def fates(desk: Desk, event_id: str) -> list[tuple[str, str, str]]:
    return [(lane.lane, lane.fate, lane.reason) for lane in story(desk, event_id).lanes]


def lane(desk: Desk) -> admin_pb2.LaneStatus:
    (only,) = status(desk).lanes
    return only


def test_the_daemon_says_who_it_is(desk: Desk) -> None:
    assert status(desk).daemon == admin_pb2.DaemonStatus(
        state="serving", version=__version__, pid=71, uptime_seconds=12.5, address="127.0.0.1:50054", test_mode=True
    )


@pytest.mark.parametrize(
    ("condition", "state"),
    [("healthy", "serving"), ("degraded", "serving"), ("full", "full"), ("draining", "draining")],
)
def test_the_daemons_state_is_whether_it_takes_events(desk: Desk, condition: str, state: str) -> None:
    desk.condition = condition
    assert status(desk).daemon.state == state


def test_the_spool_and_its_lanes_are_counted(desk: Desk) -> None:
    append(desk.opened, 7)
    settle(desk.opened, 4, dead=[2])

    reply = status(desk)

    assert (reply.spool.accepted, reply.spool.pending, reply.spool.retained) == (7, 3, 4)
    assert reply.spool.bytes >= reply.spool.wal_bytes > 0
    assert (reply.spool.max_bytes, reply.spool.refusing) == (2**30, "")
    assert (reply.spool.dead_bytes > 0, reply.spool.disk_free_bytes > 0) == (True, True)
    counts = reply.lanes[0]
    assert (counts.name, counts.kind, counts.accepted, counts.pending) == ("mixpanel", "mixpanel", 7, 3)
    assert (counts.delivered, counts.dead, counts.filtered, counts.purged) == (3, 1, 0, 0)


def test_a_lane_that_waits_says_until_when_and_why(desk: Desk, clock: FakeClock) -> None:
    append(desk.opened, 1)
    retry = RetryState(failures=3, last_error="503 busy")
    settle(desk.opened, 0, delivered=0, retry=retry, outcome="retry")
    desk.lanes["mixpanel"] = LaneSight("backoff", clock.monotonic() + 5.5)

    assert (lane(desk).state, lane(desk).failures, lane(desk).last_error) == ("backoff", 3, "503 busy")
    assert lane(desk).next_attempt_seconds == 5.5


def test_an_attempt_that_is_overdue_is_due_now(desk: Desk, clock: FakeClock) -> None:
    desk.lanes["mixpanel"] = LaneSight("backoff", clock.monotonic() - 5)
    assert lane(desk).next_attempt_seconds == 0


def test_a_lane_without_trouble_leaves_attempt_and_error_unset(desk: Desk) -> None:
    desk.lanes["mixpanel"] = LaneSight("sending")
    found = lane(desk)
    assert found.state == "sending"
    assert not any(found.HasField(name) for name in ("next_attempt_seconds", "last_error", "oldest_pending_seconds"))


def test_a_lane_that_nobody_runs_is_idle_and_one_left_out_is_closed(desk: Desk, clock: FakeClock) -> None:
    assert lane(desk).state == "idle"
    desk.opened.spool.close_lane("mixpanel")
    # Its thread may still be there for a moment.
    desk.lanes["mixpanel"] = LaneSight("backoff", clock.monotonic() + 5)
    assert lane(desk).state == "closed"
    assert not lane(desk).HasField("next_attempt_seconds")


def test_an_age_is_measured_on_the_wall_clock_and_never_negative(desk: Desk, clock: FakeClock) -> None:
    append(desk.opened, 1)
    received_at_ms = desk.opened.spool.oldest_pending_at_ms("mixpanel")
    assert received_at_ms is not None
    clock.jump_wall((received_at_ms - clock.wall_ms()) / 1000 + 90)
    assert status(desk).spool.oldest_pending_seconds == lane(desk).oldest_pending_seconds == 90

    clock.jump_wall(-3600)

    assert status(desk).spool.oldest_pending_seconds == lane(desk).oldest_pending_seconds == 0


def test_a_status_is_made_beside_the_loop_that_serves_ingest(desk: Desk) -> None:
    status(desk)
    assert desk.asked_on
    assert "loop" not in desk.asked_on


def test_the_configuration_is_told_as_json(desk: Desk) -> None:
    desk.config = [("batch.size", 50, "default"), ("ingest.socket", None, "file /x"), ("log.level", "info", "default")]

    values = desk.stub.GetConfig(admin_pb2.GetConfigRequest(), timeout=10).values

    assert [(value.key, value.value, value.source) for value in values] == [
        ("batch.size", "50", "default"),
        ("ingest.socket", "null", "file /x"),
        ("log.level", '"info"', "default"),
    ]


def test_an_events_story_is_what_became_of_it_in_each_lane(desk: Desk) -> None:
    delivered, dead, pending = append(desk.opened, 3)
    desk.opened.spool.open_lane("later", "mixpanel", "latest")
    settle(desk.opened, 2, dead=[2])

    assert fates(desk, delivered) == [("later", "none", ""), ("mixpanel", "settled", "")]
    assert fates(desk, dead.upper()) == [("later", "none", ""), ("mixpanel", "dead", "refused")]
    assert fates(desk, pending) == [("later", "none", ""), ("mixpanel", "pending", "")]
    assert story(desk, pending).seq == 3


@pytest.mark.parametrize(
    ("event_id", "code", "said"),
    [
        (_NOBODYS_ID, grpc.StatusCode.NOT_FOUND, _NOBODYS_ID),
        ("order-17", grpc.StatusCode.INVALID_ARGUMENT, "'order-17' is no UUID"),
        ("", grpc.StatusCode.INVALID_ARGUMENT, "'' is no UUID"),
    ],
)
def test_a_story_that_cant_be_told_is_refused(desk: Desk, event_id: str, code: grpc.StatusCode, said: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        story(desk, event_id)

    assert caught.value.code() == code
    assert said in (caught.value.details() or "")


def test_damage_met_while_looking_is_an_answer_too(desk: Desk) -> None:
    (event_id,) = append(desk.opened, 1)
    desk.opened.spool.commits.submit_job(lambda store: store.checkpoint()).result(timeout=20)
    file = desk.opened.directory / "spool.db"
    size = file.stat().st_size
    with file.open("r+b") as data:
        data.seek(4096)
        data.write(b"\xff" * (size - 4096))
    (desk.opened.directory / "spool.db-wal").write_bytes(b"")

    with pytest.raises(grpc.RpcError) as caught:
        story(desk, event_id)

    # Not UNAVAILABLE: the daemon is there, and nobody should look for another one.
    assert caught.value.code() == grpc.StatusCode.INTERNAL
