"""The wire contract, by a real client over a real connection into the real spool."""

import time
import uuid

import grpc
import pytest
from google.protobuf.message import Message

from spoold.api.analytics.v1 import service_pb2 as pb
from spoold.ingest.servicer import MAX_BATCH_ITEMS, MAX_MESSAGE_BYTES
from spoold.record import Event
from spoold.spool.local import LocalSpool
from tests.integration.ingest.conftest import NAMESPACE, Door


def stored(spool: LocalSpool, event_id: str) -> Event:
    story = spool.find(uuid.UUID(event_id).bytes)
    assert story is not None
    assert isinstance(story.event, Event)
    return story.event


def accepted_id(reply: bytes) -> str:
    response = pb.TrackEventResponse.FromString(reply)
    assert response.success
    return response.event_id


def test_a_track_reply_means_that_the_event_is_in_the_journal(door: Door, spool: LocalSpool) -> None:
    request = pb.TrackEventRequest(
        event_name="order paid", user_id="u-1", anonymous_id="a-1", timestamp_ms=1_700_000_000_123
    )
    request.properties["amount"].number_value = 12.5
    request.properties["nothing"].SetInParent()
    event = stored(spool, accepted_id(door.send("TrackEvent", request.SerializeToString())))
    assert (event.kind, event.event_name, event.user_id, event.anonymous_id) == ("track", "order paid", "u-1", "a-1")
    assert event.properties == {"amount": 12.5, "nothing": None}
    assert event.timestamp_ms == 1_700_000_000_123


def test_an_identify_reply_means_that_the_event_is_in_the_journal(door: Door, spool: LocalSpool) -> None:
    request = pb.IdentifyUserRequest(user_id="u-2")
    request.properties["plan"].string_value = "pro"
    event = stored(spool, accepted_id(door.send("IdentifyUser", request.SerializeToString())))
    assert (event.kind, event.user_id, event.properties) == ("identify", "u-2", {"plan": "pro"})


def test_a_repeat_with_the_same_id_is_answered_alike_and_the_first_content_wins(door: Door, spool: LocalSpool) -> None:
    before = door.count("events_duplicate"), door.count("events_accepted", type="track")
    first = pb.TrackEventRequest(event_name="first", event_id="order-7")
    second = pb.TrackEventRequest(event_name="second", event_id="order-7")
    event_id = accepted_id(door.send("TrackEvent", first.SerializeToString()))
    assert accepted_id(door.send("TrackEvent", second.SerializeToString())) == event_id
    assert event_id == str(uuid.uuid5(NAMESPACE, "order-7"))
    assert stored(spool, event_id).event_name == "first"
    assert (door.count("events_duplicate"), door.count("events_accepted", type="track")) == (
        before[0] + 1,
        before[1] + 1,
    )


def test_an_event_ahead_of_our_clock_is_taken_as_now_and_counted(door: Door, spool: LocalSpool) -> None:
    before = door.count("events_from_the_future")
    ahead_ms = time.time_ns() // 1_000_000 + 3_600_000
    request = pb.TrackEventRequest(event_name="a", timestamp_ms=ahead_ms)
    event = stored(spool, accepted_id(door.send("TrackEvent", request.SerializeToString())))
    assert event.timestamp_ms == event.received_at_ms < ahead_ms
    assert door.count("events_from_the_future") == before + 1


@pytest.mark.parametrize(
    ("method", "request_", "fields"),
    [
        ("TrackEvent", pb.TrackEventRequest(timestamp=-1), ["event_name", "timestamp"]),
        ("IdentifyUser", pb.IdentifyUserRequest(), ["user_id"]),
        ("TrackBatch", pb.TrackBatchRequest(), ["items"]),
        ("TrackBatch", pb.TrackBatchRequest(items=[{}] * (MAX_BATCH_ITEMS + 1)), ["items"]),
    ],
)
def test_a_broken_rule_is_invalid_argument_and_names_the_fields(
    door: Door, method: str, request_: Message, fields: list[str]
) -> None:
    error = door.refused(method, request_.SerializeToString())
    assert error.code == grpc.StatusCode.INVALID_ARGUMENT
    assert error.fields() == fields


@pytest.mark.parametrize("method", ["TrackEvent", "IdentifyUser", "TrackBatch", "HealthCheck"])
def test_an_undecodable_message_is_invalid_argument_too(door: Door, method: str) -> None:
    error = door.refused(method, b"\xff\xff")
    assert error.code == grpc.StatusCode.INVALID_ARGUMENT
    assert error.fields() == ["request"]


@pytest.mark.parametrize("method", ["TrackEvent", "IdentifyUser", "TrackBatch"])
def test_a_message_over_the_limit_is_invalid_argument_not_a_full_spool(door: Door, method: str) -> None:
    error = door.refused(method, bytes(MAX_MESSAGE_BYTES + 1))
    assert error.code == grpc.StatusCode.INVALID_ARGUMENT
    assert "at most 4194304 bytes" in error.sentence


def test_a_bad_item_fails_alone_and_the_good_ones_are_durable(door: Door, spool: LocalSpool) -> None:
    nan = pb.PropertyValue(number_value=float("nan"))
    request = pb.TrackBatchRequest(
        items=[
            {"track": {"event_name": "good"}},
            {"track": {"event_name": "", "timestamp": -1}},
            {"identify": {"user_id": "u-3", "event_id": "i-1"}},
            {},
            {"identify": {"user_id": "u-3", "properties": {"x": nan}}},
        ]
    )
    before = door.count("events_refused", reason="invalid")
    reply = pb.TrackBatchResponse.FromString(door.send("TrackBatch", request.SerializeToString()))
    assert [result.success for result in reply.results] == [True, False, True, False, False]
    assert [result.error for result in reply.results] == [
        "",
        (
            "items[1].track.event_name: is required and must not be blank; "
            "items[1].track.timestamp: must not be negative; 0 means now"
        ),
        "",
        "items[3].item: must be a track or an identify",
        'items[4].identify.properties["x"]: must be a finite number, is nan',
    ]
    assert stored(spool, reply.results[0].event_id).event_name == "good"
    assert stored(spool, reply.results[2].event_id).user_id == "u-3"
    assert door.count("events_refused", reason="invalid") == before + 3


def test_a_batch_of_bad_items_is_answered_item_by_item(door: Door) -> None:
    reply = pb.TrackBatchResponse.FromString(
        door.send("TrackBatch", pb.TrackBatchRequest(items=[{}, {}]).SerializeToString())
    )
    assert [result.success for result in reply.results] == [False, False]


def test_the_largest_batch_is_taken_with_one_reply_per_item(door: Door, spool: LocalSpool) -> None:
    request = pb.TrackBatchRequest(items=[{"track": {"event_name": f"e{n}"}} for n in range(MAX_BATCH_ITEMS)])
    reply = pb.TrackBatchResponse.FromString(door.send("TrackBatch", request.SerializeToString()))
    assert len({result.event_id for result in reply.results if result.success}) == MAX_BATCH_ITEMS
    assert stored(spool, reply.results[-1].event_id).event_name == f"e{MAX_BATCH_ITEMS - 1}"


def test_an_item_that_protobuf_merges_is_stored_as_merged(door: Door, spool: LocalSpool) -> None:
    item = pb.BatchItem(track={"event_name": "merged"}).SerializeToString()
    item += pb.BatchItem(track={"user_id": "u-9"}).SerializeToString()
    message = b"\x0a" + bytes([len(item)]) + item
    reply = pb.TrackBatchResponse.FromString(door.send("TrackBatch", message))
    event = stored(spool, reply.results[0].event_id)
    assert (event.event_name, event.user_id) == ("merged", "u-9")


@pytest.mark.parametrize("method", ["GetEventCount", "GetUserCount"])
def test_counts_are_unimplemented_with_a_sentence(door: Door, method: str) -> None:
    error = door.refused(method, b"")
    assert error.code == grpc.StatusCode.UNIMPLEMENTED
    assert "does not keep counts yet" in error.sentence


@pytest.mark.parametrize("condition", ["healthy", "degraded", "full", "draining"])
def test_health_check_says_the_daemons_condition(door: Door, condition: str) -> None:
    door.condition = condition
    assert pb.HealthCheckResponse.FromString(door.send("HealthCheck", b"")).status == condition
    door.condition = "healthy"


def test_many_callers_at_once_each_get_their_own_event(door: Door, spool: LocalSpool) -> None:
    call = door.method("TrackEvent")
    names = [f"concurrent {n}" for n in range(200)]
    futures = [call.future(pb.TrackEventRequest(event_name=name).SerializeToString()) for name in names]
    ids = [accepted_id(future.result(20)) for future in futures]
    assert [stored(spool, event_id).event_name for event_id in ids] == names
